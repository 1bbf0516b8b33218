//! The prompt of a guard that is a language model.
//!
//! It has three parts: the policy up to the start of the conversation, which is the same for all texts of one role and is computed once;
//! the conversation; and the question. Delimiters and answers follow Llama Guard 3's published format, so that such a model works too
//! ([`Format::LlamaGuard3`]).
//!
//! No text of a message can change this structure. A delimiter stands alone on a line, and a turn begins with its role at the start of a
//! line. In texts, lines that begin like a turn are quoted, and the opening `<` of a delimiter becomes `(`.

use std::fmt::Write as _;

use safety_text::policy::{Applies, Category};

use crate::record::Turn;

/// The wording of the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Guards that `herd safety guard train` made
    Herd,
    /// The published format of Llama Guard 3
    #[value(name = "llama-guard-3")]
    #[serde(rename = "llama-guard-3")]
    LlamaGuard3,
}

pub(crate) const CATEGORIES: [&str; 2] = ["<BEGIN UNSAFE CONTENT CATEGORIES>", "<END UNSAFE CONTENT CATEGORIES>"];
pub(crate) const CONVERSATION: [&str; 2] = ["<BEGIN CONVERSATION>", "<END CONVERSATION>"];

/// The name of a side.
#[must_use]
pub fn name(side: Applies) -> &'static str {
    match side {
        Applies::Prompt => "User",
        Applies::Response => "Agent",
    }
}

/// The first part: the task, and the categories with their definitions (or only their names), up to the conversation.
#[must_use]
pub fn policy<'c>(
    format: Format,
    side: Applies,
    categories: impl IntoIterator<Item = &'c Category>,
    definitions: bool,
) -> String {
    let role = name(side);
    let mut text = match format {
        Format::Herd => format!("Task: Judge the '{role}' messages of the conversation below by these categories.\n\n"),
        Format::LlamaGuard3 => format!(
            "Task: Check if there is unsafe content in '{role}' messages in conversations according our safety policy with \
             the below categories.\n\n"
        ),
    };
    let _ = write!(text, "{}\n\n", CATEGORIES[0]);
    for category in categories {
        let _ = writeln!(text, "{}: {}.", category.id, category.name);
        if definitions {
            let _ = writeln!(text, "{}", category.definition.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    let _ = write!(text, "\n{}\n\n{}\n\n", CATEGORIES[1], CONVERSATION[0]);
    text
}

/// The text before a turn.
#[must_use]
pub fn before_turn(side: Applies) -> String {
    format!("{}: ", name(side))
}

/// The text after a turn.
pub const AFTER_TURN: &str = "\n\n";

/// The conversation: each turn after its role.
#[must_use]
pub fn conversation(turns: &[Turn]) -> String {
    turns.iter().map(|turn| format!("{}{}{AFTER_TURN}", before_turn(turn.side), quoted(&turn.text))).collect()
}

/// The question after the conversation.
#[must_use]
pub fn question(side: Applies) -> String {
    format!(
        "{}\n\nProvide your safety assessment for ONLY THE LAST {} message in the above conversation:\n - First line must read \
         'safe' or 'unsafe'.\n - If unsafe, a second line must include a comma-separated list of violated categories.",
        CONVERSATION[1],
        name(side)
    )
}

/// Quotes a text so that it cannot be mistaken for a part of the prompt. The text must be cleaned ([`crate::clean::clean`]).
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for (number, line) in text.trim().split('\n').enumerate() {
        if number > 0 {
            quoted.push('\n');
        }
        if number > 0 && begins_like_a_turn(line) {
            quoted.push_str("> ");
        }
        let mut rest = line;
        while let Some(at) = rest.find('<') {
            quoted.push_str(&rest[..at]);
            quoted.push(if opens_like_a_delimiter(&rest[at + 1..]) { '(' } else { '<' });
            rest = &rest[at + 1..];
        }
        quoted.push_str(rest);
    }
    quoted
}

fn begins_like_a_turn(line: &str) -> bool {
    let line = line.trim_start();
    [Applies::Prompt, Applies::Response].iter().any(|&side| {
        let role = name(side);
        let (Some(start), Some(rest)) = (line.get(..role.len()), line.get(role.len()..)) else { return false };
        start.eq_ignore_ascii_case(role) && rest.trim_start().starts_with(':')
    })
}

fn opens_like_a_delimiter(rest: &str) -> bool {
    let word = rest.trim_start_matches(|c: char| !c.is_alphanumeric() && c != '>');
    ["begin", "end"].iter().any(|start| word.get(..start.len()).is_some_and(|word| word.eq_ignore_ascii_case(start)))
}

#[cfg(test)]
#[path = "prompt_tests.rs"]
mod tests;
