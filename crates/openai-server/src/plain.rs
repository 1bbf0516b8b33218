//! The paths that generate nothing: tokenise and detokenise (vLLM's forms), embeddings.

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use http_service::{Answer, Service, Ticket};
use serde_json::{Value, json};

use crate::fields::{Fields, RequestError, bad};
use crate::generator::{Event, Generator, Task};
use crate::guarding::{Admission, blocked_input, mark_unjudged};
use crate::prompt;
use crate::respond::{refusal, respond};
use crate::service::{Shared, refused};

/// Answers a body.
pub(crate) type AnswerBody = fn(&Generator, &[u8]) -> Result<Value, RequestError>;

/// A path that is answered immediately.
pub(crate) struct Quick {
    pub answer: AnswerBody,
    pub shared: Shared,
}

impl Service for Quick {
    fn call(&self, body: Vec<u8>, _ticket: Ticket) -> Answer {
        let (answer, shared) = (self.answer, self.shared.clone());
        Box::pin(async move {
            match shared.read(body, answer).await {
                Ok(value) => respond(200, "application/json", Body::from(value.to_string())),
                Err(response) => response,
            }
        })
    }

    fn refuse(&self, status: StatusCode, sentence: String) -> Response {
        refusal(status.as_u16(), None, &sentence)
    }
}

/// `POST /tokenize`: the ids of a `prompt`, or of `messages` in the chat template.
pub(crate) fn tokenize(generator: &Generator, body: &[u8]) -> Result<Value, RequestError> {
    let mut fields = Fields::read(body)?;
    fields.model(generator.name())?;
    let with_texts = fields.flag("return_token_strs")?.unwrap_or(false);
    let special = fields.flag("add_special_tokens")?;
    let ids = if fields.0.contains_key("messages") {
        if special == Some(true) {
            return Err(bad("add_special_tokens", "the chat template writes the special tokens itself"));
        }
        prompt::chat(generator, &mut fields)?.ids
    } else {
        let text = fields.text("prompt")?.ok_or_else(|| bad("prompt", "is missing; give prompt or messages"))?;
        generator.encode_text(&text, special.unwrap_or(true)).map_err(|sentence| bad("prompt", sentence))?
    };
    fields.finish()?;
    let texts = with_texts.then(|| {
        let text = |&id: &i64| u32::try_from(id).ok().and_then(|id| generator.tokenizer().token_of(id));
        ids.iter().map(text).collect::<Vec<_>>()
    });
    Ok(json!({"count": ids.len(), "max_model_len": generator.context(), "tokens": ids, "token_strs": texts}))
}

/// `POST /detokenize`: the text of `tokens`.
pub(crate) fn detokenize(generator: &Generator, body: &[u8]) -> Result<Value, RequestError> {
    let mut fields = Fields::read(body)?;
    fields.model(generator.name())?;
    let ids: Vec<i64> = fields.take("tokens", "a list of token ids")?.ok_or_else(|| bad("tokens", "is missing"))?;
    fields.finish()?;
    if let Some(id) = ids.iter().find(|id| !(0..generator.vocab()).contains(*id)) {
        let sentence = format!("token id {id} is outside the model's vocabulary of {}", generator.vocab());
        return Err(bad("tokens", sentence));
    }
    Ok(json!({"prompt": generator.decode(&ids)}))
}

/// `POST /v1/embeddings`: the mean of the last hidden states of each text.
pub(crate) struct Embeddings {
    pub shared: Shared,
}

struct Wanted {
    texts: Vec<Vec<i64>>,
    asked: Vec<guard::Asked>,
    base64: bool,
}

fn wanted(generator: &Generator, body: &[u8]) -> Result<Wanted, RequestError> {
    let mut fields = Fields::read(body)?;
    fields.model(generator.name())?;
    let input = fields.value("input");
    let special = fields.flag("add_special_tokens")?.unwrap_or(true);
    let texts = prompt::texts(generator, "input", input, special)?;
    let base64 = match fields.text("encoding_format")?.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => return Err(bad("encoding_format", "must be float or base64")),
    };
    fields.only("dimensions", &[json!(generator.hidden())])?;
    fields.finish()?;
    let text = |text: &prompt::TextPrompt| text.text.clone().unwrap_or_else(|| generator.decode(&text.ids));
    let asked = texts.iter().map(|one| guard::Asked::prompt(&text(one))).collect();
    let texts: Vec<Vec<i64>> = texts.into_iter().map(|text| text.ids).collect();
    for ids in &texts {
        prompt::room(generator, "input", ids, 0)?;
    }
    Ok(Wanted { texts, asked, base64 })
}

impl Service for Embeddings {
    fn call(&self, body: Vec<u8>, _ticket: Ticket) -> Answer {
        let shared = self.shared.clone();
        Box::pin(async move {
            let Wanted { texts, asked, base64 } = match shared.read(body, wanted).await {
                Ok(wanted) => wanted,
                Err(response) => return response,
            };
            let mut is_unjudged = false;
            if let Some(guarding) = &shared.guarding {
                match guarding.input(&asked).await {
                    Ok(Admission::Passed) => {}
                    Ok(Admission::Unjudged) => is_unjudged = true,
                    // An embedding cannot contain a refusal.
                    Ok(Admission::Blocked(violated)) => return blocked_input("input", &violated),
                    Err(response) => return response,
                }
            }
            let (count, tokens) = (texts.len(), texts.iter().map(Vec::len).sum::<usize>());
            let tasks = texts.into_iter().enumerate().map(|(index, ids)| Task::Embed { index, ids }).collect();
            let mut events = match shared.generator.submit(tasks) {
                Ok(events) => events,
                Err(refusal) => return refused(&refusal, "input", count),
            };
            let mut data = vec![Value::Null; count];
            for _ in 0..count {
                match events.recv().await {
                    Some(Event::Embedding { index, numbers }) => {
                        let embedding = if base64 { encoded(&numbers).into() } else { json!(numbers) };
                        data[index] = json!({"object": "embedding", "index": index, "embedding": embedding});
                    }
                    Some(Event::Failed(sentence)) => return refusal(500, None, &sentence),
                    _ => return refusal(500, None, "the engine ended before the answer was complete"),
                }
            }
            let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
            let answer = json!({"object": "list", "data": data, "model": shared.generator.name(), "usage": usage});
            let mut response = respond(200, "application/json", Body::from(answer.to_string()));
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

/// Little-endian float32 numbers in base64, as the `openai` library requests.
fn encoded(numbers: &[f32]) -> String {
    use base64::Engine as _;
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
