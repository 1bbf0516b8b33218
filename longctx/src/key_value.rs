//! Keys and values that fill the whole context; the question asks for one value.

use crate::context::Context;
use crate::counter::Counter;
use crate::draw::Draw;
use crate::phrases::{self, NOT_SAID};
use crate::split::Split;
use crate::task::{Draft, Form, Turn, World};

/// Formats one line of the context.
fn entry(split: Split, key: &str, value: &str) -> String {
    match split {
        Split::Train => format!("  \"{key}\": \"{value}\""),
        Split::Evaluation => format!("{{\"id\": \"{key}\", \"code\": \"{value}\"}}"),
    }
}

fn context(split: Split, entries: &[(String, String)]) -> String {
    let lines: Vec<String> = entries.iter().map(|(key, value)| entry(split, key, value)).collect();
    match split {
        Split::Train => format!("{{\n{}\n}}", lines.join(",\n")),
        Split::Evaluation => lines.join("\n"),
    }
}

/// The average number of tokens of a line.
///
/// # Errors
/// When the tokenizer fails.
pub fn entry_tokens(counter: &Counter, split: Split) -> anyhow::Result<f64> {
    const MEASURED: usize = 64;
    let mut draw = Draw::new(0, 0, 0, split);
    let entries: Vec<(String, String)> = (0..MEASURED).map(|_| (draw.uuid(), draw.uuid())).collect();
    Ok(counter.count(&context(split, &entries))? as f64 / MEASURED as f64)
}

/// Drafts a record of about `tokens` tokens of context.
pub fn draft(world: &World, tokens: u64, absent: bool, draw: &mut Draw) -> Draft {
    let count = ((tokens as f64 / world.entry_tokens) as usize).max(2);
    let entries: Vec<(String, String)> = (0..count).map(|_| (draw.uuid(), draw.uuid())).collect();
    let context = Context::made(context(world.split, &entries));
    let (key, value) = &entries[draw.below(count)];
    let more = phrases::not_said(world.split);
    let turn = if absent {
        let key = draw.uuid();
        let mut turn = Turn::new(Form::KeyValue, &[&key], NOT_SAID, draw);
        turn.keys = vec![key];
        turn
    } else {
        let line = entry(world.split, key, value);
        let at = context.only(&line).map(|start| start..start + line.len());
        let mut turn = Turn::new(Form::KeyValue, &[key], value, draw).at(at.into_iter().collect());
        turn.keys = vec![key.clone()];
        turn
    };
    Draft { context, turns: vec![turn.saying(more)] }
}
