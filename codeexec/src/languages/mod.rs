//! The languages that programs may be written in. To add one that an interpreter for WASI reads: a [`script::Script`] with
//! its package and a harness of two texts, one to run a program and one to judge it, and a place in [`ALL`].

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

/// A language: how to get it, and how to run programs in it.
pub trait Language: Sync {
    /// The name in records, and in `codeexec setup --languages`.
    fn name(&self) -> &'static str;

    /// Other names for it, as records and fenced blocks of answers have them.
    fn aliases(&self) -> &'static [&'static str];

    /// What runs it, with its version.
    fn interpreter(&self) -> &'static str;

    /// Longest time that a program takes before its own time begins: a compiler's.
    fn preparation(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether [`Language::set_up`] was run for this version of everything that it depends on.
    ///
    /// # Errors
    /// When the cache folder cannot be used.
    fn is_set_up(&self, machine: &Machine) -> anyhow::Result<bool>;

    /// Fetches what runs the language, and compiles it. The caller holds the cache folder's lock.
    ///
    /// # Errors
    /// When a package cannot be fetched or is not the pinned one.
    fn set_up(&self, machine: &Machine) -> anyhow::Result<()>;

    /// Opens what [`Language::set_up`] made.
    ///
    /// # Errors
    /// When it is not there.
    fn open(&'static self, machine: &Machine) -> anyhow::Result<Box<dyn Runner>>;
}

/// An open language.
pub trait Runner {
    /// Runs a program with its tests, from its start to the verdict.
    ///
    /// # Errors
    /// When the sandbox itself fails, which says nothing about the program.
    fn run(&self, job: &Job, limits: &Limits, seed: u64) -> anyhow::Result<Verdict>;

    /// What a linter finds in a program's text, where the language has one.
    ///
    /// # Errors
    /// When the sandbox itself fails.
    fn lint(&self, _code: &str) -> anyhow::Result<Option<Vec<Finding>>> {
        Ok(None)
    }
}

/// All languages.
pub static ALL: [&dyn Language; 6] = [&python::Python, &javascript::JAVASCRIPT, &php::PHP, &ruby::RUBY, &c::C, &c::CPP];

/// The language of that name or alias, in capital or small letters.
pub fn find(name: &str) -> Option<&'static dyn Language> {
    let is = |known: &&str| known.eq_ignore_ascii_case(name);
    ALL.into_iter().find(|language| is(&language.name()) || language.aliases().iter().any(&is))
}

/// The names, for a sentence.
pub fn names() -> String {
    ALL.map(|language| language.name()).join(", ")
}

/// The sentence about a name that is none.
pub fn unknown(name: &str) -> String {
    format!("language {name:?} is not known; use one of {}", names())
}

/// The engine that programs run in.
///
/// # Errors
/// When wasmtime cannot start.
pub fn machine() -> anyhow::Result<Machine> {
    Machine::new(Settings { profile: Profile::Programs, max_memory: 4 << 30 })
}

/// Each language with whether it is set up.
///
/// # Errors
/// When the cache folder cannot be used.
pub fn installed() -> anyhow::Result<Vec<(&'static dyn Language, bool)>> {
    let machine = machine()?;
    ALL.into_iter().map(|language| Ok((language, language.is_set_up(&machine)?))).collect()
}

/// Fetches and prepares languages, those that are not yet.
///
/// # Errors
/// For a name that is no language, or what [`Language::set_up`] says.
pub fn set_up(names: &[String]) -> anyhow::Result<()> {
    let mut wanted = Vec::new();
    for name in names {
        let Some(language) = find(name) else { bail!("--languages: {}", unknown(name)) };
        wanted.push(language);
    }
    // Interpreters recurse deeper than a main thread's stack allows.
    let thread = std::thread::Builder::new().stack_size(THREAD_STACK).spawn(move || -> anyhow::Result<()> {
        let machine = machine()?;
        // One set-up at a time: a second one waits and finds it done.
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

/// The sentence about a language that is not there.
fn not_set_up(language: &dyn Language) -> anyhow::Error {
    let name = language.name();
    anyhow::anyhow!("{name} is not set up for this version of codeexec: run `codeexec setup --languages {name}`")
}
