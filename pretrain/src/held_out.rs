//! Held-out text: rows spread over all of it, in order.

use std::path::PathBuf;

use pretrain_stream::corpus::{self, Expected, Source, Span};
use pretrain_stream::reader::Reader;
use tch::Device;

use crate::objective::{Batch, Gathering, Names};

/// Held-out shards.
pub(crate) struct HeldOut {
    reader: Reader,
    pub names: Vec<Names>,
    /// For each source, the bytes of text per ordinary token; `None` if its shards do not record them.
    pub bytes_per_token: Vec<Option<f64>>,
    /// For each source, the special tokens, which are not text.
    special: Vec<Vec<u32>>,
    spans: Vec<(usize, Span)>,
    /// A description to print.
    pub text: String,
}

impl HeldOut {
    /// Takes every n-th row of `length` tokens of the shards, including the short rows at their ends, so that there are about `tokens`
    /// tokens at most.
    ///
    /// # Errors
    /// When a shard is invalid.
    pub fn open(paths: &[PathBuf], length: u64, tokens: u64, expected: Expected) -> anyhow::Result<Self> {
        let sources = corpus::open(paths, length)?;
        let mut all = Vec::new();
        for (number, source) in sources.iter().enumerate() {
            source.check(expected)?;
            for (shard, facts) in source.shards.iter().enumerate() {
                let row = |start: u64| Span { shard, start, tokens: length.min(facts.header.tokens - start) };
                all.extend((0..facts.header.tokens).step_by(length as usize).map(|start| (number, row(start))));
            }
        }
        let total: u64 = sources.iter().map(Source::tokens).sum();
        let every = total.div_ceil(tokens).max(1) as usize;
        let spans: Vec<(usize, Span)> = all.iter().copied().step_by(every).collect();
        let used: u64 = spans.iter().map(|(_, span)| span.tokens).sum();
        let mut text = format!("  held out: {used} of {total} tokens in {} rows\n", spans.len());
        let mut bytes_per_token = Vec::new();
        for source in &sources {
            let specials = |facts: &corpus::ShardFacts| {
                let made = &facts.header.tokenizer;
                facts.header.documents * [made.begin_token, made.end_token].iter().flatten().count() as u64
            };
            let texts = source.tokens() - source.shards.iter().map(specials).sum::<u64>();
            let bytes = source.text_bytes().filter(|_| texts > 0).map(|bytes| bytes as f64 / texts as f64);
            if bytes.is_none() {
                text +=
                    &format!("  {}: its shards do not know the bytes of their texts: no bits per byte\n", source.name);
            }
            bytes_per_token.push(bytes);
        }
        let special = |source: &Source| {
            let made = source.shards.iter().map(|facts| &facts.header.tokenizer);
            let mut ids: Vec<u32> = made.flat_map(|made| [made.begin_token, made.end_token]).flatten().collect();
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        Ok(Self {
            names: sources.iter().map(|source| Names::of(&source.name)).collect(),
            special: sources.iter().map(special).collect(),
            reader: Reader::new(sources),
            bytes_per_token,
            spans,
            text,
        })
    }

    /// The source of each row.
    pub fn sources(&self) -> impl Iterator<Item = usize> + '_ {
        self.spans.iter().map(|(source, _)| *source)
    }

    /// The rows in micro-batches.
    pub fn batches(
        &self,
        micro_batch_tokens: u64,
        cross_documents: bool,
        device: Device,
    ) -> impl Iterator<Item = anyhow::Result<Batch>> + '_ {
        let longest = self.spans.iter().map(|(_, span)| span.tokens).max().unwrap_or(1);
        let most = (micro_batch_tokens / longest).max(1) as usize;
        self.spans.chunks(most).map(move |spans| -> anyhow::Result<Batch> {
            let mut gathering = Gathering::default();
            for (source, span) in spans {
                let tokens = self.reader.read(*source, *span)?;
                let path = &self.reader.sources()[*source].shards[span.shard].path;
                gathering.name(format!("{}@{}", path.display(), span.start));
                gathering.add(*source, &tokens, cross_documents, &self.special[*source]);
            }
            Ok(gathering.batch(device, Vec::new()))
        })
    }
}
