//! Reads and encodes one file in chunks of a few thousand records.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use dataset::digest;
use dataset::jsonl::{self, OnBadLine};
use rayon::prelude::*;
use serde_json::Value;

use super::encoder::{Encoder, RecordError, Row};
use super::fit::{Limits, OverLong};
use super::ledger::{Counts, Ledger};

/// Number of records that are encoded at once; at most this many are held as text.
const CHUNK: usize = 4096;

/// An example with facts about its record.
pub(super) struct Item<E> {
    pub example: E,
    /// Digest of the prompt of the record.
    pub prompt: u64,
    /// Whether the text may be harmful and must not be printed.
    pub safety: bool,
}

/// Reads and encodes a file. Bad records are written to `rejects` if it is given; otherwise they stop the run.
pub(super) fn read<C: Encoder>(
    encoder: &C,
    limits: &Limits,
    (path, weight): (&Path, f64),
    rejects: Option<PathBuf>,
) -> anyhow::Result<(Vec<Item<C::Example>>, Ledger)> {
    let sha256 = digest::file(path)?;
    let rejected = rejects.as_ref().map(|path| path.display().to_string());
    let mut reader = jsonl::read::<Value>(path, rejects.map_or(OnBadLine::Error, OnBadLine::SetAside))?;
    let counts = Counts::new(encoder.counters());
    let mut ledger = Ledger { path: path.display().to_string(), sha256, weight, counts, rejected, ..Ledger::default() };
    let (mut items, mut refused) = (Vec::new(), 0);
    loop {
        let mut rows = Vec::new();
        while rows.len() < CHUNK
            && let Some(value) = reader.next()
        {
            rows.push(Row { value: value?, place: reader.place() });
        }
        if rows.is_empty() {
            break;
        }
        ledger.rows += rows.len() as u64;
        let encoded: Vec<_> = rows.par_iter().map(|row| encoder.encode(row)).collect();
        for (row, encoded) in rows.into_iter().zip(encoded) {
            let encoded = match encoded {
                Ok(encoded) => encoded,
                Err(RecordError::Bad(why, counted)) => {
                    refused += 1;
                    counted.into_iter().for_each(|name| ledger.counts.add(name, 1));
                    reader.reject_at(row.place, why, &row.value)?;
                    continue;
                }
                Err(RecordError::Stop(error)) => return Err(error).with_context(|| row.place.to_string()),
            };
            if let (OverLong::Error, Some(sentence)) = (limits.over_long, encoded.too_long.first()) {
                bail!("{}: {sentence}", row.place);
            }
            ledger.over_long += encoded.too_long.len() as u64;
            ledger.truncated += encoded.cut.0;
            ledger.cut_tokens += encoded.cut.1;
            ledger.counts.extend(&encoded.counts);
            let safety = is_safety(&row.value);
            for example in encoded.examples {
                ledger.examples += 1;
                ledger.tokens += encoder.tokens(&example) as u64;
                ledger.longest = ledger.longest.max(encoder.longest(&example) as u64);
                encoder.count(&example, &mut ledger.counts);
                items.push(Item { example, prompt: encoded.prompt, safety });
            }
        }
    }
    // The reader sets lines that are not JSON aside; they were not counted above.
    ledger.rows += reader.bad() - refused;
    ledger.set_aside = reader.bad();
    ledger.reasons = reader.reasons();
    ensure!(
        digest::file(path)? == ledger.sha256,
        "{} changed while it was read; wait until it is complete and start again",
        path.display()
    );
    Ok((items, ledger))
}

/// Whether a record is about safety, according to its `kind` or its `capability`.
fn is_safety(value: &Value) -> bool {
    ["kind", "capability"].iter().any(|key| value.get(key).and_then(Value::as_str) == Some("safety"))
}
