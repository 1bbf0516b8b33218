//! `herd serve`: an OpenAI-compatible server over the engine of this process.
//!
//! | path | what it does |
//! |---|---|
//! | `POST /v1/chat/completions` | answers a conversation, in the model's own chat template |
//! | `POST /v1/completions` | continues a text or token ids |
//! | `POST /v1/responses` | answers a conversation in OpenAI's newer form, without keeping it |
//! | `POST /v1/moderations` | judges texts by the guard, with `--guard` |
//! | `POST /v1/embeddings` | returns the mean of the last hidden states of each text |
//! | `POST /tokenize`, `POST /detokenize` | converts texts or messages to token ids, and back |
//! | `GET /v1/models`, `GET /v1/models/NAME` | describes the served model |
//! | `GET /health`, `GET /healthz`, `GET /metrics`, `GET /version` | 200 or 503 while draining; Prometheus text |
//!
//! Requests join the running batch and leave it one by one; common prefixes of prompts are computed once. A request
//! for a feature that the server lacks is refused with 400 and a message; it is never answered as if the feature had
//! not been requested.

mod answer;
mod args;
mod calls;
mod engine_thread;
mod eyes;
mod fields;
mod generator;
mod grammar;
mod guarding;
mod messages;
mod params;
mod plain;
mod processors;
mod prompt;
mod respond;
mod responses;
mod service;
mod stream;
mod tools;

pub use args::{Args, Opened, run, run_with};
pub use eyes::{AnswerLook, Eyes, Heard, Look, Looking, Prepare};
pub use generator::{Generator, GeneratorOptions};
pub use guarding::{Guarding, On, Reject};
pub use service::{guarded_routes, routes};
