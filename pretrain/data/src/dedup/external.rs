//! The carrier in another program, `herd-engine`: DataFusion in its process. Rows go out and results come back as
//! Parquet files in a temporary folder. A step that was interrupted is done again.
//!
//! The program ends when this process is gone: it reads its standard input, which this process holds open.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use super::carrier::{Carrier, Dated, Keyed, Replaced, Rows};
use crate::rows::{Writer, each};

/// The name of the program.
pub const PROGRAM: &str = "herd-engine";
/// The version of the exchanged tables.
const EXCHANGE: &str = "1";
/// A column of signed numbers has the order of unsigned ones with this bit inverted.
const SIGN: u64 = 1 << 63;

/// The carrier.
pub struct External<'a> {
    /// The path of the program.
    pub program: PathBuf,
    /// The memory budget in bytes. It limits the result in this process, and is twice the size of the program's pool, because the
    /// program's resident memory exceeds its pool by an amount that depends on the step.
    pub budget: u64,
    /// Number of threads of the program.
    pub threads: usize,
    /// A folder for temporary files.
    pub folder: PathBuf,
    /// Whether the program should be stopped.
    pub stop: &'a (dyn Fn() -> bool + Sync),
}

/// Finds the program: `given`, else beside this one, else in `PATH`.
///
/// # Errors
/// When it is not there; the error says how to build it.
pub fn find(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join(PROGRAM)));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = match given {
        Some(given) => vec![given.to_owned()],
        None => beside.into_iter().chain(std::env::split_paths(&path).map(|folder| folder.join(PROGRAM))).collect(),
    };
    let found = places.iter().position(|place| place.is_file());
    found.map(|at| places.swap_remove(at)).with_context(|| {
        let place =
            given.map_or_else(|| "beside herd or in PATH".to_owned(), |given| format!("at {}", given.display()));
        format!("there is no {PROGRAM} {place}: build it with `cargo xtask engine`, or name it with --engine-program")
    })
}

impl External<'_> {
    /// Runs a step: `fill` writes the rows, and `take` gets the rows of the result.
    fn step(
        &self,
        kind: &str,
        more: &[String],
        columns: (&[&'static str], usize),
        fill: &mut dyn FnMut(&mut Writer) -> anyhow::Result<()>,
        take: &mut dyn FnMut(&[u64]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        remove(&self.folder)?;
        // A program of a run that was just killed may still write to a folder of the same name.
        let folder = self.folder.join(std::process::id().to_string());
        let folder = std::path::absolute(folder).context("the current folder is gone")?;
        let [rows, result] = ["rows", "result"].map(|name| folder.join(name));
        std::fs::create_dir_all(&rows).with_context(|| format!("cannot create {}", rows.display()))?;
        let mut writer = Writer::create(&rows.join("rows.parquet"), columns.0)?;
        fill(&mut writer)?;
        if writer.finish()? > 0 {
            self.start(kind, more, &folder, &rows, &result)?;
            let mut files = Vec::new();
            for entry in std::fs::read_dir(&result).with_context(|| format!("cannot read {}", result.display()))? {
                files.push(entry?.path());
            }
            files.sort();
            files.iter().try_for_each(|file| each(file, columns.1, take))?;
        }
        remove(&self.folder)
    }

    fn start(&self, kind: &str, more: &[String], folder: &Path, rows: &Path, result: &Path) -> anyhow::Result<()> {
        let log = folder.join("log");
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new(&self.program);
        command.args(["step", kind, "--watch-stdin", "--exchange", EXCHANGE]).args(more);
        command.arg("--rows").arg(rows).arg("--result").arg(result).arg("--work").arg(folder.join("work"));
        command.args(["--memory", &(self.budget / 2).to_string(), "--threads", &self.threads.to_string()]);
        command.stdin(Stdio::piped()).stdout(output.try_clone()?).stderr(output);
        let mut child = command.spawn().with_context(|| format!("cannot start {}", self.program.display()))?;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if (self.stop)() {
                child.kill().ok();
                child.wait()?;
                bail!("stopped; the same command continues from here");
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let said = std::fs::read(&log).with_context(|| format!("cannot read {}", log.display()))?;
        let said = String::from_utf8_lossy(&said);
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
        let error = said.lines().rev().find_map(|line| line.strip_prefix("error: ")).unwrap_or(last);
        ensure!(
            status.success(),
            "{PROGRAM} failed in the step {kind} ({status}): {error}. Correct it, and the same command continues from here, with the same \
             or another --engine"
        );
        eprintln!("{PROGRAM}: {last}");
        Ok(())
    }

    /// Runs a step whose result is replaced documents.
    fn replaced(
        &self,
        kind: &str,
        columns: &[&'static str],
        fill: &mut dyn FnMut(&mut Writer) -> anyhow::Result<()>,
    ) -> anyhow::Result<Vec<Replaced>> {
        let mut gone = Vec::new();
        self.step(kind, &[], (columns, 2), fill, &mut |row| {
            gone.push(Replaced { document: row[0], by: row[1] });
            self.fits(gone.len(), size_of::<Replaced>())
        })?;
        gone.sort_unstable();
        gone.dedup_by_key(|replaced| replaced.document);
        Ok(gone)
    }

    fn fits(&self, rows: usize, bytes: usize) -> anyhow::Result<()> {
        ensure!(
            rows as u64 * bytes as u64 <= self.budget,
            "the result of a step has more than {rows} rows, which need {} MB and --memory gives {} MB: raise it, or deduplicate within parts \
             of the corpus first",
            (rows * bytes) >> 20,
            self.budget >> 20
        );
        Ok(())
    }
}

/// Removes the temporary files of a run, also of one that was killed.
///
/// # Errors
/// When they cannot be removed.
pub fn remove(folder: &Path) -> anyhow::Result<()> {
    for _ in 0..100 {
        match std::fs::remove_dir_all(folder) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            // A program that is about to end has just made a file.
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => std::thread::sleep(Duration::from_millis(50)),
            Err(error) => return Err(error).with_context(|| format!("cannot remove {}", folder.display())),
        }
    }
    bail!("cannot remove {}: another program writes to it", folder.display())
}

impl Carrier for External<'_> {
    fn older(&self, rows: Rows<Dated>) -> anyhow::Result<Vec<Replaced>> {
        self.replaced("older", &["key", "age", "document"], &mut |writer| {
            rows(&mut |row| writer.push(&[row.key, row.age ^ SIGN, row.document]))
        })
    }

    fn repeated(&self, rows: Rows<Keyed>) -> anyhow::Result<Vec<Replaced>> {
        self.replaced("repeated", &["key", "document"], &mut |writer| {
            rows(&mut |row| writer.push(&[row.key, row.document]))
        })
    }

    fn connected(&self, rows: Rows<Keyed>, _: u64) -> anyhow::Result<Vec<Replaced>> {
        self.replaced("connected", &["key", "document"], &mut |writer| {
            rows(&mut |row| writer.push(&[row.key, row.document]))
        })
    }

    fn frequent(&self, keys: Rows<u64>, times: u64) -> anyhow::Result<Vec<u64>> {
        let mut frequent = Vec::new();
        let more = ["--times".to_owned(), times.to_string()];
        let mut fill = |writer: &mut Writer| keys(&mut |key| writer.push(&[key]));
        self.step("frequent", &more, (&["key"], 1), &mut fill, &mut |row| {
            frequent.push(row[0]);
            self.fits(frequent.len(), size_of::<u64>())
        })?;
        frequent.sort_unstable();
        Ok(frequent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A carrier that runs a shell script instead of the program.
    fn carrier<'a>(dir: &Path, script: &str, stop: &'a (dyn Fn() -> bool + Sync)) -> External<'a> {
        use std::os::unix::fs::PermissionsExt;
        let program = dir.join("engine.sh");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let folder = dir.join("exchange");
        External { program, budget: 1 << 30, threads: 1, folder, stop }
    }

    fn one(carrier: &External) -> anyhow::Result<Vec<u64>> {
        carrier.frequent(&mut |take| take(5), 1)
    }

    #[test]
    fn a_failure_of_the_program_is_a_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let failing = carrier(dir.path(), "echo something; echo 'error: no disk' >&2; echo more; exit 7", &|| false);
        let error = format!("{:#}", one(&failing).unwrap_err());
        assert!(error.contains("failed in the step frequent (exit status: 7): no disk. Correct it"), "{error}");
        // Without rows there is nothing to ask.
        assert!(failing.frequent(&mut |_| Ok(()), 1).unwrap().is_empty());
        assert!(!failing.folder.exists());
        let missing = External { program: dir.path().join("nothing"), ..failing };
        assert!(format!("{:#}", one(&missing).unwrap_err()).contains("cannot start"));
        let error = find(Some(&dir.path().join("nothing"))).unwrap_err().to_string();
        assert!(error.contains("build it with `cargo xtask engine`"), "{error}");
    }

    #[test]
    fn a_stop_ends_the_program() {
        let dir = tempfile::tempdir().unwrap();
        let begin = std::time::Instant::now();
        let sleeping = carrier(dir.path(), "exec sleep 60", &|| true);
        assert!(one(&sleeping).unwrap_err().to_string().contains("stopped"));
        assert!(begin.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn the_program_s_input_stays_open() {
        let dir = tempfile::tempdir().unwrap();
        // `read` fails at the end of its input; the script ends by itself, with success only if that has not come.
        let script = "exec 3<&0; (read line <&3; echo over > \"$0.over\") & sleep 0.3; test ! -e \"$0.over\" && echo 'error: still open'; exit 1";
        let error = format!("{:#}", one(&carrier(dir.path(), script, &|| false)).unwrap_err());
        assert!(error.contains("still open"), "{error}");
    }
}
