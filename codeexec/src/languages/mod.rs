//! The supported programming languages. To add a language whose interpreter runs on WASI, define a [`script::Script`]
//! (its package, and two harness sources: one runs the program, one runs the tests) and list it in [`ALL`].

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

/// One programming language: how to set it up, and how to open it to run programs.
pub trait Language: Sync {
    /// The name in records, and in `codeexec setup --languages`.
    fn name(&self) -> &'static str;

    /// Other names that records and the fenced code blocks of answers may use.
    fn aliases(&self) -> &'static [&'static str];

    /// The interpreter or compiler, with its version.
    fn interpreter(&self) -> &'static str;

    /// Maximum wall time to prepare one program, such as to compile it. Does not count against the program's limit.
    fn preparation(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether the cache has the files of [`Language::set_up`], made from the current versions of all their inputs.
    ///
    /// # Errors
    /// When the cache folder cannot be used.
    fn is_set_up(&self, machine: &Machine) -> anyhow::Result<bool>;

    /// Downloads the interpreter or compiler and compiles it to native code. The caller holds the lock of the cache
    /// folder.
    ///
    /// # Errors
    /// When a package cannot be fetched or is not the pinned one.
    fn set_up(&self, machine: &Machine) -> anyhow::Result<()>;

    /// Opens the files that [`Language::set_up`] made.
    ///
    /// # Errors
    /// When they do not exist.
    fn open(&'static self, machine: &Machine) -> anyhow::Result<Box<dyn Runner>>;
}

/// An opened language, which runs programs.
pub trait Runner {
    /// Runs one program with its tests and returns the verdict. `seed` seeds the random bytes that the guests read.
    ///
    /// # Errors
    /// When the sandbox itself fails, which is not caused by the program.
    fn run(&self, job: &Job, limits: &Limits, seed: u64) -> anyhow::Result<Verdict>;

    /// The linter's findings in a program's source; `None` if the language has no linter.
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

/// The names of all languages, separated by commas, for messages.
pub fn names() -> String {
    ALL.map(|language| language.name()).join(", ")
}

/// The error message for an unknown language name.
pub fn unknown(name: &str) -> String {
    format!("language {name:?} is not known; use one of {}", names())
}

/// The wasmtime engine that runs programs, with at most 4 GiB of linear memory per instance.
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
        // One set-up at a time: a second process waits here, and then finds the languages set up.
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
