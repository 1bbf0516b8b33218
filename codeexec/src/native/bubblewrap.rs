//! Builds bubblewrap's command line, and checks that bubblewrap works on this machine.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use super::process;
use crate::languages::python::is_plain;
use crate::languages::{Peer, Role, Runner, Stage, run_duet};
use crate::limits::Limits;
use crate::record::{Job, Verdict};
use crate::sandbox::Clock;

/// Python code that starts the harness and replaces `host.call`.
const HOST: &str = include_str!("host.py");

/// This machine's Python, run in bubblewrap.
pub struct Native {
    python: PathBuf,
    /// Python's installation folders outside `/usr`.
    prefixes: Vec<PathBuf>,
}

impl Native {
    /// Finds bubblewrap and Python, and checks that both run.
    ///
    /// # Errors
    /// When one of them is missing or does not work; the message says which.
    pub fn open() -> anyhow::Result<Self> {
        let mut command = Command::new("bwrap");
        command.args(["--unshare-all", "--ro-bind", "/", "/", "true"]).stdin(Stdio::null());
        let tried =
            command.output().context("--backend native needs bubblewrap (bwrap): install it, such as by apt")?;
        if !tried.status.success() {
            let said = String::from_utf8_lossy(&tried.stderr);
            bail!("--backend native: bubblewrap cannot make namespaces on this machine: {}", said.trim());
        }
        let text = "import sys; print(sys.executable, sys.base_prefix, sys.prefix, sep='\\n')";
        let said =
            Command::new("python3").args(["-I", "-c", text]).output().context("--backend native needs python3")?;
        let mut lines = std::str::from_utf8(&said.stdout)?.lines().map(PathBuf::from);
        let python = lines.next().context("--backend native: python3 does not say where it is")?;
        let mut prefixes: Vec<PathBuf> = lines.filter(|folder| !folder.starts_with("/usr")).collect();
        prefixes.dedup();
        Ok(Self { python, prefixes })
    }

    /// The command that runs the harness as program or judge.
    pub(super) fn command(&self, role: Role, limits: &Limits) -> Command {
        let mut command = Command::new("bwrap");
        command.args(["--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]);
        command.args(["--uid", "65534", "--gid", "65534", "--hostname", "codeexec", "--clearenv"]);
        for (name, value) in [
            ("PATH", "/usr/bin"),
            ("HOME", "/tmp"),
            ("LANG", "C.UTF-8"),
            // A thread per core in BLAS or OpenMP would use memory that the program needs.
            ("OPENBLAS_NUM_THREADS", "1"),
            ("OMP_NUM_THREADS", "1"),
        ] {
            command.args(["--setenv", name, value]);
        }
        for folder in ["/usr", "/lib", "/lib64", "/bin", "/etc/alternatives", "/etc/ld.so.cache"] {
            command.args(["--ro-bind-try", folder, folder]);
        }
        for folder in &self.prefixes {
            command.arg("--ro-bind-try").arg(folder).arg(folder);
        }
        command.args([
            "--dev",
            "/dev",
            "--size",
            &limits.disk.max(1).to_string(),
            "--tmpfs",
            "/tmp",
            "--chdir",
            "/tmp",
        ]);
        command.args(["--seccomp", &process::SECCOMP.to_string(), "--"]);
        command.arg(&self.python).args(["-I", "-c"]).arg(harness(role));
        command
    }
}

/// The harness as one Python text for `python3 -c`.
fn harness(role: Role) -> String {
    let part = if role == Role::Judge { "judge" } else { "program" };
    let texts = crate::languages::python::SOURCES.map(|text| serde_json::to_string(text).unwrap_or_default());
    format!("SOURCES = [{}]\nPART = {part:?}\n{HOST}", texts.join(", "))
}

impl Runner for Native {
    fn run(&self, job: &Job, limits: &Limits, _: u64) -> anyhow::Result<Verdict> {
        // Here a sleep takes real time, so the wall-time limit is shorter than in the sandbox.
        let wall = limits.wall.min(limits.time * 3 + Duration::from_secs(5));
        run_duet(self, job, &Limits { wall, ..limits.clone() })
    }
}

impl Stage for Native {
    fn peer(&self, role: Role, clock: &Clock, limits: &Limits, stdin: &str) -> anyhow::Result<Peer> {
        process::peer(self.command(role, limits), clock.clone(), limits.clone(), stdin.as_bytes().to_vec())
    }

    /// Builds the reply that the sandbox also gives: the length of the program's output (4 bytes), the output, then the
    /// value. The output is always empty here, since it goes to a separate pipe.
    fn checked(&self, reply: &[u8]) -> Option<Vec<u8>> {
        is_plain(reply).then(|| [&[0; 4], reply].concat())
    }

    fn is_syntax_error(&self, class: &str) -> bool {
        ["SyntaxError", "IndentationError", "TabError"].contains(&class)
    }

    fn compares_here(&self) -> bool {
        false
    }
}
