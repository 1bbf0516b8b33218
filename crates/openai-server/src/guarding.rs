//! A guard in front of the model: what clients send is judged before the engine sees it, what the model writes before it leaves.

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

/// What is judged.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// What clients send
    Input,
    /// What the model writes
    Output,
    /// Both
    Both,
}

/// What happens to a request whose prompt is unsafe.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reject {
    /// It is answered with the policy's refusal, and finish_reason is content_filter
    Refusal,
    /// It is answered with 400
    #[value(name = "400")]
    Error,
}

/// A guard and what a server does with its verdicts.
pub struct Guarding {
    /// The guard.
    pub worker: Arc<Worker>,
    /// What is judged.
    pub on: On,
    /// What happens to a request whose prompt is unsafe.
    pub reject: Reject,
    /// Whether texts pass when there is no verdict. Otherwise the answer is 503.
    pub fail_open: bool,
}

/// What the guard says of a request.
pub(crate) enum Admission {
    Passed,
    /// There was no verdict, and the server was told to go on.
    Unjudged,
    /// Unsafe, with the ids of the violated categories.
    Blocked(Vec<String>),
}

/// The answers to a request, for the guard.
pub(crate) struct Answers {
    /// The conversation of each prompt.
    pub asked: Vec<Asked>,
    /// Answers to each prompt.
    pub each: usize,
    /// Answers in all.
    pub count: usize,
    pub stream: bool,
    /// Whether the client is told tokens one by one.
    pub told: bool,
}

impl Guarding {
    /// Judges what a client sends. Of a conversation that ends with the beginning of an answer, what comes before is judged too.
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
            // A full queue is no failure of the guard: the client can come again.
            Err(NoVerdict::Unavailable(_)) if self.fail_open => {
                self.worker.counts().unjudged.fetch_add(1, Ordering::Relaxed);
                Ok(Admission::Unjudged)
            }
            Err(why) => Err(no_verdict(status(&why), &why.to_string())),
        }
    }

    /// The events of a request that is refused as a whole.
    pub(crate) fn refused(&self, count: usize) -> UnboundedReceiver<Event> {
        let (out, events) = unbounded_channel();
        for index in 0..count {
            let _ = out.send(Event::Refused { index, text: self.worker.policy().refusal.clone(), tokens: 0 });
        }
        events
    }

    /// Holds the events of an engine back until they are judged. Dropping the receiver cancels the sequences, as without a guard.
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

/// One answer on its way.
struct Sequence {
    held: HoldBack<Event>,
    /// Its token ids, where the client is told them.
    ids: Vec<i64>,
    /// Its last event, once it came.
    finished: Option<Event>,
}

/// The answers to a request on their way.
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
            // Without its last event an answer ends here: the receiver says so.
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

    /// Takes an event in; says whether it was the last of all.
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
            // The client's own text, which was judged with the request; nothing of an answer.
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

    /// Judges what is due, until nothing is, and lets pass what may. An error: there is no verdict, and the request has ended.
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

    /// What is judged of an answer. A client that is told tokens sees more than the text: a stop text, special tokens.
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

/// Says in a response's head that something of it was not judged.
pub(crate) fn mark_unjudged(response: &mut Response) {
    response.headers_mut().insert("x-herd-guard", HeaderValue::from_static("unavailable"));
}
