//! Converts a request's JSON to sequences, or to an error message.

use guard::Asked;
use llama::{Request, SamplingParams, StopRules};
use rand::RngExt;
use sampler::sequence_seed;
use serde_json::{Map, Value};

use crate::calls::{CallFormat, CallReader};
use crate::eyes::{Look, Looking};
use crate::fields::{Fields, RequestError, bad, bad_request};
use crate::generator::{Generator, Sequence, Task};
use crate::grammar;
use crate::processors::Processors;
use crate::prompt::{self, TextPrompt};
use crate::tools::Tools;

/// OpenAI's limit on `top_logprobs`.
const MOST_LOGPROBS: usize = 20;
const MOST_STOPS: usize = 64;
/// OpenAI's limit on a `logit_bias`.
const MOST_BIAS: f32 = 100.0;

/// The path of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Chat,
    Text,
}

/// A valid request.
pub(crate) struct Parsed {
    pub tasks: Vec<Task>,
    pub prompt_tokens: usize,
    /// The text that a guard judges for each prompt.
    pub asked: Vec<Asked>,
    pub stream: bool,
    pub include_usage: bool,
    pub reply: Reply,
}

/// The content of the answers.
pub(crate) struct Reply {
    /// Include log-probabilities.
    pub logprobs: bool,
    /// Number of answers to each prompt, and number of the most likely ones that are returned.
    pub best_of: usize,
    pub n: usize,
    /// The prompts' texts, to be placed before the answers.
    pub echo: Option<Vec<String>>,
    pub tools: Option<(Tools, CallFormat)>,
}

impl Reply {
    /// A reader of one answer's calls.
    pub fn reader(&self) -> CallReader {
        match &self.tools {
            Some((tools, format)) => CallReader::new(Some(*format), tools.names(), tools.only_one()),
            None => CallReader::new(None, Vec::new(), false),
        }
    }

    /// The text before the answer of a sequence.
    pub fn echoed(&self, index: usize) -> &str {
        self.echo.as_ref().map_or("", |texts| &texts[index / self.best_of])
    }
}

/// Parses a request.
pub(crate) fn parse(generator: &Generator, kind: Kind, body: &[u8]) -> Result<Parsed, RequestError> {
    let mut fields = Fields::read(body)?;
    fields.model(generator.name())?;
    let Prompts { prompts, chat, tools, pictures } = prompts(generator, kind, &mut fields)?;
    let echo = fields.flag("echo")?.unwrap_or(false);
    if echo && kind == Kind::Chat {
        return Err(bad("echo", "is for /v1/completions"));
    }
    let constraint = constraint(generator, &mut fields, tools.as_ref())?;
    let sampling = sampling(&mut fields)?;
    let n: usize = fields.take("n", "a whole number")?.unwrap_or(1);
    let best_of: usize = fields.take("best_of", "a whole number")?.unwrap_or(n);
    if n == 0 || best_of < n {
        return Err(if n == 0 { bad("n", "must be at least 1") } else { bad("best_of", "must be at least n") });
    }
    let ignore_eos = fields.flag("ignore_eos")?.unwrap_or(false);
    let stop = stop_rules(generator, &mut fields, ignore_eos)?;
    let seed: Option<i64> = fields.take("seed", "a whole number")?;
    // Without a seed, every request uses a new one.
    let seed = seed.map_or_else(|| rand::rng().random::<u64>(), |seed| seed as u64);
    let max_tokens = max_tokens(generator, kind, &mut fields, echo)?;
    let mut processors = processors(generator, &mut fields, &stop, max_tokens)?;
    if constraint.is_some() && (ignore_eos || processors.min_tokens > 0) {
        let field = if ignore_eos { "ignore_eos" } else { "min_tokens" };
        return Err(bad(field, "an answer with a given form has to end where the form does"));
    }
    if pictures.is_some() && (constraint.is_some() || !processors.are_neutral()) {
        let sentence = "an answer about pictures has no given form, no penalties, no biases and no min_tokens";
        return Err(bad("messages", sentence));
    }
    processors.constraint = constraint;
    let (logprobs, top_logprobs) = logprobs(kind, &mut fields)?;
    let stream = fields.flag("stream")?.unwrap_or(false);
    if stream && best_of > n {
        return Err(bad("best_of", "cannot be streamed: the likeliest answers are known at the end"));
    }
    let stream_options: Map<String, Value> = fields.take("stream_options", "an object")?.unwrap_or_default();
    let include_usage = stream_options.get("include_usage").and_then(Value::as_bool).unwrap_or(false);
    fields.refuse_unsupported()?;
    fields.finish()?;
    let prompt_tokens = prompts.iter().map(|prompt| prompt.ids.len()).sum();
    let text = |prompt: &TextPrompt| prompt.text.clone().unwrap_or_else(|| generator.decode(&prompt.ids));
    let texts = echo.then(|| prompts.iter().map(text).collect());
    let asked =
        chat.map_or_else(|| prompts.iter().map(|prompt| Asked::prompt(&text(prompt))).collect(), |one| vec![one]);
    let field = if kind == Kind::Chat { "messages" } else { "prompt" };
    let mut tasks = Vec::new();
    if let Some(pictures) = pictures {
        let prompt = prompts.into_iter().flat_map(|prompt| prompt.ids).collect::<Vec<i64>>();
        let room = generator.context().saturating_sub(prompt.len());
        if room == 0 {
            let context = generator.context();
            return Err(bad(
                "messages",
                format!("{} tokens are too many: the model's context is {context}", prompt.len()),
            ));
        }
        for index in 0..best_of {
            let looking = Looking {
                look: Look { prompt: prompt.clone(), pictures: pictures.clone() },
                sampling: sampling.clone(),
                seed: if index == 0 { seed } else { sequence_seed(seed, 0, index) },
                max_new_tokens: max_tokens.min(room),
                top_logprobs,
                stop: stop.clone(),
            };
            tasks.push(Task::Look { index, looking });
        }
        let reply = Reply { logprobs, best_of, n, echo: texts, tools };
        return Ok(Parsed { tasks, prompt_tokens, asked, stream, include_usage, reply });
    }
    for TextPrompt { ids, .. } in prompts {
        let room = prompt::room(generator, field, &ids, usize::from(max_tokens > 0))?;
        for _ in 0..best_of {
            let index = tasks.len();
            let request = Request {
                prompt: ids.clone(),
                sampling: sampling.clone(),
                // The first answer uses the seed itself, and equals a local model's answer with that seed.
                seed: if index == 0 { seed } else { sequence_seed(seed, 0, index) },
                max_new_tokens: max_tokens.min(room),
                top_logprobs,
            };
            tasks.push(Task::Generate(Sequence {
                request,
                processor: processors.for_sequence(),
                stop: stop.clone(),
                index,
                prompt_scores: (echo && logprobs).then_some(top_logprobs),
                prompt_only: max_tokens == 0,
            }));
        }
    }
    let reply = Reply { logprobs, best_of, n, echo: texts, tools };
    Ok(Parsed { tasks, prompt_tokens, asked, stream, include_usage, reply })
}

/// The prompts of a request.
struct Prompts {
    prompts: Vec<TextPrompt>,
    /// A conversation as a guard sees it.
    chat: Option<Asked>,
    /// Functions.
    tools: Option<(Tools, CallFormat)>,
    /// The picture files of a conversation, if it has any.
    pictures: Option<Vec<Vec<u8>>>,
}

fn prompts(generator: &Generator, kind: Kind, fields: &mut Fields) -> Result<Prompts, RequestError> {
    let special = fields.flag("add_special_tokens")?;
    match kind {
        Kind::Chat if special == Some(true) => {
            Err(bad("add_special_tokens", "the chat template writes the special tokens itself"))
        }
        Kind::Chat => {
            let prompt = prompt::chat(generator, fields)?;
            Ok(Prompts {
                prompts: vec![TextPrompt { ids: prompt.ids, text: None }],
                chat: Some(prompt.asked),
                tools: prompt.tools,
                pictures: prompt.pictures,
            })
        }
        Kind::Text => {
            let prompt = fields.value("prompt");
            let prompts = prompt::texts(generator, "prompt", prompt, special.unwrap_or(true))?;
            Ok(Prompts { prompts, chat: None, tools: None, pictures: None })
        }
    }
}

/// The required form of the answer: from the request, or from tool calls that are required.
fn constraint(
    generator: &Generator,
    fields: &mut Fields,
    tools: Option<&(Tools, CallFormat)>,
) -> Result<Option<grammar::Constraint>, RequestError> {
    let asked = grammar::shape(fields)?;
    let calls = tools.and_then(|(tools, format)| tools.shape(*format)).map(|shape| ("tools", shape));
    let (field, shape) = match (asked, calls) {
        (Some((field, _)), Some(_)) => {
            return Err(bad(field, "cannot be combined with calls that have to be made (tool_choice, strict tools)"));
        }
        (Some(found), None) | (None, Some(found)) => found,
        (None, None) => return Ok(None),
    };
    generator.constraint(&shape).map(Some).map_err(|sentence| bad(field, sentence))
}

fn sampling(fields: &mut Fields) -> Result<SamplingParams, RequestError> {
    let neutral = SamplingParams::default();
    let top_k: Option<i64> = fields.take("top_k", "a whole number")?;
    let sampling = SamplingParams {
        temperature: fields.number("temperature")?.unwrap_or(neutral.temperature),
        // vLLM's clients write -1 for all tokens.
        top_k: top_k.map_or(0, |k| k.max(0) as usize),
        top_p: fields.number("top_p")?.unwrap_or(neutral.top_p),
        min_p: fields.number("min_p")?.unwrap_or(neutral.min_p),
        repetition_penalty: fields.number("repetition_penalty")?.unwrap_or(neutral.repetition_penalty),
    };
    sampling.check().map_err(bad_request)?;
    Ok(sampling)
}

fn max_tokens(generator: &Generator, kind: Kind, fields: &mut Fields, echo: bool) -> Result<usize, RequestError> {
    let max_tokens = match (fields.count("max_completion_tokens")?, fields.count("max_tokens")?, kind) {
        (Some(tokens), _, _) | (None, Some(tokens), _) => tokens,
        (None, None, Kind::Chat) => generator.context(),
        // OpenAI's default.
        (None, None, Kind::Text) => 16,
    };
    if max_tokens == 0 && !echo {
        return Err(bad("max_tokens", "must be at least 1, or 0 with echo"));
    }
    Ok(max_tokens)
}

/// Penalties, biases and the minimum length.
fn processors(
    generator: &Generator,
    fields: &mut Fields,
    stop: &StopRules,
    max_tokens: usize,
) -> Result<Processors, RequestError> {
    let mut penalty = |name: &'static str| -> Result<f32, RequestError> {
        let penalty = fields.number(name)?.unwrap_or(0.0);
        let fits = (-2.0..=2.0).contains(&penalty);
        if fits { Ok(penalty as f32) } else { Err(bad(name, "must be between -2 and 2")) }
    };
    let (frequency_penalty, presence_penalty) = (penalty("frequency_penalty")?, penalty("presence_penalty")?);
    let mut bias = Vec::new();
    let biases: Map<String, Value> =
        fields.take("logit_bias", "an object from token ids to numbers")?.unwrap_or_default();
    for (id, number) in &biases {
        let (id, number) = match (id.parse::<i64>(), number.as_f64()) {
            (Ok(id), Some(number)) if (0..generator.vocab()).contains(&id) => (id as usize, number as f32),
            (Ok(id), Some(_)) => {
                let sentence = format!("token id {id} is outside the model's vocabulary of {}", generator.vocab());
                return Err(bad("logit_bias", sentence));
            }
            _ => return Err(bad("logit_bias", "must be an object from token ids to numbers")),
        };
        if !(-MOST_BIAS..=MOST_BIAS).contains(&number) {
            return Err(bad("logit_bias", format!("{number} is not between -{MOST_BIAS} and {MOST_BIAS}")));
        }
        bias.push((id, number));
    }
    let min_tokens = fields.count("min_tokens")?.unwrap_or(0);
    if min_tokens > max_tokens {
        return Err(bad("min_tokens", "must be at most max_tokens"));
    }
    let stop_ids = stop.ids.clone();
    Ok(Processors { bias, min_tokens, stop_ids, frequency_penalty, presence_penalty, ..Processors::default() })
}

fn stop_rules(generator: &Generator, fields: &mut Fields, ignore_eos: bool) -> Result<StopRules, RequestError> {
    let strings: Vec<String> = match fields.value("stop") {
        Some(Value::String(one)) => vec![one],
        None => Vec::new(),
        Some(list) => serde_json::from_value(list).map_err(|_| bad("stop", "must be a text or a list of texts"))?,
    };
    if strings.len() > MOST_STOPS || strings.iter().any(|string| string.is_empty() || string.len() > 1024) {
        return Err(bad("stop", format!("at most {MOST_STOPS} texts of 1 to 1024 bytes")));
    }
    let further: Vec<i64> = fields.take("stop_token_ids", "a list of token ids")?.unwrap_or_default();
    let own: &[i64] = if ignore_eos { &[] } else { generator.stop_ids() };
    Ok(StopRules { ids: [own, &further].concat(), strings })
}

/// Whether log-probabilities are returned, and of how many additional tokens.
fn logprobs(kind: Kind, fields: &mut Fields) -> Result<(bool, usize), RequestError> {
    let (field, told, top) = match kind {
        Kind::Chat => ("top_logprobs", fields.flag("logprobs")?.unwrap_or(false), fields.count("top_logprobs")?),
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
