//! Exact-prompt decontamination (the Llama 3 paper, section 5.1.4, for post-training data): a conversation is left
//! out if one of its user turns is a prompt of an evaluation set.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use dataset::jsonl::{self, OnBadLine};
use dataset::{Message, Role};
use serde_json::Value;

use crate::normal::collapsed;

/// Fields that hold a prompt in published evaluation sets, in order of precedence.
const FIELDS: [&str; 8] = ["prompt", "question", "problem", "text", "instruction", "input", "query", "turns"];

/// The prompts of evaluation sets, normalised.
#[derive(Debug, Default)]
pub struct EvaluationPrompts {
    prompts: HashMap<String, String>,
}

impl EvaluationPrompts {
    /// Reads the prompts of the files.
    ///
    /// # Errors
    /// When a file cannot be read, or a record has no prompt in any of the known fields.
    pub fn load(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let mut all = Self::default();
        for path in paths {
            all.add(path)?;
        }
        Ok(all)
    }

    fn add(&mut self, path: &Path) -> anyhow::Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut reader = jsonl::read::<Value>(path, OnBadLine::Error)?;
        while let Some(record) = reader.next() {
            let record = record?;
            let texts = prompts(&record).with_context(|| {
                format!("{}: no prompt in any of the fields messages, {}", reader.place(), FIELDS.join(", "))
            })?;
            for text in texts {
                self.prompts.entry(collapsed(&text)).or_insert_with(|| name.clone());
            }
        }
        ensure!(!self.prompts.is_empty(), "{} holds no prompt", path.display());
        Ok(())
    }

    /// The evaluation set that contains one of the user turns as a prompt.
    #[must_use]
    pub fn contains(&self, messages: &[Message]) -> Option<&str> {
        let mut asked = messages.iter().filter(|message| message.role == Role::User);
        asked.find_map(|message| self.prompts.get(&collapsed(message.text()))).map(String::as_str)
    }

    /// Number of prompts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.prompts.len()
    }

    /// Whether there are no prompts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.prompts.is_empty()
    }
}

/// The prompts in a record: its user turns, or the first known field that is a text or a list of texts.
fn prompts(record: &Value) -> Option<Vec<String>> {
    let texts = |value: &Value| -> Option<Vec<String>> {
        match value {
            Value::String(text) => Some(vec![text.clone()]),
            Value::Array(items) => {
                let of_user = |item: &Value| match item {
                    Value::String(text) => Some(text.clone()),
                    _ if item["role"] == "user" => item["content"].as_str().map(str::to_owned),
                    _ => None,
                };
                let all: Vec<String> = items.iter().filter_map(of_user).collect();
                (!all.is_empty()).then_some(all)
            }
            _ => None,
        }
    };
    std::iter::once("messages").chain(FIELDS).find_map(|field| texts(record.get(field)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_found_whatever_their_field_and_spacing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("eval.jsonl");
        let lines = [
            r#"{"question": "What is  2 + 2?", "answer": "4"}"#,
            r#"{"turns": ["Write a poem.", "Make it shorter."]}"#,
            r#"{"prompt": [{"role": "system", "content": "Be nice."}, {"role": "user", "content": "Sort a list"}]}"#,
        ];
        std::fs::write(&path, lines.join("\n")).unwrap();
        let evaluation = EvaluationPrompts::load(std::slice::from_ref(&path)).unwrap();
        assert_eq!(evaluation.len(), 4);
        let has = |text: &str| evaluation.contains(&[Message::system("x"), Message::user(text)]);
        for prompt in ["what is 2 + 2?\n", "Make it shorter.", " sort a LIST"] {
            assert_eq!(has(prompt), Some("eval.jsonl"), "{prompt}");
        }
        assert_eq!(has("What is 2 + 3?"), None);
        assert_eq!(has("Be nice."), None);
        std::fs::write(&path, "{\"x\": 1}").unwrap();
        let error = EvaluationPrompts::load(&[path]).unwrap_err().to_string();
        assert!(error.contains("eval.jsonl:1: no prompt in any of the fields"), "{error}");
    }
}
