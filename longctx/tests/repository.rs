//! Questions about packages.

use std::collections::BTreeSet;
use std::path::PathBuf;

use longctx::repo::graph::Graph;
use longctx::repo::load::{self, SourceFile};
use longctx::repo::python::{Facts, Reader};
use longctx::split::Split;
use pinned::Wheel;

use crate::common::{Place, read, said};

/// Wheels of different style: star imports, absolute ones, relative ones, imports for types only, lazy modules.
const WHEELS: [Wheel; 5] = [
    Wheel {
        name: "celery",
        version: "5.7.0",
        file: "celery-5.7.0-py3-none-any.whl",
        sha256: "18310a9c919f9029e4735367484d93e6a25cdfd30afdc474622cc263d9b35f6e",
        megabytes: 1,
    },
    Wheel {
        name: "networkx",
        version: "3.6.1",
        file: "networkx-3.6.1-py3-none-any.whl",
        sha256: "d47fbf302e7d9cbbb9e2555a0d267983d2aa476bac30e90dfbe5669bd57f3762",
        megabytes: 3,
    },
    Wheel {
        name: "rich",
        version: "15.0.0",
        file: "rich-15.0.0-py3-none-any.whl",
        sha256: "33bd4ef74232fb73fe9279a257718407f169c09b78a87ad3d296f548e27de0bb",
        megabytes: 1,
    },
    Wheel {
        name: "scrapy",
        version: "2.19.0",
        file: "scrapy-2.19.0-py3-none-any.whl",
        sha256: "44c1ad4b008f1976e946c75b2adce0e448cbfe470c584b1b59469abf270e8013",
        megabytes: 1,
    },
    Wheel {
        name: "trio",
        version: "0.35.0",
        file: "trio-0.35.0-py3-none-any.whl",
        sha256: "9a062a029487c1bdbcc1b2543b729a0bde857ce478b1512c84f391f628e0c5c9",
        megabytes: 1,
    },
];

#[derive(serde::Deserialize)]
struct Reference {
    file: String,
    paths: Vec<String>,
    imports: Vec<BTreeSet<usize>>,
}

/// The files that depend on each file, directly or indirectly, by plain iteration.
fn dependents(imports: &[BTreeSet<usize>], file: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::from([file]);
    loop {
        let more: Vec<usize> =
            (0..imports.len()).filter(|at| !found.contains(at) && !imports[*at].is_disjoint(&found)).collect();
        if more.is_empty() {
            found.remove(&file);
            return found;
        }
        found.extend(more);
    }
}

/// Precision and recall over all pairs.
fn rates(ours: &[BTreeSet<usize>], theirs: &[BTreeSet<usize>]) -> (f64, f64) {
    let both: usize = ours.iter().zip(theirs).map(|(a, b)| a.intersection(b).count()).sum();
    let count = |sets: &[BTreeSet<usize>]| sets.iter().map(BTreeSet::len).sum::<usize>().max(1) as f64;
    (both as f64 / count(ours), both as f64 / count(theirs))
}

#[test]
fn dependents_are_those_of_pythons_own_ast() {
    let text = read(&test_support::fixture("longctx/imports.json"));
    let references: Vec<Reference> = serde_json::from_str(&text).unwrap();
    assert_eq!(references.len(), WHEELS.len());
    for (wheel, reference) in WHEELS.iter().zip(references) {
        assert_eq!(wheel.file, reference.file);
        let folder = pinned::cache_dir().unwrap().join("test-wheels");
        let fetched = pinned::fetch(wheel, &folder).map_err(|error| format!("{}: {error:#}", wheel.file));
        let Some(path) = test_support::require(fetched) else { return };
        let package = load::package(&path).unwrap();
        let paths: Vec<&str> = package.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, reference.paths, "{}", wheel.file);
        let mut reader = Reader::new().unwrap();
        let facts: Vec<Facts> = package.files.iter().map(|file| reader.read(&file.text).unwrap()).collect();
        let files: Vec<&SourceFile> = package.files.iter().collect();
        let graph = Graph::new(&files, &facts.iter().collect::<Vec<_>>());
        let ours: Vec<BTreeSet<usize>> = graph.imports.iter().map(|of| of.keys().copied().collect()).collect();
        let (precision, recall) = rates(&ours, &reference.imports);
        let all = 0..files.len();
        let (far, theirs): (Vec<_>, Vec<_>) =
            all.map(|at| (graph.dependents(at), dependents(&reference.imports, at))).unzip();
        let (far_precision, far_recall) = rates(&far, &theirs);
        println!(
            "{}: {} files, direct precision {precision:.4} recall {recall:.4}, transitive {far_precision:.4} {far_recall:.4}",
            wheel.file,
            files.len()
        );
        assert!(precision >= 0.99 && recall >= 0.99, "{}: {precision} {recall}", wheel.file);
        assert!(far_precision >= 0.99 && far_recall >= 0.99, "{}: {far_precision} {far_recall}", wheel.file);
    }
}

/// Four packages of small modules; the names of those that belong to the split.
fn packages(place: &Place, split: Split) -> Vec<PathBuf> {
    let names = (0..).map(|number| format!("pack{number}")).filter(|name| Split::of_key(name) == split);
    let names: Vec<String> = names.take(3).collect();
    let mut paths = Vec::new();
    for (salt, name) in names.iter().enumerate() {
        let folder = place.path("packages").join(name);
        let inner = folder.join(name);
        std::fs::create_dir_all(inner.join("sub")).unwrap();
        std::fs::write(folder.join("PKG-INFO"), "Name: x\nLicense: MIT\n\n").unwrap();
        std::fs::write(inner.join("__init__.py"), "from .m0 import first_0\n").unwrap();
        std::fs::write(inner.join("sub/__init__.py"), "").unwrap();
        for number in 0..60_usize {
            let mut text = String::from("\"\"\"A module.\n\nimport nothing\n\"\"\"\n");
            for other in [number / 2, number / 3, (number * 7 + salt) % 5].into_iter().filter(|other| *other < number) {
                text += &match (number + other) % 5 {
                    0 => format!("import {name}.m{other} as other_{other}\n"),
                    1 => format!("from {name} import m{other}\n"),
                    2 => format!(
                        "from .m{other} import (\n    first_{other},  # a comment, with a comma\n    second_{other} as s,\n)\n"
                    ),
                    3 => format!("if True:\n    from . import m{other}\n"),
                    _ => format!(
                        "def late_{number}_{other}():\n    from {name}.m{other} import first_{other}\n    return first_{other}\n"
                    ),
                };
            }
            text += &format!(
                "\n\ndef first_{number}(value):\n    \"\"\"Import of m1.\"\"\"\n    return value + {number}  # from x import y\n"
            );
            text += &format!(
                "\n\nclass Second_{number}_{salt}:\n    text = 'import m2; from m3 import m4'\n\nsecond_{number} = {salt}\n"
            );
            std::fs::write(inner.join(format!("m{number}.py")), text).unwrap();
        }
        paths.push(folder);
    }
    paths
}

fn make(place: &Place, paths: &[PathBuf], more: &[&str]) -> std::process::Output {
    let mut command = place.command(&[
        "make",
        "--tokenizer",
        "tokenizer",
        "--output",
        "repo",
        "--tasks",
        "repository",
        "--repositories",
    ]);
    command.args(paths).args(more).output().unwrap()
}

#[test]
fn every_question_is_asked_and_found_again() {
    let place = Place::new();
    let paths = packages(&place, Split::Train);
    let made = make(&place, &paths, &["--buckets", "4k,6k", "--count", "120", "--seed", "3"]);
    assert!(made.status.success(), "{}", said(&made));
    assert!(said(&made).contains("packages: 3, 186 files"), "{}", said(&made));
    let checked = place.run(&["verify", "repo/train.jsonl", "--tokenizer", "tokenizer"]);
    assert!(checked.status.success(), "{}", said(&checked));
    let text = read(&place.path("repo/train.jsonl"));
    for form in ["importers", "dependents", "breaks", "imported-names", "defined-in"] {
        assert!(text.contains(&format!("\"forms\":[\"{form}\"]")), "{form}");
    }
    let absent = text.lines().filter(|line| line.contains("\"not_in_text\":true")).count();
    assert_eq!(absent, 12);
    // A path less, a path more, a name that is not there: every wrong answer is found.
    let mut wrong = Vec::new();
    for line in text.lines() {
        let mut record: serde_json::Value = serde_json::from_str(line).unwrap();
        let answer = record["messages"][1]["content"].as_str().unwrap().to_owned();
        let changed = match answer.rsplit_once(", ") {
            Some((shorter, _)) => shorter.to_owned(),
            None => format!("{answer}, zzz.py"),
        };
        record["messages"][1]["content"] = changed.into();
        wrong.push(record.to_string());
    }
    std::fs::write(place.path("wrong.jsonl"), wrong.join("\n")).unwrap();
    assert!(said(&place.run(&["verify", "wrong.jsonl"])).contains("120 wrong"));
}

#[test]
fn packages_of_the_other_side_are_left_out() {
    let place = Place::new();
    let paths = packages(&place, Split::Evaluation);
    let refused = make(&place, &paths, &["--buckets", "4k", "--count", "5"]);
    assert!(
        said(&refused).contains("no package is left for --split train: 3 packages of the other split"),
        "{}",
        said(&refused)
    );
    let made = make(&place, &paths, &["--buckets", "4k", "--count", "20", "--split", "evaluation"]);
    assert!(made.status.success(), "{}", said(&made));
    assert!(place.run(&["verify", "repo/evaluation.jsonl", "--tokenizer", "tokenizer"]).status.success());
    let none = place.run(&["make", "--tokenizer", "tokenizer", "--output", "x", "--tasks", "repository"]);
    assert!(said(&none).contains("--tasks repository: give --repositories"), "{}", said(&none));
}
