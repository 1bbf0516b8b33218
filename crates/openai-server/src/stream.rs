//! An answer as a stream of server-sent events.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use http_service::Ticket;
use hyper::body::Frame;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::answer::finish_reason;
use crate::calls::{CallReader, Part};
use crate::generator::{Event, Generator};
use crate::guarding::content_filter;
use crate::params::Reply;
use crate::respond::{Form, TokenInfo, error, respond, usage};

/// The comment in a stream if the guard failed and the server is configured to continue.
const UNJUDGED: &[u8] = b": x-herd-guard: unavailable\n\n";

/// The response that sends a stream.
pub(crate) fn streamed(stream: Stream) -> Response {
    let mut response = respond(200, "text/event-stream; charset=utf-8", Body::new(stream));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// One sequence of a stream.
struct One {
    reader: CallReader,
    /// Number of calls that were sent.
    calls: usize,
    /// Number of characters that were sent with log-probabilities.
    offset: usize,
}

/// The body of a response with server-sent events. Dropping it (the client disconnected) cancels the sequences.
pub(crate) struct Stream {
    generator: Arc<Generator>,
    form: Form,
    events: UnboundedReceiver<Event>,
    reply: Reply,
    all: Vec<One>,
    /// Number of choices that are not complete.
    open: usize,
    /// Number of tokens of the prompts, if the counts are sent at the end.
    prompt_tokens: Option<usize>,
    completion_tokens: usize,
    ready: VecDeque<Bytes>,
    ended: bool,
    _ticket: Ticket,
}

impl Stream {
    /// `first` is an event that was already received.
    pub fn new(
        generator: Arc<Generator>,
        form: Form,
        (first, events): (Option<Event>, UnboundedReceiver<Event>),
        count: usize,
        prompt_tokens: Option<usize>,
        reply: Reply,
        ticket: Ticket,
    ) -> Self {
        let all = (0..count).map(|_| One { reader: reply.reader(), calls: 0, offset: 0 }).collect();
        let mut stream = Self {
            generator,
            form,
            events,
            reply,
            all,
            open: count,
            prompt_tokens,
            completion_tokens: 0,
            ready: VecDeque::new(),
            ended: false,
            _ticket: ticket,
        };
        for index in 0..count {
            stream.ready.extend(stream.form.opening(index).map(|piece| event(&piece)));
            if stream.reply.echo.is_some() && !stream.form.tells_logprobs() {
                stream.text(index, stream.reply.echoed(index).to_owned(), &[]);
            }
        }
        if first.is_some() {
            stream.handle(first);
        }
        stream
    }

    fn handle(&mut self, happened: Option<Event>) {
        match happened {
            Some(Event::Prompt { index, scores }) => {
                if self.form.tells_logprobs() {
                    let told: Vec<TokenInfo> =
                        scores.iter().map(|score| TokenInfo::given(&self.generator, score)).collect();
                    self.text(index, self.reply.echoed(index).to_owned(), &told);
                }
            }
            Some(Event::Token { index, choice, text }) => {
                let parts = self.all[index].reader.push(&text);
                let told = self.form.tells_logprobs().then(|| TokenInfo::new(&self.generator, &choice));
                self.parts(index, parts, told);
            }
            Some(Event::Finished { index, reason, tokens }) => {
                let parts = self.all[index].reader.finish();
                self.parts(index, parts, None);
                self.open -= 1;
                self.completion_tokens += tokens;
                let reason = finish_reason(reason, self.all[index].calls, &self.reply);
                let piece = self.form.ending(index, &reason);
                self.ready.push_back(event(&piece));
            }
            Some(Event::Refused { index, text, tokens }) => {
                // Text that the reader of calls holds is not sent.
                self.text(index, text, &[]);
                self.open -= 1;
                self.completion_tokens += tokens;
                let piece = self.form.ending(index, &content_filter());
                self.ready.push_back(event(&piece));
            }
            // The header was already sent: a comment, which clients ignore.
            Some(Event::Unjudged) => self.ready.push_back(Bytes::from_static(UNJUDGED)),
            Some(Event::NoVerdict { status, sentence }) => {
                self.ended = true;
                self.ready.push_back(event(&guard::moderation::error(status, None, &sentence)));
            }
            Some(Event::Embedding { .. }) => {}
            Some(Event::Failed(sentence)) => self.fail(&sentence),
            None => self.fail("the engine ended before the answer was complete"),
        }
        if self.open == 0 && !self.ended {
            if let Some(prompt_tokens) = self.prompt_tokens {
                let piece = self.form.usage_piece(usage(prompt_tokens, self.completion_tokens));
                self.ready.push_back(event(&piece));
            }
            self.ready.push_back(Bytes::from_static(b"data: [DONE]\n\n"));
            self.ended = true;
        }
    }

    fn fail(&mut self, sentence: &str) {
        self.ended = true;
        self.ready.push_back(event(&error(500, None, sentence)));
    }

    /// Sends the parts that a token completed: texts (the first with the token's log-probabilities) and calls.
    fn parts(&mut self, index: usize, parts: Vec<Part>, told: Option<TokenInfo>) {
        let mut told: Vec<TokenInfo> = told.into_iter().collect();
        for part in parts {
            match part {
                Part::Text(text) => {
                    let told = std::mem::take(&mut told);
                    self.text(index, text, &told);
                }
                Part::Call(call) => {
                    let piece = self.form.call_piece(index, self.all[index].calls, &call);
                    self.all[index].calls += 1;
                    self.ready.push_back(event(&piece));
                }
            }
        }
        if !told.is_empty() {
            self.text(index, String::new(), &told);
        }
    }

    fn text(&mut self, index: usize, text: String, told: &[TokenInfo]) {
        let piece = self.form.piece(index, &text, told, &mut self.all[index].offset);
        self.ready.push_back(event(&piece));
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
