//! Runs of many processes, without libtorch: starts the ranks, detects failed and stalled ones, and restarts them; also calculates what a
//! run of a given size needs.
//!
//! - [`supervisor`] is a pure state machine: events in, actions out.
//! - [`faults`] drives it with a virtual clock and the failure mix of the Llama 3 paper (`herd plan faults`).
//! - [`plan`] calculates memory and time of a run (`herd plan`).
//! - [`process`] drives the state machine with real processes (`herd launch`); [`heartbeat`] is the client in herd's own ranks.

pub mod faults;
pub mod figure;
pub mod heartbeat;
pub mod plan;
pub mod process;
pub mod supervisor;
