//! `herd again`: repeats the run that left a folder, and compares the results.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use run::{Hardware, Input, Record, Versions, counted};
use serde_json::{Map, Value};

/// Arguments of `herd again`.
#[derive(clap::Args)]
pub struct Args {
    /// The run folder of a herd command, with its run.json
    folder: PathBuf,
    /// The folder for the repetition [default: FOLDER-again]
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

/// Repeats a run and reports whether the files are the same.
///
/// # Errors
/// When inputs are missing or have changed, when the repetition fails, and when its files differ without a known
/// reason.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let folder = std::path::absolute(&args.folder)?;
    let record = Record::read(&folder)?.with_context(|| {
        format!("{} has no run.json, so it is not the folder of a herd command", args.folder.display())
    })?;
    ensure!(
        record.finished,
        "the run in {} is not finished; finish it first: {}",
        args.folder.display(),
        record.command.join(" ")
    );
    if !is_command(&record.stage.name) {
        bail!("{}", foreign(&record, &args.folder));
    }
    check_inputs(&record)?;
    let output = match &args.output {
        Some(output) => std::path::absolute(output)?,
        None => {
            let mut name = folder.components().as_path().as_os_str().to_owned();
            name.push("-again");
            name.into()
        }
    };
    ensure!(output != folder, "--output {} is the folder to repeat; choose another", output.display());
    for reason in reasons(&record) {
        println!("may differ: {reason}");
    }
    if record.stage.name == "run" {
        return pipeline(&record, &folder, &output);
    }
    repeat(&record, &output)?;
    let again = Record::read(&output)?.with_context(|| format!("{} has no run.json", output.display()))?;
    compare(&record, &again, &output)
}

/// Whether this program has the command that a record names: `sft`, `rejection-sampling run`.
fn is_command(name: &str) -> bool {
    let herd = crate::command();
    name.split(' ').try_fold(&herd, |command, word| command.find_subcommand(word)).is_some()
}

/// Explains how to repeat the run of another program, such as a user's own training stage.
fn foreign(record: &Record, folder: &Path) -> String {
    let output = record.stage.config.get("output").and_then(Value::as_str).unwrap_or_default();
    let again = format!("{}-again", output.trim_end_matches('/'));
    let mut after_flag = false;
    let mut words: Vec<String> = record
        .command
        .iter()
        .map(|word| {
            let is_output = std::mem::replace(&mut after_flag, word == "--output");
            match word.strip_prefix("--output=") {
                Some(_) => format!("--output={again}"),
                None if is_output => again.clone(),
                None => word.clone(),
            }
        })
        .collect();
    // The output stands in a configuration file, or is the default.
    if !record.command.iter().any(|word| word == "--output" || word.starts_with("--output=")) {
        words.extend(["--output".to_owned(), again]);
    }
    let program = record.command.first().map_or("another program", String::as_str);
    format!(
        "{} was made by {program} (stage {}), which is no command of herd: repeat it in {} with `{}`, and compare the digests \
         under \"outputs\" in run.json of both folders",
        folder.display(),
        record.stage.name,
        record.directory.display(),
        crate::pipeline::shell(words.iter().map(String::as_str))
    )
}

/// Checks the digest of every file and model that the run read.
fn check_inputs(record: &Record) -> anyhow::Result<()> {
    let mut wrong = Vec::new();
    // An input that is not a file (an endpoint, a built-in prompt) has no absolute path; the stage compares it
    // itself.
    for input in record.inputs.iter().filter(|input| Path::new(&input.path).is_absolute()) {
        let path = Path::new(&input.path);
        let now = match () {
            () if path.is_dir() => Input::model(&input.key, path)?,
            () if path.is_file() => Input::file(&input.key, path)?,
            () => {
                wrong.push(format!("{}: {} no longer exists", input.key, input.path));
                continue;
            }
        };
        if now.sha256 != input.sha256 {
            wrong.push(format!(
                "{}: {} has changed (SHA-256 {} then, {} now)",
                input.key,
                input.path,
                &input.sha256[..12],
                &now.sha256[..12]
            ));
        }
    }
    ensure!(
        wrong.is_empty(),
        "the inputs are not what they were, so the run cannot be repeated:\n  {}\nPut them back where they were",
        wrong.join("\n  ")
    );
    Ok(())
}

/// The reasons why the repetition may have other bytes.
fn reasons(record: &Record) -> Vec<String> {
    let mut reasons = record.notes.clone();
    let (here, then) = (Hardware::here(), &record.hardware);
    let versions = Versions::here(record.versions.libtorch.as_deref());
    if record.versions.herd != versions.herd {
        reasons.push(format!("herd was {} then and is {} now", record.versions.herd, versions.herd));
    }
    if here.cpu != then.cpu {
        let name = |cpu: &Option<String>| cpu.clone().unwrap_or_else(|| "unknown".into());
        reasons.push(format!("the processor was {} and is {}", name(&then.cpu), name(&here.cpu)));
    }
    if let Some(device) = then.device.as_ref().filter(|device| *device != "cpu") {
        reasons.push(format!("{device} adds numbers in another order each time"));
    }
    reasons
}

/// Runs the command with the configuration of the record and another output.
fn repeat(record: &Record, output: &Path) -> anyhow::Result<()> {
    let mut config = record.stage.config.clone();
    config.remove("output");
    fix(&mut config, "threads", record.hardware.threads.map(Value::from));
    fix(&mut config, "dtype", record.hardware.dtype.clone().map(Value::from));
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile()?;
    file.write_all(run::config::to_toml(&config).as_bytes())?;
    let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
    command.args(record.stage.name.split(' ')).arg("--config").arg(file.path()).arg("--output").arg(output);
    if record.directory.is_dir() {
        command.current_dir(&record.directory);
    }
    println!("herd {} into {}", record.stage.name, output.display());
    let status = command.status().context("cannot start this program again")?;
    ensure!(status.success(), "the repetition of `herd {}` failed", record.stage.name);
    Ok(())
}

/// Runs a pipeline's recipe into another folder, and compares the folders of its stages.
fn pipeline(record: &Record, folder: &Path, output: &Path) -> anyhow::Result<()> {
    let config = &record.stage.config;
    let text = |key: &str| config.get(key).and_then(Value::as_str);
    let recipe = text("recipe").context("the record does not name its recipe")?;
    let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
    command.args(["run", recipe, "--output"]).arg(output);
    let sets = config.get("set").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    command.args(sets.flat_map(|set| ["--set", set]));
    for key in ["from", "until"] {
        command.args(text(key).into_iter().flat_map(|stage| [format!("--{key}"), stage.to_owned()]));
    }
    if record.directory.is_dir() {
        command.current_dir(&record.directory);
    }
    println!("herd run {recipe} into {}", output.display());
    ensure!(
        command.status().context("cannot start this program again")?.success(),
        "the repetition of {recipe} failed"
    );
    let mut stages: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<_>>()?;
    stages.sort();
    let (mut compared, mut wrong) = (0, Vec::new());
    for stage in stages {
        let Some(then) = of_stage(&stage)?.filter(|then| then.finished) else { continue };
        let name = stage.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let again = output.join(&name);
        let result = match of_stage(&again)? {
            Some(now) => compare(&then, &now, &again),
            None => Err(anyhow::anyhow!("it was not made by the repetition")),
        };
        compared += 1;
        wrong.extend(result.err().map(|error| format!("{name}: {error}")));
    }
    ensure!(compared > 0, "no stage of {} is finished, so there is nothing to compare", folder.display());
    ensure!(wrong.is_empty(), "{} of {compared} stages differ:\n  {}", wrong.len(), wrong.join("\n  "));
    Ok(())
}

/// The record of a stage's folder: its own, or that of the pipeline if the stage is not a command of herd.
fn of_stage(folder: &Path) -> anyhow::Result<Option<Record>> {
    match Record::read(folder)? {
        Some(record) => Ok(Some(record)),
        None => Record::read_file(&folder.join(crate::pipeline::STAGE_RECORD)),
    }
}

/// Sets a key that the run took from the machine to its recorded value.
fn fix(config: &mut Map<String, Value>, key: &str, value: Option<Value>) {
    if let Some(value) = value.filter(|_| config.get(key).is_none_or(Value::is_null)) {
        config.insert(key.to_owned(), value);
    }
}

fn compare(then: &Record, again: &Record, output: &Path) -> anyhow::Result<()> {
    let digests = |record: &Record| -> BTreeMap<String, String> {
        record.outputs.iter().map(|file| (file.path.clone(), file.sha256.clone())).collect()
    };
    let (before, now) = (digests(then), digests(again));
    let mut different = Vec::new();
    for (path, digest) in &before {
        match now.get(path) {
            None => different.push(format!("{path} was not made by the repetition")),
            Some(other) if other != digest => different.push(format!("{path} differs")),
            Some(_) => {}
        }
    }
    different.extend(now.keys().filter(|path| !before.contains_key(*path)).map(|path| format!("{path} is new")));
    if different.is_empty() {
        println!("{} in {}: the same bytes", counted(before.len(), "file"), output.display());
        return Ok(());
    }
    let text = format!("{} of {} files differ:\n  {}", different.len(), before.len(), different.join("\n  "));
    if reasons(then).is_empty() {
        bail!("{text}\nNothing is known that lets them differ: same versions, processor, threads and inputs");
    }
    println!("{text}\nThey may differ for the reasons given above");
    Ok(())
}
