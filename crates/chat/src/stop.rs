//! The tokens that end an answer.

use std::path::Path;

use serde_json::Value;

use crate::error::ChatError;
use crate::template::{ChatTemplate, RenderOptions};
use crate::tokenizer::{Tokenizer, read_json};

/// Ids that end an assistant turn: `eos_token_id` of `generation_config.json` (a number or a list), the tokenizer's
/// `eos_token`, and the first special token that the template writes after an assistant message.
pub fn stop_token_ids(
    tokenizer: &Tokenizer,
    template: Option<&ChatTemplate>,
    dir: &Path,
) -> Result<Vec<u32>, ChatError> {
    let mut ids = Vec::new();
    let generation = read_json(&dir.join("generation_config.json"))?.unwrap_or_default();
    let listed = match &generation["eos_token_id"] {
        Value::Array(list) => list.clone(),
        single => vec![single.clone()],
    };
    ids.extend(listed.iter().filter_map(Value::as_u64).map(|id| id as u32));
    ids.extend(tokenizer.named_tokens().get("eos_token").and_then(|token| tokenizer.id_of(token)));
    ids.extend(template.and_then(|template| terminator(tokenizer, template)));
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// The first special token after an assistant message. It is unknown for templates that refuse the probe.
pub(crate) fn terminator(tokenizer: &Tokenizer, template: &ChatTemplate) -> Option<u32> {
    const PROBE: &str = "xyzzy-answer";
    let messages = [dataset::Message::user("hello"), dataset::Message::assistant(PROBE)];
    let text = template.render(tokenizer, &messages, &RenderOptions::default()).ok()?;
    let behind = &text[text.rfind(PROBE)? + PROBE.len()..];
    let found = tokenizer.special_tokens().iter().filter_map(|(token, id)| Some((behind.find(token.as_str())?, *id)));
    found.min().map(|(_, id)| id)
}
