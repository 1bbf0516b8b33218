//! The server's paths, as services of `http-service`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::StatusCode;
use axum::response::Response;
use guard::moderation::Moderations;
use http_service::{Answer, Routes, Service, Ticket};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::answer::whole;
use crate::fields::RequestError;
use crate::generator::{EngineMetrics, Event, Generator, Refusal, Task};
use crate::guarding::{Admission, Answers, Guarding, On, Reject, blocked_input, mark_unjudged, no_verdict};
use crate::params::{self, Kind, Parsed};
use crate::plain::{AnswerBody, Embeddings, Quick, detokenize, tokenize};
use crate::respond::{Form, error, refusal};
use crate::responses::Responses;
use crate::stream::{Stream, streamed};

/// Number of prompts that are tokenised at a time, so that a huge one does not block the others.
const ENCODERS: usize = 2;

/// Reads a number from the metrics of the engine's thread.
type Read = fn(&EngineMetrics) -> &AtomicU64;

/// The server's routes.
#[must_use]
pub fn routes(generator: &Arc<Generator>) -> Routes {
    guarded_routes(generator, None)
}

/// The server's routes behind a guard.
#[must_use]
pub fn guarded_routes(generator: &Arc<Generator>, guarding: Option<Guarding>) -> Routes {
    let guarding = guarding.map(Arc::new);
    let encoders = Arc::new(Semaphore::new(ENCODERS));
    let own = Shared { generator: generator.clone(), encoders, guarding: guarding.clone() };
    let completions = |kind| Arc::new(Completions { kind, shared: own.clone() });
    let quick = |answer: AnswerBody| Arc::new(Quick { answer, shared: own.clone() });
    let model = json!({"id": generator.name(), "object": "model", "created": 0, "owned_by": "herd",
        "max_model_len": generator.context()});
    let list = json!({"object": "list", "data": [model]});
    let name = generator.name().to_owned();
    let mut routes = Routes::new()
        .service("/v1/chat/completions", completions(Kind::Chat))
        .service("/v1/completions", completions(Kind::Text))
        .service("/v1/responses", Arc::new(Responses { chat: completions(Kind::Chat) }))
        .service("/v1/embeddings", Arc::new(Embeddings { shared: own.clone() }))
        .service("/tokenize", quick(tokenize))
        .service("/detokenize", quick(detokenize))
        .get("/v1/models", move || list.clone())
        .get_of("/v1/models/", move |asked| (asked == name).then(|| model.clone()))
        .get("/version", || json!({"version": env!("CARGO_PKG_VERSION")}))
        .error_body(|status, sentence| error(status.as_u16(), None, sentence));
    let gauges: [(&str, &str, Read); 3] = [
        ("herd_sequences_running", "Sequences that are being generated.", |n| &n.running),
        ("herd_sequences_waiting", "Sequences that wait for a slot.", |n| &n.waiting),
        ("herd_cache_tokens_free", "Tokens of the cache that no sequence has taken.", |n| &n.free_cache_tokens),
    ];
    for (name, help, read) in gauges {
        let numbers = generator.numbers().clone();
        routes = routes.gauge(name, help, move || read(&numbers).load(Ordering::Relaxed) as f64);
    }
    let counters: [(&str, &str, Read); 5] = [
        ("herd_prompt_tokens_total", "Tokens of prompts that were computed.", |n| &n.prompt_tokens),
        ("herd_cached_tokens_total", "Tokens of prompts that were found in the cache.", |n| &n.cached_tokens),
        ("herd_generated_tokens_total", "Generated tokens.", |n| &n.generated_tokens),
        ("herd_steps_total", "Steps of the engine.", |n| &n.steps),
        ("herd_cancelled_total", "Sequences whose client went away.", |n| &n.cancelled),
    ];
    for (name, help, read) in counters {
        let numbers = generator.numbers().clone();
        routes = routes.counter(name, help, move || read(&numbers).load(Ordering::Relaxed) as f64);
    }
    let Some(guarding) = guarding else { return routes };
    let moderations = Arc::new(Moderations { guard: guarding.worker.clone() });
    guard::moderation::metrics(routes.service(guard::moderation::PATH, moderations), &guarding.worker)
}

/// State that all paths share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub generator: Arc<Generator>,
    encoders: Arc<Semaphore>,
    /// The guard, if there is one.
    pub guarding: Option<Arc<Guarding>>,
}

impl Shared {
    /// Parses a body on a thread where it does not block other requests.
    pub async fn read<T: Send + 'static>(
        &self,
        body: Vec<u8>,
        read: impl FnOnce(&Generator, &[u8]) -> Result<T, RequestError> + Send + 'static,
    ) -> Result<T, Response> {
        let _turn = self.encoders.clone().acquire_owned().await;
        let generator = self.generator.clone();
        match tokio::task::spawn_blocking(move || read(&generator, &body)).await {
            Ok(Ok(parsed)) => Ok(parsed),
            Ok(Err(RequestError { status, field, sentence })) => Err(refusal(status, field, &sentence)),
            Err(_) => Err(refusal(500, None, "reading the request failed: this is a defect of the server")),
        }
    }
}

/// The response when the engine refuses tasks.
pub(crate) fn refused(refused: &Refusal, field: &str, count: usize) -> Response {
    match refused {
        Refusal::Full => refusal(429, None, "the queue is full; try again later"),
        Refusal::TooMany(most) => {
            refusal(400, Some(field), &format!("{count} answers are more than the queue holds ({most})"))
        }
        Refusal::Gone => refusal(503, None, "the engine has ended"),
    }
}

/// One of the two paths that generate.
struct Completions {
    kind: Kind,
    shared: Shared,
}

impl Service for Completions {
    fn call(&self, body: Vec<u8>, ticket: Ticket) -> Answer {
        let (kind, shared) = (self.kind, self.shared.clone());
        Box::pin(async move {
            let parsed = shared.read(body, move |generator, body| params::parse(generator, kind, body)).await;
            let Parsed { tasks, prompt_tokens, asked, stream, include_usage, mut reply } = match parsed {
                Ok(parsed) => parsed,
                Err(response) => return response,
            };
            let (generator, count) = (shared.generator, tasks.len());
            let mut is_unjudged = false;
            let mut blocked = None;
            if shared.guarding.is_some() && tasks.iter().any(|task| matches!(task, Task::Look { .. })) {
                return refusal(400, Some("messages"), "this server's guard judges texts, so pictures are refused");
            }
            if let Some(guarding) = &shared.guarding {
                match guarding.input(&asked).await {
                    Ok(Admission::Passed) => {}
                    Ok(Admission::Unjudged) => is_unjudged = true,
                    Ok(Admission::Blocked(violated)) if guarding.reject == Reject::Error => {
                        let field = if kind == Kind::Chat { "messages" } else { "prompt" };
                        return blocked_input(field, &violated);
                    }
                    Ok(Admission::Blocked(_)) => {
                        // An unsafe prompt is not echoed.
                        reply.echo = None;
                        blocked = Some(guarding.refused(count));
                    }
                    Err(response) => return response,
                }
            }
            let mut events = match blocked.map_or_else(|| generator.submit(tasks), Ok) {
                Ok(events) => events,
                Err(refusal) => return refused(&refusal, "n", count),
            };
            let form = Form::new(&generator, kind, reply.logprobs);
            let guarding = shared.guarding.filter(|guarding| guarding.on != On::Input);
            let is_guarded = guarding.is_some();
            if let Some(guarding) = guarding {
                let answers = Answers { asked, each: reply.best_of, count, stream, told: reply.logprobs };
                events = guarding.output(events, answers, generator.clone());
            }
            let mut response = if stream {
                // With a guard, the header waits for the first event, so that a failure of the guard can become a status.
                let first = if is_guarded { events.recv().await } else { None };
                if let Some(Event::NoVerdict { status, sentence }) = &first {
                    return no_verdict(*status, sentence);
                }
                let usage = include_usage.then_some(prompt_tokens);
                streamed(Stream::new(generator, form, (first, events), count, usage, reply, ticket))
            } else {
                whole(&generator, &form, events, count, prompt_tokens, &reply).await
            };
            if is_unjudged {
                mark_unjudged(&mut response);
            }
            response
        })
    }

    fn refuse(&self, status: StatusCode, sentence: String) -> Response {
        refusal(status.as_u16(), None, &sentence)
    }
}
