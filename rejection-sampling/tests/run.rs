//! Complete runs of `run`: what they write, the effect of a kill, and misbehaving servers.

use crate::common;

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use common::{Reply, World, finish, run, says, serve, spawn, words};
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

/// `count` sums as problems.
fn sums(world: &World, count: usize) -> String {
    let lines: Vec<Value> = (0..count)
        .map(|n| json!({"id": format!("sum-{n}"), "kind": "math", "prompt": format!("What is {n} + 2?"), "answer": n + 2}))
        .collect();
    world.write("problems.jsonl", &lines)
}

/// The last user turn of a request.
fn asked(body: &Value) -> &str {
    body["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap()
}

const FILES: [&str; 3] = ["samples.jsonl", "selected.jsonl", "pairs.jsonl"];

fn files(world: &World, run: &str) -> Vec<Vec<u8>> {
    FILES.iter().map(|name| fs::read(world.path(run).join(name)).unwrap()).collect()
}

fn journal_lines(world: &World, run: &str) -> usize {
    let lines = |name: &str| fs::read_to_string(world.path(run).join(name)).map_or(0, |text| text.lines().count());
    lines("turns.journal") + lines("verdicts.journal") + lines("rewards.journal")
}

#[test]
fn sigkill_at_random_moments_changes_no_byte() {
    let world = World::new();
    let problems = sums(&world, 10);
    let (model, rm) = (world.model(), world.reward_model());
    let flags = |output: &str| {
        words(&format!(
            "run --model {model} --problems {problems} --output {} --select rm --reward-model {rm} -n 8 --temperature \
             0.7,1.3 --max-new-tokens 24 --max-num-seqs 8 --dtype f32 --device cpu --threads 1",
            world.text(output)
        ))
    };
    finish(spawn(&flags("whole"))).unwrap();
    let total = journal_lines(&world, "whole");
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(9);
    let mut killed = 0;
    let mut goal = 0;
    for _ in 0..6 {
        let mut child = spawn(&flags("killed"));
        goal += rng.random_range(1..total / 6);
        let start = Instant::now();
        while journal_lines(&world, "killed") < goal && child.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < Duration::from_secs(120), "the run hangs");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(rng.random_range(0..10)));
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            killed += 1;
        }
        child.wait().unwrap();
    }
    assert!(killed >= 3, "only {killed} kills hit the run");
    finish(spawn(&flags("killed"))).unwrap();
    assert!(files(&world, "whole") == files(&world, "killed"), "the files differ");
    // Nothing is duplicated, nothing is missing.
    let mut seen = BTreeMap::new();
    for sample in world.lines("killed/samples.jsonl") {
        *seen.entry((sample["id"].to_string(), sample["sample"].as_u64().unwrap())).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 80);
    assert!(seen.values().all(|&count| count == 1));
    assert_eq!(journal_lines(&world, "killed"), total, "a sample was made twice");
    // The run is finished; another configuration is refused.
    finish(spawn(&flags("killed"))).unwrap();
    let other = [flags("killed"), words("--seed 5")].concat();
    let error = finish(spawn(&other)).unwrap_err();
    assert!(error.contains("seed: 0 before, 5 now"), "{error}");
}

/// Answers sums: right for an even seed, wrong for an odd one.
fn solver() -> common::Server {
    serve(|_, _, body| {
        let question = asked(body);
        let n: u64 = question.split(' ').nth(2).unwrap().parse().unwrap();
        let wrong = body["seed"].as_u64().unwrap() % 2;
        says(&format!("{n} + 2 = {}. Seed {}.\nThe answer is {}.", n + 2, body["seed"], n + 2 + wrong))
    })
}

fn at(world: &World, endpoint: &str, output: &str, more: &str) -> Vec<String> {
    words(&format!(
        "run --endpoint {endpoint} --endpoint-model m --problems {} --output {} --select verifier -n 6 {more}",
        world.text("problems.jsonl"),
        world.text(output)
    ))
}

#[test]
fn right_answers_are_selected_and_paired_with_wrong_ones() {
    let world = World::new();
    sums(&world, 4);
    let server = solver();
    run(&at(&world, &server.url, "run", "--per-problem 2 --pairs 1")).unwrap();
    let (samples, selected, pairs) =
        (world.lines("run/samples.jsonl"), world.lines("run/selected.jsonl"), world.lines("run/pairs.jsonl"));
    assert_eq!(samples.len(), 24);
    let right = |sample: &Value| sample["seed"].as_u64().unwrap().is_multiple_of(2);
    for sample in &samples {
        assert_eq!(sample["verdict"]["passed"], right(sample), "{sample}");
    }
    let mut expected = 0;
    for n in 0..4 {
        let id = format!("sum-{n}");
        let good = samples.iter().filter(|sample| sample["id"] == *id && right(sample)).count();
        let of = |records: &[Value], prefix: &str| {
            records.iter().filter(|record| record["id"].as_str().unwrap().starts_with(prefix)).count()
        };
        assert_eq!(of(&selected, &format!("{id}#")), good.min(2));
        assert_eq!(of(&pairs, &format!("{id}#")), usize::from(good > 0 && good < 6));
        expected += good;
    }
    for conversation in &selected {
        assert_eq!(conversation["evidence"]["verdict"]["passed"], true);
        assert_eq!(conversation["messages"].as_array().unwrap().len(), 2);
    }
    for pair in &pairs {
        assert_eq!(pair["evidence"]["chosen"]["verdict"]["passed"], true);
        assert_eq!(pair["evidence"]["rejected"]["verdict"]["status"], "wrong_answer");
        assert_ne!(pair["chosen"], pair["rejected"]);
    }
    let record = world.record("run");
    let pass = record["counts"]["pass_at"]["1"]["value"].as_f64().unwrap();
    assert!((pass - expected as f64 / 24.0).abs() < 1e-9, "{pass}");
    // More pairs from the same samples need no new requests.
    let before = server.seen.lock().unwrap().len();
    run(&at(&world, &server.url, "run", "--per-problem 6 --pairs 6")).unwrap();
    assert_eq!(server.seen.lock().unwrap().len(), before);
    assert_eq!(world.lines("run/selected.jsonl").len(), expected);
}

#[test]
fn a_hanging_verifier_costs_its_own_samples_only() {
    let world = World::new();
    sums(&world, 3);
    let server = solver();
    // It hangs on one problem, is busy at first on another, and gives an invalid response for a third.
    let verifier = serve(|before, path, body| {
        let text = body["pred"].as_str().or(body["solution"].as_str()).unwrap();
        match &text[..1] {
            "0" if path == "/check" => Reply::Hang,
            "1" if before == 0 => Reply::Send(429, json!({"error": "busy"})),
            "2" => Reply::Send(200, json!({"verdict": "purple"})),
            _ if path == "/check" => {
                let verdict = mathverify::verify(text, body["gold"].as_str().unwrap(), &mathverify::Options::default());
                Reply::Send(200, json!(verdict))
            }
            _ => {
                let steps = mathverify::split_steps(text);
                let checked = mathverify::check_solution(None, &steps, None, &mathverify::Options::default());
                Reply::Send(200, json!(checked))
            }
        }
    });
    let more = format!("--math-url {} --verify-timeout 0.5 --verify-retries 1", verifier.url);
    run(&at(&world, &server.url, "run", &more)).unwrap();
    let samples = world.lines("run/samples.jsonl");
    let of = |n: usize| samples.iter().filter(|sample| sample["id"] == format!("sum-{n}")).collect::<Vec<_>>();
    for sample in of(0) {
        assert_eq!(sample["verdict"]["status"], "unverified");
        assert!(sample["verdict"]["detail"].as_str().unwrap().contains("no answer in time"), "{sample}");
    }
    for sample in of(1) {
        assert_eq!(sample["verdict"]["passed"], sample["seed"].as_u64().unwrap() % 2 == 0, "{sample}");
    }
    for sample in of(2) {
        assert!(sample["verdict"]["detail"].as_str().unwrap().contains("is not a verdict"), "{sample}");
    }
    let counts = &world.record("run")["counts"];
    assert_eq!(counts["verdicts"]["unverified"], 12);
    // Unverified samples are not used in pairs, and not in pass@k.
    assert_eq!(counts["pass_at"]["1"]["items"], 1);
    assert!(world.lines("run/pairs.jsonl").iter().all(|pair| pair["id"].as_str().unwrap().starts_with("sum-1#")));
    // The server works again: only missing verdicts are requested.
    let whole = serve(|_, path, body| {
        let text = body["pred"].as_str().or(body["solution"].as_str()).unwrap();
        let options = mathverify::Options::default();
        match path {
            "/check" => Reply::Send(200, json!(mathverify::verify(text, body["gold"].as_str().unwrap(), &options))),
            _ => {
                let steps = mathverify::split_steps(text);
                Reply::Send(200, json!(mathverify::check_solution(None, &steps, None, &options)))
            }
        }
    });
    run(&at(&world, &server.url, "run", &format!("--math-url {} --retry-failed", whole.url))).unwrap();
    assert_eq!(whole.seen.lock().unwrap().len(), 24, "two questions for each of 12 samples");
    assert_eq!(world.record("run")["counts"]["verdicts"]["unverified"], Value::Null);
}

#[test]
fn a_dead_verifier_is_a_sentence_and_a_dead_endpoint_a_record() {
    let world = World::new();
    sums(&world, 3);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = solver();
    let more = format!("--math-url http://{closed} --verify-timeout 1 --verify-retries 0");
    let error = run(&at(&world, &server.url, "unverified", &more)).unwrap_err().to_string();
    assert!(error.contains(&format!("--math-url: no worker answers: http://{closed}")), "{error}");
    assert!(server.seen.lock().unwrap().is_empty(), "nothing is sampled that nobody can verify");
    // Another server beside it is enough.
    let alive = serve(|_, path, body| {
        let text = body["pred"].as_str().or(body["solution"].as_str()).unwrap();
        let options = mathverify::Options::default();
        match path {
            "/check" => Reply::Send(200, json!(mathverify::verify(text, body["gold"].as_str().unwrap(), &options))),
            _ => {
                let steps = mathverify::split_steps(text);
                Reply::Send(200, json!(mathverify::check_solution(None, &steps, None, &options)))
            }
        }
    });
    let more = format!("--math-url http://{closed},{} --verify-timeout 1 --verify-retries 0", alive.url);
    run(&at(&world, &server.url, "unverified", &more)).unwrap();
    let counts = world.record("unverified")["counts"].clone();
    assert_eq!(counts["verdicts"]["unverified"], Value::Null, "{counts}");
    assert_eq!(alive.seen.lock().unwrap().len(), 36, "two questions for each of 18 samples");
    // A checkpoint's server refuses one problem and drops another: the rest continues.
    let half = serve(|_, _, body| match asked(body) {
        "What is 0 + 2?" => Reply::Send(400, json!({"error": {"message": "too rude"}})),
        "What is 1 + 2?" => Reply::Send(500, json!({"error": {"message": "out of memory"}})),
        _ => says("The answer is 4."),
    });
    run(&at(&world, &half.url, "failed", "--endpoint-retries 0")).unwrap();
    let samples = world.lines("failed/samples.jsonl");
    assert_eq!(samples.len(), 18);
    for (n, cause) in [(0, "too rude"), (1, "out of memory")] {
        for sample in samples.iter().filter(|sample| sample["id"] == format!("sum-{n}")) {
            assert_eq!(sample["finish_reason"], "failed");
            assert!(sample["error"].as_str().unwrap().contains(cause), "{sample}");
        }
    }
    let counts = world.record("failed")["counts"].clone();
    assert_eq!((&counts["selected"], &counts["solved"]), (&json!(1), &json!(1)), "equal texts count once");
    // On request, only the failed ones are retried.
    let seen = half.seen.lock().unwrap().len();
    run(&[at(&world, &half.url, "failed", "--endpoint-retries 0"), words("--retry-failed")].concat()).unwrap();
    assert_eq!(half.seen.lock().unwrap().len(), seen + 12);
}

#[test]
fn programs_are_repaired_with_what_went_wrong() {
    let world = World::new();
    let problem = |id: &str, tests: Option<Value>| json!({"id": id, "kind": "code", "prompt": format!("Write f for {id}."), "tests": tests});
    let problems = [problem("given", Some(json!(["assert f(1) == 2"]))), problem("own", None)];
    world.write("problems.jsonl", &problems);
    // Right only after a failure; if it writes tests, its first tests are wrong and the program is right.
    let coder = serve(|_, _, body| {
        let turns = body["messages"].as_array().unwrap();
        let own = turns[0]["content"].as_str().unwrap().contains("own");
        let text = match (own, turns.len()) {
            (false, 1) => "```python\ndef f(x): return x\n```",
            (false, _) => "```python\ndef f(x): return x + 1\n```",
            (true, 1) => "```python\ndef f(x): return x + 1\n```",
            (true, 3) => "```python\nassert f(1) == 3\n```",
            (true, _) => "The tests were wrong.\n```python\nassert f(1) == 2\n```",
        };
        says(text)
    });
    let judge = serve(|_, _, body| {
        let tests = format!("{}{}", body["tests"], body["test"]);
        let passed = body["code"].as_str().unwrap().contains("x + 1") && tests.contains("== 2");
        let status = if passed { "passed" } else { "failed" };
        Reply::Send(
            200,
            json!({"id": body["id"], "passed": passed, "status": status, "tests": [], "stdout": "out!", "stderr": "",
                   "wall_ms": 1.0, "cpu_ms": 1.0, "peak_memory_bytes": 1}),
        )
    });
    let flags = |output: &str, more: &str| {
        words(&format!(
            "run --endpoint {} --endpoint-model m --problems {} --output {} --select verifier -n 1 --code-url {} {more}",
            coder.url,
            world.text("problems.jsonl"),
            world.text(output),
            judge.url
        ))
    };
    run(&flags("run", "--repairs 2 --write-tests")).unwrap();
    let selected = world.lines("run/selected.jsonl");
    let roles = |conversation: &Value| conversation["messages"].as_array().unwrap().len();
    assert_eq!(selected.iter().map(roles).collect::<Vec<_>>(), [4, 6]);
    let told = selected[0]["messages"][2]["content"].as_str().unwrap();
    assert!(told.contains("did not pass (failed)") && told.contains("out!"), "{told}");
    let counts = world.record("run")["counts"].clone();
    assert_eq!(counts["repairs"], json!([2, 2]));
    assert_eq!(counts["pass_at"]["1"]["value"], 0.0);
    assert_eq!(counts["pass_at_1_after_repairs"]["value"], 1.0);
    // Without repairs nothing passes, and without tests nothing is verified.
    run(&flags("plain", "")).unwrap();
    let counts = world.record("plain")["counts"].clone();
    assert_eq!((&counts["selected"], &counts["verdicts"]), (&json!(0), &json!({"failed": 1})));
}

#[test]
fn every_language_is_repaired_and_writes_its_tests() {
    let world = World::new();
    // A program with @ for its result, an assertion, and what the request for tests must name.
    let languages = [
        ("python", "def f(x):\n    return @", "assert f(1) == 2", "assert statements"),
        ("javascript", "const f = x => @;", "assert.strictEqual(f(1), 2);", "assert.deepStrictEqual"),
        ("php", "<?php\nfunction f($x) { return $@; }", "assert(f(1) === 2);", "assert(f(1) === 2);"),
        ("ruby", "def f(x)\n  @\nend", "assert_equal 2, f(1)", "assert_equal"),
        ("c", "int f(int x) { return @; }", "assert(f(1) == 2);", "without a main function"),
        ("cpp", "int f(int x) { return @; }", "assert(f(1) == 2);", "without a main function"),
    ];
    let problems = languages.map(|(language, ..)| {
        json!({"id": language, "kind": "code", "language": language, "prompt": format!("{language} please.")})
    });
    world.write("problems.jsonl", &problems);
    // Wrong at first, then tests, then right.
    let coder = serve(move |_, _, body| {
        let turns = body["messages"].as_array().unwrap();
        let wanted = turns[0]["content"].as_str().unwrap().trim_end_matches(" please.");
        let (language, program, tests, named) = languages.iter().find(|(language, ..)| *language == wanted).unwrap();
        let fence = |text: &str| says(&format!("Here:\n```{language}\n{text}\n```\n"));
        match turns.len() {
            1 => fence(&program.replace('@', "x - 1")),
            3 => {
                assert!(asked(body).contains(named), "{}", asked(body));
                fence(tests)
            }
            _ => {
                assert!(asked(body).contains("x is too small"), "{}", asked(body));
                fence(&program.replace('@', "x + 1"))
            }
        }
    });
    let judge = serve(|_, _, body| {
        let passed = body["code"].as_str().unwrap().contains("x + 1");
        let status = if passed { "passed" } else { "failed" };
        Reply::Send(
            200,
            json!({"id": body["id"], "passed": passed, "status": status, "tests": [], "stdout": "", "stderr": "x is too small",
                   "wall_ms": 1.0, "cpu_ms": 1.0, "peak_memory_bytes": 1}),
        )
    });
    let flags = words(&format!(
        "run --endpoint {} --endpoint-model m --problems {} --output {} --select verifier -k 1 --code-url {} --repairs 1 --write-tests",
        coder.url,
        world.text("problems.jsonl"),
        world.text("run"),
        judge.url
    ));
    run(&flags).unwrap();
    assert_eq!(world.lines("run/selected.jsonl").len(), languages.len());
    let asked = judge.seen.lock().unwrap();
    for (language, program, tests, _) in languages {
        let records: Vec<&Value> =
            asked.iter().map(|(_, body)| body).filter(|body| body["language"] == language).collect();
        assert_eq!(records.len(), 2, "{language}");
        for (record, result) in records.iter().zip(["x - 1", "x + 1"]) {
            assert_eq!(record["code"], format!("{}\n", program.replace('@', result)), "{language}");
            assert_eq!(record["test"], format!("{tests}\n"), "{language}: the tests stay");
        }
    }
}

#[test]
fn styles_checkpoints_and_the_judge() {
    let world = World::new();
    let problems = [
        json!({"id": "c", "kind": "chat", "prompt": "Warum ist der Himmel am Tag blau und am Abend rot? Bitte erkläre es mir in einfachen Worten."}),
    ];
    world.write("problems.jsonl", &problems);
    let styles = [
        json!({"capability": "chat", "name": "kurz", "system": "Antworte kurz."}),
        json!({"capability": "math", "name": "steps", "system": "Step by step."}),
    ];
    let styles = world.write("styles.jsonl", &styles);
    let server = serve(|_, _, body| {
        let turns = body["messages"].as_array().unwrap();
        if asked(body).starts_with("You rate") {
            let good = asked(body).contains("Luft");
            return says(&format!("accuracy: 1\ninstruction_following: {}\ntone: 1", u8::from(good)));
        }
        assert_eq!(turns[0]["content"], "Antworte kurz.");
        says(match (body["model"].as_str().unwrap(), body["temperature"].as_f64().unwrap() < 0.5) {
            ("special", true) => {
                "Die Luft streut das blaue Licht der Sonne stärker als das rote, und am Abend ist der Weg länger."
            }
            ("special", false) => {
                "Das ist eben so, und warum das so ist, das weiß eigentlich niemand ganz genau zu sagen."
            }
            _ => {
                "The Luft scatters the blue light of the sun more strongly than the red light, and evenings are longer."
            }
        })
    });
    let flags = words(&format!(
        "run --endpoint {0} --endpoint-model plain --checkpoint chat=special --checkpoint chat=other --styles {styles} \
         --temperature 0.2,0.9 -n 4 --problems {1} --output {2} --select judge --judge-endpoint {0} \
         --judge-endpoint-model judge",
        server.url,
        world.text("problems.jsonl"),
        world.text("run")
    ));
    run(&flags).unwrap();
    let samples = world.lines("run/samples.jsonl");
    let of = |field: &str| samples.iter().map(|sample| sample[field].clone()).collect::<Vec<_>>();
    assert_eq!(of("model"), ["special", "special", "other", "other"]);
    assert_eq!(of("temperature"), [0.2, 0.9, 0.2, 0.9]);
    assert_eq!(of("selected"), [true, false, false, false], "the English answers are right, but in another language");
    assert_eq!(samples[2]["languages"], json!({"prompt": "deu", "response": "eng"}));
    let selected = world.lines("run/selected.jsonl");
    assert_eq!(selected[0]["messages"][0]["role"], "user", "the steering prompt is left out");
    assert_eq!(selected[0]["evidence"]["style"], "kurz");
    let pairs = world.lines("run/pairs.jsonl");
    assert_eq!(pairs[0]["id"], "c#0-1");
    assert_eq!(world.record("run")["counts"]["other_language"], 2);
}

#[test]
fn flags_that_contradict_each_other_are_sentences() {
    let world = World::new();
    sums(&world, 1);
    for (more, why) in [
        ("--select rm", "--select rm needs --reward-model"),
        ("--select verifier+rm", "--select verifier+rm needs --reward-model"),
        ("--select judge", "--select judge needs --judge-model"),
        ("--select verifier --temperature=-1", "temperature must be 0 or more"),
        ("--select verifier --math-url nowhere", "--math-url \"nowhere\" is not an address"),
    ] {
        let flags = words(&format!(
            "run --endpoint http://127.0.0.1:9 --endpoint-model m --problems {} --output {} {more}",
            world.text("problems.jsonl"),
            world.text("run")
        ));
        let error = format!("{:#}", run(&flags).unwrap_err());
        assert!(error.contains(why), "{error}");
    }
}
