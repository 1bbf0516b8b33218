//! A run from start to end: the session compares the command with its folder, records the start, and records the end.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use dataset::digest::Fingerprint;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::config::{Class, Resolved, object};
use crate::facts::Facts;
use crate::folder::RunFolder;
use crate::inputs::Input;
use crate::record::{Change, Record, Resumed, SCHEMA, Stage, Versions, outputs};

/// The file with the resolved configuration in a run folder.
pub const CONFIG: &str = "config.toml";

/// Files of folders from versions before schema 1, which had no `run.json` yet or never had one.
const BEFORE_SCHEMA: [&str; 6] =
    ["checkpoints", "metrics.jsonl", "turns.journal", "fingerprint", "made.json", "average.json"];

/// The state of a folder, as a command finds it.
pub enum Begun {
    /// The result of this command, finished and undamaged.
    Finished(Record),
    /// A run to start or to continue.
    Going(Session),
}

/// A run in progress. If it is dropped after [`Session::start`] without [`Session::finish`], it leaves the record of
/// an unfinished run with its duration.
pub struct Session {
    folder: RunFolder,
    record: Record,
    start: Instant,
    before: f64,
    /// The configuration as TOML.
    text: String,
    only_output: bool,
    /// Whether no earlier session recorded anything.
    first: bool,
    /// Whether nothing remains to be recorded when the session is dropped.
    settled: bool,
}

/// The differences of a command's configuration and inputs from the run in its folder.
#[derive(Debug, Default)]
struct Differences {
    course: Vec<Change>,
    bits: Vec<Change>,
    output: Vec<Change>,
}

impl Session {
    /// Begins the run in the folder `output`. For a finished run, prints its summary and returns nothing.
    ///
    /// # Errors
    /// See [`Session::begin`].
    pub fn open<C: Serialize>(output: &Path, resolved: &Resolved<C>, facts: Facts) -> anyhow::Result<Option<Self>> {
        Self::open_again(output, resolved, facts, false)
    }

    /// Like [`Session::open`]. With `again`, a finished run is continued too, for commands that can retry failed
    /// requests.
    ///
    /// # Errors
    /// See [`Session::begin`].
    pub fn open_again<C: Serialize>(
        output: &Path,
        resolved: &Resolved<C>,
        facts: Facts,
        again: bool,
    ) -> anyhow::Result<Option<Self>> {
        Ok(match Self::begin_again(RunFolder::open(output)?, resolved, facts, again)? {
            Begun::Going(session) => Some(session),
            Begun::Finished(record) => {
                println!("{} is finished already:\n{}", output.display(), record.summary);
                None
            }
        })
    }

    /// Compares the command with its folder. Nothing is recorded before [`Session::start`], so a command with faulty
    /// data can be repeated with other data.
    ///
    /// # Errors
    /// When the run in the folder has another course: the error names every key and input that differs, with old and
    /// new value. When an earlier version of herd wrote the folder. I/O errors.
    pub fn begin<C: Serialize>(folder: RunFolder, resolved: &Resolved<C>, facts: Facts) -> anyhow::Result<Begun> {
        Self::begin_again(folder, resolved, facts, false)
    }

    /// Like [`Session::begin`]. With `again`, a finished run is continued too, for commands that can retry failed
    /// requests.
    ///
    /// # Errors
    /// See [`Session::begin`].
    pub fn begin_again<C: Serialize>(
        folder: RunFolder,
        resolved: &Resolved<C>,
        facts: Facts,
        again: bool,
    ) -> anyhow::Result<Begun> {
        let path = folder.path().to_owned();
        let config = object(&resolved.config)?;
        let text = resolved.to_toml()?;
        let fingerprint = fingerprint(&facts, &config)?;
        let mut record = Record::new(facts.stage)?;
        record.versions = Versions::here(facts.libtorch);
        record.seed = facts.seed;
        record.fingerprint = fingerprint;
        record.inputs = facts.inputs;
        record.hardware = facts.hardware;
        record.bit_exact = facts.notes.is_empty();
        record.notes = facts.notes;
        record.stage.config = config;
        let (mut only_output, mut first) = (false, false);
        match Record::read(&path)? {
            None => {
                first = true;
                let old = BEFORE_SCHEMA.iter().find(|name| path.join(name).exists());
                if let Some(name) = old {
                    bail!(
                        "{} holds a run of an earlier version of herd ({name} without a run.json of schema {SCHEMA}), which \
                         this version cannot go on with; choose another --output, or remove the folder",
                        path.display()
                    );
                }
            }
            Some(mut earlier) => {
                ensure!(
                    earlier.stage.name == record.stage.name,
                    "{} holds a run of `herd {}`, not of `herd {}`; choose another --output",
                    path.display(),
                    earlier.stage.name,
                    record.stage.name
                );
                let found = differences(&earlier, &record, &resolved.defaults, facts.class);
                refuse(&path, &found.course)?;
                if earlier.finished {
                    let damaged = earlier.damage(&path)?;
                    put_aside(&damaged)?;
                    if damaged.is_empty() && found.output.is_empty() && !again {
                        if !found.bits.is_empty() {
                            let bits = list(&found.bits);
                            eprintln!("{} is finished; nothing is computed again for {bits}", path.display());
                        }
                        return Ok(Begun::Finished(earlier));
                    }
                    only_output = damaged.is_empty();
                    if !found.output.is_empty() && only_output {
                        let what = if again { "the command changed" } else { "only the result is saved again" };
                        eprintln!("{}: {what} ({})", path.display(), list(&found.output));
                    }
                }
                for change in found.bits.iter().filter(|_| !only_output) {
                    eprintln!(
                        "{}: {change}: accepted; from here on the bits may differ from an uninterrupted run's",
                        path.display()
                    );
                    earlier.notes.push(format!("the run went on with {change}"));
                }
                let changed = found.bits.into_iter().chain(found.output).collect();
                earlier.resumed.push(Resumed { at: record.started.clone(), changed });
                for note in record.notes {
                    if !earlier.notes.contains(&note) {
                        earlier.notes.push(note);
                    }
                }
                record = Record {
                    started: earlier.started,
                    duration_seconds: earlier.duration_seconds,
                    resumed: earlier.resumed,
                    bit_exact: earlier.notes.is_empty(),
                    notes: earlier.notes,
                    // The fingerprint of the folder stays: a later version may have more keys with the same values.
                    fingerprint: earlier.fingerprint,
                    // The old outputs stay in the record until they are written again.
                    outputs: earlier.outputs,
                    summary: earlier.summary,
                    stage: Stage { figures: earlier.stage.figures, ..record.stage },
                    ..record
                };
            }
        }
        let before = record.duration_seconds;
        let start = Instant::now();
        Ok(Begun::Going(Self { folder, record, text, start, before, only_output, first, settled: true }))
    }

    /// The folder of the run.
    #[must_use]
    pub fn folder(&self) -> &RunFolder {
        &self.folder
    }

    /// Digest of the stage, of the keys that change its course, and of its inputs; for checkpoints and journals.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.record.fingerprint
    }

    /// Whether an earlier session of this run has started.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        !self.record.resumed.is_empty()
    }

    /// Whether the run is finished and only its saved form changes.
    #[must_use]
    pub fn only_output(&self) -> bool {
        self.only_output
    }

    /// Adds a reason why a repetition may give other bytes.
    pub fn note(&mut self, why: impl Into<String>) {
        let why = why.into();
        self.record.bit_exact = false;
        if !self.record.notes.contains(&why) {
            self.record.notes.push(why);
        }
    }

    /// Records the start of the run, before its first result. `figures` must be equal in every session, such as the
    /// counts of the data ledger: this detects a change that neither keys nor digests show.
    ///
    /// # Errors
    /// When an earlier session recorded other figures, and I/O errors.
    pub fn start(&mut self, figures: Value) -> anyhow::Result<()> {
        if let (Value::Object(now), Value::Object(before)) = (&figures, &self.record.stage.figures) {
            for (name, now) in now {
                let before = before.get(name).unwrap_or(now);
                ensure!(
                    before == now,
                    "{}: {name} has other figures than in the session before, from the same files: {before} before, {now} now; \
                     choose another --output, or remove the folder",
                    self.folder.path().display()
                );
            }
        }
        if self.first && self.folder.join(CONFIG).is_file() {
            // The file may belong to the user, for example as the file of --config: keep it under another name.
            let given = self.folder.join("config.given.toml");
            fs::rename(self.folder.join(CONFIG), &given)
                .with_context(|| format!("cannot write {}", given.display()))?;
            eprintln!("{} is renamed to {}", self.folder.join(CONFIG).display(), given.display());
        }
        // A finished run stays finished until its result has been saved in the new form.
        if !self.only_output {
            self.record.stage.figures = figures;
            self.write()?;
            self.settled = false;
        }
        Ok(())
    }

    /// Records the finished run: the digests of the files and folders `made` (relative to the run folder), and the
    /// result of the stage, as text and as figures.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn finish(mut self, made: &[&str], summary: &str, figures: Value) -> anyhow::Result<()> {
        self.record.outputs = outputs(self.folder.path(), made)?;
        self.record.summary = summary.to_owned();
        self.record.stage.figures = figures;
        self.record.finished = true;
        self.settled = true;
        self.write()?;
        Ok(())
    }

    fn write(&mut self) -> anyhow::Result<()> {
        self.record.duration_seconds = self.before + self.start.elapsed().as_secs_f64();
        dataset::write_file(self.folder.join(CONFIG), self.text.as_bytes())?;
        self.record.write(self.folder.path())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.settled
            && let Err(error) = self.write()
        {
            eprintln!("warning: cannot record how long the run took: {error:#}");
        }
    }
}

/// The digest of everything that determines the course: the stage, the keys of that class, and the inputs.
fn fingerprint(facts: &Facts, config: &Map<String, Value>) -> anyhow::Result<String> {
    let course: Map<String, Value> = config
        .iter()
        .filter(|(key, value)| (facts.class)(key) == Class::Course && !value.is_null())
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let mut print = Fingerprint::new().text("stage", facts.stage).text("config", &serde_json::to_string(&course)?);
    for input in facts.inputs.iter().filter(|input| (facts.class)(&input.key) != Class::Output) {
        print = print.text(&input.key, &input.sha256).text("weight", &serde_json::to_string(&input.weight)?);
    }
    Ok(print.finish())
}

fn differences(earlier: &Record, now: &Record, defaults: &Map<String, Value>, class: fn(&str) -> Class) -> Differences {
    let mut found = Differences::default();
    let (before, after) = (&earlier.stage.config, &now.stage.config);
    for key in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
        // A key that did not exist in the version that wrote the folder has its default.
        let default = defaults.get(key).unwrap_or(&Value::Null);
        let (before, now) = (before.get(key).unwrap_or(default), after.get(key).unwrap_or(&Value::Null));
        if before != now {
            let change = Change { key: key.clone(), before: before.clone(), now: now.clone() };
            match class(key) {
                Class::Course => found.course.push(change),
                Class::Bits => found.bits.push(change),
                Class::Output => found.output.push(change),
                Class::Free => {}
            }
        }
    }
    for change in changed_inputs(&earlier.inputs, &now.inputs) {
        match class(&change.key) {
            Class::Output => found.output.push(change),
            _ => found.course.push(change),
        }
    }
    let text = |value: &Option<String>| Value::from(value.clone());
    let (old, new) = (&earlier.hardware, &now.hardware);
    for (key, before, now) in [
        ("hardware.cpu", text(&old.cpu), text(&new.cpu)),
        ("hardware.device", text(&old.device), text(&new.device)),
        ("hardware.dtype", text(&old.dtype), text(&new.dtype)),
        ("hardware.threads", old.threads.into(), new.threads.into()),
        ("versions.herd", earlier.versions.herd.clone().into(), now.versions.herd.clone().into()),
        ("versions.libtorch", text(&earlier.versions.libtorch), text(&now.versions.libtorch)),
    ] {
        let named = found.bits.iter().any(|change| key.ends_with(&change.key));
        if before != now && !named && !earlier.finished {
            found.bits.push(Change { key: key.into(), before, now });
        }
    }
    found
}

/// Inputs whose content, weight or number differs.
fn changed_inputs(before: &[Input], now: &[Input]) -> Vec<Change> {
    let shown = |input: &Input| {
        let weight = input.weight.map_or(String::new(), |weight| format!(", weight {weight}"));
        Value::from(format!("{} (SHA-256 {}{weight})", input.path, &input.sha256[..12.min(input.sha256.len())]))
    };
    let keys: BTreeSet<&String> = before.iter().chain(now).map(|input| &input.key).collect();
    let mut changes = Vec::new();
    for key in keys {
        let of = |all: &[Input]| all.iter().filter(|input| input.key == *key).cloned().collect::<Vec<_>>();
        let (before, now) = (of(before), of(now));
        for at in 0..before.len().max(now.len()) {
            let (before, now) = (before.get(at), now.get(at));
            if before.zip(now).is_none_or(|(before, now)| !before.same(now)) {
                changes.push(Change {
                    key: key.clone(),
                    before: before.map_or(Value::Null, shown),
                    now: now.map_or(Value::Null, shown),
                });
            }
        }
    }
    changes
}

/// Renames damaged files to `NAME.damaged`, so that the run makes them again.
fn put_aside(damaged: &[PathBuf]) -> anyhow::Result<()> {
    for path in damaged {
        if !path.exists() {
            eprintln!("warning: {} is missing; it is made again", path.display());
            continue;
        }
        let mut aside = path.clone().into_os_string();
        aside.push(".damaged");
        fs::rename(path, &aside).with_context(|| format!("cannot rename {}", path.display()))?;
        eprintln!(
            "warning: {} was changed after the run; it is made again, the changed file is {}",
            path.display(),
            aside.display()
        );
    }
    Ok(())
}

fn refuse(path: &Path, course: &[Change]) -> anyhow::Result<()> {
    ensure!(
        course.is_empty(),
        "{} holds a run with another configuration, model or data:\n  {}\nGive the values of before to go on, choose another \
         --output, or remove the folder",
        path.display(),
        course.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  ")
    );
    Ok(())
}

fn list(changes: &[Change]) -> String {
    changes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::resolve;
    use crate::record::Hardware;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, Clone, Serialize, Deserialize, Default)]
    struct Config {
        input: PathBuf,
        output: PathBuf,
        learning_rate: f64,
        threads: Option<usize>,
        merge: bool,
        note: Option<String>,
    }

    fn class(key: &str) -> Class {
        match key {
            "input" | "output" => Class::Free,
            "threads" => Class::Bits,
            "merge" => Class::Output,
            _ => Class::Course,
        }
    }

    fn begin(folder: &Path, flags: Value) -> anyhow::Result<Begun> {
        let mut keys = json!({"input": folder.with_extension("jsonl"), "output": folder, "learning_rate": 1e-3});
        keys.as_object_mut().unwrap().extend(flags.as_object().unwrap().clone());
        let resolved = resolve::<Config>(None, keys.as_object().unwrap().clone())?;
        let facts = Facts {
            stage: "test",
            class,
            seed: Some(7),
            inputs: vec![Input::file("input", &resolved.config.input)?],
            hardware: Hardware { threads: resolved.config.threads, ..Hardware::here() },
            libtorch: None,
            notes: Vec::new(),
        };
        Session::begin(RunFolder::open(folder)?, &resolved, facts)
    }

    fn going(folder: &Path, flags: Value) -> Session {
        match begin(folder, flags).unwrap() {
            Begun::Going(mut session) => {
                session.start(json!({"rows": 3})).unwrap();
                session
            }
            Begun::Finished(_) => panic!("it is finished"),
        }
    }

    fn record(folder: &Path) -> Record {
        Record::read(folder).unwrap().unwrap()
    }

    fn sentence(result: anyhow::Result<Begun>) -> String {
        match result {
            Ok(_) => panic!("it was accepted"),
            Err(error) => format!("{error:#}"),
        }
    }

    fn world() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("run");
        fs::write(dir.path().join("run.jsonl"), "{}\n").unwrap();
        (dir, folder)
    }

    #[test]
    fn from_begin_to_end_and_again() {
        let (_dir, folder) = world();
        drop(going(&folder, json!({})));
        let first = record(&folder);
        assert!(!first.finished && first.bit_exact && first.resumed.is_empty());
        assert_eq!((first.seed, first.stage.figures, first.inputs.len()), (Some(7), json!({"rows": 3}), 1));
        let session = going(&folder, json!({}));
        assert!(session.is_resumed() && session.fingerprint() == first.fingerprint);
        fs::write(folder.join("result"), "abc").unwrap();
        session.finish(&["result", "absent"], "all is well", json!({"rows": 3, "kept": 2})).unwrap();
        let last = record(&folder);
        assert!(last.finished && last.bit_exact && last.resumed.len() == 1 && last.started == first.started);
        assert_eq!((last.outputs.len(), &*last.outputs[0].path, last.outputs[0].bytes), (1, "result", 3));
        assert!(fs::read_to_string(folder.join(CONFIG)).unwrap().contains("learning_rate = 0.001\n"));
        let Begun::Finished(again) = begin(&folder, json!({})).unwrap() else { panic!("not finished") };
        assert_eq!(again, last);
        // A damaged result is made again.
        fs::write(folder.join("result"), "abd").unwrap();
        assert!(matches!(begin(&folder, json!({})).unwrap(), Begun::Going(_)));
    }

    #[test]
    fn another_course_is_refused_key_by_key() {
        let (_dir, folder) = world();
        drop(going(&folder, json!({})));
        fs::write(folder.with_extension("jsonl"), "{ }\n").unwrap();
        let error = sentence(begin(&folder, json!({"learning_rate": 2e-3, "note": "x", "threads": 2})));
        for part in
            ["learning_rate: 0.001 before, 0.002 now", "note: not set before, x now", "input: ", "SHA-256 ca3d163bab05"]
        {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(!error.contains("threads") && !error.contains("output:"), "{error}");
        // The refused command changed nothing.
        assert!(record(&folder).resumed.is_empty());
    }

    #[test]
    fn changed_bits_are_accepted_and_recorded() {
        let (_dir, folder) = world();
        drop(going(&folder, json!({"threads": 1})));
        let session = going(&folder, json!({"threads": 2}));
        session.finish(&[], "", json!({"rows": 3})).unwrap();
        let last = record(&folder);
        assert!(!last.bit_exact);
        assert_eq!(last.notes, ["the run went on with threads: 1 before, 2 now"]);
        let changed = &last.resumed[0].changed;
        assert_eq!((changed.len(), &*changed[0].key, &changed[0].now), (1, "threads", &json!(2)));
        // A change of class `Bits` has no effect on a finished run.
        assert!(matches!(begin(&folder, json!({"threads": 1})).unwrap(), Begun::Finished(_)));
    }

    #[test]
    fn another_output_of_a_finished_run_is_saved_again() {
        let (_dir, folder) = world();
        going(&folder, json!({})).finish(&[], "", json!({"rows": 3})).unwrap();
        let session = going(&folder, json!({"merge": true}));
        assert!(session.only_output());
        // Until then, the run stays finished.
        drop(session);
        assert!(record(&folder).finished && record(&folder).stage.config["merge"] == false);
        going(&folder, json!({"merge": true})).finish(&[], "", json!({"rows": 3})).unwrap();
        let last = record(&folder);
        assert!(last.bit_exact && last.stage.config["merge"] == true);
    }

    #[test]
    fn what_another_program_left_is_a_sentence() {
        let (_dir, folder) = world();
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("run.json"), r#"{"stage": "sft", "version": "0.1.0", "fingerprint": "x"}"#).unwrap();
        let error = sentence(begin(&folder, json!({})));
        assert!(error.contains("was written by another version of herd (0.1.0, before its schema 1)"), "{error}");
        fs::write(folder.join("run.json"), "{").unwrap();
        assert!(sentence(begin(&folder, json!({}))).contains("run.json is damaged"));
        fs::remove_file(folder.join("run.json")).unwrap();
        fs::create_dir(folder.join("checkpoints")).unwrap();
        let error = sentence(begin(&folder, json!({})));
        assert!(error.contains("holds a run of an earlier version of herd (checkpoints without a run.json"), "{error}");
        fs::remove_dir(folder.join("checkpoints")).unwrap();
        drop(going(&folder, json!({})));
        let mut other = record(&folder);
        other.stage.name = "dpo".into();
        other.write(&folder).unwrap();
        assert!(sentence(begin(&folder, json!({}))).contains("holds a run of `herd dpo`, not of `herd test`"));
    }

    #[test]
    fn a_file_of_the_users_is_not_lost() {
        let (_dir, folder) = world();
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(CONFIG), "# mine\n").unwrap();
        drop(going(&folder, json!({})));
        assert_eq!(fs::read_to_string(folder.join("config.given.toml")).unwrap(), "# mine\n");
        drop(going(&folder, json!({})));
        assert_eq!(fs::read_to_string(folder.join("config.given.toml")).unwrap(), "# mine\n");
    }

    #[test]
    fn wrong_data_leaves_nothing_and_other_figures_are_refused() {
        let (_dir, folder) = world();
        drop(begin(&folder, json!({})).unwrap());
        assert!(Record::read(&folder).unwrap().is_none());
        drop(going(&folder, json!({})));
        let Begun::Going(mut session) = begin(&folder, json!({})).unwrap() else { panic!("finished") };
        let error = session.start(json!({"rows": 4})).unwrap_err().to_string();
        assert!(error.contains("rows has other figures") && error.contains("3 before, 4 now"), "{error}");
    }
}
