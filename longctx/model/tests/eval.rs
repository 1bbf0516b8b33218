//! `longctx eval`.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{Place, bytes, json, records, serve};

/// Few small items of three tasks.
const SHORT: &str = "--texts texts.jsonl --wording wording.toml --lengths 512,1k --haystacks 2 --samples 3 --seed 4 --threads 1 \
                     --tasks niah,multi-needle,ppl-by-position";

#[test]
fn a_model_in_this_process_is_measured_and_a_killed_run_goes_on() {
    let place = Place::new(1024, 32);
    let eval = |output: &str| format!("eval --model model --output {output} --depths 3 {SHORT}");
    let said = place.good(&eval("one"));
    assert!(said.contains("niah") && said.contains("no effective length"), "{said}");
    let samples = records(&place.path("one/samples.jsonl"));
    // Two lengths: 2 x 3 needles, 3 multi-needles, 3 losses each.
    assert_eq!(samples.len(), 2 * (6 + 3 + 3));
    let of = |task: &str| samples.iter().filter(|sample| sample["task"] == task).collect::<Vec<_>>();
    for sample in of("niah") {
        let (length, tokens) = (&sample["groups"]["length"], sample["length_tokens"].as_u64().unwrap());
        let length: u64 = length.as_str().unwrap().parse().unwrap();
        assert!(tokens <= length && tokens * 100 >= length * 95, "{tokens} of {length}");
        // Two tokens may be written: a random model's answer is cut there, unless it ends by chance before, or is right.
        let (status, written) = (&sample["status"], sample["tokens"].as_u64().unwrap());
        assert!(written <= 2 && (status == "right" || (status == "cut") == (written == 2)), "{sample}");
    }
    assert_eq!(of("multi-needle")[0]["outputs"].as_array().unwrap().len(), 2);
    let loss = &of("ppl-by-position")[0]["scores"]["token-nll"];
    let nats = loss[0].as_f64().unwrap() / loss[1].as_f64().unwrap();
    // 260 tokens, random weights: about ln 260 = 5.56.
    assert!((4.5..7.0).contains(&nats) && loss[1] == 128.0, "{loss}");
    let summary = json(&place.path("one/summary.json"));
    let niah = &summary["tasks"]["niah"]["512"];
    let count = |of: &str| niah[of].as_u64().unwrap();
    assert_eq!((count("right") + count("cut") + count("wrong"), count("unasked")), (6, 0), "{niah}");
    assert!(count("cut") > 0, "{niah}");
    assert_eq!(
        (&summary["effective_length"]["niah"], &summary["protocol"]["needles"]),
        (&Value::Null, &"shared".into())
    );
    let page = String::from_utf8(bytes(&place.path("one/report.html"))).unwrap();
    assert!(page.contains("<svg") && page.contains("/2</text>") && page.contains("wording"), "{page}");
    assert!(place.good(&eval("one")).contains("is finished already"));
    // Killed when some answers exist, then again from there.
    let mut command = place.command(&eval("two"));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    let partial = place.path("two/samples.jsonl.partial");
    while std::fs::metadata(&partial).map_or(0, |data| data.len()) == 0 && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    place.good(&eval("two"));
    for name in ["samples.jsonl", "summary.json", "protocol.json"] {
        assert!(bytes(&place.path("one").join(name)) == bytes(&place.path("two").join(name)), "{name}");
    }
    // Other depths are another protocol.
    place.good(&format!("eval --model model --output three --depths 2 {SHORT}"));
    ::eval::compare::same_protocol(&place.path("one"), &place.path("two")).unwrap();
    let error = ::eval::compare::same_protocol(&place.path("one"), &place.path("three")).unwrap_err().to_string();
    assert!(error.contains("depths: [0.0,50.0,100.0] and [0.0,100.0]"), "{error}");
}

/// The needle that a prompt asks for, found by reading it.
fn found(request: &Value) -> (String, &'static str) {
    assert_eq!((&request["continue_final_message"], &request["add_generation_prompt"]), (&true.into(), &false.into()));
    let messages = request["messages"].as_array().unwrap();
    let (text, prefix) = (messages[0]["content"].as_str().unwrap(), messages[1]["content"].as_str().unwrap());
    let value = |key: &str| {
        let at = text.find(&format!("<{key}")).unwrap();
        text[at + 2..at + 3].to_owned()
    };
    match prefix.strip_suffix(": ") {
        // The second of several is left out.
        Some(keys) => (value(&keys[..1]), "stop"),
        // The needle at the end of the text is cut off.
        None if text.ends_with('>') && text[text.len() - 4..].starts_with(prefix) => (String::new(), "length"),
        None => (value(&prefix[1..]) + ">", "stop"),
    }
}

#[test]
fn a_server_is_measured_by_the_same_protocol() {
    let place = Place::new(1024, 32);
    let url = serve(found);
    place.good(&format!(
        "eval --endpoint {url} --tokenizer model --output served --texts texts.jsonl --wording wording.toml --lengths 1k --depths 3 \
         --haystacks 4 --samples 5 --tasks niah,multi-needle"
    ));
    let summary = json(&place.path("served/summary.json"));
    let niah = &summary["tasks"]["niah"]["1024"];
    // Depths 0% and 50% are found, 100% is truncated: a truncated answer does not count as wrong.
    assert_eq!((&niah["right"], &niah["cut"], &niah["wrong"]), (&8.into(), &4.into(), &0.into()));
    let several = &summary["tasks"]["multi-needle"]["1024"];
    assert_eq!((&several["score"]["value"], &several["wrong"]), (&0.5.into(), &5.into()));
    let picture = String::from_utf8(bytes(&place.path("served/grid.svg"))).unwrap();
    assert_eq!((picture.matches(">4/4<").count(), picture.matches(">0/4<").count()), (2, 1));
}

#[test]
fn what_cannot_be_measured_is_said() {
    let place = Place::new(1024, 32);
    let eval = |more: &str| place.bad(&format!("eval --model model --output none {more}"));
    assert!(eval("--tasks niah").contains("--tasks niah: give --texts"));
    let error = eval("--texts texts.jsonl --lengths 2k");
    assert!(error.contains("2048 tokens are more than the model's context of 1024"), "{error}");
    assert!(eval("--tasks repo").contains("--tasks repo: give --repositories"));
    assert!(eval("--texts texts.jsonl --samples 0").contains("--samples must be at least 1"));
    let error = place.bad("eval --endpoint http://127.0.0.1:9 --output none --texts texts.jsonl --tasks niah");
    assert!(error.contains("--endpoint: give --tokenizer too"), "{error}");
}
