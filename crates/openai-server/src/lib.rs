//! `herd serve`: an OpenAI-compatible server over the engine of this process.
//!
//! | path | what |
//! |---|---|
//! | `POST /v1/chat/completions` | messages in, in the model's own chat template |
//! | `POST /v1/completions` | text or token ids in |
//! | `GET /v1/models` | the one model |
//! | `GET /healthz`, `GET /metrics` | 200 or 503 while draining; Prometheus text |
//!
//! Requests join the running batch and leave it one by one; equal beginnings of prompts are computed once. A request
//! that asks for what the server does not do is refused with 400 and a sentence, never answered as if it had not asked.

mod args;
mod generator;
mod params;
mod respond;
mod service;

pub use args::{Args, run};
pub use generator::{Generator, GeneratorOptions};
pub use service::routes;
