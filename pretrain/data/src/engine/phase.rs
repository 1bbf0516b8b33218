//! Runs a phase: reads its inputs in order, in batches that many threads process, and writes parts.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rayon::prelude::*;

use super::Phase;
use super::group::PartDecisions;
use super::map::{Kept, Outcome, Work};
use super::part::{self, MOST, Part, names};
use crate::document::Document;
use crate::ledger::Ledger;
use crate::read::{self, Event, Events, Item};
use crate::recipe::{Recipe, Step};
use crate::rows::Table;

/// Size of the texts that are in memory at a time.
const BATCH: usize = 8 << 20;
/// Number of documents that are in memory at a time.
const BATCH_DOCUMENTS: usize = 4096;

/// An input of a phase.
#[derive(Debug, Clone)]
pub(super) struct Input {
    /// Its number in the phase.
    pub number: u64,
    pub path: PathBuf,
    pub source: String,
    /// The key of its decisions: the part of the previous phase.
    pub part: Option<(u64, u64)>,
}

/// The output folders of a phase, and its stop signal.
pub(super) struct Place<'a> {
    /// The folder of its parts.
    pub folder: &'a Path,
    /// The folder for lines that are not documents.
    pub rejected: &'a Path,
    /// Whether to stop at the next part.
    pub stop: &'a (dyn Fn() -> bool + Sync),
    pub progress: &'a ::run::Progress,
}

/// Processes the inputs that remain; existing parts are skipped.
pub(super) fn run(recipe: &Recipe, phase: &Phase, work: &Work, inputs: &[Input], place: &Place) -> anyhow::Result<()> {
    std::fs::create_dir_all(place.folder).with_context(|| format!("cannot create {}", place.folder.display()))?;
    std::fs::create_dir_all(place.rejected).with_context(|| format!("cannot create {}", place.rejected.display()))?;
    for input in inputs {
        one(recipe, phase, work, input, place)?;
    }
    Ok(())
}

fn one(recipe: &Recipe, phase: &Phase, work: &Work, input: &Input, place: &Place) -> anyhow::Result<()> {
    let (mut number, mut done) = (0, 0);
    while let Some(part) = Part::read(&part::folder(place.folder, input.number, number))? {
        done += part.events;
        number += 1;
        if part.last {
            return Ok(());
        }
    }
    let rejected = place.rejected.join(format!("{:06}.jsonl", input.number));
    let mut events = match input.part {
        Some(_) => written(&input.path)?,
        None => read::open(&input.path, &input.source, rejected)?,
    };
    if done > 0 {
        events.nth(done as usize - 1);
    }
    let decisions = match (work.decisions(), input.part) {
        (Some(decisions), Some((part, number))) => Some(decisions.part(part, number)?),
        _ => None,
    };
    let mut ordinal = done;
    loop {
        if (place.stop)() {
            bail!("stopped; the same command continues from here");
        }
        if number >= 1 << 16 {
            bail!("{}: has more than 65,536 parts; raise part_bytes in the recipe", input.path.display());
        }
        let folder = part::folder(place.folder, input.number, number);
        let mut last = false;
        ::run::replace_folder(&folder, |folder| {
            let mut writer = Writer::new(recipe, phase, input, number, folder)?;
            last = writer.fill(work, &mut events, &mut ordinal, decisions.as_ref(), place.progress)?;
            writer.finish(last)
        })?;
        if last {
            return Ok(());
        }
        number += 1;
    }
}

/// The documents of a part of the previous phase, as written.
fn written(path: &Path) -> anyhow::Result<Events> {
    let reader = dataset::jsonl::read::<Document>(path, dataset::jsonl::OnBadLine::Error)?;
    Ok(Box::new(reader.map(|record| match record {
        Ok(document) => Event::Document(Box::new(Item { document, page: None })),
        Err(error) => Event::Problem(error.to_string()),
    })))
}

/// Size of the text, or of the page from which the text is extracted, in bytes.
fn size(item: &Item) -> usize {
    item.document.text.len() + item.page.as_ref().map_or(0, |page| page.bytes.len())
}

struct Writer<'a> {
    recipe: &'a Recipe,
    phase: &'a Phase,
    folder: &'a Path,
    source: String,
    /// Whether a step extracts texts from pages.
    extracts: bool,
    part: Part,
    ledger: Ledger,
    documents: zstd::Encoder<'static, std::fs::File>,
    dropped: zstd::Encoder<'static, std::fs::File>,
    numbers: Table,
    urls: Table,
    exact: Table,
    bands: Table,
    lines: Table,
    order: Table,
    scores: Table,
}

impl<'a> Writer<'a> {
    fn new(recipe: &'a Recipe, phase: &'a Phase, input: &Input, number: u64, folder: &'a Path) -> anyhow::Result<Self> {
        let encoder = |name: &str| -> anyhow::Result<_> {
            let path = folder.join(name);
            let file = std::fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
            let mut encoder = zstd::Encoder::new(file, 1)?;
            encoder.include_checksum(true)?;
            Ok(encoder)
        };
        Ok(Self {
            recipe,
            phase,
            folder,
            source: input.source.clone(),
            extracts: phase.maps.iter().any(|at| matches!(recipe.steps[*at], Step::Extract(_))),
            part: Part {
                input: input.number,
                number,
                path: input.path.to_string_lossy().into_owned(),
                events: 0,
                last: false,
                documents: 0,
                bytes: 0,
                short: 0,
                problems: Vec::new(),
                files: std::collections::BTreeMap::new(),
            },
            ledger: Ledger::new(recipe.steps.iter().map(Step::kind)),
            documents: encoder(names::DOCUMENTS)?,
            dropped: encoder(names::DROPPED)?,
            numbers: Table::new(&["place", "priority", "language"]).with_text("id"),
            urls: Table::new(&["key", "seconds", "place"]),
            exact: Table::new(&["key", "place"]),
            bands: Table::new(&["key", "place"]),
            lines: Table::new(&["key", "place"]),
            order: Table::new(&["key", "place", "source", "bytes"]),
            scores: Table::new(&["step", "score", "place", "source"]),
        })
    }

    /// Reads up to the end of the part; returns whether the input ended.
    fn fill(
        &mut self,
        work: &Work,
        events: &mut Events,
        ordinal: &mut u64,
        decisions: Option<&PartDecisions>,
        progress: &::run::Progress,
    ) -> anyhow::Result<bool> {
        let mut text = 0;
        loop {
            let mut batch: Vec<(u64, Item)> = Vec::new();
            let mut held = 0;
            let mut ended = false;
            while held < BATCH
                && batch.len() < BATCH_DOCUMENTS
                && text < self.recipe.part_bytes
                && self.part.events < MOST
            {
                match events.next() {
                    None => {
                        ended = true;
                        break;
                    }
                    Some(Event::Problem(what)) => {
                        self.part.events += 1;
                        *ordinal += 1;
                        self.problem(work, what)?;
                    }
                    Some(Event::Document(item)) if item.page.is_some() && !self.extracts => {
                        self.part.events += 1;
                        *ordinal += 1;
                        let Item { document, .. } = *item;
                        let name = document.url.unwrap_or(document.id);
                        self.problem(
                            work,
                            format!("{}: {name} is an HTML page, and no step extracts its text", self.part.path),
                        )?;
                    }
                    Some(Event::Document(item)) => {
                        let bytes = size(&item);
                        self.part.events += 1;
                        text += bytes as u64;
                        held += bytes;
                        batch.push((*ordinal, *item));
                        *ordinal += 1;
                    }
                }
            }
            progress.add(batch.len());
            self.batch(work, batch, decisions)?;
            if ended {
                return Ok(true);
            }
            if text >= self.recipe.part_bytes || self.part.events >= MOST {
                return Ok(false);
            }
        }
    }

    fn problem(&mut self, work: &Work, what: String) -> anyhow::Result<()> {
        // A file that this program wrote is complete, since its digest was compared.
        if work.decisions().is_some() {
            bail!("{what}");
        }
        if self.part.problems.len() < 20 {
            self.part.problems.push(what);
        }
        Ok(())
    }

    fn batch(&mut self, work: &Work, batch: Vec<(u64, Item)>, decisions: Option<&PartDecisions>) -> anyhow::Result<()> {
        let threads = rayon::current_num_threads();
        let each = batch.len().div_ceil(threads * 4).max(1);
        let mut chunks: Vec<Vec<(u64, Item)>> = Vec::new();
        let mut rest = batch.into_iter();
        loop {
            let chunk: Vec<(u64, Item)> = rest.by_ref().take(each).collect();
            if chunk.is_empty() {
                break;
            }
            chunks.push(chunk);
        }
        let recipe = self.recipe;
        let is_first = work.decisions().is_none();
        let done: Vec<anyhow::Result<(Ledger, Vec<Outcome>)>> = chunks
            .into_par_iter()
            .map(|chunk| {
                let mut ledger = Ledger::new(recipe.steps.iter().map(Step::kind));
                let mut signer = work.signer();
                let mut outcomes = Vec::with_capacity(chunk.len());
                for (ordinal, item) in chunk {
                    if is_first {
                        let bytes = size(&item);
                        ledger.read.entry(item.document.source.clone()).or_default().add(bytes);
                    }
                    outcomes.extend(work.document(item, ordinal, decisions, &mut signer, &mut ledger)?);
                }
                Ok((ledger, outcomes))
            })
            .collect();
        for result in done {
            let (ledger, outcomes) = result?;
            self.ledger.merge(ledger);
            for outcome in outcomes {
                match outcome {
                    Outcome::Kept(kept) => self.keep(&kept)?,
                    Outcome::Dropped(line) => self.dropped.write_all(&line).context("cannot write")?,
                }
            }
        }
        Ok(())
    }

    fn keep(&mut self, kept: &Kept) -> anyhow::Result<()> {
        self.documents.write_all(&kept.line).with_context(|| format!("cannot write {}", self.folder.display()))?;
        if self.part.documents >= MOST {
            bail!("a part has more than {MOST} documents; lower part_bytes in the recipe or the weights of the mix");
        }
        let place = part::place(self.part.input, self.part.number, self.part.documents);
        self.part.documents += 1;
        self.part.bytes += kept.bytes as u64;
        self.part.short += u64::from(kept.short);
        if self.phase.groups.is_empty() {
            return Ok(());
        }
        self.numbers.push_text(&[place, kept.source as u64, kept.language], &kept.id);
        if let Some((key, seconds)) = kept.url {
            self.urls.push(&[key, seconds.cast_unsigned(), place]);
        }
        if let Some(key) = kept.exact {
            self.exact.push(&[key, place]);
        }
        kept.bands.iter().for_each(|key| self.bands.push(&[*key, place]));
        kept.lines.iter().for_each(|key| self.lines.push(&[*key, place]));
        for (step, score) in &kept.scores {
            self.scores.push(&[*step, *score, place, kept.source as u64]);
        }
        self.order.push(&[kept.order, place, kept.source as u64, kept.bytes as u64]);
        Ok(())
    }

    fn finish(mut self, last: bool) -> anyhow::Result<()> {
        let folder = self.folder;
        let written = || format!("cannot write {}", folder.display());
        self.documents.finish().with_context(written)?;
        self.dropped.finish().with_context(written)?;
        let mut files = vec![names::DOCUMENTS, names::DROPPED, names::LEDGER];
        let steps = || self.phase.groups.iter().map(|at| &self.recipe.steps[*at]);
        for (table, name, wanted) in [
            (&self.numbers, names::NUMBERS, !self.phase.groups.is_empty()),
            (&self.urls, names::URLS, steps().any(|step| matches!(step, Step::DedupUrl(_)))),
            (&self.exact, names::EXACT, steps().any(|step| matches!(step, Step::DedupExact(_)))),
            (&self.bands, names::BANDS, steps().any(|step| matches!(step, Step::DedupMinhash(_)))),
            (&self.lines, names::LINES, steps().any(|step| matches!(step, Step::DedupLines(_)))),
            (&self.scores, names::SCORES, steps().any(|step| matches!(step, Step::Quality(_)))),
            (&self.order, names::ORDER, steps().any(|step| matches!(step, Step::Mix(_)))),
        ] {
            if wanted {
                table.write(&folder.join(name))?;
                files.push(name);
            }
        }
        let unreadable = self.part.events.saturating_sub(self.ledger.read.values().map(|count| count.documents).sum());
        if unreadable > 0 && !self.part.problems.is_empty() {
            self.ledger.unreadable.insert(self.source.clone(), unreadable);
        }
        dataset::write_file(folder.join(names::LEDGER), &serde_json::to_vec(&self.ledger)?)?;
        self.part.last = last;
        self.part.write(folder, &files)
    }
}
