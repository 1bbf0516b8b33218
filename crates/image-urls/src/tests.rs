//! Tests against a local server. Host names of the tests stand for local addresses, which only the tests' fetchers may contact.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;
use std::time::Instant;

use super::*;

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A local server. It answers each path with the result of `answer`, and records the paths.
struct Server {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(answer: fn(&str, u16) -> Vec<u8>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let notes = Arc::clone(&notes);
                std::thread::spawn(move || {
                    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                    let first = lines.next().unwrap().unwrap();
                    let path = first.split(' ').nth(1).unwrap().to_owned();
                    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                    notes.lock().unwrap().push(path.clone());
                    if path == "/slow" {
                        std::thread::sleep(Duration::from_secs(20));
                    }
                    let _ = stream.write_all(&answer(&path, port));
                });
            }
        });
        Self { port, asked }
    }

    fn url(&self, host: &str, path: &str) -> String {
        format!("http://{host}:{}{path}", self.port)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(path: &str, port: u16) -> Vec<u8> {
    let head =
        |head: String, body: &[u8]| [format!("HTTP/1.1 {head}\r\nconnection: close\r\n\r\n").as_bytes(), body].concat();
    let to = |url: String| head(format!("302 Found\r\nlocation: {url}"), b"");
    match path {
        "/a.png" => head("200 OK\r\ncontent-length: 3".into(), b"abc"),
        // There is no length header, so that only the body shows the size.
        "/large" => head("200 OK".into(), &[7; 5000]),
        "/claims" => head("200 OK\r\ncontent-length: 5000".into(), b""),
        "/short" => head("200 OK\r\ncontent-length: 9".into(), b"abc"),
        "/relative" => to("/a.png".into()),
        "/other" => to(format!("http://b.example:{port}/a.png")),
        "/refused" => to(format!("http://evil.example:{port}/secret")),
        "/home" => to(format!("http://127.0.0.1:{port}/secret")),
        "/inner" => to(format!("http://inner.example:{port}/secret")),
        "/file" => to("file:///etc/passwd".into()),
        "/nowhere" => head("302 Found".into(), b""),
        "/round" => to("/round".into()),
        _ => head("404 Not Found".into(), b"secret words"),
    }
}

fn names(name: &str) -> Vec<IpAddr> {
    match name {
        "a.example" | "b.example" | "evil.example" => vec![HOME],
        // Two local addresses; tests may not contact the second one.
        "inner.example" => vec![IpAddr::from([127, 0, 0, 2])],
        "both.example" => vec![IpAddr::from([127, 0, 0, 2]), HOME],
        _ => Vec::new(),
    }
}

fn fetcher(rules: &[String], reachable: Reachable) -> Fetcher {
    let rules = rules.iter().map(|rule| Rule::parse(rule).unwrap()).collect();
    let options = Options { rules, max_bytes: 4000, timeout: Duration::from_millis(1500) };
    Fetcher::with(options, reachable, Some(names)).unwrap()
}

fn hosts(server: &Server, hosts: &[&str]) -> Vec<String> {
    hosts.iter().map(|host| format!("http://{host}:{}", server.port)).collect()
}

fn only_home(address: IpAddr) -> bool {
    address == HOME
}

#[test]
fn what_is_allowed_is_fetched() {
    let server = Server::start(answer);
    let fetcher = fetcher(&hosts(&server, &["a.example", "b.example", "both.example"]), only_home);
    for (host, path) in
        [("a.example", "/a.png"), ("a.example", "/relative"), ("a.example", "/other"), ("both.example", "/a.png")]
    {
        assert_eq!(fetcher.fetch(&server.url(host, path)), Ok(b"abc".to_vec()), "{host}{path}");
    }
}

#[test]
fn everything_else_is_one_sentence() {
    let server = Server::start(answer);
    let fetcher =
        fetcher(&hosts(&server, &["a.example", "inner.example", "none.example", "127.0.0.1", "127.0.0.2"]), only_home);
    for (url, sentence) in [
        (
            server.url("evil.example", "/a.png"),
            format!("images are not fetched from http://evil.example:{}", server.port),
        ),
        (server.url("inner.example", "/a.png"), "inner.example has no public address".into()),
        (server.url("127.0.0.2", "/a.png"), "images are not fetched from 127.0.0.2, which is no public address".into()),
        (server.url("none.example", "/a.png"), "the image cannot be fetched: ".into()),
        (server.url("a.example", "/large"), "the image has more than 4000 bytes".into()),
        (server.url("a.example", "/claims"), "the image has more than 4000 bytes".into()),
        (server.url("a.example", "/short"), "the image broke off: ".into()),
        (
            server.url("a.example", "/refused"),
            format!("a redirect: images are not fetched from http://evil.example:{}", server.port),
        ),
        (server.url("a.example", "/inner"), "inner.example has no public address".into()),
        (server.url("a.example", "/file"), "a redirect: images are not fetched by file://".into()),
        (server.url("a.example", "/nowhere"), "the image's address answered 302 Found without a new address".into()),
        (server.url("a.example", "/round"), "the image's address has more than 3 redirects".into()),
        (server.url("a.example", "/missing"), "the image's address answered 404 Not Found".into()),
        ("nonsense".into(), "the image's address cannot be read".into()),
    ] {
        let error = fetcher.fetch(&url).unwrap_err().to_string();
        assert!(error.contains(&sentence), "{url}: {error}");
        assert!(!error.contains("secret words"), "what was answered is nobody's business: {error}");
    }
    assert!(!server.asked().iter().any(|path| path == "/secret"), "{:?}", server.asked());
}

#[test]
fn time_is_limited() {
    let server = Server::start(answer);
    let fetcher = fetcher(&hosts(&server, &["a.example"]), only_home);
    let begin = Instant::now();
    let error = fetcher.fetch(&server.url("a.example", "/slow")).unwrap_err().to_string();
    assert_eq!(error, "the image did not arrive within 1.5 s");
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[test]
fn this_machine_is_never_reached_in_earnest() {
    let server = Server::start(answer);
    // The real check of addresses with test names: the rules alone do not suffice.
    let fetcher = fetcher(&hosts(&server, &["*"]), is_public);
    for host in [
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "127.1",
        "2130706433",
        "0x7f.1",
        "a.example",
        "both.example",
    ] {
        let error = fetcher.fetch(&server.url(host, "/a.png")).unwrap_err().to_string();
        assert!(error.contains("no public address"), "{host}: {error}");
    }
    // The same with the system's own resolver.
    let options =
        Options { rules: vec![Rule::parse(&format!("http://*:{}", server.port)).unwrap()], ..fetcher.options.clone() };
    let error = Fetcher::new(options).unwrap().fetch(&server.url("localhost", "/a.png")).unwrap_err().to_string();
    assert!(error.contains("localhost has no public address"), "{error}");
    assert_eq!(server.asked(), Vec::<String>::new(), "no connection was made");
}

#[test]
fn a_redirect_to_a_number_is_checked() {
    fn only_names(address: IpAddr) -> bool {
        address == IpAddr::from([127, 0, 0, 3])
    }
    // The server listens on all local addresses; the first is reached by name, the redirect leads to another.
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(0));
    let notes = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            *notes.lock().unwrap() += 1;
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let to =
                format!("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{port}/secret\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(to.as_bytes());
        }
    });
    let options = Options {
        rules: vec![Rule::parse(&format!("http://*:{port}")).unwrap()],
        max_bytes: 9,
        timeout: Duration::from_secs(5),
    };
    let fetcher = Fetcher::with(options, only_names, Some(|_| vec![IpAddr::from([127, 0, 0, 3])])).unwrap();
    let error = fetcher.fetch(&format!("http://c.example:{port}/")).unwrap_err().to_string();
    assert!(error.contains("images are not fetched from 127.0.0.1, which is no public address"), "{error}");
    assert_eq!(*asked.lock().unwrap(), 1, "the second connection was not made");
}
