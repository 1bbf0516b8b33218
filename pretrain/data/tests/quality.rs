//! Runs the way from a judge to a corpus of its best documents through the binary, with a server that judges by a planted word.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pretrain_data::document::Document;
use pretrain_data::made::{Draw, sentence};
use serde_json::{Value, json};

/// A server of chat completions. It gives 4 points to extracts with the word "theorem" and 1 to others, answers nothing useful to
/// those with "riddle", and fails every request beyond the first `most`.
struct Judge {
    url: String,
    answered: Arc<AtomicU64>,
    most: Arc<AtomicU64>,
}

impl Judge {
    fn start(most: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let (answered, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(most)));
        let shared = (answered.clone(), most.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (answered, most) = shared.clone();
                std::thread::spawn(move || serve(&stream.unwrap(), &answered, &most));
            }
        });
        Self { url, answered, most }
    }
}

fn serve(stream: &TcpStream, answered: &AtomicU64, most: &AtomicU64) {
    let mut reader = BufReader::new(stream);
    let (mut length, mut line) = (0, String::new());
    while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let question = body["messages"][0]["content"].as_str().unwrap_or_default();
    let extract = question.split("\n=====\n").nth(1).unwrap_or_default();
    let said = match (extract.contains("theorem"), extract.contains("riddle")) {
        (_, true) => "I cannot say.".to_owned(),
        (is_good, _) => format!("Because of its words.\nScore: {}", if is_good { 4 } else { 1 }),
    };
    let (status, text) = if body.is_null() {
        ("200 OK", json!({"data": [{"id": "judge-1"}]}))
    } else if answered.fetch_add(1, Ordering::SeqCst) >= most.load(Ordering::SeqCst) {
        ("500 Internal Server Error", json!({"error": "down"}))
    } else {
        ("200 OK", json!({"choices": [{"message": {"content": said}, "finish_reason": "stop"}]}))
    };
    let text = text.to_string();
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n", text.len());
    let mut out = stream;
    out.write_all(format!("{head}Connection: close\r\n\r\n{text}").as_bytes()).unwrap();
}

/// Documents of which every third has "theorem", in some words of other documents' kind; number 7 is a riddle.
fn documents(name: &str, numbers: std::ops::Range<u64>) -> String {
    numbers
        .map(|number| {
            let mut draw = Draw::new(5, number);
            let mut text: String = (0..6).map(|_| sentence(&mut draw, 12, 0.0) + ". ").collect();
            text += match number {
                7 => "A riddle.",
                _ if is_good(number) => "By the theorem this lemma follows.",
                _ => "Buy cheap offers here.",
            };
            let document = Document { id: format!("{name}-{number}"), text, ..Document::default() };
            serde_json::to_string(&document).unwrap() + "\n"
        })
        .collect()
}

fn is_good(number: u64) -> bool {
    number.is_multiple_of(3)
}

struct Place(tempfile::TempDir);

impl Place {
    fn new(judged: u64) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        std::fs::write(place.path("web.jsonl"), documents("web", 0..judged)).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, words: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_pretrain-data")).args(words).current_dir(self.0.path()).output().unwrap()
    }

    fn succeed(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn fail(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(!output.status.success(), "{words:?} succeeded");
        said(&output)
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn read(path: &Path) -> Vec<Document> {
    dataset::jsonl::read_all(path).unwrap()
}

fn number(document: &Document) -> u64 {
    document.id.rsplit('-').next().unwrap().parse().unwrap()
}

#[test]
fn a_judges_scores_become_a_classifier_that_chooses_a_corpus() {
    let place = Place::new(400);
    let judge = Judge::start(150);
    let words = |retries: &'static str| {
        let url = judge.url.clone();
        move |place: &Place, succeeds: bool| {
            let words = [
                "judge",
                "--input",
                "web.jsonl",
                "--output",
                "judged",
                "--documents",
                "1000",
                "--endpoint",
                &url,
                "--endpoint-retries",
                retries,
                "--concurrency",
                "4",
            ];
            if succeeds { place.succeed(&words) } else { place.fail(&words) }
        }
    };
    // The server dies on the way; the same command asks only for what is missing.
    let error = words("0")(&place, false);
    assert!(error.contains("250 documents got no answer") && error.contains("500"), "{error}");
    assert!(!place.path("judged/verdicts.jsonl").exists());
    judge.most.store(u64::MAX, Ordering::SeqCst);
    let before = judge.answered.load(Ordering::SeqCst);
    let text = words("0")(&place, true);
    assert_eq!(judge.answered.load(Ordering::SeqCst) - before, 250);
    assert!(
        text.contains("399 of 400 documents judged by judge-1; points: 0: 0, 1: 265, 2: 0, 3: 0, 4: 134"),
        "{text}"
    );
    let unjudged = std::fs::read_to_string(place.path("judged/unjudged.jsonl")).unwrap();
    assert!(unjudged.contains("web-7") && unjudged.contains("I cannot say"), "{unjudged}");
    assert!(words("0")(&place, true).contains("is finished already"));

    let train = ["classifier", "train", "--verdicts", "judged/verdicts.jsonl", "--output", "classifier"];
    let text = place.succeed(&train);
    assert!(text.contains("area under the curve 1.000") && text.contains("the best 20%: precision 100.0%"), "{text}");
    assert!(std::fs::read_to_string(place.path("classifier/report.html")).unwrap().contains("What a share keeps"));

    // Scores in files, and the best share.
    std::fs::write(place.path("new.jsonl"), documents("new", 1000..1300)).unwrap();
    let text = place.succeed(&[
        "score",
        "--classifier",
        "classifier",
        "--input",
        "new.jsonl",
        "--output",
        "best.jsonl",
        "--keep-share",
        "0.3",
    ]);
    assert!(text.contains("90 of 300 documents (30.0%), quality at least"), "{text}");
    let best = read(&place.path("best.jsonl"));
    assert!(best.iter().all(|document| is_good(number(document)) && document.meta["quality"].as_f64().unwrap() > 0.5));

    // The same as a recipe step, for each source separately, after a duplicate that it must not see.
    let lines = documents("other", 2000..2060);
    std::fs::write(place.path("other.jsonl"), lines.clone() + &lines.replace("other-", "copy-")).unwrap();
    let recipe = "[[source]]\nname = \"new\"\nfiles = [\"new.jsonl\"]\n[[source]]\nname = \"other\"\nfiles = [\"other.jsonl\"]\n[[step]]\n\
                  kind = \"dedup-exact\"\n[[step]]\nkind = \"quality\"\nclassifier = \"classifier\"\nkeep = 0.3\n";
    std::fs::write(place.path("recipe.toml"), recipe).unwrap();
    let text = place.succeed(&["run", "recipe.toml", "--output", "run"]);
    assert!(text.contains("quality: source new: 90 of 300 documents (30.0%)"), "{text}");
    assert!(text.contains("quality: source other: 18 of 60 documents (30.0%)"), "{text}");
    let kept = read(&place.path("run/data/shard-00000.jsonl.zst"));
    assert_eq!(kept.len(), 108);
    assert!(kept.iter().all(|document| is_good(number(document))));
    let mut ids: Vec<&str> = kept.iter().filter(|d| d.source == "new").map(|d| d.id.as_str()).collect();
    let mut expected: Vec<&str> = best.iter().map(|document| document.id.as_str()).collect();
    ids.sort_unstable();
    expected.sort_unstable();
    assert_eq!(ids, expected);
    let text = place.succeed(&["why", "new-1000", "--run", "run"]);
    assert!(text.contains("dropped by step 2 (quality): low_score is "), "{text}");
    // Any number of threads and other parts give the same documents.
    std::fs::write(place.path("parts.toml"), format!("part_bytes = 5000\n{recipe}")).unwrap();
    place.succeed(&["run", "parts.toml", "--output", "parts", "--threads", "1"]);
    assert_eq!(read(&place.path("parts/data/shard-00000.jsonl.zst")), kept);
}

#[test]
fn reference_documents_are_labels_too_and_scores_of_another_program_are_used() {
    let place = Place::new(0);
    let of = |good: bool| -> String {
        let lines = documents("page", 0..600);
        lines.lines().filter(|line| line.contains("theorem") == good).map(|line| format!("{line}\n")).collect()
    };
    std::fs::write(place.path("cited.jsonl"), of(true)).unwrap();
    std::fs::write(place.path("random.jsonl"), of(false)).unwrap();
    let text = place.succeed(&[
        "classifier",
        "train",
        "--reference",
        "cited.jsonl",
        "--random",
        "random.jsonl",
        "--name",
        "cited",
        "--output",
        "model",
    ]);
    assert!(text.contains("area under the curve 1.000"), "{text}");
    let error = place.fail(&["classifier", "train", "--reference", "cited.jsonl", "--output", "x"]);
    assert!(error.contains("--random"), "{error}");
    let error = place.fail(&["score", "--classifier", "cited.jsonl", "--input", "random.jsonl", "--output", "y.jsonl"]);
    assert!(error.contains("cited.jsonl: is not a classifier"), "{error}");

    // A score that is in meta already; a document without one goes.
    let scored: String =
        (0..10).map(|at| format!("{{\"id\": \"{at}\", \"text\": \"text {at}\", \"trunk\": 0.{at}}}\n")).collect();
    std::fs::write(place.path("scored.jsonl"), scored + "{\"id\": \"none\", \"text\": \"x\"}\n").unwrap();
    let recipe = |more: &str| {
        let text =
            format!("[[source]]\nname = \"a\"\nfiles = [\"scored.jsonl\"]\n[[step]]\nkind = \"quality\"\n{more}\n");
        std::fs::write(place.path("recipe.toml"), text).unwrap();
    };
    recipe("name = \"trunk\"\nkeep = 0.4");
    place.succeed(&["run", "recipe.toml", "--output", "run"]);
    let mut kept: Vec<u64> = read(&place.path("run/data/shard-00000.jsonl.zst")).iter().map(number).collect();
    kept.sort_unstable();
    assert_eq!(kept, [6, 7, 8, 9]);
    assert!(place.succeed(&["why", "none", "--run", "run"]).contains("no_score"));
    for (more, sentence) in [
        ("keep = 0.4", "step 1 (quality): name: is missing: give a classifier"),
        ("name = \"trunk\"\nkeep = 0", "keep: 0 is not above 0 and at most 1"),
        ("name = \"other\"\nkeep = 0.5", "quality: no document has a score other"),
    ] {
        recipe(more);
        let error = place.fail(&["run", "recipe.toml", "--output", "other"]);
        assert!(error.contains(sentence), "{error}");
    }
}
