//! From a request's JSON to sequences, or a sentence on what is wrong with it.

use dataset::Message;
use llama::{Request, SamplingParams, StopRules};
use rand::RngExt;
use sampler::sequence_seed;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::generator::{Generator, Sequence};

/// Fields that change nothing here whatever they hold.
const WITHOUT_EFFECT: [&str; 7] =
    ["user", "metadata", "store", "service_tier", "parallel_tool_calls", "safety_identifier", "prompt_cache_key"];
/// OpenAI's bound on `top_logprobs`.
const MOST_LOGPROBS: usize = 20;
const MOST_STOPS: usize = 64;

/// What is wrong with a request: the field (if it is one) and a sentence.
#[derive(Debug, PartialEq)]
pub(crate) struct Bad {
    pub status: u16,
    pub field: Option<&'static str>,
    pub sentence: String,
}

fn bad(field: &'static str, sentence: impl std::fmt::Display) -> Bad {
    Bad { status: 400, field: Some(field), sentence: format!("{field}: {sentence}") }
}

/// Which of the two paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Chat,
    Text,
}

/// A request that can be served.
pub(crate) struct Parsed {
    pub sequences: Vec<Sequence>,
    pub prompt_tokens: usize,
    pub stream: bool,
    pub include_usage: bool,
    /// Whether to tell log-probabilities.
    pub logprobs: bool,
}

/// The fields of a request, taken one by one.
struct Fields(Map<String, Value>);

impl Fields {
    fn take<T: DeserializeOwned>(&mut self, name: &'static str, what: &str) -> Result<Option<T>, Bad> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value).map(Some).map_err(|_| bad(name, format!("must be {what}"))),
        }
    }

    fn number(&mut self, name: &'static str) -> Result<Option<f64>, Bad> {
        self.take(name, "a number")
    }

    fn count(&mut self, name: &'static str) -> Result<Option<usize>, Bad> {
        self.take(name, "a whole number, 0 or more")
    }

    fn flag(&mut self, name: &'static str) -> Result<bool, Bad> {
        Ok(self.take(name, "true or false")?.unwrap_or(false))
    }

    /// Refuses a field that asks for something; its neutral values pass.
    fn only(&mut self, name: &'static str, neutral: &[Value]) -> Result<(), Bad> {
        match self.0.remove(name) {
            Some(value) if !value.is_null() && !neutral.contains(&value) => Err(bad(name, "is not supported here")),
            _ => Ok(()),
        }
    }
}

/// Reads a request.
pub(crate) fn parse(generator: &Generator, kind: Kind, body: &[u8]) -> Result<Parsed, Bad> {
    let value: Value = serde_json::from_slice(body).map_err(|e| Bad {
        status: 400,
        field: None,
        sentence: format!("the body is not valid JSON: {e}"),
    })?;
    let Value::Object(map) = value else {
        return Err(Bad { status: 400, field: None, sentence: "the body must be a JSON object".into() });
    };
    let mut fields = Fields(map);
    if let Some(model) = fields.take::<String>("model", "a text")?
        && model != generator.name()
    {
        let sentence = format!("there is no model {model:?} here; this server has {:?}", generator.name());
        return Err(Bad { status: 404, field: Some("model"), sentence });
    }
    let prompts = match kind {
        Kind::Chat => vec![chat_prompt(generator, &mut fields)?],
        Kind::Text => text_prompts(generator, &mut fields)?,
    };
    refuse_unsupported(&mut fields)?;
    let sampling = sampling(&mut fields)?;
    let n: usize = fields.take("n", "a whole number")?.unwrap_or(1);
    if n == 0 {
        return Err(bad("n", "must be at least 1"));
    }
    fields.only("best_of", &[n.into()])?;
    let stop = stop_rules(generator, &mut fields)?;
    let seed: Option<i64> = fields.take("seed", "a whole number")?;
    // Without a seed every request draws afresh.
    let seed = seed.map_or_else(|| rand::rng().random::<u64>(), |seed| seed as u64);
    let max_new_tokens = match (fields.count("max_completion_tokens")?, fields.count("max_tokens")?, kind) {
        (Some(tokens), _, _) | (None, Some(tokens), _) => tokens,
        (None, None, Kind::Chat) => generator.context(),
        // OpenAI's default.
        (None, None, Kind::Text) => 16,
    };
    if max_new_tokens == 0 {
        return Err(bad("max_tokens", "must be at least 1"));
    }
    let (logprobs, top_logprobs) = logprobs(kind, &mut fields)?;
    let stream = fields.flag("stream")?;
    let stream_options: Map<String, Value> = fields.take("stream_options", "an object")?.unwrap_or_default();
    let include_usage = stream_options.get("include_usage").and_then(Value::as_bool).unwrap_or(false);
    if let Some(name) = fields.0.keys().find(|name| !WITHOUT_EFFECT.contains(&name.as_str())) {
        return Err(Bad {
            status: 400,
            field: None,
            sentence: format!("{name:?} is not a field that this server knows"),
        });
    }
    let prompt_tokens = prompts.iter().map(Vec::len).sum();
    let mut sequences = Vec::new();
    for prompt in prompts {
        let room = check_prompt(generator, &prompt)?;
        for _ in 0..n {
            let index = sequences.len();
            let request = Request {
                prompt: prompt.clone(),
                sampling: sampling.clone(),
                // The first answer has the seed itself: the same as a local model's with that seed.
                seed: if index == 0 { seed } else { sequence_seed(seed, 0, index) },
                max_new_tokens: max_new_tokens.min(room),
                top_logprobs,
            };
            sequences.push(Sequence { request, stop: stop.clone(), index });
        }
    }
    Ok(Parsed { sequences, prompt_tokens, stream, include_usage, logprobs })
}

fn chat_prompt(generator: &Generator, fields: &mut Fields) -> Result<Vec<i64>, Bad> {
    let messages = match fields.0.remove("messages") {
        Some(Value::Array(messages)) if !messages.is_empty() => messages,
        _ => return Err(bad("messages", "must be a list of at least one message")),
    };
    let read = |(i, message)| Message::try_from(message).map_err(|e| bad("messages", format!("[{i}].{e}")));
    let messages = messages.into_iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
    generator.encode_chat(&messages).map_err(|sentence| bad("messages", sentence))
}

fn text_prompts(generator: &Generator, fields: &mut Fields) -> Result<Vec<Vec<i64>>, Bad> {
    let sentence = "must be a text, a list of texts, a list of token ids or a list of such lists";
    let encode = |text: &str| generator.encode_text(text).map_err(|e| bad("prompt", e));
    let ids = |list: &[Value]| -> Result<Vec<i64>, Bad> {
        list.iter().map(|id| id.as_i64().ok_or_else(|| bad("prompt", sentence))).collect()
    };
    match fields.0.remove("prompt") {
        Some(Value::String(text)) => Ok(vec![encode(&text)?]),
        Some(Value::Array(list)) if list.first().is_some_and(Value::is_i64) => Ok(vec![ids(&list)?]),
        Some(Value::Array(list)) if !list.is_empty() => {
            let one = |item: &Value| match item {
                Value::String(text) => encode(text),
                Value::Array(list) => ids(list),
                _ => Err(bad("prompt", sentence)),
            };
            list.iter().map(one).collect()
        }
        _ => Err(bad("prompt", sentence)),
    }
}

/// The tokens that are left for the answer.
fn check_prompt(generator: &Generator, prompt: &[i64]) -> Result<usize, Bad> {
    let field = "prompt";
    if prompt.is_empty() {
        return Err(bad(field, "has no tokens"));
    }
    if let Some(id) = prompt.iter().find(|id| !(0..generator.vocab()).contains(*id)) {
        return Err(bad(field, format!("token id {id} is outside the model's vocabulary of {}", generator.vocab())));
    }
    let most = generator.context().min(generator.cache_tokens());
    if prompt.len() >= most {
        let limits =
            format!("the model's context is {}, the cache holds {}", generator.context(), generator.cache_tokens());
        return Err(bad(field, format!("{} tokens are too many: {limits}", prompt.len())));
    }
    Ok(most - prompt.len())
}

fn refuse_unsupported(fields: &mut Fields) -> Result<(), Bad> {
    let empty = [Value::Array(Vec::new())];
    let zero = [Value::from(0), Value::from(0.0)];
    let text = [serde_json::json!({"type": "text"})];
    for name in ["tools", "functions"] {
        fields.only(name, &empty)?;
    }
    for name in ["tool_choice", "function_call"] {
        fields.only(name, &["none".into(), "auto".into()])?;
    }
    for name in ["presence_penalty", "frequency_penalty"] {
        fields.only(name, &zero)?;
    }
    fields.only("response_format", &text)?;
    fields.only("logit_bias", &[Value::Object(Map::new())])?;
    fields.only("suffix", &["".into()])?;
    fields.only("echo", &[false.into()])
}

fn sampling(fields: &mut Fields) -> Result<SamplingParams, Bad> {
    let neutral = SamplingParams::default();
    let top_k: Option<i64> = fields.take("top_k", "a whole number")?;
    let sampling = SamplingParams {
        temperature: fields.number("temperature")?.unwrap_or(neutral.temperature),
        // vLLM's clients write -1 for all.
        top_k: top_k.map_or(0, |k| k.max(0) as usize),
        top_p: fields.number("top_p")?.unwrap_or(neutral.top_p),
        min_p: fields.number("min_p")?.unwrap_or(neutral.min_p),
        repetition_penalty: fields.number("repetition_penalty")?.unwrap_or(neutral.repetition_penalty),
    };
    sampling.check().map_err(|sentence| Bad { status: 400, field: None, sentence })?;
    Ok(sampling)
}

fn stop_rules(generator: &Generator, fields: &mut Fields) -> Result<StopRules, Bad> {
    let strings: Vec<String> = match fields.0.remove("stop") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Null) | None => Vec::new(),
        Some(list) => serde_json::from_value(list).map_err(|_| bad("stop", "must be a text or a list of texts"))?,
    };
    if strings.len() > MOST_STOPS || strings.iter().any(|string| string.is_empty() || string.len() > 1024) {
        return Err(bad("stop", format!("at most {MOST_STOPS} texts of 1 to 1024 bytes")));
    }
    let further: Vec<i64> = fields.take("stop_token_ids", "a list of token ids")?.unwrap_or_default();
    let own: &[i64] = if fields.flag("ignore_eos")? { &[] } else { generator.stop_ids() };
    Ok(StopRules { ids: [own, &further].concat(), strings })
}

/// Whether log-probabilities are told, and of how many further tokens.
fn logprobs(kind: Kind, fields: &mut Fields) -> Result<(bool, usize), Bad> {
    let (field, told, top) = match kind {
        Kind::Chat => ("top_logprobs", fields.flag("logprobs")?, fields.count("top_logprobs")?),
        Kind::Text => {
            let top = fields.count("logprobs")?;
            ("logprobs", top.is_some(), top)
        }
    };
    let top = top.unwrap_or(0);
    if top > MOST_LOGPROBS {
        return Err(bad(field, format!("at most {MOST_LOGPROBS}")));
    }
    if top > 0 && !told {
        return Err(bad(field, "needs logprobs: true"));
    }
    Ok((told, top))
}
