//! `cargo xtask test`: runs the tests of the workspace, and prints how many passed, failed and were skipped.
//!
//! libtest counts a test that returns early as passed. Such tests write their name and the reason to the file that
//! `HERD_TEST_SKIPS` names (`crates/test-support`); they are counted as skipped here.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::project;

/// `cargo test` over the workspace with `more` and the user's additional arguments.
fn cargo_test<'a>(more: &[&'a str], arguments: &'a [String]) -> Command {
    // All tests of this run, so that the total covers the whole workspace.
    let fixed = ["test", "--workspace", "--no-fail-fast"].into_iter().chain(more.iter().copied());
    let fixed = fixed.filter(|word| !arguments.iter().any(|own| own == word));
    project::cargo(fixed.chain(arguments.iter().map(String::as_str)))
}

/// Compiles the tests while `set_up` runs in a thread: one core starts Python for the sandbox or waits for downloads, and the compiler has
/// the other.
pub fn compile_beside(arguments: &[String], set_up: impl FnOnce() -> anyhow::Result<()> + Send) -> anyhow::Result<()> {
    // Cargo cannot compile doc tests without running them.
    let compiles = !arguments.iter().any(|own| own == "--doc");
    std::thread::scope(|scope| {
        let set_up = scope.spawn(set_up);
        let compiled = if compiles { project::run(&mut cargo_test(&["--no-run"], arguments)) } else { Ok(()) };
        let set_up = set_up.join().map_err(|_| anyhow::anyhow!("the set-up panicked: its message is above"))?;
        set_up.and(compiled)
    })
}

/// Runs `cargo test` over the workspace with the user's additional arguments.
pub fn run(arguments: &[String]) -> anyhow::Result<()> {
    let mut test = cargo_test(&[], arguments);
    let skips = project::target().join("test-skips.tsv");
    std::fs::create_dir_all(project::target())?;
    std::fs::write(&skips, "").with_context(|| format!("cannot write {}", skips.display()))?;
    test.env("HERD_TEST_SKIPS", &skips).stdout(Stdio::piped());
    // Tests run in parallel, each with as many threads as there are cores: threads that wait for work by spinning
    // would take the cores from other tests.
    test.env("OMP_WAIT_POLICY", "passive");
    let shown = project::show(&test);
    let mut child = test.spawn().with_context(|| format!("cannot start `{shown}`"))?;
    let output = child.stdout.take().context("cargo's output is not a pipe")?;
    let mut results = Results::default();
    let mut lines = BufReader::new(output);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        io::stdout().write_all(&line)?;
        results.read(&String::from_utf8_lossy(&line));
        line.clear();
    }
    let status = child.wait()?;
    let summary = results.summary(&std::fs::read_to_string(&skips)?);
    if !status.success() && results.failed == 0 {
        println!("\ncargo test failed ({status}) outside of a test: its message is above");
    }
    println!("\n{summary}");
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

/// The sum of the `test result` lines.
#[derive(Debug, Default, PartialEq)]
struct Results {
    passed: usize,
    failed: usize,
    ignored: usize,
}

impl Results {
    /// Adds a line of the output: `test result: ok. 12 passed; 0 failed; 1 ignored; ...`
    fn read(&mut self, line: &str) {
        let Some(counts) = line.trim().strip_prefix("test result: ") else { return };
        let counts = counts.split_once(". ").map_or("", |(_, counts)| counts);
        for count in counts.split("; ") {
            let Some((number, word)) = count.split_once(' ') else { continue };
            let Ok(number) = number.parse::<usize>() else { continue };
            match word {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }

    /// The total, after the reasons for the skips. `skips` has lines `PROGRAM <tab> TEST <tab> REASON`.
    fn summary(&self, skips: &str) -> String {
        let mut tests = BTreeSet::new();
        let mut reasons: BTreeMap<&str, BTreeSet<(&str, &str)>> = BTreeMap::new();
        for line in skips.lines() {
            let mut fields = line.splitn(3, '\t');
            if let (Some(program), Some(test), Some(reason)) = (fields.next(), fields.next(), fields.next()) {
                tests.insert((program, test));
                reasons.entry(reason).or_default().insert((program, test));
            }
        }
        let mut text = String::new();
        for (reason, tests) in &reasons {
            text += &format!("skipped: {reason}\n");
            for (program, test) in tests {
                text += &format!("    {program} {test}\n");
            }
        }
        if self.ignored > 0 {
            text += &format!("{} more tests run only on request (`cargo test -- --ignored`)\n", self.ignored);
        }
        let passed = self.passed.saturating_sub(tests.len());
        text + &format!("{passed} passed, {} failed, {} skipped", self.failed, tests.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_add_up() {
        let mut results = Results::default();
        for line in [
            "running 3 tests\n",
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.05s\n",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.00s\n",
            "the test result: ok. 100 passed\n",
        ] {
            results.read(line);
        }
        assert_eq!(results, Results { passed: 15, failed: 2, ignored: 1 });
        assert_eq!(
            results.summary(""),
            "1 more tests run only on request (`cargo test -- --ignored`)\n15 passed, 2 failed, 0 skipped"
        );
    }

    #[test]
    fn a_skipped_test_has_not_passed() {
        let results = Results { passed: 10, ..Results::default() };
        // The first test lacks two things, and counts as one test.
        let skips = "suites\tpython\tno ../shared/data/a\nsuites\tpython\tno ../shared/data/b\nfused\tall\tno GPU\n";
        let expected = "skipped: no ../shared/data/a\n    suites python\nskipped: no ../shared/data/b\n    suites python\n\
                        skipped: no GPU\n    fused all\n8 passed, 0 failed, 2 skipped";
        assert_eq!(results.summary(skips), expected);
    }
}
