//! The languages of programs. To add a language with an interpreter for WASI, add a [`script::Script`] with its
//! package and a harness of two texts, one that runs a program and one that judges it, and list it in [`ALL`].

mod c;
mod duet;
mod javascript;
mod packed;
mod peer;
mod php;
pub mod python;
mod ruby;
mod script;

pub use duet::{Stage, run as run_duet, tests_of};
pub use peer::{GuestEvent, Outcome, Peer, Role, is_question};

use std::fs;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::cache;
use crate::limits::Limits;
use crate::record::{Finding, Job, Verdict};
use crate::sandbox::{Machine, Profile, Settings, THREAD_STACK};

/// A language: how to fetch it, and how to run programs in it.
pub trait Language: Sync {
    /// The name in records, and in `codeexec setup --languages`.
    fn name(&self) -> &'static str;

    /// Other names for it, in records and on fenced blocks of answers.
    fn aliases(&self) -> &'static [&'static str];

    /// The interpreter or compiler, with its version.
    fn interpreter(&self) -> &'static str;

    /// Longest time of a program's preparation, such as compiling, which does not count against its limit.
    fn preparation(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether [`Language::set_up`] was run for the current version of everything that it depends on.
    ///
    /// # Errors
    /// When the cache folder cannot be used.
    fn is_set_up(&self, machine: &Machine) -> anyhow::Result<bool>;

    /// Fetches the interpreter or compiler, and compiles it. The caller holds the lock of the cache folder.
    ///
    /// # Errors
    /// When a package cannot be fetched or is not the pinned one.
    fn set_up(&self, machine: &Machine) -> anyhow::Result<()>;

    /// Opens the files of [`Language::set_up`].
    ///
    /// # Errors
    /// When they do not exist.
    fn open(&'static self, machine: &Machine) -> anyhow::Result<Box<dyn Runner>>;
}

/// An open language.
pub trait Runner {
    /// Runs a program with its tests, from its start to the verdict.
    ///
    /// # Errors
    /// When the sandbox itself fails, which is not caused by the program.
    fn run(&self, job: &Job, limits: &Limits, seed: u64) -> anyhow::Result<Verdict>;

    /// A linter's findings in a program's text, if the language has a linter.
    ///
    /// # Errors
    /// When the sandbox itself fails.
    fn lint(&self, _code: &str) -> anyhow::Result<Option<Vec<Finding>>> {
        Ok(None)
    }
}

/// All languages.
pub static ALL: [&dyn Language; 6] = [&python::Python, &javascript::JAVASCRIPT, &php::PHP, &ruby::RUBY, &c::C, &c::CPP];

/// The language with that name or alias, ignoring case.
pub fn find(name: &str) -> Option<&'static dyn Language> {
    let is = |known: &&str| known.eq_ignore_ascii_case(name);
    ALL.into_iter().find(|language| is(&language.name()) || language.aliases().iter().any(&is))
}

/// The names, as a list for messages.
pub fn names() -> String {
    ALL.map(|language| language.name()).join(", ")
}

/// The message for an unknown name.
pub fn unknown(name: &str) -> String {
    format!("language {name:?} is not known; use one of {}", names())
}

/// The engine that runs programs.
///
/// # Errors
/// When wasmtime cannot start.
pub fn machine() -> anyhow::Result<Machine> {
    Machine::new(Settings { profile: Profile::Programs, max_memory: 4 << 30 })
}

/// Each language, with whether it is set up.
///
/// # Errors
/// When the cache folder cannot be used.
pub fn installed() -> anyhow::Result<Vec<(&'static dyn Language, bool)>> {
    let machine = machine()?;
    ALL.into_iter().map(|language| Ok((language, language.is_set_up(&machine)?))).collect()
}

/// Fetches and prepares languages that are not set up yet.
///
/// # Errors
/// When a name is not a language; errors of [`Language::set_up`].
pub fn set_up(names: &[String]) -> anyhow::Result<()> {
    let mut wanted = Vec::new();
    for name in names {
        let Some(language) = find(name) else { bail!("--languages: {}", unknown(name)) };
        wanted.push(language);
    }
    // Interpreters recurse deeper than a main thread's stack allows.
    let thread = std::thread::Builder::new().stack_size(THREAD_STACK).spawn(move || -> anyhow::Result<()> {
        let machine = machine()?;
        // One set-up at a time: a second one waits, and then finds it done.
        let lock = fs::File::create(cache::private_folder()?.join("lock"))?;
        lock.lock().context("cannot lock the cache folder")?;
        cache::remove_left_over()?;
        for language in wanted {
            if language.is_set_up(&machine)? {
                eprintln!("  {}: in place ({})", language.name(), language.interpreter());
            } else {
                language.set_up(&machine).with_context(|| format!("cannot set {} up", language.name()))?;
            }
        }
        Ok(())
    })?;
    thread.join().map_err(|_| anyhow::anyhow!("set-up panicked"))?
}

/// The message for a language that is not set up.
fn not_set_up(language: &dyn Language) -> anyhow::Error {
    let name = language.name();
    anyhow::anyhow!("{name} is not set up for this version of codeexec: run `codeexec setup --languages {name}`")
}
