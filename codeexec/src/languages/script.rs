//! A language whose interpreter is a WASI module. Set-up downloads the module, starts it once, takes a snapshot if that
//! is possible, and compiles it. Each program and each judge gets a new instance.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use pinned::{NpmPackage, Wheel};

use super::duet::{self, Stage};
use super::packed;
use super::peer::{Peer, Role};
use super::{Language, Runner, not_set_up};
use crate::cache;
use crate::limits::Limits;
use crate::record::{Job, Verdict};
use crate::sandbox::{Clock, Device, Ending, Files, Guest, Instance, Linked, Machine, Setup, link, snapshot};

/// The guest's device file through which it exchanges messages with the host.
pub const DOOR: &str = "/dev/door";

/// A package from a registry.
pub enum Package {
    /// From PyPI.
    Wheel(Wheel),
    /// From npm.
    Npm(NpmPackage),
}

impl Package {
    /// The SHA-256 digest of the package.
    pub fn sha256(&self) -> &'static str {
        match self {
            Self::Wheel(wheel) => wheel.sha256,
            Self::Npm(package) => package.sha256,
        }
    }

    /// Downloads the package and unpacks files of it into `folder`. `name` maps a path in the package to the name in
    /// `folder`; `None` leaves the file out.
    ///
    /// # Errors
    /// When it cannot be fetched or is not the pinned one.
    pub fn unpack(&self, folder: &Path, name: impl Fn(&str) -> Option<String>) -> anyhow::Result<()> {
        let downloads = cache::private_folder()?.join("downloads");
        let place = |path: &str| name(path).map(|name| folder.join(name));
        match self {
            Self::Wheel(wheel) => pinned::unpack(&pinned::fetch(wheel, &downloads)?, place).map(|_| ()),
            Self::Npm(package) => NpmPackage::unpack(&package.fetch(&downloads)?, place).map(|_| ()),
        }
    }
}

/// A function that starts the interpreter in an instance, before the snapshot.
pub type Prepare = fn(&mut Instance) -> anyhow::Result<()>;

/// A language with its interpreter and its harness.
pub struct Script {
    /// See [`Language::name`].
    pub name: &'static str,
    /// See [`Language::aliases`].
    pub aliases: &'static [&'static str],
    /// See [`Language::interpreter`].
    pub interpreter: &'static str,
    /// The package that contains the interpreter.
    pub package: Package,
    /// The interpreter's path in the package.
    pub module: &'static str,
    /// The interpreter's first command-line arguments, its own name included.
    pub arguments: &'static [&'static str],
    /// Files from further packages: the package, the path in the package, and the path in the guest.
    pub libraries: &'static [(Package, &'static str, &'static str)],
    /// Files of the harness: the path in the guest, and the content.
    pub files: &'static [(&'static str, &'static str)],
    /// Brings an instance to the state that the snapshot stores, in which programs start; and the names of the
    /// functions that this and `enter` need exported. `None` if no snapshot can be taken.
    pub prepare: Option<(Prepare, &'static [&'static str])>,
    /// Runs the harness as the program or as the judge.
    pub enter: fn(&mut Instance, Role) -> Result<(), Ending>,
    /// Classes of exceptions that mean that the source does not parse.
    pub syntax_errors: &'static [&'static str],
}

impl Script {
    fn compiled(&self, machine: &Machine) -> anyhow::Result<PathBuf> {
        let mut key = dataset::digest::Fingerprint::new()
            .text("package", self.package.sha256())
            .text("engine", &machine.fingerprint());
        for (package, ..) in self.libraries {
            key = key.text("library", package.sha256());
        }
        // A snapshot contains the harness, so the key depends on its files.
        if self.prepare.is_some() {
            key = key.text("snapshot", snapshot::FORM);
            for (path, text) in self.files {
                key = key.text(path, text);
            }
        }
        Ok(cache::private_folder()?.join(format!("{}-{}.cwasm", self.name, &key.finish()[..16])))
    }

    fn library(path: &str, package: &Package) -> anyhow::Result<PathBuf> {
        let name = path.rsplit('/').next().unwrap_or(path);
        Ok(cache::private_folder()?.join(format!("{}-{name}", &package.sha256()[..16])))
    }

    /// The initial files of a guest: devices, `/tmp`, libraries and the harness.
    fn tree(&self) -> anyhow::Result<Files> {
        let mut files = Files::new(4 << 20);
        let failed = |errno| anyhow::anyhow!("cannot lay out the files (errno {errno})");
        for (path, device) in [
            (DOOR, Device::HostChannel),
            ("/dev/stdin", Device::Stdin),
            ("/dev/stdout", Device::Output(1)),
            ("/dev/stderr", Device::Output(2)),
        ] {
            files.place_device(path, device).map_err(failed)?;
        }
        files.make_folders("/tmp").map_err(failed)?;
        for (package, path, at) in self.libraries {
            files.share(at, cache::map(&Self::library(path, package)?)?).map_err(failed)?;
        }
        for (path, text) in self.files {
            files.share(path, std::sync::Arc::new(text.as_bytes())).map_err(failed)?;
        }
        Ok(files)
    }

    fn setup(&self, files: Files, arguments: &[&str], stdin: &str, seed: u64) -> Setup {
        Setup {
            files,
            preopened: vec!["/".into()],
            arguments: self.arguments.iter().chain(arguments).map(|text| (*text).to_owned()).collect(),
            environment: vec!["TMPDIR=/tmp".into()],
            stdin: stdin.as_bytes().to_vec(),
            seed,
        }
    }
}

impl Language for Script {
    fn name(&self) -> &'static str {
        self.name
    }

    fn aliases(&self) -> &'static [&'static str] {
        self.aliases
    }

    fn interpreter(&self) -> &'static str {
        self.interpreter
    }

    fn is_set_up(&self, machine: &Machine) -> anyhow::Result<bool> {
        let mut libraries = self.libraries.iter().map(|(package, path, _)| Self::library(path, package));
        let all = libraries.try_fold(true, |all, path| anyhow::Ok(all && path?.exists()))?;
        Ok(all && self.compiled(machine)?.exists())
    }

    fn set_up(&self, machine: &Machine) -> anyhow::Result<()> {
        let start = Instant::now();
        let scratch = tempfile::tempdir_in(cache::private_folder()?)?;
        let take = |package: &Package, path: &str| -> anyhow::Result<PathBuf> {
            package.unpack(scratch.path(), |name| (name == path).then(|| "file".into()))?;
            let file = scratch.path().join("file");
            if file.exists() { Ok(file) } else { bail!("{path} is not in its package") }
        };
        for (package, path, _) in self.libraries {
            fs::rename(take(package, path)?, Self::library(path, package)?)?;
        }
        let mut wasm = fs::read(take(&self.package, self.module)?).context("cannot read the interpreter")?;
        if let Some((prepare, names)) = self.prepare {
            let setup = self.setup(self.tree()?, &[], "", 0);
            wasm = snapshot::snapshot(&wasm, names, setup, prepare)?;
        }
        let compiled = machine.precompile(&wasm)?;
        cache::write(&self.compiled(machine)?, &compiled)?;
        let (name, seconds) = (self.name, start.elapsed().as_secs_f64());
        eprintln!("  {name}: {} in {seconds:.1} s, {} MB compiled", self.interpreter, compiled.len() / 1_000_000);
        Ok(())
    }

    fn open(&'static self, machine: &Machine) -> anyhow::Result<Box<dyn Runner>> {
        if !self.is_set_up(machine)? {
            return Err(not_set_up(self));
        }
        // SAFETY: the file is in the private folder, where only this user's `set_up` writes.
        let module = unsafe { machine.load(&self.compiled(machine)?) }?;
        Ok(Box::new(Open { script: self, module: link(&module)?, files: self.tree()? }))
    }
}

/// An opened interpreter.
struct Open {
    script: &'static Script,
    module: Linked,
    /// The initial files of a guest.
    files: Files,
}

impl Runner for Open {
    fn run(&self, job: &Job, limits: &Limits, seed: u64) -> anyhow::Result<Verdict> {
        duet::run(&Seeded { open: self, seed }, job, limits)
    }
}

/// An opened interpreter, with the seed of one job.
struct Seeded<'a> {
    open: &'a Open,
    seed: u64,
}

impl Stage for Seeded<'_> {
    fn peer(&self, role: Role, clock: &Clock, limits: &Limits, stdin: &str) -> anyhow::Result<Peer> {
        let script = self.open.script;
        let part = match role {
            Role::Program => "program",
            Role::Judge => "judge",
        };
        let mut files = self.open.files.clone();
        files.set_limit(limits.disk);
        let setup = script.setup(files, &[part], stdin, self.seed);
        let guest = Guest::new(setup, limits, clock.clone());
        let enter = script.enter;
        Peer::sandboxed(&self.open.module, guest, move |instance| enter(instance, role))
    }

    fn checked(&self, reply: &[u8]) -> Option<Vec<u8>> {
        packed::is_json(reply).then(|| reply.to_vec())
    }

    fn is_syntax_error(&self, class: &str) -> bool {
        self.open.script.syntax_errors.contains(&class)
    }

    fn compares_here(&self) -> bool {
        true
    }
}
