//! The rules of CONTRIBUTING.md and the invariants of docs/architecture.md that can be read from the files of the checkout:
//! imports run downwards, stages do not import each other, judges and data preparation need no libtorch, one idea per file, a
//! page for every crate.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The floors, from the ground up, with the folders of their packages. A package imports packages of its own floor and of those
/// below.
const FLOORS: [(&str, &[&str]); 7] = [
    (
        "ground",
        &[
            "crates/dataset",
            "crates/stats",
            "crates/weights",
            "crates/http-service",
            "crates/image-urls",
            "crates/pinned",
            "crates/json-client",
            "crates/token-shards",
            "crates/html-text",
            "crates/language-id",
            "crates/public-suffix",
            "crates/cuda-kernels",
            "crates/torch-ext",
            "crates/distributed",
            "crates/test-support",
            "crates/workspace-hack",
        ],
    ),
    (
        "first floor",
        &[
            "crates/run",
            "crates/chat",
            "crates/ifeval",
            "crates/problem-makers",
            "crates/text-quality",
            "crates/bpe",
            "crates/launch",
            "crates/safety-text",
            "crates/ngram-linear",
            "crates/guard",
            "crates/safety-tuning",
        ],
    ),
    (
        "second floor",
        &[
            "crates/llama",
            "crates/guard-model",
            "crates/sampler",
            "crates/openai-server",
            "crates/trainer",
            "crates/curation",
            "crates/average",
        ],
    ),
    (
        "judges and data",
        &[
            "codeexec",
            "mathverify",
            "pretrain/data",
            "pretrain/stream",
            "pretrain/scaling",
            "longctx",
            "vision/pictures",
        ],
    ),
    ("evaluation", &["eval"]),
    ("stages", &["sft", "dpo", "rejection-sampling", "pretrain", "safety", "vision", "longctx/model"]),
    ("programs", &["herd", "xtask"]),
];

/// The floors whose packages all need libtorch.
const LIBTORCH: [&str; 3] = ["second floor", "evaluation", "stages"];

/// The other packages that need it.
const LIBTORCH_ELSEWHERE: [&str; 3] = ["torch-ext", "distributed", "herd"];

/// Dev-dependencies that look upwards: generated problems are tested with the judges that will judge their answers.
const UPWARDS_IN_TESTS: [(&str, &str); 2] = [("problem-makers", "codeexec"), ("problem-makers", "mathverify")];

/// The root of the checkout.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

struct Package {
    folder: &'static str,
    /// Index into [`FLOORS`].
    floor: usize,
    /// The names of its dependencies.
    imports: BTreeSet<String>,
    /// The names of its dev-dependencies.
    imports_in_tests: BTreeSet<String>,
}

fn packages() -> BTreeMap<String, Package> {
    let mut all = BTreeMap::new();
    for (floor, (_, folders)) in FLOORS.iter().enumerate() {
        for folder in *folders {
            let path = root().join(folder).join("Cargo.toml");
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let manifest: toml::Table = toml::from_str(&text).unwrap();
            let names = |key: &str| -> BTreeSet<String> {
                let table = manifest.get(key).and_then(toml::Value::as_table);
                table.into_iter().flatten().map(|(name, _)| name.clone()).collect()
            };
            let (imports, imports_in_tests) = (names("dependencies"), names("dev-dependencies"));
            let name = manifest["package"]["name"].as_str().unwrap().to_owned();
            all.insert(name, Package { folder, floor, imports, imports_in_tests });
        }
    }
    all
}

/// The names of everything that a package depends on, directly or not.
fn closure<'a>(all: &'a BTreeMap<String, Package>, name: &'a str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut open = vec![name];
    while let Some(name) = open.pop() {
        for import in all.get(name).into_iter().flat_map(|package| &package.imports) {
            if found.insert(&**import) {
                open.push(import);
            }
        }
    }
    found
}

fn needs_libtorch(all: &BTreeMap<String, Package>, name: &str) -> bool {
    let closure = closure(all, name);
    closure.contains("tch") || closure.contains("torch-sys")
}

#[test]
fn every_package_of_the_workspace_has_a_floor() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = toml::from_str(&manifest).unwrap();
    let members = manifest["workspace"]["members"].as_array().unwrap();
    let mut folders = BTreeSet::new();
    for member in members.iter().filter_map(toml::Value::as_str) {
        if let Some(parent) = member.strip_suffix("/*") {
            let entries = fs::read_dir(root().join(parent)).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            folders.extend(names.map(|name| format!("{parent}/{name}")));
        } else {
            folders.insert(member.to_owned());
        }
    }
    let listed = FLOORS.iter().flat_map(|floor| floor.1).map(|folder| (*folder).to_owned()).collect();
    assert_eq!(folders, listed, "left: the members of Cargo.toml; right: the packages of FLOORS");
}

#[test]
fn imports_run_downwards_and_stages_do_not_import_each_other() {
    let all = packages();
    for (name, package) in &all {
        let floor = FLOORS[package.floor].0;
        for import in package.imports.union(&package.imports_in_tests) {
            let Some(other) = all.get(import) else { continue };
            let is_excused = !package.imports.contains(import) && UPWARDS_IN_TESTS.contains(&(&**name, &**import));
            assert!(
                other.floor <= package.floor || is_excused,
                "{name} ({floor}) imports {import} ({}), which is above it",
                FLOORS[other.floor].0
            );
            let are_stages = floor == "stages" && FLOORS[other.floor].0 == "stages";
            assert!(!are_stages, "the stage {name} imports the stage {import}");
        }
    }
}

#[test]
fn judges_and_data_preparation_need_no_libtorch() {
    let all = packages();
    for (name, package) in &all {
        let expected = LIBTORCH.contains(&FLOORS[package.floor].0) || LIBTORCH_ELSEWHERE.contains(&&**name);
        assert_eq!(needs_libtorch(&all, name), expected, "whether {name} needs libtorch");
    }
    for name in ["sampler", "openai-server"] {
        assert!(!closure(&all, name).contains("trainer"), "{name} imports the trainer");
    }
}

#[test]
fn the_architecture_page_names_every_package_and_whether_it_needs_libtorch() {
    let all = packages();
    let page = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let picture = page.split("```").nth(1).unwrap();
    let words: BTreeSet<&str> = picture.split(|c: char| !(c.is_alphanumeric() || c == '-')).collect();
    // The list of dependencies that cargo-hakari generates is not a part of the architecture.
    for (name, package) in all.iter().filter(|(name, _)| *name != "workspace-hack") {
        let is_aside = ["herd", "xtask", "test-support"].contains(&&**name);
        assert!(is_aside || words.contains(&**name), "the picture lacks {name}");
        let link = format!("[`{name}`](../{})", package.folder);
        let row = page.lines().find(|line| line.contains(&link)).unwrap_or_else(|| panic!("the map lacks {link}"));
        let answer = if needs_libtorch(&all, name) { "| yes |" } else { "| no |" };
        assert!(row.ends_with(answer), "this row must end with {answer}:\n{row}");
    }
}

#[test]
fn every_package_and_every_page_is_in_the_summary() {
    let root = root();
    let summary = fs::read_to_string(root.join("docs/SUMMARY.md")).unwrap();
    // The list of dependencies that cargo-hakari generates needs no page.
    for package in packages().values().filter(|package| package.folder != "crates/workspace-hack") {
        let page = format!("{}/README.md", package.folder);
        assert!(root.join(&page).is_file(), "{page} is missing");
        assert!(summary.contains(&format!("(../{page})")), "docs/SUMMARY.md does not name {page}");
    }
    for entry in fs::read_dir(root.join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let is_page = name.ends_with(".md") && name != "SUMMARY.md";
        assert!(!is_page || summary.contains(&format!("({name})")), "docs/SUMMARY.md does not name {name}");
    }
}

#[test]
fn links_between_the_pages_lead_to_files() {
    let mut count = 0;
    for page in files(&root(), "md") {
        let text = fs::read_to_string(&page).unwrap();
        for rest in text.split("](").skip(1) {
            let target = rest.split([')', '#', ' ']).next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            count += 1;
            let path = page.parent().unwrap().join(target);
            assert!(path.exists(), "{}: the link {target} leads nowhere", page.display());
        }
    }
    assert!(count > 100, "{count} links");
}

#[test]
fn no_file_has_more_than_600_lines() {
    let all = files(&root(), "rs");
    assert!(all.len() > 1000, "{} files", all.len());
    for path in all {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 600, "{} has {lines} lines, a sign of two ideas", path.display());
    }
}

/// A constant pattern that does not compile has to stop the program: a search that finds nothing would be a wrong verdict.
#[test]
fn no_invalid_pattern_becomes_one_that_never_matches() {
    for path in files(&root(), "rs").into_iter().filter(|path| !path.ends_with(file!())) {
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            let is_lost = line.contains("LazyLock<Option<") || line.contains("LazyLock<Vec<Option<");
            assert!(!is_lost, "{}:{}: {}", path.display(), number + 1, line.trim());
        }
    }
}

/// The files of the checkout with this ending, without what is built or downloaded, and not through links.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
        if name.starts_with('.') || ["target", "runs"].contains(&&*name) {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|end| end == ending) {
            found.push(path);
        }
    }
    found
}
