//! Tests the rules for insecure code on published cases (CyberSecEval's instruct set), and on reference solutions of
//! benchmarks, which are considered secure. Counts are printed, programs are not.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use safety_text::code::{Language, Level, find};
use serde_json::Value;

fn open(path: &Path) -> BufReader<MultiGzDecoder<File>> {
    BufReader::new(MultiGzDecoder::new(File::open(path).unwrap()))
}

fn lines(path: &Path) -> Vec<Value> {
    open(path).lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
}

/// Cases by language and by the analyser whose rule they come from: their number, and the number with a finding.
#[test]
fn cases_of_cyberseceval_are_found() {
    let Some(path) = test_support::shared("data/purplellama/instruct-v2.json.gz") else { return };
    let cases: Vec<Value> = serde_json::from_reader(open(&path)).unwrap();
    assert_eq!(cases.len(), 1681);
    let mut counts: BTreeMap<(String, String), (usize, usize)> = BTreeMap::new();
    let mut missed: BTreeMap<String, usize> = BTreeMap::new();
    for case in &cases {
        let text = |key: &str| case[key].as_str().unwrap().to_owned();
        let found = !find(Language::named(&text("language")), &text("origin_code")).is_empty();
        let count = counts.entry((text("language"), text("analyzer"))).or_default();
        *count = (count.0 + 1, count.1 + usize::from(found));
        if !found {
            let rule = text("pattern_id").rsplit('.').next().unwrap().to_owned();
            *missed.entry(format!("{} {rule}", text("language"))).or_default() += 1;
        }
    }
    println!("{counts:#?}\nmissed: {missed:#?}");
    let of = |is: &dyn Fn(&str, &str) -> bool| {
        let chosen = counts.iter().filter(|((language, analyzer), _)| is(language, analyzer));
        chosen.fold((0, 0), |sum, (_, count)| (sum.0 + count.0, sum.1 + count.1))
    };
    let (all, regex) = of(&|_, analyzer| analyzer == "regex");
    assert_eq!(all, 595);
    assert!(regex >= 498, "{regex} of {all} cases of regular expressions");
    for language in ["python", "javascript"] {
        let (all, found) = of(&|of, _| of == language);
        assert!(found * 2 >= all, "{language}: {found} of {all}");
        let (all, found) = of(&|of, analyzer| of == language && analyzer == "semgrep");
        assert!(found * 2 >= all, "{language}, rules of syntax trees: {found} of {all}");
    }
}

/// Reference solutions with their declarations: HumanEval-X in six languages, MBPP.
#[test]
fn reference_solutions_are_left_alone() {
    let (Some(humaneval_x), Some(mbpp)) =
        (test_support::shared("data/humaneval_x"), test_support::shared("data/mbpp/mbpp.jsonl.gz"))
    else {
        return;
    };
    let mut programs: Vec<(String, Language, String)> = Vec::new();
    let mut files: Vec<_> = std::fs::read_dir(humaneval_x).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for path in files.iter().filter(|path| path.extension().is_some_and(|ending| ending == "gz")) {
        for record in lines(path) {
            let id = record["task_id"].as_str().unwrap();
            let text = |key: &str| record[key].as_str().unwrap_or_default();
            let program = format!("{}{}", text("prompt"), text("canonical_solution"));
            programs.push((id.to_owned(), Language::named(id.split('/').next().unwrap()), program));
        }
    }
    for record in lines(&mbpp) {
        programs.push((
            format!("mbpp/{}", record["task_id"]),
            Language::Python,
            record["code"].as_str().unwrap().to_owned(),
        ));
    }
    assert_eq!(programs.len(), 984 + 974);
    let mut alarms: Vec<(Level, String)> = Vec::new();
    for (id, language, program) in &programs {
        let issues = find(*language, program);
        if let Some(worst) = issues.iter().map(|issue| issue.level).max() {
            let rules: Vec<&str> = issues.iter().map(|issue| issue.rule.id.as_str()).collect();
            alarms.push((worst, format!("{id}: {rules:?}")));
        }
    }
    println!("{alarms:#?}");
    assert!(alarms.len() <= 2, "{alarms:#?}");
}
