//! A streamed answer as the events of `/v1/responses`, made from the pieces of a chat stream.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use hyper::body::Frame;
use serde_json::{Value, json};

use super::{ended, function_call, id, message, text_part};

/// The message that is being written.
struct Open {
    id: String,
    text: String,
    logprobs: Vec<Value>,
}

/// The body of the response.
pub(super) struct Events {
    inner: Body,
    ready: VecDeque<Bytes>,
    /// Bytes of the inner stream that do not end an event yet.
    rest: Vec<u8>,
    response: Value,
    output: Vec<Value>,
    open: Option<Open>,
    reason: String,
    usage: Value,
    number: u64,
    is_over: bool,
}

impl Events {
    /// `inner` is the chat stream; `response` the state that is shown first.
    pub fn new(inner: Body, response: Value) -> Self {
        let mut events = Self {
            inner,
            ready: VecDeque::new(),
            rest: Vec::new(),
            response,
            output: Vec::new(),
            open: None,
            reason: String::new(),
            usage: Value::Null,
            number: 0,
            is_over: false,
        };
        for kind in ["response.created", "response.in_progress"] {
            let response = events.response.clone();
            events.send(kind, json!({"response": response}));
        }
        events
    }

    fn send(&mut self, kind: &str, mut event: Value) {
        event["type"] = kind.into();
        event["sequence_number"] = self.number.into();
        self.number += 1;
        self.ready.push_back(Bytes::from(format!("event: {kind}\ndata: {event}\n\n")));
    }

    /// Takes bytes of the inner stream.
    fn take(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.windows(2).position(|two| two == b"\n\n") {
            let event: Vec<u8> = self.rest.drain(..end + 2).collect();
            let event = String::from_utf8_lossy(&event).into_owned();
            match event.trim_end().strip_prefix("data: ") {
                Some("[DONE]") => self.finish(),
                Some(data) => self.piece(&serde_json::from_str(data).unwrap_or_default()),
                // A comment is passed on unchanged.
                None => self.ready.push_back(Bytes::from(event)),
            }
        }
    }

    fn piece(&mut self, piece: &Value) {
        if let Some(error) = piece.get("error") {
            return self.fail(&error["message"]);
        }
        if self.response["model"].is_null() {
            self.response["model"] = piece["model"].clone();
        }
        if piece["usage"].is_object() {
            self.usage = piece["usage"].clone();
        }
        let choice = &piece["choices"][0];
        let text = choice["delta"]["content"].as_str().unwrap_or_default();
        let logprobs = choice["logprobs"]["content"].as_array().cloned().unwrap_or_default();
        if !text.is_empty() || !logprobs.is_empty() {
            self.text(text, logprobs);
        }
        for call in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
            self.call(call);
        }
        if let Some(reason) = choice["finish_reason"].as_str() {
            self.reason = reason.to_owned();
        }
    }

    /// Ends the stream with the event of a failure.
    fn fail(&mut self, message: &Value) {
        self.response["status"] = "failed".into();
        self.response["error"] = json!({"code": "server_error", "message": message});
        let response = self.response.clone();
        self.send("response.failed", json!({"response": response}));
        self.is_over = true;
    }

    fn text(&mut self, text: &str, logprobs: Vec<Value>) {
        let at = self.output.len();
        if self.open.is_none() {
            let id = id("msg");
            self.send(
                "response.output_item.added",
                json!({"output_index": at, "item": message(&id, "in_progress", Vec::new())}),
            );
            let part = text_part("", Vec::new());
            self.send(
                "response.content_part.added",
                json!({"item_id": id, "output_index": at, "content_index": 0, "part": part}),
            );
            self.open = Some(Open { id, text: String::new(), logprobs: Vec::new() });
        }
        let Some(open) = &mut self.open else { return };
        open.text.push_str(text);
        open.logprobs.extend(logprobs.iter().cloned());
        let id = open.id.clone();
        let delta = json!({"item_id": id, "output_index": at, "content_index": 0, "delta": text, "logprobs": logprobs});
        self.send("response.output_text.delta", delta);
    }

    /// Ends the message that is open.
    fn close(&mut self, status: &str) {
        let Some(Open { id, text, logprobs }) = self.open.take() else { return };
        let at = self.output.len();
        let part = text_part(&text, logprobs.clone());
        let done = json!({"item_id": id, "output_index": at, "content_index": 0, "text": text, "logprobs": logprobs});
        self.send("response.output_text.done", done);
        self.send(
            "response.content_part.done",
            json!({"item_id": id, "output_index": at, "content_index": 0, "part": part}),
        );
        let item = message(&id, status, vec![part]);
        self.send("response.output_item.done", json!({"output_index": at, "item": item}));
        self.output.push(item);
    }

    fn call(&mut self, call: &Value) {
        self.close("completed");
        let at = self.output.len();
        let item = function_call(call);
        let (id, arguments) = (item["id"].clone(), item["arguments"].clone());
        let mut begun = item.clone();
        begun["arguments"] = "".into();
        begun["status"] = "in_progress".into();
        self.send("response.output_item.added", json!({"output_index": at, "item": begun}));
        self.send(
            "response.function_call_arguments.delta",
            json!({"item_id": id, "output_index": at, "delta": arguments}),
        );
        let done = json!({"item_id": id, "output_index": at, "name": item["name"], "arguments": arguments});
        self.send("response.function_call_arguments.done", done);
        self.send("response.output_item.done", json!({"output_index": at, "item": item}));
        self.output.push(item);
    }

    fn finish(&mut self) {
        let is_cut = matches!(self.reason.as_str(), "length" | "content_filter");
        if self.open.is_none() && self.output.is_empty() {
            self.text("", Vec::new());
        }
        self.close(if is_cut { "incomplete" } else { "completed" });
        let (reason, output, usage) = (self.reason.clone(), self.output.clone(), self.usage.clone());
        ended(&mut self.response, &reason, output, &usage);
        let response = self.response.clone();
        self.send(if is_cut { "response.incomplete" } else { "response.completed" }, json!({"response": response}));
        self.is_over = true;
    }
}

impl hyper::body::Body for Events {
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
            if self.is_over {
                return Poll::Ready(None);
            }
            match Pin::new(&mut self.inner).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Some(bytes) = frame.data_ref().cloned() {
                        self.take(&bytes);
                    }
                }
                // The chat stream ends with `[DONE]` or with an error.
                Poll::Ready(Some(Err(_)) | None) => self.fail(&"the answer broke off".into()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    #[tokio::test]
    async fn a_stream_that_breaks_off_says_so_and_letters_may_be_cut() {
        let piece = "data: {\"model\": \"m\", \"choices\": [{\"delta\": {\"content\": \"é\"}}]}\n\n".as_bytes();
        let cut = piece.iter().position(|byte| *byte > 127).unwrap() + 1;
        let parts = [Bytes::from(piece[..cut].to_vec()), Bytes::from(piece[cut..].to_vec())];
        let mut events = Events::new(Body::empty(), json!({"status": "in_progress"}));
        parts.iter().for_each(|part| events.take(part));
        let text = to_bytes(Body::new(events), usize::MAX).await.unwrap();
        let text = String::from_utf8(text.to_vec()).unwrap();
        assert!(text.contains("\"delta\":\"é\""), "{text}");
        let last = text.trim_end().rsplit("\n\n").next().unwrap();
        assert!(last.starts_with("event: response.failed") && last.contains("the answer broke off"), "{last}");
    }
}
