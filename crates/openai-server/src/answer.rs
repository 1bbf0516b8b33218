//! A complete (not streamed) answer: collects the events of the engine's thread until all of its sequences are
//! complete.

use axum::body::Body;
use axum::response::Response;
use dataset::FinishReason;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::calls::{CallReader, Part};
use crate::generator::{Event, Generator};
use crate::guarding::{content_filter, mark_unjudged, no_verdict};
use crate::params::Reply;
use crate::respond::{Form, TokenInfo, Whole, refusal, respond, usage};

/// One sequence so far.
struct Collected {
    whole: Whole,
    reader: CallReader,
    /// Sum of its tokens' log-probabilities, and their number.
    logprob: f64,
    tokens: usize,
}

impl Collected {
    fn add(&mut self, parts: Vec<Part>) {
        for part in parts {
            match part {
                Part::Text(text) => self.whole.text.push_str(&text),
                Part::Call(call) => self.whole.calls.push(call),
            }
        }
    }

    fn mean_logprob(&self) -> f64 {
        self.logprob / self.tokens.max(1) as f64
    }
}

/// Waits for all `count` sequences of a request.
pub(crate) async fn whole(
    generator: &Generator,
    form: &Form,
    mut events: UnboundedReceiver<Event>,
    count: usize,
    prompt_tokens: usize,
    reply: &Reply,
) -> Response {
    let begin = |index: usize| Collected {
        whole: Whole {
            text: reply.echoed(index).to_owned(),
            told: Vec::new(),
            reason: FinishReason::Stop,
            calls: Vec::new(),
        },
        reader: reply.reader(),
        logprob: 0.0,
        tokens: 0,
    };
    let mut all: Vec<Collected> = (0..count).map(begin).collect();
    let (mut open, mut completion_tokens, mut is_unjudged) = (count, 0, false);
    while open > 0 {
        match events.recv().await {
            Some(Event::Prompt { index, scores }) => {
                all[index].whole.told.extend(scores.iter().map(|score| TokenInfo::given(generator, score)));
            }
            Some(Event::Token { index, choice, text }) => {
                let one = &mut all[index];
                let parts = one.reader.push(&text);
                one.add(parts);
                one.logprob += f64::from(choice.logprob);
                one.tokens += 1;
                if form.tells_logprobs() {
                    one.whole.told.push(TokenInfo::new(generator, &choice));
                }
            }
            Some(Event::Finished { index, reason, tokens }) => {
                let one = &mut all[index];
                let parts = one.reader.finish();
                one.add(parts);
                one.whole.reason = finish_reason(reason, one.reader.calls(), reply);
                completion_tokens += tokens;
                open -= 1;
            }
            Some(Event::Refused { index, text, tokens }) => {
                let one = &mut all[index];
                one.whole = Whole {
                    text: format!("{}{text}", reply.echoed(index)),
                    told: Vec::new(),
                    reason: content_filter(),
                    calls: Vec::new(),
                };
                // This answer is chosen last among those of `best_of`.
                one.logprob = f64::NEG_INFINITY;
                completion_tokens += tokens;
                open -= 1;
            }
            Some(Event::Unjudged) => is_unjudged = true,
            Some(Event::NoVerdict { status, sentence }) => return no_verdict(status, &sentence),
            Some(Event::Failed(sentence)) => return refusal(500, None, &sentence),
            Some(Event::Embedding { .. }) => {}
            None => return refusal(500, None, "the engine ended before the answer was complete"),
        }
    }
    let choices = likeliest(all, reply.best_of, reply.n);
    let answer = form.whole(choices, usage(prompt_tokens, completion_tokens));
    let mut response = respond(200, "application/json", Body::from(answer.to_string()));
    if is_unjudged {
        mark_unjudged(&mut response);
    }
    response
}

/// The finish reason: `tool_calls` if there are calls, unless the client itself chose the function (as in OpenAI's
/// API).
pub(crate) fn finish_reason(reason: FinishReason, calls: usize, reply: &Reply) -> FinishReason {
    let named = reply.tools.as_ref().is_some_and(|(tools, _)| tools.is_named());
    match reason {
        FinishReason::Stop if calls > 0 && !named => FinishReason::Other("tool_calls".into()),
        other => other,
    }
}

/// The `n` of each prompt's `best_of` answers with the highest mean log-probability per token, best first.
fn likeliest(all: Vec<Collected>, best_of: usize, n: usize) -> Vec<Whole> {
    if best_of == n {
        return all.into_iter().map(|one| one.whole).collect();
    }
    let mut chosen = Vec::new();
    let mut rest = all.into_iter().peekable();
    while rest.peek().is_some() {
        let mut group: Vec<Collected> = rest.by_ref().take(best_of).collect();
        group.sort_by(|a, b| b.mean_logprob().total_cmp(&a.mean_logprob()));
        chosen.extend(group.into_iter().take(n).map(|one| one.whole));
    }
    chosen
}
