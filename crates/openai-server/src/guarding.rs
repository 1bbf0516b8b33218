//! A guard before and after the model: requests are judged before the engine sees them, answers before they are sent.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use clap::ValueEnum;
use dataset::FinishReason;
use guard::Asked;
use guard::holdback::{Extent, HoldBack, Window};
use guard::worker::{NoVerdict, Worker};
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::generator::{Event, Generator};
use crate::respond::{error, respond};

/// The texts that the guard judges.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// The clients' requests
    Input,
    /// The model's answers
    Output,
    /// Requests and answers
    Both,
}

/// The reaction to a request with an unsafe prompt.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reject {
    /// Answer with the policy's refusal, with finish_reason content_filter
    Refusal,
    /// Answer with status 400
    #[value(name = "400")]
    Error,
}

/// A guard, and the reactions of the server to its verdicts.
pub struct Guarding {
    /// The guard.
    pub worker: Arc<Worker>,
    /// The texts that are judged.
    pub on: On,
    /// The reaction to a request with an unsafe prompt.
    pub reject: Reject,
    /// Whether texts pass without a verdict; otherwise the answer is 503.
    pub fail_open: bool,
}

/// The guard's decision on a request.
pub(crate) enum Admission {
    Passed,
    /// There was no verdict, and the server is configured to continue.
    Unjudged,
    /// The request is unsafe; these are the ids of the violated categories.
    Blocked(Vec<String>),
}

/// The answers to a request, as the guard needs them.
pub(crate) struct Answers {
    /// The conversation of each prompt.
    pub asked: Vec<Asked>,
    /// Number of answers to each prompt.
    pub each: usize,
    /// Total number of answers.
    pub count: usize,
    pub stream: bool,
    /// Whether the client receives individual tokens.
    pub told: bool,
}

impl Guarding {
    /// Judges a request. If the conversation ends with the start of an answer, the part before it is judged too.
    pub(crate) async fn input(&self, asked: &[Asked]) -> Result<Admission, Response> {
        if self.on == On::Output {
            return Ok(Admission::Passed);
        }
        let mut all = asked.to_vec();
        all.extend(asked.iter().filter_map(Asked::before_answer));
        match self.worker.judge(all).await {
            Ok(verdicts) => match verdicts.into_iter().find(|verdict| verdict.is_unsafe) {
                Some(verdict) => Ok(Admission::Blocked(verdict.violated)),
                None => Ok(Admission::Passed),
            },
            // A full queue is not a failure of the guard: the client can retry.
            Err(NoVerdict::Unavailable(_)) if self.fail_open => {
                self.worker.counts().unjudged.fetch_add(1, Ordering::Relaxed);
                Ok(Admission::Unjudged)
            }
            Err(why) => Err(no_verdict(status(&why), &why.to_string())),
        }
    }

    /// The events of a request that is refused completely.
    pub(crate) fn refused(&self, count: usize) -> UnboundedReceiver<Event> {
        let (out, events) = unbounded_channel();
        for index in 0..count {
            let _ = out.send(Event::Refused { index, text: self.worker.policy().refusal.clone(), tokens: 0 });
        }
        events
    }

    /// Holds back the events of an engine until they are judged. Dropping the receiver cancels the sequences, as without a guard.
    pub(crate) fn output(
        self: Arc<Self>,
        events: UnboundedReceiver<Event>,
        answers: Answers,
        generator: Arc<Generator>,
    ) -> UnboundedReceiver<Event> {
        let (out, receiver) = unbounded_channel();
        let window = match answers.stream {
            false => Window::Whole,
            true => Window::Tokens(self.worker.policy().hold_back_tokens as usize),
        };
        let sequence = || Sequence { held: HoldBack::new(window), ids: Vec::new(), finished: None };
        let sequences = (0..answers.count).map(|_| sequence()).collect();
        let output = Output { guarding: self, answers, generator, sequences, out, is_unjudged: false };
        tokio::spawn(output.run(events));
        receiver
    }
}

/// An answer in progress.
struct Sequence {
    held: HoldBack<Event>,
    /// Its token ids, if the client receives them.
    ids: Vec<i64>,
    /// Its last event, after it has arrived.
    finished: Option<Event>,
}

/// The answers to a request in progress.
struct Output {
    guarding: Arc<Guarding>,
    answers: Answers,
    generator: Arc<Generator>,
    sequences: Vec<Sequence>,
    out: UnboundedSender<Event>,
    is_unjudged: bool,
}

impl Output {
    async fn run(mut self, mut events: UnboundedReceiver<Event>) {
        loop {
            let event = tokio::select! {
                biased;
                () = self.out.closed() => return,
                event = events.recv() => event,
            };
            // An answer without its last event has broken off; the receiver reports that.
            let Some(event) = event else { return };
            if self.take(event) {
                return;
            }
            while let Ok(event) = events.try_recv() {
                if self.take(event) {
                    return;
                }
            }
            if self.judge().await.is_err() || self.sequences.iter().all(|one| one.held.is_done()) {
                return;
            }
        }
    }

    /// Adds an event; returns whether it was the last one of all answers.
    fn take(&mut self, event: Event) -> bool {
        match event {
            Event::Token { index, choice, text } => {
                let one = &mut self.sequences[index];
                if self.answers.told {
                    one.ids.push(choice.id);
                }
                one.held.push(Event::Token { index, choice, text: text.clone() }, &text);
                false
            }
            Event::Finished { index, .. } => {
                let one = &mut self.sequences[index];
                one.held.end();
                one.finished = Some(event);
                false
            }
            // These events contain the client's own text, which was judged with the request, and no part of an answer.
            event @ (Event::Prompt { .. } | Event::Embedding { .. } | Event::Unjudged | Event::Refused { .. }) => {
                if let Event::Refused { index, .. } = event {
                    self.sequences[index].held.block();
                }
                let _ = self.out.send(event);
                self.sequences.iter().all(|one| one.held.is_done())
            }
            event @ (Event::Failed(_) | Event::NoVerdict { .. }) => {
                let _ = self.out.send(event);
                true
            }
        }
    }

    /// Gives all verdicts that are due, and releases what may pass. An error means that there is no verdict and that the request has
    /// ended.
    async fn judge(&mut self) -> Result<(), ()> {
        loop {
            let due: Vec<(usize, Extent, Asked)> = self
                .sequences
                .iter()
                .enumerate()
                .filter_map(|(index, one)| {
                    let (text, extent) = one.held.due()?;
                    Some((index, extent, self.asked(index, one, text)))
                })
                .collect();
            if due.is_empty() {
                break;
            }
            let asked = due.iter().map(|(.., asked)| asked.clone()).collect();
            let verdicts = match self.guarding.worker.judge(asked).await {
                Ok(verdicts) => verdicts.into_iter().map(|verdict| verdict.is_unsafe).collect(),
                Err(NoVerdict::Unavailable(_)) if self.guarding.fail_open => {
                    self.guarding.worker.counts().unjudged.fetch_add(due.len() as u64, Ordering::Relaxed);
                    if !std::mem::replace(&mut self.is_unjudged, true) {
                        let _ = self.out.send(Event::Unjudged);
                    }
                    vec![false; due.len()]
                }
                Err(why) => {
                    let _ = self.out.send(Event::NoVerdict { status: status(&why), sentence: why.to_string() });
                    return Err(());
                }
            };
            for ((index, extent, _), is_unsafe) in due.into_iter().zip(verdicts) {
                let held = &mut self.sequences[index].held;
                if is_unsafe {
                    held.block();
                    let text = self.guarding.worker.policy().refusal.clone();
                    let _ = self.out.send(Event::Refused { index, text, tokens: held.tokens() });
                } else {
                    held.pass(extent).into_iter().for_each(|event| drop(self.out.send(event)));
                }
            }
        }
        for one in &mut self.sequences {
            one.held.release().into_iter().for_each(|event| drop(self.out.send(event)));
            if one.held.is_done()
                && !one.held.is_blocked()
                && let Some(finished) = one.finished.take()
            {
                let _ = self.out.send(finished);
            }
        }
        Ok(())
    }

    /// The text of an answer that is judged. A client that receives tokens also sees stop texts and special tokens.
    fn asked(&self, index: usize, one: &Sequence, text: &str) -> Asked {
        let asked = &self.answers.asked[index / self.answers.each];
        match self.answers.told {
            true => asked.answered(&self.generator.decode(&one.ids)),
            false => asked.answered(text),
        }
    }
}

fn status(why: &NoVerdict) -> u16 {
    match why {
        NoVerdict::Full => 429,
        NoVerdict::Unavailable(_) => 503,
    }
}

/// The finish reason of an answer that the guard stopped.
pub(crate) fn content_filter() -> FinishReason {
    FinishReason::Other("content_filter".into())
}

/// The response when there is no verdict.
pub(crate) fn no_verdict(status: u16, sentence: &str) -> Response {
    let body = guard::moderation::error(status, None, sentence);
    let mut response = respond(status, "application/json", Body::from(body.to_string()));
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// The response that refuses a request whose text is unsafe.
pub(crate) fn blocked_input(field: &str, violated: &[String]) -> Response {
    let of = if violated.is_empty() { String::new() } else { format!(": {}", violated.join(", ")) };
    let mut body = error(400, Some(field), &format!("{field}: the guard found it unsafe{of}"));
    body["error"]["code"] = Value::from("content_filter");
    respond(400, "application/json", Body::from(body.to_string()))
}

/// Marks in a response's header that a part of it was not judged.
pub(crate) fn mark_unjudged(response: &mut Response) {
    response.headers_mut().insert("x-herd-guard", HeaderValue::from_static("unavailable"));
}
