//! The group steps of a phase: numbers the documents, calls the carrier for each step, and writes the decisions to
//! files that the next phase reads part by part.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Phase;
use super::map::group;
use super::number::Sorter;
use super::part::{self, Part, names};
use crate::dedup::carrier::{Carrier, Dated, Keyed, Replaced};
use crate::dedup::lines::Lines;
use crate::dedup::memory::Memory;
use crate::hash;
use crate::quality::{STEPS, threshold};
use crate::recipe::{Mix, Quality, Recipe, Step};
use crate::rows::{self, Table};

/// The decisions of the group steps of a phase.
#[derive(Debug, Clone, Default)]
pub struct Decisions {
    folder: PathBuf,
    /// Keys of the lines that are removed.
    pub frequent: hash::Set,
    about: About,
}

/// Decisions about documents of one part: by their number in it, the step and the place of the document that stays.
pub type PartDecisions = HashMap<u64, (u64, u64)>;

/// The data beside the tables of decisions.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    /// Number of documents that each step replaced.
    replaced: BTreeMap<u64, u64>,
    /// Number of documents without a signature.
    short: u64,
    /// Number of documents of each language that the line step processed.
    languages: BTreeMap<u64, u64>,
    /// The mix, by source.
    mix: BTreeMap<String, Share>,
    /// The lowest score that each quality step keeps, by source; the empty name stands for all sources together.
    #[serde(default)]
    limits: BTreeMap<u64, BTreeMap<String, u64>>,
    /// Messages for the user.
    notes: Vec<String>,
}

/// The share of a source that the mix takes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Share {
    /// Number of complete copies of the source.
    whole: u64,
    /// One more copy of the documents before this position in the order of the seed.
    below: u64,
}

const ABOUT: &str = "groups.json";
const FREQUENT: &str = "frequent.parquet";

impl Decisions {
    /// Reads the decisions of a folder; empty if the folder does not exist.
    ///
    /// # Errors
    /// When a file is damaged.
    pub fn load(folder: &Path) -> anyhow::Result<Option<Self>> {
        let path = folder.join(ABOUT);
        if !path.is_file() {
            return Ok(None);
        }
        let about = serde_json::from_slice(&std::fs::read(&path)?).with_context(|| {
            format!("{} is damaged; remove the folder {} and run the command again", path.display(), folder.display())
        })?;
        let frequent = rows::read(&folder.join(FREQUENT), 1, false)?.0.remove(0).into_iter().collect();
        Ok(Some(Self { folder: folder.to_owned(), frequent, about }))
    }

    /// The decisions about a part.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn part(&self, input: u64, number: u64) -> anyhow::Result<PartDecisions> {
        let path = table(&self.folder, input, number);
        let (columns, _) = rows::read(&path, 3, false)?;
        Ok((0..columns[0].len()).map(|at| (columns[0][at], (columns[1][at], columns[2][at]))).collect())
    }

    /// The bucket of a document, if its language has more than one.
    #[must_use]
    pub fn bucket(&self, lines: &Lines, id: &str, group: u64) -> Option<u64> {
        bucket(&self.about.languages, lines, hash::bytes(id.as_bytes()), group)
    }

    /// Number of times that the mix takes a document of a source at this position of the order.
    #[must_use]
    pub fn copies(&self, source: &str, order: u64) -> u64 {
        self.about.mix.get(source).map_or(0, |share| share.whole + u64::from(order < share.below))
    }

    /// The lowest score that a quality step keeps of a source, in steps.
    #[must_use]
    pub fn limit(&self, step: usize, source: &str) -> u64 {
        let limits = self.about.limits.get(&(step as u64));
        limits.and_then(|limits| limits.get(source).or_else(|| limits.get(""))).copied().unwrap_or(0)
    }

    /// Messages for the user.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.about.notes
    }
}

fn table(folder: &Path, input: u64, number: u64) -> PathBuf {
    part::folder(folder, input, number).with_extension("parquet")
}

fn bucket(languages: &BTreeMap<u64, u64>, lines: &Lines, id: u64, group: u64) -> Option<u64> {
    let documents = languages.get(&group).copied().unwrap_or(0);
    (documents > lines.bucket).then(|| lines.bucket_of(id, documents))
}

/// The parts of a phase, with numbers for their documents.
struct Numbered<'a> {
    parts: &'a [(PathBuf, Part)],
    /// Number of documents before each part.
    base: Vec<u64>,
    /// The number, by position in the phase.
    number: Vec<u32>,
    /// The place, by number.
    place: Vec<u64>,
    /// By number: whether a step replaced the document.
    gone: Vec<bool>,
}

impl Numbered<'_> {
    fn position(&self, place: u64) -> anyhow::Result<usize> {
        let (input, number, ordinal) = part::place_parts(place);
        let at = self.parts.binary_search_by_key(&(input, number), |(_, part)| (part.input, part.number));
        let at = at.ok().context("a row names a part that is not there")?;
        Ok((self.base[at] + ordinal) as usize)
    }

    /// The number of a place, if no step replaced its document.
    fn alive(&self, place: u64) -> anyhow::Result<Option<u64>> {
        let number = self.number[self.position(place)?];
        Ok((!self.gone[number as usize]).then_some(number.into()))
    }
}

/// Runs the group steps of a phase, with the relational ones on a carrier, and writes their decisions to `folder`.
///
/// # Errors
/// When parts are missing, changed or truncated, when the memory budget is too small, or a file cannot be written.
pub fn run(
    recipe: &Recipe,
    phase: &Phase,
    parts: &[(PathBuf, Part)],
    memory: &Memory,
    carrier: &dyn Carrier,
    folder: &Path,
) -> anyhow::Result<()> {
    parts.par_iter().try_for_each(|(folder, part)| part.verify(folder))?;
    let mut numbered = number(parts, memory)?;
    let mut about = About { short: parts.iter().map(|(_, part)| part.short).sum(), ..About::default() };
    let mut decided: Vec<(u64, u64, u64)> = Vec::new();
    let mut frequent: Vec<u64> = Vec::new();
    for at in &phase.groups {
        let before = decided.len();
        match &recipe.steps[*at] {
            Step::DedupUrl(_) => {
                let gone = carrier.older(&mut |take| {
                    each(
                        &numbered,
                        names::URLS,
                        3,
                        &mut |row, number| take(Dated::new(row[0], row[1].cast_signed(), number)),
                        2,
                    )
                })?;
                replace(&mut numbered, *at, gone, &mut decided);
            }
            Step::DedupExact(_) => {
                let gone = carrier.repeated(&mut |take| {
                    each(&numbered, names::EXACT, 2, &mut |row, document| take(Keyed { key: row[0], document }), 1)
                })?;
                replace(&mut numbered, *at, gone, &mut decided);
            }
            Step::DedupMinhash(step) => {
                let documents = numbered.place.len() as u64;
                let gone = carrier.connected(
                    &mut |take| {
                        each(&numbered, names::BANDS, 2, &mut |row, document| take(Keyed { key: row[0], document }), 1)
                    },
                    documents,
                )?;
                replace(&mut numbered, *at, gone, &mut decided);
                about.notes.push(format!(
                    "dedup-minhash: {}; {} documents with fewer than {} words were compared as wholes",
                    crate::dedup::curve::line(step.bands, step.rows),
                    about.short,
                    step.min_words
                ));
            }
            Step::DedupLines(step) => {
                frequent = lines(&numbered, step, carrier, &mut about)?;
                about.notes.push(format!(
                    "dedup-lines: {} lines occur more than {} times in a bucket of {} documents",
                    frequent.len(),
                    step.max_times,
                    step.bucket
                ));
            }
            Step::Quality(step) => quality(recipe, *at, step, &mut numbered, &mut about)?,
            Step::Mix(mix) => self::mix(recipe, mix, &numbered, memory, &mut about)?,
            other => anyhow::bail!("{} is not a group step", other.kind()),
        }
        about.replaced.insert(*at as u64, (decided.len() - before) as u64);
    }
    decided.sort_unstable();
    ::run::replace_folder(folder, |folder| {
        let mut rest = &decided[..];
        for (_, part) in parts {
            let end = part::place(part.input, part.number, 0) + part::MOST;
            let (mine, others) = rest.split_at(rest.partition_point(|(place, ..)| *place < end));
            let mut out = Table::new(&["ordinal", "step", "by"]);
            mine.iter().for_each(|(place, step, by)| out.push(&[part::place_parts(*place).2, *step, *by]));
            out.write(&table(folder, part.input, part.number))?;
            rest = others;
        }
        let mut keys = Table::new(&["key"]);
        frequent.iter().for_each(|key| keys.push(&[*key]));
        keys.write(&folder.join(FREQUENT))?;
        let text = format!("{}\n", serde_json::to_string_pretty(&about)?);
        Ok(dataset::write_file(folder.join(ABOUT), text.as_bytes())?)
    })
}

fn number<'a>(parts: &'a [(PathBuf, Part)], memory: &Memory) -> anyhow::Result<Numbered<'a>> {
    let documents: u64 = parts.iter().map(|(_, part)| part.documents).sum();
    ensure!(documents < u64::from(u32::MAX), "{documents} documents are too many for one run: split the corpus");
    // Numbers, places and marks are stored here, components in the carrier.
    let needed = documents * 17;
    ensure!(
        needed <= memory.budget,
        "{documents} documents need {} MB for their numbers and --memory gives {} MB: raise it, or split the corpus",
        needed.div_ceil(1 << 20),
        memory.budget >> 20
    );
    let mut base = Vec::with_capacity(parts.len());
    let mut sorter = Sorter::new(memory.budget, &memory.spill);
    let mut before = 0;
    for (folder, part) in parts {
        base.push(before);
        before += part.documents;
        let (columns, ids) = rows::read(&folder.join(names::NUMBERS), 3, true)?;
        ensure!(ids.len() as u64 == part.documents, "{}: the table of documents is not the part's", folder.display());
        for (at, id) in ids.iter().enumerate() {
            sorter.push(columns[1][at], id, columns[0][at])?;
        }
    }
    let count = documents as usize;
    let mut numbered =
        Numbered { parts, base, number: vec![0; count], place: Vec::with_capacity(count), gone: vec![false; count] };
    let mut places = Vec::with_capacity(count);
    sorter.finish(&mut |place| {
        places.push(place);
        Ok(())
    })?;
    for (number, place) in places.iter().enumerate() {
        let position = numbered.position(*place)?;
        numbered.number[position] = number as u32;
    }
    numbered.place = places;
    Ok(numbered)
}

/// Calls `each` with all rows of a table whose documents still exist, with the document's number. `place` is the
/// column of the place.
fn each(
    numbered: &Numbered,
    name: &str,
    columns: usize,
    take: &mut dyn FnMut(&[u64], u64) -> anyhow::Result<()>,
    place: usize,
) -> anyhow::Result<()> {
    let mut row = vec![0; columns];
    for (folder, _) in numbered.parts {
        let (table, _) = rows::read(&folder.join(name), columns, false)?;
        for at in 0..table[0].len() {
            for (cell, column) in row.iter_mut().zip(&table) {
                *cell = column[at];
            }
            if let Some(number) = numbered.alive(row[place])? {
                take(&row, number)?;
            }
        }
    }
    Ok(())
}

fn replace(numbered: &mut Numbered, step: usize, gone: Vec<Replaced>, decided: &mut Vec<(u64, u64, u64)>) {
    for Replaced { document, by } in gone {
        numbered.gone[document as usize] = true;
        decided.push((numbered.place[document as usize], step as u64, numbered.place[by as usize]));
    }
}

/// Keys of frequent lines, with the bucket if a language has more than one.
fn lines(numbered: &Numbered, step: &Lines, carrier: &dyn Carrier, about: &mut About) -> anyhow::Result<Vec<u64>> {
    let everyone = group(false, "");
    let mut buckets: Vec<(u64, u64)> = Vec::new();
    for (folder, _) in numbered.parts {
        let (columns, _) = rows::read(&folder.join(names::NUMBERS), 3, true)?;
        for (place, language) in columns[0].iter().zip(&columns[2]) {
            if numbered.alive(*place)?.is_some() {
                let language = if step.by_language { *language } else { everyone };
                *about.languages.entry(language).or_default() += 1;
            }
        }
    }
    let several = about.languages.values().any(|count| *count > step.bucket);
    let languages = &about.languages;
    carrier.frequent(
        &mut |take| {
            for (folder, part) in numbered.parts {
                if several {
                    let (columns, ids) = rows::read(&folder.join(names::NUMBERS), 3, true)?;
                    buckets = ids
                        .iter()
                        .zip(&columns[2])
                        .map(|(id, language)| {
                            (hash::bytes(id.as_bytes()), if step.by_language { *language } else { everyone })
                        })
                        .collect();
                }
                let (table, _) = rows::read(&folder.join(names::LINES), 2, false)?;
                for (key, place) in table[0].iter().zip(&table[1]) {
                    if numbered.alive(*place)?.is_none() {
                        continue;
                    }
                    let ordinal = part::place_parts(*place).2 as usize;
                    let of = buckets.get(ordinal).filter(|_| several && ordinal < part.documents as usize);
                    let bucket = of.and_then(|(id, language)| bucket(languages, step, *id, *language));
                    take(bucket.map_or(*key, |bucket| hash::combine(*key, bucket)))?;
                }
            }
            Ok(())
        },
        step.max_times,
    )
}

/// Finds the lowest scores that keep the share of documents. Later steps do not see the other documents.
fn quality(
    recipe: &Recipe,
    at: usize,
    step: &Quality,
    numbered: &mut Numbered,
    about: &mut About,
) -> anyhow::Result<()> {
    let name = |source: u64| if step.by_source { recipe.sources[source as usize].name.clone() } else { String::new() };
    let mut counts: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let scores = |numbered: &Numbered, take: &mut dyn FnMut(u64, u64, u64)| {
        let mut row = |row: &[u64], number: u64| {
            if row[0] == at as u64 {
                take(row[1], row[3], number);
            }
            Ok(())
        };
        each(numbered, names::SCORES, 4, &mut row, 2)
    };
    scores(numbered, &mut |score, source, _| {
        let counts = counts.entry(name(source)).or_insert_with(|| vec![0; STEPS as usize + 1]);
        counts[score.min(STEPS) as usize] += 1;
    })?;
    ensure!(!counts.is_empty(), "quality: no document has a score {}", step.name);
    let limits: BTreeMap<String, u64> =
        counts.iter().map(|(source, counts)| (source.clone(), threshold(counts, step.keep))).collect();
    // A document without a score has no row, and is dropped.
    let mut kept = vec![false; numbered.gone.len()];
    scores(numbered, &mut |score, source, number| kept[number as usize] = score >= limits[&name(source)])?;
    numbered.gone.iter_mut().zip(&kept).for_each(|(gone, kept)| *gone |= !kept);
    for (source, counts) in &counts {
        let all: u64 = counts.iter().sum();
        let limit = limits[source];
        let best: u64 = counts[(limit as usize).min(counts.len())..].iter().sum();
        let of = if source.is_empty() { "all sources".to_owned() } else { format!("source {source}") };
        about.notes.push(format!(
            "quality: {of}: {best} of {all} documents ({:.1}%) with {} at least {:.4}",
            100.0 * best as f64 / all as f64,
            step.name,
            limit as f64 / STEPS as f64
        ));
    }
    about.limits.insert(at as u64, limits);
    Ok(())
}

/// The share of each source with which the sources have their weights in bytes.
fn mix(recipe: &Recipe, mix: &Mix, numbered: &Numbered, memory: &Memory, about: &mut About) -> anyhow::Result<()> {
    let mut bytes = vec![0_u64; recipe.sources.len()];
    each(
        numbered,
        names::ORDER,
        4,
        &mut |row, _| {
            bytes[row[2] as usize] += row[3];
            Ok(())
        },
        1,
    )?;
    let sum: f64 = mix.weights.values().sum();
    let there = |name: &str| {
        let at = recipe.sources.iter().position(|source| source.name == name);
        at.map_or(0, |at| bytes[at])
    };
    for name in mix.weights.keys() {
        ensure!(there(name) > 0, "mix: source {name} has no document left");
    }
    let most = mix.weights.iter().map(|(name, weight)| there(name) as f64 * mix.max_repeats / (weight / sum));
    let most = most.fold(f64::INFINITY, f64::min);
    let total = mix.total_bytes.map_or(most, |total| total as f64);
    for (at, source) in recipe.sources.iter().enumerate() {
        let Some(weight) = mix.weights.get(&source.name) else {
            about.notes.push(format!("mix: source {} has no weight and is left out", source.name));
            continue;
        };
        let wanted = weight / sum * total;
        let epochs = wanted / bytes[at] as f64;
        ensure!(
            epochs <= mix.max_repeats * (1.0 + 1e-9),
            "mix: source {} would be repeated {epochs:.2} times and max_repeats is {}: lower total_bytes or its weight",
            source.name,
            mix.max_repeats
        );
        let whole = (epochs + 1e-9).floor();
        let rest = wanted - whole * bytes[at] as f64;
        let below = below(numbered, memory, at as u64, rest)?;
        about.notes.push(format!("mix: source {}: {:.3} copies, {:.1} MB", source.name, epochs, wanted / 1e6));
        about.mix.insert(source.name.clone(), Share { whole: whole as u64, below });
    }
    Ok(())
}

/// The order key below which the documents of a source have this number of bytes.
fn below(numbered: &Numbered, memory: &Memory, source: u64, bytes: f64) -> anyhow::Result<u64> {
    if bytes < 1.0 {
        return Ok(0);
    }
    let (mut taken, mut below) = (0.0, None);
    memory.in_order(
        &mut |take| {
            each(
                numbered,
                names::ORDER,
                4,
                &mut |row, _| if row[2] == source { take(Keyed { key: row[0], document: row[3] }) } else { Ok(()) },
                1,
            )
        },
        &mut |row| {
            if taken >= bytes && below.is_none() {
                below = Some(row.key);
            }
            taken += row.document as f64;
        },
    )?;
    Ok(below.unwrap_or(u64::MAX))
}
