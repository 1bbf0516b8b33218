//! `herd run`: stages are processes that can fail, be killed and continue; finished ones are skipped by digest.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A folder with a recipe in it.
struct Place(tempfile::TempDir);

impl Place {
    fn new(recipe: &str) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.write("recipe.toml", recipe);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_herd"));
        command.args(["run", "recipe.toml"]).args(more).current_dir(self.0.path());
        command
    }

    fn run(&self, more: &[&str]) -> Output {
        self.command(more).output().unwrap()
    }

    /// Runs successfully; returns the standard error.
    fn succeed(&self, more: &[&str]) -> String {
        let output = self.run(more);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        said
    }

    fn refuse(&self, more: &[&str]) -> String {
        let output = self.run(more);
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    }

    /// The number of runs of each stage, from the marks that the stages leave.
    fn runs(&self) -> String {
        let mut lines: Vec<String> = self.read("runs.txt").lines().map(str::to_owned).collect();
        lines.sort();
        lines.join(" ")
    }
}

/// Three stages: a copy of an input, two rounds that add to it, and a count.
const RECIPE: &str = r#"
name = "adding up"
output = "out"
[vars]
text = "input.txt"
[[stage]]
name = "copy"
command = ["sh", "-c", "echo copy >> runs.txt; cp $0 $1/text; echo copied", "{text}", "{out}"]
sets = { text = "{out}/text" }
estimate = "5m"
[[stage]]
name = "round"
repeat = 2
[[stage.stage]]
name = "add"
command = ["sh", "-c", "echo add{n} >> runs.txt; (cat $0; echo {n}) > $1/text", "{text}", "{out}"]
sets = { text = "{out}/text" }
[[stage]]
name = "count"
command = ["sh", "-c", "echo count >> runs.txt; wc -l < $0 > $1/lines", "{text}", "{out}"]
"#;

#[test]
fn a_pipeline_is_repeated_and_its_stages_are_compared() {
    let again = |place: &Place| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_herd"));
        command.args(["again", "out"]).current_dir(place.0.path()).output().unwrap()
    };
    let place = Place::new(RECIPE);
    place.write("input.txt", "a\n");
    place.succeed(&[]);
    let output = again(&place);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.matches("the same bytes").count(), 4, "{said}");
    assert_eq!(place.read("out-again/04-count/lines").trim(), "3");

    // A stage whose result changes with every run is named.
    let clock = RECIPE.replace("wc -l < $0 > $1/lines", "date +%N > $1/lines");
    let place = Place::new(&clock);
    place.write("input.txt", "a\n");
    place.succeed(&[]);
    let output = again(&place);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && said.contains("1 of 4 stages differ:\n  04-count: 1 of 1 files differ"),
        "{said}"
    );
}

#[test]
fn finished_stages_are_skipped_until_something_they_depend_on_changes() {
    let place = Place::new(RECIPE);
    place.write("input.txt", "a\n");
    let said = place.succeed(&[]);
    assert!(said.contains("[1/4] copy: ") && said.contains("copied"), "{said}");
    assert_eq!(place.read("out/04-count/lines").trim(), "3");
    assert_eq!(place.runs(), "add1 add2 copy count");
    assert!(place.read("out/report.html").contains("adding up"));

    let said = place.succeed(&[]);
    assert_eq!(said.matches("done before").count(), 4, "{said}");
    assert_eq!(place.runs(), "add1 add2 copy count");

    // A touched file with the same content changes nothing.
    place.write("out/01-copy/text", "a\n");
    place.succeed(&[]);
    assert_eq!(place.runs(), "add1 add2 copy count");

    // Another input changes everything after it; earlier results are set aside.
    place.write("input.txt", "a\nb\n");
    let said = place.succeed(&[]);
    assert!(said.contains("copy: its command or what it reads has changed"), "{said}");
    assert_eq!(place.read("out/04-count/lines").trim(), "4");
    assert_eq!(place.read("out/.earlier/04-count-1/lines").trim(), "3");
    assert_eq!(place.runs(), "add1 add1 add2 add2 copy copy count count");

    // Another text of the recipe is told, and stages with the same command and inputs are kept.
    place.write("recipe.toml", &format!("{RECIPE}\n# A note.\n"));
    let said = place.succeed(&[]);
    assert!(said.contains("out: the command changed (") && !said.contains("is saved again"), "{said}");
    assert_eq!(said.matches("done before").count(), 4, "{said}");

    // A damaged result is made again. The stages after it are not repeated, because the new result is the same.
    place.write("out/03-round2-add/text", "x");
    let said = place.succeed(&[]);
    assert!(said.contains("round2-add: out/03-round2-add/text is missing or changed"), "{said}");
    assert_eq!(place.runs(), "add1 add1 add2 add2 add2 copy copy count count");
}

#[test]
fn a_part_of_the_stages_can_be_run() {
    let place = Place::new(RECIPE);
    place.write("input.txt", "a\n");
    let error = place.refuse(&["--from", "count"]);
    assert!(error.contains("stage copy before it has not ended well"), "{error}");
    let error = place.refuse(&["--until", "counts"]);
    assert!(error.contains("there is no stage counts; there are copy, round1-add, round2-add, count"), "{error}");
    place.succeed(&["--until", "round1-add"]);
    assert_eq!(place.runs(), "add1 copy");
    let plan = String::from_utf8(place.run(&["--dry-run"]).stdout).unwrap();
    for (stage, word) in [("copy", "done"), ("round1-add", "done"), ("round2-add", "to do"), ("count", "to do")] {
        let line = plan.lines().find(|line| line.contains(&format!(". {stage} "))).unwrap();
        assert!(line.contains(word), "{plan}");
    }
    assert!(plan.contains("wc -l < $0"), "{plan}");
    assert_eq!(place.runs(), "add1 copy");
    // The first stage would run again now, but is skipped.
    place.write("input.txt", "b\n");
    place.succeed(&["--from", "round2-add"]);
    assert_eq!(place.runs(), "add1 add2 copy count");
    assert_eq!(place.read("out/03-round2-add/text"), "a\n1\n2\n");
}

#[test]
fn failures_are_told_and_tried_again_as_asked() {
    let recipe = |script: &str, more: &str| {
        format!(
            "name = \"x\"\noutput = \"out\"\n[[stage]]\nname = \"a\"\ncommand = [\"sh\", \"-c\", \"{script}\"]\n{more}\n"
        )
    };
    let place = Place::new(&recipe("echo why it fails; exit 3", "retries = 2"));
    let error = place.refuse(&[]);
    assert!(error.contains("(2 left)") && error.contains("(1 left)"), "{error}");
    assert!(error.contains("stage a ended with exit code 3") && error.contains("  why it fails"), "{error}");
    assert_eq!(place.read("out/01-a/log.txt").matches("\nwhy it fails").count(), 3);

    let place = Place::new(&recipe("test -f again && exit 0; touch again; kill -9 $$", "retries = 1"));
    let said = place.succeed(&[]);
    assert!(said.contains("was killed by signal 9") && said.contains("trying again"), "{said}");

    let place = Place::new(&recipe("sleep 60", "timeout = \"0.5s\""));
    let start = Instant::now();
    let error = place.refuse(&[]);
    assert!(error.contains("stopped after its time limit of 0.5 s"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(20));

    let place =
        Place::new("name = \"x\"\noutput = \"out\"\n[[stage]]\nname = \"a\"\ncommand = [\"no-such-program\"]\n");
    let error = place.refuse(&[]);
    assert!(error.contains("cannot start no-such-program"), "{error}");

    let place = Place::new(
        "name = \"x\"\noutput = \"out\"\n[[stage]]\nname = \"a\"\ncommand = [\"true\"]\n[[stage]]\nname = \"b\"\ncommand = \
         [\"cat\", \"{a}/text\"]\n",
    );
    let error = place.refuse(&[]);
    assert!(error.contains("stage b reads out/01-a/text, which stage a did not write"), "{error}");
}

fn wait_for(path: &Path) {
    let start = Instant::now();
    while !path.exists() {
        assert!(start.elapsed() < Duration::from_secs(30), "{} does not appear", path.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A stage that saves its progress, as training does. It counts its starts, and waits after its second part while
/// there is a file `hold`.
const SLOW: &str = r#"
name = "slow"
output = "out"
[[stage]]
name = "first"
command = ["sh", "-c", "echo first >> runs.txt; echo 1 > $0/one", "{out}"]
[[stage]]
name = "slow"
command = ["sh", "-c", "echo slow >> runs.txt; touch begun; for i in 1 2 3 4 5 6; do test -f $0/$i || {{ while test $i -gt 2 -a -f hold; do sleep 0.05; done; echo $i > $0/$i; }}; done", "{out}"]
[[stage]]
name = "last"
command = ["sh", "-c", "cat $0/[1-6] > $1/all", "{slow}", "{out}"]
"#;

#[test]
fn a_killed_pipeline_goes_on_and_takes_its_stage_with_it() {
    let whole = Place::new(SLOW);
    whole.succeed(&[]);
    let place = Place::new(SLOW);
    fs::write(place.path("hold"), "").unwrap();
    let mut child = place.command(&[]).stderr(Stdio::null()).spawn().unwrap();
    wait_for(&place.path("out/02-slow/2"));
    // A second process is refused.
    let error = place.refuse(&[]);
    assert!(error.contains("belongs to a run that is in progress"), "{error}");
    child.kill().unwrap();
    child.wait().unwrap();
    fs::remove_file(place.path("hold")).unwrap();
    std::thread::sleep(Duration::from_millis(700));
    assert!(!place.path("out/02-slow/3").exists(), "the stage outlived its pipeline");
    let said = place.succeed(&[]);
    assert!(said.contains("first: done before"), "{said}");
    assert_eq!(place.runs(), "first slow slow");
    assert_eq!(place.read("out/03-last/all"), whole.read("out/03-last/all"));

    let place = Place::new(SLOW);
    fs::write(place.path("hold"), "").unwrap();
    let child = place.command(&[]).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(&place.path("out/02-slow/1"));
    // SAFETY: a plain system call.
    unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && error.contains("stopped by a signal in stage slow"), "{error}");
    fs::remove_file(place.path("hold")).unwrap();
    place.succeed(&[]);
    assert_eq!(place.read("out/03-last/all"), whole.read("out/03-last/all"));
}

#[test]
fn a_recipe_in_its_own_output_folder_stays_what_it_is() {
    let recipe = "name = \"self\"\noutput = \"out\"\n[[stage]]\nname = \"a\"\ncommand = [\"true\"]\n";
    let place = Place::new("");
    fs::create_dir(place.path("out")).unwrap();
    place.write("out/recipe.toml", recipe);
    let run = |file: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_herd"));
        let output = command.args(["run", file]).current_dir(place.0.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    run("out/recipe.toml");
    assert_eq!(place.read("out/recipe.toml"), recipe);
    run("out/../out/recipe.toml");
    assert_eq!(place.read("out/recipe.toml"), recipe);
    // Under another name, or through links, both stay unchanged.
    let other = recipe.replace("self", "other");
    place.write("out/other.toml", &other);
    std::os::unix::fs::symlink("out/other.toml", place.path("link.toml")).unwrap();
    run("link.toml");
    assert_eq!((place.read("out/other.toml"), place.read("out/recipe.toml")), (other.clone(), other));
    assert_eq!(place.read("out/.earlier/recipe-1.toml"), recipe);
    fs::remove_file(place.path("out/recipe.toml")).unwrap();
    fs::hard_link(place.path("out/other.toml"), place.path("out/recipe.toml")).unwrap();
    run("out/other.toml");
    assert!(place.read("out/other.toml").contains("other"));
}

#[test]
fn inputs_are_noticed_however_they_are_named() {
    for word in ["--text=input.txt", "-tinput.txt", "text=input.txt", "a,input.txt", "--text=input.txt:0.5"] {
        let script = "echo one >> runs.txt";
        let place = Place::new(&format!(
            "name = \"x\"\noutput = \"out\"\n[[stage]]\nname = \"a\"\ncommand = [\"sh\", \"-c\", \"{script}\", \"x\", \"{word}\"]\n"
        ));
        place.write("input.txt", "a\n");
        place.succeed(&[]);
        let said = place.succeed(&[]);
        assert!(said.contains("done before"), "{word}: {said}");
        place.write("input.txt", "b\n");
        let said = place.succeed(&[]);
        assert!(said.contains("its command or what it reads has changed"), "{word}: {said}");
        assert_eq!(place.runs(), "one one", "{word}");
    }
}

#[test]
fn an_earlier_result_that_is_missing_is_named_in_a_flag_too() {
    let place = Place::new(
        "name = \"x\"\noutput = \"out\"\n[[stage]]\nname = \"a\"\ncommand = [\"true\"]\n[[stage]]\nname = \"b\"\ncommand = \
         [\"cat\", \"--file={a}/text\"]\n",
    );
    let error = place.refuse(&[]);
    assert!(error.contains("stage b reads out/01-a/text, which stage a did not write"), "{error}");
}

#[test]
fn links_pipes_and_circles_in_a_result_do_not_cost_it() {
    let place = Place::new(
        r#"
name = "x"
output = "out"
[[stage]]
name = "a"
command = ["sh", "-c", "echo a >> runs.txt; echo hi > $0/x.txt; mkdir -p $0/deep; ln -sfn /nonexistent/debug.log $0/latest.log; ln -sfn .. $0/deep/up; [ -p $0/pipe ] || mkfifo $0/pipe", "{out}"]
[[stage]]
name = "b"
command = ["sh", "-c", "echo b >> runs.txt; cat $0/x.txt", "{a}"]
"#,
    );
    place.succeed(&[]);
    let said = place.succeed(&[]);
    assert_eq!(said.matches("done before").count(), 2, "{said}");
    assert_eq!(place.runs(), "a b");
    // A link with another target is another result.
    fs::remove_file(place.path("out/01-a/latest.log")).unwrap();
    std::os::unix::fs::symlink("/nonexistent/other.log", place.path("out/01-a/latest.log")).unwrap();
    let said = place.succeed(&[]);
    assert!(said.contains("latest.log is missing or changed"), "{said}");
}

#[test]
fn a_stage_that_reads_the_folder_of_the_pipeline_converges() {
    let place = Place::new(
        r#"
name = "x"
output = "out"
[[stage]]
name = "a"
command = ["sh", "-c", "ls $0 > $1/list; echo line >> $2", ".", "{out}", "made.log"]
[[stage]]
name = "b"
command = ["ls", "out", "."]
"#,
    );
    place.write("input.txt", "a\n");
    place.succeed(&[]);
    let said = place.succeed(&[]);
    assert_eq!(said.matches("done before").count(), 2, "{said}");
    place.write("input.txt", "b\n");
    let said = place.succeed(&[]);
    assert_eq!(said.matches("its command or what it reads has changed").count(), 2, "{said}");
}

/// `herd run` must see what the first stage that reads it would see hours later.
#[test]
fn an_input_that_no_stage_makes_is_named_before_anything_runs() {
    let recipe = |maker: &str| {
        format!(
            r#"
name = "x"
output = "out"
{maker}
[[stage]]
name = "base"
model.new = {{ hidden = 16, layers = 1, context = 64, output = "made/base" }}
[[stage]]
name = "train"
sft = {{ model = "made/base", data = ["train.jsonl:0.5"], eval_data = ["{{base}}/held.jsonl"], skip_bad = true, output = "{{out}}" }}
[[stage]]
name = "tune"
herd = ["dpo", "--model", "./tiny", "--config", "dpo.toml", "--output", "{{out}}"]
"#
        )
    };
    let place = Place::new(&recipe(""));
    place.write("dpo.toml", "data = [\"pairs.jsonl\"]\n");
    let wrong = [
        "stage train: --data: train.jsonl:0.5 does not exist, and no earlier stage of herd makes it",
        "stage tune: --model: no model at ./tiny: there is no such folder, and no earlier stage",
        "stage tune: data in dpo.toml: pairs.jsonl does not exist",
    ];
    for more in [&["--dry-run"][..], &[]] {
        let error = place.refuse(more);
        assert!(error.starts_with("error: recipe.toml: "), "{error}");
        assert!(wrong.iter().all(|sentence| error.contains(sentence)), "{error}");
        // The base model and the result of an earlier stage are made.
        assert!(!error.contains("made/base") && !error.contains("held.jsonl"), "{error}");
        assert!(!place.path("out").exists());
    }
    let plan = String::from_utf8(place.run(&["--dry-run"]).stdout).unwrap();
    assert!(plan.contains("3. tune") && plan.contains("and 3 stages without an estimate"), "{plan}");
    assert!(plan.contains("Bad records are set aside; this command with --dry-run counts them by reason"), "{plan}");

    // Only the stages that run count.
    assert!(place.run(&["--dry-run", "--until", "base"]).status.success());
    // A program of one's own may make anything.
    place.write("recipe.toml", &recipe("[[stage]]\nname = \"fetch\"\ncommand = [\"./fetch.sh\"]"));
    let output = place.run(&["--dry-run"]);
    let plan = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && plan.contains(&format!("note: {}; stage fetch may make it", wrong[0])),
        "{plan}"
    );
    // Existing files do not matter.
    place.write("recipe.toml", &recipe(""));
    place.write("train.jsonl", "");
    place.write("pairs.jsonl", "");
    fs::create_dir(place.path("tiny")).unwrap();
    let output = place.run(&["--dry-run"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_wrong_value_or_key_is_told_with_the_file() {
    let stage =
        "[[stage]]\nname = \"a\"\nsft = { model = \"m\", data = [\"d\"], epochs = \"three\", output = \"{out}\" }\n";
    let place = Place::new(&format!("name = \"x\"\noutput = \"out\"\n{stage}"));
    let error = place.refuse(&["--dry-run"]);
    assert!(error.starts_with("error: recipe.toml: stage a: `herd sft "), "{error}");
    assert!(error.contains("invalid value 'three' for '--epochs"), "{error}");
    place.write("recipe.toml", &format!("name = \"x\"\noutptu = \"out\"\n{stage}"));
    let error = place.refuse(&["--dry-run"]);
    let told = "error: recipe.toml: line 2: outptu is not a key of a recipe (name, about, output, vars, retries, stage); \
                did you mean output?\n";
    assert_eq!(error, told);
}

#[test]
fn the_last_lines_say_what_was_written_and_the_report_links_to_those_of_the_stages() {
    let place = Place::new(
        r#"
name = "made"
output = "out"
[[stage]]
name = "problems"
data.make = { topics = ["words"], train = 3, heldout = 0, output = "{out}" }
[[stage]]
name = "page"
command = ["sh", "-c", "echo hi > $0/report.html", "{out}"]
"#,
    );
    let output = place.run(&[]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{error}");
    let line =
        error.lines().find(|line| line.starts_with("[1/2] problems: done in ")).unwrap_or_else(|| panic!("{error}"));
    assert!(line.ends_with("written to out/01-problems: heldout.jsonl, train.jsonl"), "{line}");
    assert!(String::from_utf8(output.stdout).unwrap().ends_with("made: 2 stages done. Report: out/report.html\n"));
    let log = place.read("out/01-problems/log.txt");
    let lines: Vec<&str> = log.lines().rev().take(2).collect();
    assert_eq!(lines[0], "written: out/01-problems/train.jsonl: 3 problems, 3 words");
    assert_eq!(lines[1], "written: out/01-problems/heldout.jsonl: empty, since no such problems were asked for");
    let page = place.read("out/report.html");
    assert!(page.contains("<td><a href=\"02-page&#x2f;report.html\">page</a>"), "{page}");
    assert!(page.contains("<td>problems<td>"), "{page}");
}
