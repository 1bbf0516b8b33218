//! The two paths that generate, as services of `http-service`.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use http_service::{Answer, Routes, Service, Ticket};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::generator::{Event, Generator, Numbers, Refusal};
use crate::params::{self, Bad, Kind, Parsed};
use crate::respond::{Form, Told, Whole, error, usage};

/// Prompts that are tokenised at a time: a huge one does not keep the others waiting.
const ENCODERS: usize = 2;

/// Reads a number of the engine's thread.
type Read = fn(&Numbers) -> &AtomicU64;

/// The server's routes.
#[must_use]
pub fn routes(generator: &Arc<Generator>) -> Routes {
    let encoders = Arc::new(tokio::sync::Semaphore::new(ENCODERS));
    let service = |kind| Arc::new(Completions { kind, generator: generator.clone(), encoders: encoders.clone() });
    let model = json!({"id": generator.name(), "object": "model", "created": 0, "owned_by": "herd"});
    let list = json!({"object": "list", "data": [model]});
    let mut routes = Routes::new()
        .service("/v1/chat/completions", service(Kind::Chat))
        .service("/v1/completions", service(Kind::Text))
        .get("/v1/models", move || list.clone());
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
    routes
}

/// One of the two paths.
struct Completions {
    kind: Kind,
    generator: Arc<Generator>,
    encoders: Arc<tokio::sync::Semaphore>,
}

impl Service for Completions {
    fn call(&self, body: Vec<u8>, ticket: Ticket) -> Answer {
        let (kind, generator, encoders) = (self.kind, self.generator.clone(), self.encoders.clone());
        Box::pin(async move {
            let _turn = encoders.acquire_owned().await;
            let own = generator.clone();
            let parsed = tokio::task::spawn_blocking(move || params::parse(&own, kind, &body)).await;
            drop(_turn);
            let parsed = match parsed {
                Ok(Ok(parsed)) => parsed,
                Ok(Err(Bad { status, field, sentence })) => return refusal(status, field, &sentence),
                Err(_) => return refusal(500, None, "reading the request failed: this is a defect of the server"),
            };
            let Parsed { sequences, prompt_tokens, stream, include_usage, logprobs } = parsed;
            let count = sequences.len();
            let events = match generator.submit(sequences) {
                Ok(events) => events,
                Err(Refusal::Full) => return refusal(429, None, "the queue is full; try again later"),
                Err(Refusal::TooMany(most)) => {
                    return refusal(400, Some("n"), &format!("{count} answers are more than the queue holds ({most})"));
                }
                Err(Refusal::Gone) => return refusal(503, None, "the engine has ended"),
            };
            let form = Form::new(&generator, kind, logprobs);
            if stream {
                let usage = include_usage.then_some(prompt_tokens);
                return streamed(Stream::new(generator, form, events, count, usage, ticket));
            }
            whole(&generator, &form, events, count, prompt_tokens).await
        })
    }

    fn refuse(&self, status: StatusCode, sentence: String) -> Response {
        refusal(status.as_u16(), None, &sentence)
    }
}

fn respond(status: u16, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn refusal(status: u16, field: Option<&str>, sentence: &str) -> Response {
    let mut response = respond(status, "application/json", Body::from(error(status, field, sentence).to_string()));
    if matches!(status, 429 | 503) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

async fn whole(
    generator: &Generator,
    form: &Form,
    mut events: UnboundedReceiver<Event>,
    count: usize,
    prompt_tokens: usize,
) -> Response {
    let empty = || Whole { text: String::new(), told: Vec::new(), reason: dataset::FinishReason::Stop };
    let mut choices: Vec<Whole> = (0..count).map(|_| empty()).collect();
    let (mut open, mut completion_tokens) = (count, 0);
    while open > 0 {
        match events.recv().await {
            Some(Event::Token { index, choice, text }) => {
                choices[index].text.push_str(&text);
                if form.tells_logprobs() {
                    choices[index].told.push(Told::new(generator, &choice));
                }
            }
            Some(Event::Finished { index, reason, tokens }) => {
                choices[index].reason = reason;
                completion_tokens += tokens;
                open -= 1;
            }
            Some(Event::Failed(sentence)) => return refusal(500, None, &sentence),
            None => return refusal(500, None, "the engine ended before the answer was complete"),
        }
    }
    let answer = form.whole(choices, usage(prompt_tokens, completion_tokens));
    respond(200, "application/json", Body::from(answer.to_string()))
}

fn streamed(stream: Stream) -> Response {
    let mut response = respond(200, "text/event-stream; charset=utf-8", Body::new(stream));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// A response's body of server-sent events. Dropping it (the client went away) cancels the sequences.
struct Stream {
    generator: Arc<Generator>,
    form: Form,
    events: UnboundedReceiver<Event>,
    /// Choices that are not complete.
    open: usize,
    /// Tokens of the prompts, if the tokens are to be told at the end.
    prompt_tokens: Option<usize>,
    completion_tokens: usize,
    ready: VecDeque<Bytes>,
    ended: bool,
    _ticket: Ticket,
}

impl Stream {
    fn new(
        generator: Arc<Generator>,
        form: Form,
        events: UnboundedReceiver<Event>,
        count: usize,
        prompt_tokens: Option<usize>,
        ticket: Ticket,
    ) -> Self {
        let ready = (0..count).filter_map(|index| form.opening(index)).map(|piece| event(&piece)).collect();
        Self {
            generator,
            form,
            events,
            open: count,
            prompt_tokens,
            completion_tokens: 0,
            ready,
            ended: false,
            _ticket: ticket,
        }
    }

    fn handle(&mut self, happened: Option<Event>) {
        let piece = match happened {
            Some(Event::Token { index, choice, text }) => {
                if text.is_empty() && !self.form.tells_logprobs() {
                    return;
                }
                self.form.piece(index, &text, &Told::new(&self.generator, &choice))
            }
            Some(Event::Finished { index, reason, tokens }) => {
                self.open -= 1;
                self.completion_tokens += tokens;
                self.form.ending(index, &reason)
            }
            Some(Event::Failed(sentence)) => {
                self.ended = true;
                error(500, None, &sentence)
            }
            None => {
                self.ended = true;
                error(500, None, "the engine ended before the answer was complete")
            }
        };
        self.ready.push_back(event(&piece));
        if self.open == 0 {
            if let Some(prompt_tokens) = self.prompt_tokens {
                let piece = self.form.usage_piece(usage(prompt_tokens, self.completion_tokens));
                self.ready.push_back(event(&piece));
            }
            self.ready.push_back(Bytes::from_static(b"data: [DONE]\n\n"));
            self.ended = true;
        }
    }
}

fn event(piece: &Value) -> Bytes {
    Bytes::from(format!("data: {piece}\n\n"))
}

impl hyper::body::Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            match self.events.poll_recv(context) {
                Poll::Ready(happened) => self.handle(happened),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
