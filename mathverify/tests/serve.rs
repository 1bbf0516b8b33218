//! The HTTP worker (`mathverify serve`) returns the verdicts of the library, also to concurrent clients, and shuts down
//! gracefully.
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use mathverify::{Options, check_solution, split_steps, verify};
use serde_json::{Value, json};

/// A running worker on a free port.
struct Server {
    child: Child,
    addr: String,
}

impl Server {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_mathverify"))
            .args(["serve", "--addr", "127.0.0.1:0"])
            .args(args)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let addr = line.trim().rsplit("http://").next().unwrap().to_owned();
        Self { child, addr }
    }

    /// Sends a raw HTTP request and returns the whole response.
    fn ask(&self, request: &str) -> String {
        let mut stream = std::net::TcpStream::connect(&self.addr).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let body = body.to_string();
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n");
        let answer = self.ask(&format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()));
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap()
    }

    fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
    }

    /// Stops the worker with SIGTERM; returns whether it exited with code 0.
    fn stop(mut self) -> bool {
        Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        self.child.wait().unwrap().success()
    }
}

#[test]
fn answers_lists_and_mistakes_and_drains() {
    let server = Server::start(&[]);
    let answer = server.post("/check", &json!([{"pred": "\\boxed{1/2}", "gold": "0.5"}, {"pred": "1"}]));
    assert_eq!(answer[0]["verdict"], "equal");
    assert!(answer[1].to_string().contains("gold"), "{answer}");
    assert_eq!(server.post("/steps", &json!({"solution": "1+1=3"}))["first_wrong"], 0);
    let metrics = server.get("/metrics");
    assert!(metrics.contains("mathverify_equal 1"), "{metrics}");
    assert!(server.get("/healthz").starts_with("HTTP/1.1 200"));
    assert!(server.stop());
}

/// Records with several references, without a prediction, with chat messages, or with options for one pair.
#[test]
fn records_of_other_shapes() {
    let server = Server::start(&[]);
    let answers = server.post(
        "/check",
        &json!([
            {"pred": "3", "gold": ["4", "3"]},
            {"pred": "3", "gold": ["4", "5"]},
            {"pred": null, "gold": "3"},
            {"pred": [{"role": "user", "content": "7?"}, {"role": "assistant", "content": "It is 3."}], "gold": 3},
            {"pred": "50%", "gold": "1/2", "options": {"percent": "sign"}},
            {"pred": "50%", "gold": "1/2"},
        ]),
    );
    let verdicts: Vec<&str> = (0..6).map(|i| answers[i]["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["equal", "different", "unknown", "equal", "different", "equal"]);
    assert_eq!(answers[2]["reason"], "no prediction");
    let refused = server.post(
        "/check",
        &json!([
            {"pred": "3", "gold": []},
            {"pred": {"text": "3"}, "gold": "3"},
            {"pred": "3", "gold": "3", "options": {"percents": "sign"}},
        ]),
    );
    for (i, word) in ["empty list", "`pred`", "percents"].iter().enumerate() {
        assert!(refused[i].to_string().contains(word), "{refused}");
    }
    assert!(server.stop());
}

/// Eight concurrent clients get the verdicts of the library, item by item and in order.
#[test]
fn many_clients_get_the_verdicts_of_the_library() {
    let server = Server::start(&["--threads", "4", "--ordered-lists"]);
    let options = Options { ordered_lists: true, ..Options::default() };
    let pair = |n: usize| {
        let (pred, gold) = match n % 5 {
            0 => (format!("so $\\boxed{{{n}}}$"), n.to_string()),
            1 => (format!("\\frac{{{n}}}{{2}}"), format!("{n}/2")),
            2 => (format!("The answer is {n}, {}.", n + 1), format!("{}, {n}", n + 1)),
            3 => (format!("\\sqrt{{{n}}}+\\ln {n}"), format!("\\frac12\\ln({n}^2)+{n}^{{1/2}}")),
            _ => (format!("x = {n}"), format!("y = {n}")),
        };
        (pred, gold)
    };
    std::thread::scope(|scope| {
        for client in 0..8_usize {
            let (server, options, pair) = (&server, &options, &pair);
            scope.spawn(move || {
                let pairs: Vec<(String, String)> = (0..40).map(|i| pair(2 + client * 40 + i)).collect();
                let body: Vec<Value> = pairs.iter().map(|(p, g)| json!({"pred": p, "gold": g})).collect();
                let expected: Vec<Value> = pairs.iter().map(|(p, g)| json!(verify(p, g, options))).collect();
                assert_eq!(server.post("/check", &json!(body)), json!(expected));
                let solution = format!("3*{client} = {}\n1+1 = {client}\n#### {client}", 3 * client);
                let expected = json!(check_solution(None, &split_steps(&solution), Some("2"), options));
                assert_eq!(server.post("/steps", &json!({"solution": solution, "gold": "2"})), expected);
            });
        }
    });
    assert!(server.stop());
}
