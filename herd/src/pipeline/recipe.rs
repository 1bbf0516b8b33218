//! A pipeline file: the commands in order, their inputs, and the variables that they pass on.
//!
//! ```toml
//! name = "one round on my data"
//! output = "runs/round"
//!
//! [vars]
//! model = "smollm2-135m-instruct"
//!
//! [[stage]]
//! name = "sft"
//! sft = { model = "{model}", data = ["train.jsonl"], learning_rate = 1e-4, output = "{out}" }
//! sets = { model = "{out}/model" }
//!
//! [[stage]]
//! name = "round"
//! repeat = 2
//! [[stage.stage]]
//! name = "sample"
//! herd = ["rejection-sampling", "run", "--model", "{model}", "--seed", "{n}", "--output", "{out}"]
//! ```
//!
//! A stage is a table of a `herd` command's flags, or the whole command line as a list.
//!
//! `{out}` is the stage's folder in that of the pipeline, `{n}` the number of the round, `{NAME}` a variable or the
//! folder of an earlier stage (the newest one of that name, or `round1-sample`). `{{` and `}}` are literal braces.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

use super::tables;

/// The content of the file.
#[derive(Debug, Clone, Deserialize)]
struct File {
    name: String,
    #[serde(default)]
    about: String,
    output: Option<PathBuf>,
    #[serde(default)]
    vars: BTreeMap<String, String>,
    #[serde(default)]
    retries: u32,
    stage: Vec<Entry>,
}

/// A stage, or a repeated block of stages.
#[derive(Debug, Clone, Deserialize)]
struct Entry {
    name: String,
    #[serde(default)]
    about: String,
    herd: Option<Vec<String>>,
    command: Option<Vec<String>>,
    #[serde(default)]
    sets: BTreeMap<String, String>,
    retries: Option<u32>,
    timeout: Option<String>,
    estimate: Option<String>,
    repeat: Option<u32>,
    #[serde(default)]
    stage: Vec<Entry>,
    /// Every other key: a `herd` command with its flags.
    #[serde(flatten)]
    tables: toml::Table,
}

impl Entry {
    /// Whether the program is `herd`, and the command line; `None` for a block.
    fn words(&self, herd: &clap::Command) -> anyhow::Result<Option<(bool, Vec<String>)>> {
        let mut ways: Vec<(bool, Vec<String>)> = Vec::new();
        ways.extend(self.herd.clone().map(|words| (true, words)));
        ways.extend(self.command.clone().map(|words| (false, words)));
        for (name, value) in &self.tables {
            if herd.find_subcommand(name).is_none() {
                let commands = herd.get_subcommands().map(clap::Command::get_name);
                let known = commands.chain(KEYS);
                bail!("{name} is neither a key of a stage nor a command of herd{}", run::nearest(name, known));
            }
            ways.push((true, tables::words(herd, name, value)?));
        }
        ensure!(ways.len() <= 1, "it has {} commands; give it one", ways.len());
        Ok(ways.pop())
    }
}

/// The keys of a [`File`].
const TOP: [&str; 6] = ["name", "about", "output", "vars", "retries", "stage"];

/// The keys of an [`Entry`].
const KEYS: [&str; 10] =
    ["name", "about", "herd", "command", "sets", "retries", "timeout", "estimate", "repeat", "stage"];

/// A pipeline that is ready to run: every placeholder is replaced.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Its title.
    pub name: String,
    /// The description.
    pub about: String,
    /// The folder of the pipeline.
    pub output: PathBuf,
    /// The stages in order.
    pub stages: Vec<Stage>,
    /// The file's text.
    pub text: String,
}

/// One process of a pipeline.
#[derive(Debug, Clone)]
pub struct Stage {
    /// The unique name: `sft`, `round2-sample`.
    pub name: String,
    /// The description.
    pub about: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Whether the program is `herd` itself, which is then not part of `words`.
    pub herd: bool,
    /// The command line.
    pub words: Vec<String>,
    /// The command line with the names of folders in place of their paths; it does not change when the pipeline
    /// moves.
    pub identity: Vec<String>,
    /// Number of retries after a failure.
    pub retries: u32,
    /// The time after which it is killed.
    pub timeout: Option<Duration>,
    /// The duration that the recipe's author observed.
    pub estimate: Option<Duration>,
}

impl Stage {
    /// The command as typed in a shell.
    pub fn shown(&self) -> String {
        let words = self.words.iter().map(String::as_str);
        shell(self.herd.then_some("herd").into_iter().chain(words))
    }
}

/// A command line as typed in a shell, quoted where a shell needs it.
pub fn shell<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let plain =
        |word: &str| !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || "-_./:=,+@%{}".contains(c));
    let quoted = |word: &str| if plain(word) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) };
    words.map(quoted).collect::<Vec<_>>().join(" ")
}

/// Reads a pipeline file. `vars` and `output` of the command line override those of the file.
///
/// # Errors
/// When the file is faulty; the error names the file and the stage, key or placeholder.
pub fn read(path: &Path, vars: &[(String, String)], output: Option<&Path>) -> anyhow::Result<Recipe> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text, vars, output).with_context(|| path.display().to_string())
}

fn parse(text: &str, given: &[(String, String)], output: Option<&Path>) -> anyhow::Result<Recipe> {
    check_keys(text)?;
    let file: File = toml::from_str(text).map_err(|error| anyhow::anyhow!("{}", error.to_string().trim_end()))?;
    let output =
        output.map(Path::to_owned).or(file.output).context("output is missing: give --output, or output = \"...\"")?;
    let mut vars = file.vars;
    for (name, value) in given {
        ensure!(
            vars.contains_key(name),
            "--set {name}: the file has no such variable; it has {}",
            list(vars.keys(), "no variables at all: declare it under [vars]")
        );
        vars.insert(name.clone(), value.clone());
    }
    let mut expansion = Expansion {
        herd: crate::command(),
        output: output.clone(),
        retries: file.retries,
        vars,
        folders: BTreeMap::new(),
        stages: Vec::new(),
        all: stage_names(&file.stage),
    };
    expansion.entries(&file.stage, "", None)?;
    ensure!(!expansion.stages.is_empty(), "there is no stage");
    Ok(Recipe { name: file.name, about: file.about, output, stages: expansion.stages, text: text.to_owned() })
}

/// Refuses a key of the file that a recipe does not have. Faults of the syntax are left to the parser.
fn check_keys(text: &str) -> anyhow::Result<()> {
    let table = toml::de::DeTable::parse(text).ok();
    for key in table.iter().flat_map(|table| table.get_ref().keys()) {
        let name = key.get_ref();
        if !TOP.contains(&&**name) {
            let line = text[..key.span().start].matches('\n').count() + 1;
            let near = run::nearest(name, TOP.into_iter());
            bail!("line {line}: {name} is not a key of a recipe ({}){near}", TOP.join(", "));
        }
    }
    Ok(())
}

/// The expansion of stages, with the current values of the variables.
struct Expansion {
    /// The command line with which tables are checked.
    herd: clap::Command,
    output: PathBuf,
    retries: u32,
    vars: BTreeMap<String, String>,
    /// The folder of each earlier stage, by full name and by short name, with its full name.
    folders: BTreeMap<String, (String, PathBuf)>,
    stages: Vec<Stage>,
    /// Every name that can refer to a stage or block of the file, with its meaning.
    all: BTreeMap<String, Named>,
}

/// The meaning of a name in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    Stage,
    Block,
}

/// The names of all stages, short and with their round, and of all blocks.
fn stage_names(entries: &[Entry]) -> BTreeMap<String, Named> {
    let mut all = BTreeMap::new();
    for entry in entries {
        if let Some(times) = entry.repeat {
            for inner in &entry.stage {
                all.insert(inner.name.clone(), Named::Stage);
                all.extend((1..=times.min(1000)).map(|n| (format!("{}{n}-{}", entry.name, inner.name), Named::Stage)));
            }
            all.entry(entry.name.clone()).or_insert(Named::Block);
        } else {
            all.insert(entry.name.clone(), Named::Stage);
        }
    }
    all
}

impl Expansion {
    fn entries(&mut self, entries: &[Entry], prefix: &str, round: Option<u32>) -> anyhow::Result<()> {
        for entry in entries {
            let whole = format!("{prefix}{}", entry.name);
            let name_is_plain = entry.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
            ensure!(
                name_is_plain && !entry.name.is_empty() && entry.name != "out" && entry.name != "n",
                "stage {:?}: a name has letters, digits, - and _, and is neither out nor n",
                entry.name
            );
            let words = entry.words(&self.herd).with_context(|| format!("stage {whole}"))?;
            match (entry.repeat, words) {
                (Some(times), None) => {
                    ensure!(
                        !entry.stage.is_empty() && times > 0,
                        "stage {whole} repeats nothing: give it [[stage.stage]]"
                    );
                    ensure!(round.is_none(), "stage {whole}: rounds inside rounds are not supported");
                    for n in 1..=times {
                        self.entries(&entry.stage, &format!("{whole}{n}-"), Some(n))?;
                    }
                }
                (None, Some((herd, words))) => {
                    self.stage(entry, &whole, herd, &words, round).with_context(|| format!("stage {whole}"))?
                }
                _ => bail!(
                    "stage {whole} needs one of: a command of herd such as sft = {{ ... }}, herd = [...], command = [...], or \
                     repeat with [[stage.stage]]"
                ),
            }
        }
        Ok(())
    }

    /// The error for a placeholder that has no value in stage `whole`.
    fn unknown(&self, key: &str, whole: &str, bare: &str, round: Option<u32>) -> String {
        if key == whole || key == bare {
            return "is this stage itself; its folder is {out}".into();
        }
        if key == "n" && round.is_none() {
            return "is the number of the round, and this stage is in no block with repeat".into();
        }
        match self.all.get(key) {
            Some(Named::Stage) => {
                return format!("is a later stage: move {key} before this one, or use an earlier stage");
            }
            Some(Named::Block) => {
                return format!("is a block of stages that is repeated; name one of its stages, such as {key}1-NAME");
            }
            None => {}
        }
        let variables = list(self.vars.keys(), "none");
        let earlier = list(self.folders.keys(), "none");
        format!(
            "is neither a variable nor an earlier stage (variables: {variables}; earlier stages: {earlier}; and {{out}})"
        )
    }

    fn stage(
        &mut self,
        entry: &Entry,
        name: &str,
        herd: bool,
        words: &[String],
        round: Option<u32>,
    ) -> anyhow::Result<()> {
        ensure!(entry.stage.is_empty(), "it has stages of its own, but no repeat");
        ensure!(!words.is_empty(), "its command is empty");
        ensure!(!self.folders.contains_key(name), "the name is taken by an earlier stage");
        ensure!(!self.vars.contains_key(&entry.name), "the name is also that of a variable");
        let folder = self.output.join(format!("{:02}-{name}", self.stages.len() + 1));
        let resolve = |text: &String, real: bool| {
            fill(text, |key| {
                let place =
                    |path: &Path, symbol: &str| if real { path.display().to_string() } else { format!("<{symbol}>") };
                match key {
                    "out" => Some(place(&folder, "out")),
                    "n" => round.map(|n| n.to_string()),
                    key => self
                        .vars
                        .get(key)
                        .cloned()
                        .or_else(|| self.folders.get(key).map(|(name, path)| place(path, name))),
                }
            })
            .map_err(|error| match error {
                Unfilled::Brace(what) => anyhow::anyhow!(what),
                Unfilled::Key(key) => {
                    anyhow::anyhow!("{{{key}}} in {text:?} {}", self.unknown(&key, name, &entry.name, round))
                }
            })
        };
        let words_of = |real| words.iter().map(|word| resolve(word, real)).collect::<anyhow::Result<Vec<_>>>();
        let (real, mut identity) = (words_of(true)?, words_of(false)?);
        // A variable that an earlier stage set holds the folder of that stage.
        for (name, path) in self.folders.values() {
            for word in &mut identity {
                *word = word.replace(&*path.to_string_lossy(), &format!("<{name}>"));
            }
        }
        let sets = entry.sets.iter().map(|(key, value)| {
            ensure!(
                self.vars.contains_key(key),
                "sets {key}: there is no such variable; give it a first value under [vars]"
            );
            Ok((key.clone(), resolve(value, true)?))
        });
        let sets = sets.collect::<anyhow::Result<Vec<_>>>()?;
        let time = |text: &Option<String>, key: &str| {
            text.as_deref().map(|text| duration(text).with_context(|| format!("{key} = {text:?}"))).transpose()
        };
        self.stages.push(Stage {
            name: name.to_owned(),
            about: entry.about.clone(),
            folder: folder.clone(),
            herd,
            words: real,
            identity,
            retries: entry.retries.unwrap_or(self.retries),
            timeout: time(&entry.timeout, "timeout")?,
            estimate: time(&entry.estimate, "estimate")?,
        });
        self.vars.extend(sets);
        for key in [name, &entry.name] {
            self.folders.insert(key.to_owned(), (name.to_owned(), folder.clone()));
        }
        Ok(())
    }
}

/// The reason why a text cannot be filled in.
enum Unfilled {
    /// A brace without its partner, as a sentence.
    Brace(String),
    /// A placeholder that has no value.
    Key(String),
}

/// Replaces `{key}` by `value(key)`.
fn fill(text: &str, value: impl Fn(&str) -> Option<String>) -> Result<String, Unfilled> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        filled.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if rest.starts_with(brace) {
            filled.push_str(brace);
            rest = &rest[1..];
            continue;
        }
        let end = rest.find('}').filter(|_| brace == "{").ok_or_else(|| {
            Unfilled::Brace(format!("a brace in {text:?} has no partner; write {{{{ or }}}} for a brace"))
        })?;
        let key = &rest[..end];
        filled.push_str(&value(key).ok_or_else(|| Unfilled::Key(key.to_owned()))?);
        rest = &rest[end + 1..];
    }
    filled.push_str(rest);
    Ok(filled)
}

/// `90s`, `5m`, `1.5h`.
fn duration(text: &str) -> anyhow::Result<Duration> {
    let (number, unit) = text.trim().split_at(text.trim().len().saturating_sub(1));
    let seconds = match unit {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => bail!("write a time as 90s, 5m or 1.5h"),
    };
    let number: f64 = number.trim().parse().ok().context("write a time as 90s, 5m or 1.5h")?;
    Duration::try_from_secs_f64(number * seconds).ok().context("write a time as 90s, 5m or 1.5h")
}

/// Names separated by commas, or `none` if there are none.
fn list<'a>(names: impl Iterator<Item = &'a String>, none: &str) -> String {
    let names: Vec<&str> = names.map(String::as_str).collect();
    if names.is_empty() { none.to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUNDS: &str = r#"
        name = "rounds"
        output = "runs/x"
        retries = 1
        [vars]
        model = "base"
        [[stage]]
        name = "data"
        command = ["make", "{out}/train.jsonl", "{{n}}"]
        timeout = "1.5m"
        [[stage]]
        name = "round"
        repeat = 2
        [[stage.stage]]
        name = "sample"
        herd = ["sample", "{model}", "{data}/train.jsonl", "--seed", "{n}"]
        [[stage.stage]]
        name = "sft"
        herd = ["sft", "--model", "{model}", "--data", "{sample}/selected.jsonl:0.5"]
        sets = { model = "{out}/model" }
        retries = 3
        [[stage]]
        name = "eval"
        herd = ["eval", "{model}", "{round1-sft}/model"]
    "#;

    #[test]
    fn rounds_are_unrolled_and_variables_move_on() {
        let recipe = parse(ROUNDS, &[], None).unwrap();
        let stages: Vec<(&str, &str, u32)> =
            recipe.stages.iter().map(|s| (&*s.name, s.folder.to_str().unwrap(), s.retries)).collect();
        assert_eq!(
            stages,
            [
                ("data", "runs/x/01-data", 1),
                ("round1-sample", "runs/x/02-round1-sample", 1),
                ("round1-sft", "runs/x/03-round1-sft", 3),
                ("round2-sample", "runs/x/04-round2-sample", 1),
                ("round2-sft", "runs/x/05-round2-sft", 3),
                ("eval", "runs/x/06-eval", 1),
            ]
        );
        let words = |n: usize| recipe.stages[n].words.join(" ");
        assert_eq!(words(0), "make runs/x/01-data/train.jsonl {n}");
        assert_eq!(words(1), "sample base runs/x/01-data/train.jsonl --seed 1");
        assert_eq!(words(3), "sample runs/x/03-round1-sft/model runs/x/01-data/train.jsonl --seed 2");
        assert_eq!(
            words(4),
            "sft --model runs/x/03-round1-sft/model --data runs/x/04-round2-sample/selected.jsonl:0.5"
        );
        assert_eq!(words(5), "eval runs/x/05-round2-sft/model runs/x/03-round1-sft/model");
        // The identity of a stage does not depend on the folder of the pipeline.
        let moved = parse(ROUNDS, &[], Some(Path::new("/elsewhere"))).unwrap();
        for (a, b) in recipe.stages.iter().zip(&moved.stages) {
            assert_eq!(a.identity, b.identity);
            assert!(!a.identity.join(" ").contains("runs/x"), "{:?}", a.identity);
        }
        assert_eq!(recipe.stages[0].timeout, Some(Duration::from_secs(90)));
        assert_eq!(recipe.stages[0].shown(), "make runs/x/01-data/train.jsonl {n}");
    }

    #[test]
    fn tables_are_filled_like_command_lines() {
        let stage = |stage: &str| {
            let text = format!("name = \"x\"\noutput = \"o\"\n[vars]\nmodel = \"m\"\n[[stage]]\nname = \"a\"\n{stage}");
            parse(&text, &[], None).unwrap().stages.remove(0)
        };
        let table = stage("sft = { model = \"{model}\", output = \"{out}\", data = [\"x\"] }");
        let list = stage("herd = [\"sft\", \"--data\", \"x\", \"--model\", \"{model}\", \"--output\", \"{out}\"]");
        assert_eq!((table.herd, &table.words, &table.identity), (true, &list.words, &list.identity));
    }

    #[test]
    fn the_command_line_sets_variables() {
        let recipe = parse(ROUNDS, &[("model".into(), "other".into())], None).unwrap();
        assert_eq!(recipe.stages[1].words[1], "other");
        let error = format!("{:#}", parse(ROUNDS, &[("modle".into(), "x".into())], None).unwrap_err());
        assert!(error.contains("--set modle: the file has no such variable; it has model"), "{error}");
        let bare = "name = \"x\"\noutput = \"o\"\n[[stage]]\nname = \"a\"\nherd = [\"b\"]";
        let error = format!("{:#}", parse(bare, &[("x".into(), "1".into())], None).unwrap_err());
        assert!(error.contains("--set x: the file has no such variable; it has no variables at all"), "{error}");
    }

    #[test]
    fn mistakes_are_sentences() {
        for (text, sentence) in [
            ("name = \"x\"\nstage = []", "output is missing"),
            ("name = \"x\"\noutput = \"o\"\nstage = []", "there is no stage"),
            ("name = \"x\"\noutput = \"o\"\n[[stage]]\nname = \"a\"", "stage a needs one of"),
            (
                "name = \"x\"\noutput = \"o\"\n[[stage]]\nname = \"a\"\nherd = [\"{b}\"]",
                "{b} in \"{b}\" is neither a variable nor an earlier stage (variables: none; earlier stages: none; and {out})",
            ),
            (
                "name = \"x\"\noutput = \"o\"\n[[stage]]\nname = \"a\"\nherd = [\"{b}/x\"]\n[[stage]]\nname = \"b\"\nherd = [\"c\"]",
                "stage a: {b} in \"{b}/x\" is a later stage",
            ),
            (
                "name = \"x\"\noutput = \"o\"\n[[stage]]\nname = \"a\"\nherd = [\"{a}/x\"]",
                "stage a: {a} in \"{a}/x\" is this stage itself; its folder is {out}",
            ),
            (
                "name = \"x\"\noutput = \"o\"\n[[stage]]\nname = \"a\"\nherd = [\"--seed={n}\"]",
                "{n} in \"--seed={n}\" is the number of the round, and this stage is in no block",
            ),
            (
                "name = \"x\"\noutput = \"o\"\n[[stage]]\nname = \"r\"\nrepeat = 2\n[[stage.stage]]\nname = \"s\"\nherd = [\"b\"]\n[[stage]]\nname = \"a\"\nherd = [\"{r}\"]",
                "{r} in \"{r}\" is a block of stages",
            ),
            ("name = \"x\"\noutput = \"o\"\n[[stage]]\nname = \"a\"\nherd = [\"b}\"]", "has no partner"),
            (
                "name = \"x\"\noutput = \"o\"\n[[stage]]\nname = \"a\"\nherd = [\"b\"]\ntimeout = \"5 d\"",
                "90s, 5m or 1.5h",
            ),
            (
                "name = \"x\"\noutput = \"o\"\n[[stage]]\nname = \"a\"\nherd = [\"b\"]\nsets = { m = \"1\" }",
                "sets m: there is no such variable",
            ),
            (
                "name = \"x\"\noutput = \"o\"\n[[stage]]\nname = \"a\"\nherd = [\"b\"]\n[[stage]]\nname = \"a\"\nherd = [\"b\"]",
                "taken by an earlier",
            ),
            ("name = \"x\"\noutput = \"o\"\n[[stage]]\nname = \"a b\"\nherd = [\"b\"]", "letters, digits"),
            (
                "name = \"x\"\noutput = \"o\"\n[[stage]]\nname = \"a\"\nretires = 1",
                "stage a: retires is neither a key of a stage nor a command of herd; did you mean retries?",
            ),
            (
                "name = \"x\"\noutput = \"o\"\n[[stage]]\nname = \"a\"\nsft = { modle = \"m\" }",
                "stage a: modle is not a key of herd sft; did you mean model?",
            ),
            (
                "name = \"x\"\noutput = \"o\"\n[[stage]]\nname = \"a\"\nsft = {}\nherd = [\"b\"]",
                "stage a: it has 2 commands; give it one",
            ),
            (
                "name = \"x\"\noutput = \"o\"\nretires = 1\n[[stage]]\nname = \"a\"\nherd = [\"b\"]",
                "line 3: retires is not a key of a recipe (name, about, output, vars, retries, stage); did you mean retries?",
            ),
        ] {
            let error = format!("{:#}", parse(text, &[], None).unwrap_err());
            assert!(error.contains(sentence), "{text}: {error}");
        }
    }
}
