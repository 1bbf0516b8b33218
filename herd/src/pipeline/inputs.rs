//! The inputs of a stage, as far as its command line names them, and the output files of a stage.
//!
//! These parts of a command line are examined: whole words (`data.jsonl`, `data.jsonl:0.5`, a model's name), values
//! of flags (`--data=FILE`, `-dFILE`), values of assignments (`--set text=FILE`), parts of lists (`a.jsonl,b.jsonl`),
//! and the strings of a TOML file that a `herd` stage names (`--config sft.toml`). The text of a script (`sh -c
//! "..."`) is not examined: name its inputs as separate words.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::Context;
use dataset::digest::{self, Fingerprint};
use llama::locate;

use super::recipe::{Recipe, Stage};
use super::state::{FileMark, LOG, NAME, Record};

/// Files that the pipeline itself keeps in its folder.
const KEPT: [&str; 4] = ["recipe.toml", "report.html", run::RECORD, run::CONFIG];

/// Digest of a stage's command and of every file and folder that it names, including models in the cache. If an
/// earlier stage recorded the digest of a file, and the file has not changed since, that digest is used. Inputs in
/// `created` are left out.
///
/// # Errors
/// When a file cannot be read, or an earlier stage's result is missing.
pub fn fingerprint(recipe: &Recipe, index: usize, created: &BTreeSet<String>) -> anyhow::Result<String> {
    let (stage, earlier) = (&recipe.stages[index], &recipe.stages[..index]);
    let mut print = Fingerprint::new().text("version", env!("CARGO_PKG_VERSION"));
    let walk = Walk::new(recipe, index, created);
    for (at, symbol) in stage.identity.iter().enumerate() {
        print = print.text("word", symbol);
        for named in candidates(&stage.words[at]) {
            if Path::new(named).starts_with(&stage.folder) || created.contains(&place(stage, at, named)) {
                continue;
            }
            let Some(input) = input(named) else {
                let missing = earlier.iter().find(|other| Path::new(named).starts_with(&other.folder));
                anyhow::ensure!(
                    missing.is_none(),
                    "stage {} reads {named}, which stage {} did not write",
                    stage.name,
                    missing.map_or("", |other| &other.name)
                );
                continue;
            };
            print = add(print, &input, earlier, &walk)?;
            if stage.herd && input.extension().is_some_and(|end| end == "toml") {
                for inner in toml_strings(&input).iter().filter(|inner| !Path::new(inner).starts_with(&stage.folder)) {
                    if let Some(inner) = self::input(inner) {
                        print = add(print, &inner, earlier, &walk)?;
                    }
                }
            }
        }
    }
    Ok(print.finish())
}

/// The words and values of a command that do not name an existing file yet, by place. A file that exists at the end
/// of a stage and did not exist at its start is an output, even outside the stage's folder.
pub fn absent(stage: &Stage) -> BTreeMap<String, PathBuf> {
    let named = (0..stage.words.len()).flat_map(|at| {
        candidates(&stage.words[at]).into_iter().map(move |named| (place(stage, at, named), PathBuf::from(named)))
    });
    named.filter(|(_, path)| !path.exists()).collect()
}

/// Places that did not name an existing file, and now name a file or folder.
pub fn appeared(absent: &BTreeMap<String, PathBuf>) -> BTreeSet<String> {
    absent.iter().filter(|(_, path)| path.exists()).map(|(place, _)| place.clone()).collect()
}

/// The place of a name in a command: with the word before it, so that `--log FILE` and `--data FILE` differ.
fn place(stage: &Stage, at: usize, named: &str) -> String {
    let before = at.checked_sub(1).map_or("", |before| &stage.words[before]);
    let word = &stage.words[at];
    if word.starts_with('-') { format!("{word} {named}") } else { format!("{before} {word} {named}") }
}

/// The files of a finished stage, and a message for each one that cannot be recorded. Checkpoints and event files are
/// left to the stage.
pub fn outputs(recipe: &Recipe, index: usize) -> (BTreeMap<String, FileMark>, Vec<String>) {
    let (mut marks, mut missed) = (BTreeMap::new(), Vec::new());
    let folder = &recipe.stages[index].folder;
    let stages = vec![fs::canonicalize(folder).unwrap_or_default()];
    let walk = Walk { out: None, hidden: BTreeSet::new(), made: BTreeSet::new(), stages, links: false };
    let found = walk.files(folder).unwrap_or_else(|error| {
        missed.push(format!("{error:#}"));
        Vec::new()
    });
    for path in found {
        let relative = path.strip_prefix(folder).unwrap_or(&path);
        match (relative.to_str(), mark(&path)) {
            (Some(name), Ok(mark)) => _ = marks.insert(name.to_owned(), mark),
            (None, _) => missed.push(format!("{}: its name is not UTF-8", path.display())),
            (_, Err(error)) => missed.push(format!("{error:#}")),
        }
    }
    (marks, missed)
}

/// Size, time and digest of a file. For a link without a target file, the text of the link is the content.
pub fn mark(path: &Path) -> anyhow::Result<FileMark> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_file() => {
            Ok(FileMark { bytes: meta.len(), modified: modified(&meta), sha256: digest::file(path)? })
        }
        _ => {
            let link = fs::read_link(path).with_context(|| format!("cannot read {}", path.display()))?;
            let text = link.to_string_lossy();
            let sha256 = digest::bytes(format!("link to {text}").as_bytes());
            Ok(FileMark { bytes: text.len() as u64, modified: 0, sha256 })
        }
    }
}

/// The last modification time of a file, in nanoseconds since 1970.
pub fn modified(meta: &fs::Metadata) -> u64 {
    let since = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_nanos() as u64)
}

/// Adds an input's files to a fingerprint.
fn add(mut print: Fingerprint, input: &Path, earlier: &[Stage], walk: &Walk) -> anyhow::Result<Fingerprint> {
    let owner = earlier.iter().find(|other| input.starts_with(&other.folder));
    let record = owner.and_then(|owner| Some((owner, Record::read(&owner.folder)?)));
    for path in walk.files(input)? {
        let known = record.as_ref().and_then(|(owner, record)| {
            let mark = record.outputs.get(&*path.strip_prefix(&owner.folder).ok()?.to_string_lossy())?;
            let meta = fs::metadata(&path).ok()?;
            (meta.len() == mark.bytes && modified(&meta) == mark.modified).then(|| mark.sha256.clone())
        });
        let sha256 = match known {
            Some(sha256) => sha256,
            None => mark(&path)?.sha256,
        };
        print = print.text(&path.strip_prefix(input).unwrap_or(&path).to_string_lossy(), &sha256);
    }
    Ok(print)
}

/// The parts of a word that may name an input: the word itself unless it is a flag, the text after each `=`, the text
/// after a one-letter flag, and the parts of a list with commas.
pub(super) fn candidates(word: &str) -> Vec<&str> {
    let mut named = Vec::new();
    match word.strip_prefix('-') {
        None => named.push(word),
        Some(flag) if !flag.starts_with('-') => named.extend(flag.char_indices().nth(1).map(|(at, _)| &flag[at..])),
        Some(_) => {}
    }
    named.extend(word.match_indices('=').map(|(at, _)| &word[at + 1..]));
    let lists = named.clone().into_iter().filter(|part| part.contains(',') && !Path::new(part).exists());
    let parts: Vec<&str> = lists.flat_map(|part| part.split(',')).collect();
    named.extend(parts);
    named.retain(|part| !part.is_empty());
    named
}

/// The file or folder that a text names: a path, a path with a weight, or a model in the cache.
pub(super) fn input(text: &str) -> Option<PathBuf> {
    let plain = PathBuf::from(text);
    if plain.exists() {
        return Some(plain);
    }
    if let Some(path) = unweighted(text)
        && Path::new(path).exists()
    {
        return Some(path.into());
    }
    locate::locate(text).ok()
}

/// The path of `path:weight`; `None` for a text without a weight.
pub(super) fn unweighted(text: &str) -> Option<&str> {
    let (path, weight) = text.rsplit_once(':')?;
    weight.parse::<f64>().is_ok().then_some(path)
}

/// All strings in a TOML file; none if it is not TOML.
fn toml_strings(path: &Path) -> Vec<String> {
    fn collect(value: &toml::Value, found: &mut Vec<String>) {
        match value {
            toml::Value::String(text) => found.push(text.clone()),
            toml::Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
            toml::Value::Table(table) => table.values().for_each(|item| collect(item, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    let table = fs::read_to_string(path).ok().and_then(|text| toml::from_str::<toml::Table>(&text).ok());
    collect(&toml::Value::Table(table.unwrap_or_default()), &mut found);
    found
}

/// The settings for walking folders.
struct Walk {
    /// The pipeline's folder, with all links resolved.
    out: Option<PathBuf>,
    /// Names in it that are not inputs of the stage: its own folder, those of later stages, the pipeline's files.
    hidden: BTreeSet<String>,
    /// Files and folders that an earlier run of the stage made, with all links resolved.
    made: BTreeSet<PathBuf>,
    /// Folders of stages; their internal files are left out.
    stages: Vec<PathBuf>,
    /// Whether links to folders are followed.
    links: bool,
}

impl Walk {
    /// The settings for the inputs of a stage.
    fn new(recipe: &Recipe, index: usize, created: &BTreeSet<String>) -> Self {
        let stage = &recipe.stages[index];
        let named = (0..stage.words.len()).flat_map(|at| {
            candidates(&stage.words[at]).into_iter().filter(move |named| created.contains(&place(stage, at, named)))
        });
        let made = named.filter_map(|named| fs::canonicalize(named).ok()).collect();
        let later = recipe.stages[index..].iter().filter_map(|stage| stage.folder.file_name());
        let hidden = later.map(|name| name.to_string_lossy().into_owned()).chain(KEPT.map(str::to_owned));
        let resolved = |path: &PathBuf| fs::canonicalize(path).ok();
        let stages = recipe.stages.iter().filter_map(|stage| resolved(&stage.folder)).collect();
        Self { out: resolved(&recipe.output), hidden: hidden.collect(), made, stages, links: true }
    }

    /// All files under a path, ordered by name, without hidden ones, pipes and sockets.
    fn files(&self, path: &Path) -> anyhow::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        self.collect(path, &mut Vec::new(), &mut found)?;
        Ok(found)
    }

    /// `above` holds the parent folders with links resolved: a link to one of them is a cycle.
    fn collect(&self, path: &Path, above: &mut Vec<PathBuf>, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
        let context = || format!("cannot read {}", path.display());
        let Ok(meta) = fs::metadata(path) else {
            // A link without a target.
            found.push(path.to_owned());
            return Ok(());
        };
        if meta.is_file() {
            found.push(path.to_owned());
        }
        if !meta.is_dir() {
            return Ok(());
        }
        let real = fs::canonicalize(path).with_context(context)?;
        let link = path.is_symlink() && !above.is_empty();
        if link && (!self.links || above.contains(&real)) {
            found.push(path.to_owned());
            return Ok(());
        }
        let of_stage = self.stages.iter().any(|folder| real.starts_with(folder));
        let entries = fs::read_dir(path).with_context(context)?;
        let mut entries: Vec<PathBuf> =
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>().with_context(context)?;
        entries.sort();
        let of_pipeline = self.out.as_ref() == Some(&real);
        above.push(real);
        for entry in entries {
            let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let kept =
                of_stage && [NAME, LOG, run::RECORD, run::CONFIG, "checkpoints", "tensorboard"].contains(&&*name);
            let made = !self.made.is_empty() && fs::canonicalize(&entry).is_ok_and(|real| self.made.contains(&real));
            let hidden = name.starts_with('.') || name == "__pycache__" || (of_pipeline && self.hidden.contains(&name));
            if !(made || kept || hidden) {
                self.collect(&entry, above, found)?;
            }
        }
        above.pop();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_names_inputs_in_several_ways() {
        for (word, expected) in [
            ("data.jsonl", vec!["data.jsonl"]),
            ("--data=data.jsonl:0.5", vec!["data.jsonl:0.5"]),
            ("--data", vec![]),
            ("-mmodel", vec!["model"]),
            ("-m", vec![]),
            ("--set=text=input.txt", vec!["text=input.txt", "input.txt"]),
            ("text=input.txt", vec!["text=input.txt", "input.txt"]),
            ("a.jsonl,b.jsonl", vec!["a.jsonl,b.jsonl", "a.jsonl", "b.jsonl"]),
            ("--tasks=a,b", vec!["a,b", "a", "b"]),
            ("--é=", vec![]),
        ] {
            assert_eq!(candidates(word), expected, "{word}");
        }
    }

    #[test]
    fn what_a_config_file_names_is_an_input() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name).display().to_string();
        fs::write(path("seed.txt"), "1").unwrap();
        fs::write(path("c.toml"), format!("rate = 1\ndata = [{{ file = \"{}\" }}]\n", path("seed.txt"))).unwrap();
        let stage = Stage {
            name: "a".into(),
            about: String::new(),
            folder: place.path().join("out/01-a"),
            herd: true,
            words: vec!["sft".into(), format!("--config={}", path("c.toml"))],
            identity: vec!["sft".into(), "--config".into()],
            retries: 0,
            timeout: None,
            estimate: None,
        };
        let recipe = Recipe {
            name: "x".into(),
            about: String::new(),
            output: place.path().join("out"),
            stages: vec![stage],
            text: String::new(),
        };
        let print = || fingerprint(&recipe, 0, &BTreeSet::new()).unwrap();
        let before = print();
        assert_eq!(print(), before);
        fs::write(path("seed.txt"), "2").unwrap();
        assert_ne!(print(), before);
    }

    #[test]
    fn links_in_circles_end() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path();
        fs::create_dir(folder.join("a")).unwrap();
        fs::write(folder.join("a/x"), "1").unwrap();
        std::os::unix::fs::symlink("..", folder.join("a/up")).unwrap();
        std::os::unix::fs::symlink("/nonexistent", folder.join("a/nowhere")).unwrap();
        let walk = Walk { out: None, hidden: BTreeSet::new(), stages: Vec::new(), made: BTreeSet::new(), links: true };
        let found = walk.files(folder).unwrap();
        let names: Vec<String> =
            found.iter().map(|path| path.strip_prefix(folder).unwrap().display().to_string()).collect();
        assert_eq!(names, ["a/nowhere", "a/up", "a/x"]);
        let before: Vec<FileMark> = found.iter().map(|path| mark(path).unwrap()).collect();
        fs::remove_file(folder.join("a/nowhere")).unwrap();
        std::os::unix::fs::symlink("/elsewhere", folder.join("a/nowhere")).unwrap();
        assert_ne!(mark(&found[0]).unwrap(), before[0]);
        assert_eq!(mark(&found[1]).unwrap(), before[1]);
    }
}
