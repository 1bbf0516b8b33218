//! The training data of a stage: long and short documents as examples of at most the stage's length, with counts of every cut.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use chat::{ChatTemplate, EncodeOptions, Tokenizer};
use dataset::jsonl::{self, OnBadLine};
use dataset::{Conversation, check};
use longctx::documents::{self, Document, UNKNOWN};
use longctx::record;
use longctx::split::Split;
use run::grouped;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use trainer::Example;

/// Texts or conversations of a source, before they are tokenised.
#[derive(Debug, Default)]
pub struct Texts {
    /// The documents to train on.
    pub documents: Vec<Document>,
    /// The documents that are kept for gates.
    pub held_out: Vec<Document>,
    /// Conversations.
    pub conversations: Vec<Conversation>,
    /// The given paths that contain texts rather than conversations.
    pub plain: Vec<PathBuf>,
    /// Every file, in order.
    pub files: Vec<PathBuf>,
    /// Files, records and documents that were left out, counted by reason.
    pub left_out: std::collections::BTreeMap<&'static str, usize>,
}

/// Reads texts, and files of conversations (JSONL or Parquet whose first record has `messages`). Documents are split by their
/// SHA-256: a fifth is kept for gates.
///
/// # Errors
/// When a file cannot be read, or a conversation is one to evaluate on.
pub fn read(paths: &[PathBuf]) -> anyhow::Result<Texts> {
    let mut texts = Texts::default();
    for path in paths {
        if !is_conversations(path)? {
            texts.plain.push(path.clone());
            continue;
        }
        let mut reader = jsonl::read::<Conversation>(path, OnBadLine::Error)?;
        while let Some(conversation) = reader.next() {
            let conversation = conversation?;
            if let Err(fault) = check::has_answer(&conversation.messages) {
                reader.reject(fault, &conversation)?;
            }
            let is_held_out = record::meta(&conversation).is_ok_and(|meta| meta.split == Split::Evaluation);
            ensure!(
                !is_held_out,
                "{}: this record is one to evaluate on (meta.split is evaluation); train on records of the other split",
                reader.place()
            );
            texts.conversations.push(conversation);
        }
        texts.files.push(path.clone());
    }
    let read = documents::load(&texts.plain, UNKNOWN)?;
    texts.files.extend(read.files);
    texts.left_out = read.left_out;
    for document in read.documents {
        match Split::of_digest(&document.sha256) {
            Split::Train => texts.documents.push(document),
            Split::Evaluation => texts.held_out.push(document),
        }
    }
    Ok(texts)
}

fn is_conversations(path: &Path) -> anyhow::Result<bool> {
    let name = path.to_string_lossy();
    let is_records = [".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet"].iter().any(|ending| name.ends_with(ending));
    if path.is_dir() || !is_records {
        return Ok(false);
    }
    match jsonl::read::<Value>(path, OnBadLine::Error)?.next() {
        Some(record) => Ok(record?.get("messages").is_some()),
        None => bail!("{} has no record", path.display()),
    }
}

/// The counts of a source after encoding.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Documents and conversations that were read.
    pub documents: u64,
    /// Tokens of all examples.
    pub tokens: u64,
    /// Documents that are longer than an example may be.
    pub cut: u64,
    /// Pieces that the longer documents were cut into.
    pub pieces: u64,
    /// Tokens of pieces that lack the start of their document.
    pub tokens_behind_cuts: u64,
    /// Conversations that are longer than an example may be; they are left out.
    pub long_conversations: u64,
    /// Documents of fewer than two tokens.
    pub empty: u64,
}

impl Account {
    /// The counts as a sentence, to print.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        let mut text = format!("  {name}: {} documents, {} tokens", grouped(self.documents), grouped(self.tokens));
        if self.cut > 0 {
            text += &format!(
                "; {} are longer than an example and were cut into {} pieces, {} tokens do not see the start of their document",
                grouped(self.cut),
                grouped(self.pieces),
                grouped(self.tokens_behind_cuts)
            );
        }
        if self.long_conversations > 0 {
            text += &format!("; {} conversations are too long and left out", grouped(self.long_conversations));
        }
        if self.empty > 0 {
            text += &format!("; {} of fewer than two tokens left out", grouped(self.empty));
        }
        text
    }
}

/// The examples of a source, none longer than `most` tokens. A longer document is cut into pieces of `most` tokens, the last of
/// which is shorter; a conversation is never cut.
///
/// # Errors
/// When the tokenizer or the chat template refuses a text.
pub fn encode(
    texts: &Texts,
    tokenizer: &Tokenizer,
    template: Option<&ChatTemplate>,
    most: usize,
) -> anyhow::Result<(Vec<Example>, Account)> {
    let (mut examples, mut account) = (Vec::new(), Account::default());
    for document in &texts.documents {
        let ids = tokenizer.encode(&document.paragraphs.join("\n\n"), true)?;
        account.documents += 1;
        cut(&document.name, &ids, most, &mut examples, &mut account);
    }
    for conversation in &texts.conversations {
        let template = template.context("a conversation to train on, but the model has no chat template")?;
        let encoded = chat::encode_conversation(tokenizer, template, &conversation.messages, &EncodeOptions::default())
            .with_context(|| format!("conversation {}", conversation.id))?;
        account.documents += 1;
        if encoded.ids.len() > most {
            account.long_conversations += 1;
            continue;
        }
        account.tokens += encoded.ids.len() as u64;
        examples.push(Example::of(&conversation.id, encoded));
    }
    Ok((examples, account))
}

fn cut(name: &str, ids: &[u32], most: usize, examples: &mut Vec<Example>, account: &mut Account) {
    let pieces = ids.len().div_ceil(most);
    if pieces > 1 {
        account.cut += 1;
        account.pieces += pieces as u64;
        account.tokens_behind_cuts += (ids.len() - most) as u64;
    }
    for (number, piece) in ids.chunks(most).enumerate() {
        if piece.len() < 2 {
            account.empty += u64::from(pieces == 1);
            continue;
        }
        account.tokens += piece.len() as u64;
        examples.push(Example {
            id: if pieces > 1 { format!("{name}#{number}") } else { name.to_owned() },
            ids: piece.to_vec(),
            trained: vec![true; piece.len()],
            weight: 1.0,
        });
    }
    if ids.is_empty() {
        account.empty += 1;
    }
}

/// How many times an epoch repeats each short example, with each long one once, so that `share` of its tokens are short.
///
/// # Errors
/// When a source that must have a share has no tokens.
pub fn short_weight(long: u64, short: u64, share: f64) -> anyhow::Result<f64> {
    if share == 0.0 {
        return Ok(0.0);
    }
    ensure!(
        long > 0,
        "--texts: no token is left to train on; a fifth of the documents is kept for gates by their SHA-256"
    );
    ensure!(short > 0, "--short: no token is left to train on; give more documents, or --short-share 0");
    Ok(share / (1.0 - share) * long as f64 / short as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_counted() {
        let (mut examples, mut account) = (Vec::new(), Account::default());
        let ids: Vec<u32> = (0..25).collect();
        cut("long", &ids, 10, &mut examples, &mut account);
        cut("short", &ids[..7], 10, &mut examples, &mut account);
        cut("whole", &ids[..10], 10, &mut examples, &mut account);
        cut("one", &ids[..1], 10, &mut examples, &mut account);
        let lengths: Vec<usize> = examples.iter().map(|example| example.ids.len()).collect();
        assert_eq!(lengths, [10, 10, 5, 7, 10]);
        assert_eq!((account.cut, account.pieces, account.tokens_behind_cuts), (1, 3, 15));
        assert_eq!((account.tokens, account.empty, &*examples[2].id), (42, 1, "long#2"));
        // A piece of one token predicts nothing and is left out.
        cut("eleven", &ids[..11], 10, &mut examples, &mut account);
        assert_eq!((examples.len(), account.tokens), (6, 52));
    }

    #[test]
    fn the_share_is_of_tokens() {
        // 40 of 100 tokens are short: 600 long tokens need 400 short ones, so each of 200 short tokens is seen twice.
        assert!((short_weight(600, 200, 0.4).unwrap() - 2.0).abs() < 1e-12);
        assert_eq!(short_weight(600, 0, 0.0).unwrap(), 0.0);
        assert!(short_weight(600, 0, 0.4).unwrap_err().to_string().contains("--short-share 0"));
    }

    #[test]
    fn conversations_are_told_from_texts() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let talk =
            r#"{"id": "a", "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}"#;
        let paths =
            [write("talk.jsonl", talk), write("text.jsonl", r#"{"text": "One.\n\nTwo."}"#), write("a.txt", "Three.")];
        let texts = read(&paths).unwrap();
        assert_eq!((texts.conversations.len(), texts.documents.len() + texts.held_out.len()), (1, 2));
        assert_eq!(texts.files.len(), 3);
    }
}
