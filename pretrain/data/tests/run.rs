//! Complete runs through the binary: planted cases are found, and results do not depend on threads, partitions,
//! shares or kills.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use pretrain_data::document::Document;
use pretrain_data::made::{Draw, sentence, word};
use serde_json::{Value, json};

pub const BINARY: &str = env!("CARGO_BIN_EXE_pretrain-data");

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(words);
    command
}

fn succeed(words: &[&str]) -> String {
    let output = command(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

pub fn fail(words: &[&str]) -> String {
    let output = command(words).output().unwrap();
    assert!(!output.status.success(), "{words:?} succeeded");
    said(&output)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A text of prose that passes the published filters.
fn prose(seed: u64, sentences: usize) -> String {
    let mut draw = Draw::new(99, seed);
    let line =
        |draw: &mut Draw| (0..5).map(|_| sentence(draw, 12, 0.0) + ". ").collect::<String>().trim_end().to_owned();
    (0..sentences.div_ceil(5)).map(|_| line(&mut draw)).collect::<Vec<_>>().join("\n")
}

/// A text with every `every`-th word changed.
fn changed(text: &str, every: usize) -> String {
    let replace =
        |(at, part): (usize, &str)| if at % every == every - 1 { word(500_000 + at) } else { part.to_owned() };
    text.split(' ').enumerate().map(replace).collect::<Vec<_>>().join(" ")
}

fn document(id: &str, text: String) -> Document {
    Document { id: id.into(), text, ..Document::default() }
}

/// The planted corpus: documents of two sources.
fn corpus(plain: u64) -> [Vec<Document>; 2] {
    let (mut trusted, mut web) = (Vec::new(), Vec::new());
    for n in 0..plain {
        web.push(document(&format!("plain-{n:05}"), prose(n, 10 + n as usize % 40)));
    }
    for n in 0..20 {
        let text = prose(100_000 + n, 30);
        trusted.push(document(&format!("z-trusted-{n:02}"), text.clone()));
        // The trusted source wins, although its ids are larger.
        web.push(document(&format!("a-near-{n:02}"), changed(&text, 100)));
        web.push(document(&format!("a-same-{n:02}"), text));
    }
    for n in 0..10 {
        let url = format!("http://example.org/{n}");
        for (year, name) in [(2020, "old"), (2024, "new")] {
            let mut copy = document(&format!("url-{name}-{n}"), prose(200_000 + n + year, 20));
            copy.url = Some(if year == 2020 { url.clone() } else { format!("{url}#top") });
            copy.date = Some(format!("{year}-01-01T00:00:00Z"));
            web.push(copy);
        }
        // The same text in two languages is not a duplicate.
        for language in ["de", "fr"] {
            let mut copy = document(&format!("language-{language}-{n}"), prose(300_000 + n, 20));
            copy.meta.insert("language".into(), language.into());
            web.push(copy);
        }
        let text = prose(400_000 + n, 20);
        web.push(document(&format!("line-{n}"), format!("{text}\nShare this page with friends {n}!")));
        web.push(document(&format!("question-{n}"), format!("{}\n{}", prose(500_000 + n, 20), question(n))));
        web.push(document(&format!("short-{n}"), "Too short to keep.".into()));
    }
    [trusted, web]
}

fn question(n: u64) -> String {
    let mut draw = Draw::new(7, n);
    sentence(&mut draw, 30, 0.0)
}

pub struct World {
    dir: tempfile::TempDir,
}

impl World {
    /// Writes the corpus into `files` files per source, with a recipe.
    pub fn new(plain: u64, files: usize) -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap() };
        for (name, documents) in ["trusted", "web"].iter().zip(corpus(plain)) {
            for at in 0..files {
                let mine: Vec<&Document> = documents.iter().skip(at).step_by(files).collect();
                dataset::jsonl::write_all(world.path(&format!("{name}-{at}.jsonl.gz")), mine).unwrap();
            }
        }
        let questions: Vec<Value> = (0..10).map(|n| json!({"question": question(n)})).collect();
        dataset::jsonl::write_all(world.path("questions.jsonl"), questions).unwrap();
        world.recipe("");
        world
    }

    pub fn recipe(&self, more: &str) {
        let steps = "[[step]]\nkind = \"gopher-quality\"\nmin_stop_words = 1\n[[step]]\nkind = \"gopher-repetition\"\n[[step]]\nkind = \
                     \"decontaminate\"\nquestions = [\"questions.jsonl\"]\n[[step]]\nkind = \"dedup-url\"\n[[step]]\nkind = \
                     \"dedup-minhash\"\n[[step]]\nkind = \"dedup-lines\"\n";
        let sources = "[[source]]\nname = \"trusted\"\nfiles = [\"trusted-*.jsonl.gz\"]\n[[source]]\nname = \"web\"\nfiles = [\"web-*\"]\n";
        let head = "seed = 3\npart_bytes = 300000\nshard_bytes = 1000000\n";
        std::fs::write(self.path("recipe.toml"), format!("{head}{sources}{steps}{more}")).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn words(&self, output: &str, more: &[&str]) -> Vec<String> {
        let recipe = self.path("recipe.toml").to_string_lossy().into_owned();
        let output = self.path(output).to_string_lossy().into_owned();
        let more = more.iter().map(|word| (*word).to_owned());
        ["run".to_owned(), recipe, "--output".to_owned(), output].into_iter().chain(more).collect()
    }

    pub fn run(&self, output: &str, more: &[&str]) -> String {
        let words = self.words(output, more);
        succeed(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn result(&self, output: &str) -> Vec<Document> {
        let mut all = Vec::new();
        for (name, _) in files(&self.path(output).join("data")) {
            all.extend(dataset::jsonl::read_all::<Document>(self.path(output).join("data").join(name)).unwrap());
        }
        all
    }

    fn why(&self, output: &str, id: &str) -> String {
        succeed(&["why", id, "--run", &self.path(output).to_string_lossy()])
    }
}

/// Names and bytes of the files of a folder.
pub fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|e| (e.file_name().to_string_lossy().into_owned(), std::fs::read(e.path()).unwrap())).collect()
}

#[test]
fn planted_cases_are_found() {
    let world = World::new(200, 2);
    // Unreadable input: a bad line, bytes that are not text, a truncated file, a file without documents.
    let mut bad = std::fs::File::create(world.path("web-bad.jsonl")).unwrap();
    bad.write_all(b"{\"id\": \"bad\"}\n{\"id\": \"bytes\", \"text\": \"\xff\"}\n").unwrap();
    let whole = std::fs::read(world.path("web-0.jsonl.gz")).unwrap();
    std::fs::write(world.path("web-cut.jsonl.gz"), &whole[..30]).unwrap();
    std::fs::write(world.path("web-empty.jsonl"), "").unwrap();
    let text = world.run("run", &[]);
    let kept = world.result("run");
    let has = |id: &str| kept.iter().any(|document| document.id == id);
    for n in 0..20 {
        assert!(has(&format!("z-trusted-{n:02}")), "{n}");
        assert!(!has(&format!("a-near-{n:02}")) && !has(&format!("a-same-{n:02}")), "{n}");
    }
    for n in 0..10 {
        assert!(has(&format!("url-new-{n}")) && !has(&format!("url-old-{n}")), "{n}");
        assert!(has(&format!("language-de-{n}")) && has(&format!("language-fr-{n}")), "{n}");
        assert!(!has(&format!("question-{n}")) && !has(&format!("short-{n}")), "{n}");
        let line = kept.iter().find(|document| document.id == format!("line-{n}")).unwrap();
        assert!(!line.text.contains("Share this page"), "{}", line.text);
    }
    assert_eq!(kept.iter().filter(|document| document.id.starts_with("plain-")).count(), 200);
    assert!(text.contains("warning: 3 places could not be read; the first: "), "{text}");
    assert!(text.contains("14 bands of 8: found at J 0.5: 5.3%"), "{text}");
    let ledger: Value = serde_json::from_slice(&std::fs::read(world.path("run/ledger.json")).unwrap()).unwrap();
    assert_eq!(ledger["ledger"]["unreadable"], json!({"web": 3}));
    let flow = |step: usize, language: &str| ledger["ledger"]["steps"][step]["flows"]["web"][language].clone();
    assert_eq!(flow(0, "")["dropped"]["gopher_short_doc"]["documents"], 10);
    assert_eq!(flow(2, "")["dropped"]["question_share"]["documents"], 10);
    assert_eq!(flow(3, "")["dropped"]["older_copy"]["documents"], 10);
    assert_eq!(flow(4, "")["dropped"]["near_duplicate"]["documents"], 40);
    assert_eq!(
        (flow(4, "de")["kept"]["documents"].clone(), flow(4, "fr")["kept"]["documents"].clone()),
        (json!(10), json!(10))
    );
    let story = world.why("run", "a-near-03");
    assert!(story.contains("dropped by step 5 (dedup-minhash): near_duplicate"), "{story}");
    assert!(story.contains("document z-trusted-03 stays in its place"), "{story}");
    let story = world.why("run", "question-4");
    assert!(
        story.contains("dropped by step 3 (decontaminate): question_share is 1 and the limit is 0.7")
            && story.contains("common words: "),
        "{story}"
    );
    assert_eq!(world.why("run", "plain-00007").matches(": kept with").count(), 2);
    assert!(fail(&["why", "nobody", "--run", &world.path("run").to_string_lossy()]).contains("has the id nobody"));
    let page = std::fs::read_to_string(world.path("run/report.html")).unwrap();
    assert!(
        page.contains("near_duplicate: 40 of 40 dropped") && page.contains("a-near-03"),
        "the report has no examples"
    );
    // A finished run is not repeated; the statements name its folder.
    assert!(world.run("run", &[]).contains("is finished already"));
    assert!(
        succeed(&["sql", "--run", &world.path("run").to_string_lossy()]).contains("run/work/00-parts/*/bands.parquet")
    );
}

#[test]
fn the_same_bytes_for_any_threads_partition_and_share() {
    let world = World::new(600, 3);
    world.run("one", &["--threads", "1"]);
    let data = |world: &World, run: &str| files(&world.path(run).join("data"));
    let expected = data(&world, "one");
    assert!(expected.len() > 1, "one file is too few to see their order");
    world.run("four", &["--threads", "4", "--memory", "8"]);
    assert!(data(&world, "four") == expected, "four threads give other bytes");
    let other = World::new(600, 7);
    other.run("one", &[]);
    assert!(data(&other, "one") == expected, "another partition gives other bytes");
    let text = world.run("shares", &["--shard", "1/2"]);
    assert!(text.contains("inputs are not done yet"), "{text}");
    let text = world.run("shares", &["--shard", "2/2"]);
    assert!(text.contains("run `herd data run` without --shard"), "{text}");
    world.run("shares", &[]);
    assert!(data(&world, "shares") == expected, "shares give other bytes");
    let ledger = |run: &str| std::fs::read(world.path(run).join("ledger.json")).unwrap();
    assert!(ledger("shares") == ledger("one") && ledger("four") == ledger("one"));
}

#[test]
fn a_killed_run_goes_on_and_gives_the_same_bytes() {
    let world = World::new(1500, 3);
    let begin = std::time::Instant::now();
    world.run("whole", &[]);
    let time = begin.elapsed();
    let words = world.words("killed", &[]);
    let mut draw = Draw::new(std::process::id().into(), 1);
    let mut kills = 0;
    for _ in 0..12 {
        let mut child = Command::new(BINARY).args(&words).spawn().unwrap();
        std::thread::sleep(time.mul_f64(0.05 + 0.25 * draw.unit()).max(Duration::from_millis(5)));
        if child.try_wait().unwrap().is_some() {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    println!("{kills} kills within {time:?}");
    assert!(kills > 1, "the run was too fast to be killed");
    world.run("killed", &[]);
    assert!(files(&world.path("killed/data")) == files(&world.path("whole/data")), "other bytes after {kills} kills");
    let ledger = |run: &str| std::fs::read(world.path(run).join("ledger.json")).unwrap();
    assert!(ledger("killed") == ledger("whole"), "another ledger after {kills} kills");
}

#[test]
fn a_mix_has_the_weights_of_its_sources() {
    let world = World::new(400, 2);
    world.recipe("[[step]]\nkind = \"mix\"\nmax_repeats = 3.0\nweights = { trusted = 1, web = 3 }\n");
    world.run("mix", &["--threads", "2"]);
    let kept = world.result("mix");
    let bytes = |name: &str| kept.iter().filter(|d| d.source == name).map(|d| d.text.len()).sum::<usize>() as f64;
    let share = bytes("trusted") / (bytes("trusted") + bytes("web"));
    assert!((share - 0.25).abs() < 0.01, "{share}");
    let copies = kept.iter().filter(|document| document.id == "z-trusted-03").count();
    assert!((2..=3).contains(&copies), "{copies}");
    world.recipe("[[step]]\nkind = \"mix\"\ntotal_bytes = 100000000\nweights = { trusted = 1, web = 3 }\n");
    let words = world.words("more", &[]);
    let error = fail(&words.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(error.contains("would be repeated") && error.contains("lower total_bytes"), "{error}");
}

#[test]
fn damage_and_other_recipes_are_sentences() {
    let world = World::new(50, 1);
    let words = world.words("run", &["--shard", "1/2"]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    succeed(&words);
    let part = std::fs::read_dir(world.path("run/work/00-parts")).unwrap().next().unwrap().unwrap().path();
    let bands = part.join("bands.parquet");
    let bytes = std::fs::read(&bands).unwrap();
    std::fs::write(&bands, &bytes[..bytes.len() / 2]).unwrap();
    let all = world.words("run", &[]);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let error = fail(&all);
    assert!(error.contains("bands.parquet was changed or cut off") && error.contains("remove the folder"), "{error}");
    std::fs::remove_dir_all(&part).unwrap();
    succeed(&all);
    world.recipe("[[step]]\nkind = \"dedup-exact\"\n");
    let error = fail(&all);
    assert!(error.contains("recipe"), "{error}");
    let error = fail(&[all[0], all[1], all[2], all[3], "--shard", "3/2"]);
    assert!(error.contains("--shard 3/2: give I/N"), "{error}");
}

const PAGE: &str = "<html><head><title>Numbers</title></head><body><nav><a href='/'>Home</a> <a href='/all'>All pages</a></nav>
    <article><h1>Numbers</h1><p>A prime number has no divisor but one and itself, and every whole number above one is a product of such
    numbers in exactly one way, whatever the order.</p><pre><code>for n in range(2, 9):\n    print(n)</code></pre><p>The list of the prime
    numbers has no end, which was shown in Alexandria more than two thousand years ago by an argument of four lines.</p></article>
    <footer><a href='/imprint'>Imprint</a></footer></body></html>";

#[test]
fn pages_are_extracted_before_anything_reads_their_text() {
    let world = World { dir: tempfile::tempdir().unwrap() };
    std::fs::write(world.path("numbers.html"), PAGE).unwrap();
    let empty = "<html><body></body></html>";
    std::fs::write(world.path("empty.html"), empty).unwrap();
    let source = "[[source]]\nname = \"web\"\nfiles = [\"*.html\"]\n";
    let exact = "[[step]]\nkind = \"dedup-exact\"\n";
    std::fs::write(world.path("recipe.toml"), format!("{source}[[step]]\nkind = \"extract\"\n{exact}")).unwrap();
    world.run("run", &[]);
    let result = world.result("run");
    assert_eq!(result.len(), 1, "{result:?}");
    let text = &result[0].text;
    assert!(text.contains("A prime number") && text.contains("range(2, 9):\n    print(n)"), "{text}");
    assert!(!text.contains("Imprint") && !text.contains("All pages"), "{text}");
    // The ledger counts the bytes of pages in and those of texts out.
    let ledger: Value = serde_json::from_slice(&std::fs::read(world.path("run/ledger.json")).unwrap()).unwrap();
    let flow = &ledger["ledger"]["steps"][0]["flows"]["web"][""];
    assert_eq!(flow["read"]["bytes"], PAGE.len() + empty.len());
    assert_eq!(flow["kept"]["bytes"], text.len());

    std::fs::write(world.path("recipe.toml"), format!("{source}{exact}[[step]]\nkind = \"extract\"\n")).unwrap();
    let words = world.words("other", &[]);
    let error = fail(&words.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(error.contains("extract must come before dedup-exact"), "{error}");
}

#[test]
fn languages_are_told_apart() {
    if test_support::require(language_id::LanguageId::load()).is_none() {
        return;
    }
    let world = World { dir: tempfile::tempdir().unwrap() };
    let texts = [
        ("en", "All human beings may read this sentence, which is written in the language of the examples."),
        ("de", "Diesen Satz kann lesen, wer die Sprache gelernt hat, in der er hier geschrieben steht."),
        ("none", "%% 0101 ## 77 @@ 1 2 3 4"),
    ];
    let documents: Vec<Document> = texts.iter().map(|(id, text)| document(id, (*text).to_owned())).collect();
    dataset::jsonl::write_all(world.path("web.jsonl"), &documents).unwrap();
    let recipe =
        "[[source]]\nname = \"web\"\nfiles = [\"web.jsonl\"]\n[[step]]\nkind = \"language\"\nkeep = [\"de\"]\n";
    std::fs::write(world.path("recipe.toml"), recipe).unwrap();
    world.run("run", &[]);
    let result = world.result("run");
    assert_eq!(result.iter().map(|kept| &*kept.id).collect::<Vec<_>>(), ["de"]);
    assert_eq!(result[0].meta["language"], "de");
    let why = world.why("run", "en");
    assert!(why.contains("dropped by step 1 (language): language is 0 and the limit is 1; en, "), "{why}");
}

#[test]
fn blocked_addresses_go_and_personal_data_is_replaced() {
    let world = World { dir: tempfile::tempdir().unwrap() };
    let with = |id: &str, url: &str, text: &str| {
        let mut document = document(id, format!("{} {text}", prose(7, 40)));
        document.url = Some(url.into());
        document
    };
    let many = (0..60).map(|n| format!("Write to person{n}@mail.example.com today.")).collect::<Vec<_>>().join(" ");
    let documents = [
        with("blocked", "https://www.bad.example.net/page", ""),
        with("allowed", "https://fine.bad.example.net/page", ""),
        with("one", "https://example.org/1", "Write to jo.smith@mail.example.com today."),
        with("many", "https://example.org/2", &many),
        with("none", "https://example.org/3", "Version 1.2.3.4 of 2024-01-02 costs 12345678 points."),
    ];
    dataset::jsonl::write_all(world.path("web.jsonl"), &documents).unwrap();
    std::fs::write(world.path("gambling.txt"), "bad.example.net\n").unwrap();
    std::fs::write(world.path("allow.txt"), "fine.bad.example.net\n").unwrap();
    let recipe = "[[source]]\nname = \"web\"\nfiles = [\"web.jsonl\"]\n[[step]]\nkind = \"url-filter\"\nlists = \
                  [\"gambling.txt\"]\nallow = \"allow.txt\"\n[[step]]\nkind = \"pii\"\n";
    std::fs::write(world.path("recipe.toml"), recipe).unwrap();
    world.run("run", &[]);
    let result = world.result("run");
    assert_eq!(result.iter().map(|kept| &*kept.id).collect::<Vec<_>>(), ["allowed", "none", "one"]);
    assert_eq!(result[0].text, documents[1].text);
    assert_eq!(result[1].text, documents[4].text);
    assert!(!result[2].text.contains("jo.smith") && result[2].text.ends_with(" today."), "{}", result[2].text);
    let why = world.why("run", "blocked");
    assert!(why.contains("dropped by step 1 (url-filter)") && why.contains("list_gambling"), "{why}");
    assert!(why.contains("entry bad.example.net"), "{why}");
    let why = world.why("run", "many");
    assert!(why.contains("dropped by step 2 (pii)") && why.contains("60 findings"), "{why}");

    std::fs::write(world.path("recipe.toml"), recipe.replace("[\"gambling.txt\"]", "[]")).unwrap();
    let words = world.words("other", &[]);
    let error = fail(&words.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(error.contains("could match nothing"), "{error}");
}

#[test]
fn one_filter_by_itself_and_word_counts() {
    let world = World::new(30, 1);
    let data = world.path("web-0.jsonl.gz").to_string_lossy().into_owned();
    let output = world.path("kept.jsonl").to_string_lossy().into_owned();
    let text =
        succeed(&["filter", "gopher-quality", "--set", "min_stop_words=1", "--input", &data, "--output", &output]);
    assert!(text.contains("gopher_short_doc: 10"), "{text}");
    let counts = world.path("unigrams.json").to_string_lossy().into_owned();
    let text = succeed(&["unigrams", "--input", &data, "--output", &counts, "--vocab-size", "100"]);
    assert!(text.contains("100 of "), "{text}");
    let set = format!("reference={counts:?}");
    let text =
        succeed(&["filter", "divergence", "--set", &set, "--set", "max=0.01", "--input", &data, "--output", &output]);
    assert!(text.contains("token_divergence: "), "{text}");
    let error = fail(&["filter", "gopher-quality", "--set", "min_wrds=1", "--input", &data, "--output", &output]);
    assert!(error.contains("unknown field `min_wrds`"), "{error}");
}
