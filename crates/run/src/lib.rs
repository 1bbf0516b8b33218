//! A run: the common parts of every command that writes a run folder. The crate needs no libtorch.
//!
//! The contract of such a command:
//!
//! - **One configuration.** Flags override a TOML file (`--config FILE`), which overrides the defaults of the stage.
//!   The whole configuration is checked before any data is read. An unknown key is refused with an error that names
//!   the most similar known key. `config.toml` in the folder holds the result ([`config`]).
//! - **One folder, one process.** The folder is locked while the command runs ([`RunFolder`]).
//! - **One record.** `run.json` has the same keys for every stage, except below `stage` ([`Record`]). It is written
//!   when the run starts (`finished: false`) and when it ends.
//! - **The same command again** continues an unfinished run. For a finished run, it compares the digests of the
//!   results and reports that the run is finished ([`Session::open`]).
//! - **A command with other values is refused key by key**, unless the difference changes only bits or only the
//!   output ([`Class`]). Accepted changes are recorded.
//! - **Folders are replaced atomically**: at every moment, the name belongs to the old folder or to the complete new
//!   one ([`replace_folder`]).
//!
//! ```no_run
//! # use run::{Class, Facts, Input, Session};
//! # use serde::{Deserialize, Serialize};
//! #[derive(Serialize, Deserialize, Default)]
//! struct Config { input: std::path::PathBuf, output: std::path::PathBuf, seed: u64 }
//!
//! fn class(key: &str) -> Class {
//!     if ["input", "output"].contains(&key) { Class::Free } else { Class::Course }
//! }
//!
//! # fn stage(flags: serde_json::Map<String, serde_json::Value>) -> anyhow::Result<()> {
//! let resolved = run::resolve::<Config>(None, flags)?;
//! let config = &resolved.config;
//! let inputs = vec![Input::file("input", &config.input)?];
//! let facts = Facts { seed: Some(config.seed), inputs, ..Facts::new("stage", class) };
//! // A finished run prints its summary.
//! let Some(mut session) = Session::open(&config.output, &resolved, facts)? else { return Ok(()) };
//! session.start(serde_json::json!({"records": 3}))?;
//! // ... the work, which writes `result.jsonl` ...
//! session.finish(&["result.jsonl"], "3 records", serde_json::json!({"records": 3}))?;
//! # Ok(())
//! # }
//! ```

pub mod cli;
pub mod config;
mod facts;
mod flags;
mod folder;
pub mod inputs;
pub mod page;
mod plot;
pub mod progress;
mod record;
mod replace;
mod session;
mod signals;
pub mod text;

pub use cli::{Frame, expand, from_flags};
pub use config::{Class, Origin, Resolved, given, resolve, show_defaults};
pub use facts::Facts;
pub use flags::Flags;
pub use folder::RunFolder;
pub use inputs::{Input, model_folder};
pub use page::{Blocks, Cell, Column, Page};
pub use plot::Curve;
pub use progress::Progress;
pub use record::{Change, Hardware, Output, RECORD, Record, Resumed, SCHEMA, Stage, Versions};
pub use replace::{fill_folder, recover, replace_folder};
pub use session::{Begun, CONFIG, Session};
pub use signals::Signals;
pub use text::{counted, grouped, nearest};
