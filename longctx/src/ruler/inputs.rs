//! The inputs of RULER's tasks. The sentences are the benchmark's protocol (NVIDIA/RULER, Apache-2.0).

use std::collections::BTreeSet;
use std::ops::Range;

use super::words::{ADJECTIVES, NOUNS};
use super::{Ruler, Sample};
use crate::context::Context;
use crate::draw::Draw;
use crate::task::World;

const NOISE: &str = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.";
/// Number of needle depths in texts, from 0 to 100 percent.
const DEPTHS: usize = 40;

/// A sample whose haystack has about `tokens` tokens. `None` if the task does not fit.
pub(super) fn sample(
    world: &World,
    task: Ruler,
    bucket: usize,
    tokens: f64,
    draw: &mut Draw,
) -> anyhow::Result<Option<Sample>> {
    match task {
        Ruler::Vt => tracking(world, tokens, draw),
        Ruler::Cwe => common_words(world, bucket, tokens, draw),
        Ruler::Fwe => frequent_words(world, bucket, tokens, draw),
        _ => needles(world, task, tokens, draw),
    }
}

/// The settings of a needle task.
struct Needles {
    keys: usize,
    values: usize,
    queries: usize,
    haystack: Haystack,
    key: Kind,
    value: Kind,
}

#[derive(PartialEq)]
enum Haystack {
    Noise,
    Texts,
    Needles,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Words,
    Numbers,
    Uuids,
}

impl Kind {
    fn draw(self, draw: &mut Draw) -> String {
        match self {
            Self::Words => key_of_words(draw),
            Self::Numbers => draw.between(1_000_000, 9_999_999).to_string(),
            Self::Uuids => draw.uuid(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Words => "words",
            Self::Numbers => "numbers",
            Self::Uuids => "uuids",
        }
    }
}

/// A key of two words: `able-acorn`.
pub(crate) fn key_of_words(draw: &mut Draw) -> String {
    let (adjective, noun) = (draw.below(ADJECTIVES.len()), draw.below(NOUNS.len()));
    format!("{}-{}", ADJECTIVES[adjective], NOUNS[noun])
}

fn needles_of(task: Ruler) -> Needles {
    let plain =
        Needles { keys: 1, values: 1, queries: 1, haystack: Haystack::Texts, key: Kind::Words, value: Kind::Numbers };
    match task {
        Ruler::NiahSingle1 => Needles { haystack: Haystack::Noise, ..plain },
        Ruler::NiahSingle3 => Needles { value: Kind::Uuids, ..plain },
        Ruler::NiahMultikey1 => Needles { keys: 4, ..plain },
        Ruler::NiahMultikey2 => Needles { haystack: Haystack::Needles, ..plain },
        Ruler::NiahMultikey3 => Needles { haystack: Haystack::Needles, key: Kind::Uuids, value: Kind::Uuids, ..plain },
        Ruler::NiahMultivalue => Needles { values: 4, ..plain },
        Ruler::NiahMultiquery => Needles { keys: 4, queries: 4, ..plain },
        _ => plain,
    }
}

fn needle(value_kind: Kind, key: &str, value: &str) -> String {
    format!("One of the special magic {} for {key} is: {value}.", value_kind.name())
}

fn needles(world: &World, task: Ruler, tokens: f64, draw: &mut Draw) -> anyhow::Result<Option<Sample>> {
    let spec = needles_of(task);
    let mut used = BTreeSet::new();
    let mut fresh = |kind: Kind, draw: &mut Draw| {
        loop {
            let text = kind.draw(draw);
            if used.insert(text.clone()) {
                return text;
            }
        }
    };
    let (mut keys, mut values, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..spec.keys {
        let key = fresh(spec.key, draw);
        let of: Vec<String> = (0..spec.values).map(|_| fresh(spec.value, draw)).collect();
        lines.extend(of.iter().map(|value| needle(spec.value, &key, value)));
        keys.push(key);
        values.push(of);
    }
    let asked = draw.sample(spec.keys, spec.queries);
    let (queries, outputs): (Vec<&str>, Vec<String>) = (
        asked.iter().map(|at| keys[*at].as_str()).collect(),
        asked.iter().flat_map(|at| values[*at].clone()).collect(),
    );
    let wanted: BTreeSet<String> =
        asked.iter().flat_map(|at| values[*at].iter().map(|value| needle(spec.value, &keys[*at], value))).collect();
    draw.shuffle(&mut lines);
    let (context, places) = match spec.haystack {
        Haystack::Texts => match in_texts(world, &lines, tokens, draw) {
            Some(context) => {
                let places = context.statements.clone();
                (context, places)
            }
            None => return Ok(None),
        },
        Haystack::Noise => {
            let each = world.counter.count(&format!("{NOISE}\n"))? as f64;
            in_lines(vec![NOISE.to_owned(); (tokens / each) as usize], &lines, draw)
        }
        Haystack::Needles => {
            let each: Vec<String> =
                (0..32).map(|_| needle(spec.value, &spec.key.draw(draw), &spec.value.draw(draw))).collect();
            let each = world.counter.count(&each.join("\n"))? as f64 / 32.0;
            let count = (tokens / each) as usize;
            if spec.key == Kind::Words && count > ADJECTIVES.len() * NOUNS.len() * 3 / 4 {
                return Ok(None);
            }
            let others = (0..count).map(|_| needle(spec.value, &fresh(spec.key, draw), &fresh(spec.value, draw)));
            in_lines(others.collect(), &lines, draw)
        }
    };
    let evidence: Vec<Range<usize>> =
        places.into_iter().filter(|place| wanted.contains(&context.text[place.clone()])).collect();
    if evidence.len() < wanted.len() {
        return Ok(None);
    }
    let query = match &queries[..] {
        [one] => (*one).to_owned(),
        [others @ .., last] => format!("{}, and {last}", others.join(", ")),
        [] => return Ok(None),
    };
    let is_one = spec.queries * spec.values == 1;
    let kind = spec.value.name();
    let kind = if is_one { kind.trim_end_matches('s') } else { kind };
    let (some, all) = if is_one { ("A", "is") } else { ("Some", "are") };
    let what = if is_one { "What is" } else { "What are all" };
    Ok(Some(Sample {
        before: format!(
            "{some} special magic {kind} {all} hidden within the following text. Make sure to memorize it. I will quiz you \
             about the {kind} afterwards.\n"
        ),
        behind: format!("\n{what} the special magic {kind} for {query} mentioned in the provided text?"),
        prefix: format!("The special magic {kind} for {query} mentioned in the provided text {all}"),
        context,
        outputs,
        keys: queries.iter().map(|key| (*key).to_owned()).collect(),
        evidence,
    }))
}

/// Inserts needles between the sentences of texts, at distinct depths.
fn in_texts(world: &World, needles: &[String], tokens: f64, draw: &mut Draw) -> Option<Context> {
    let stream = world.stream.as_ref()?;
    let passage = stream.passage(tokens as u64, draw)?;
    let first = stream.paragraphs.partition_point(|sentence| sentence.start < passage.start);
    let last = stream.paragraphs.partition_point(|sentence| sentence.end <= passage.end);
    let count = last - first;
    let depths = draw.sample(DEPTHS, needles.len());
    let percent = |at: usize| (at as f64 * 100.0 / (DEPTHS - 1) as f64).round() as usize;
    let places = depths.into_iter().map(|at| first + count * percent(at) / 100);
    Context::between_paragraphs(stream, first..last, &places.collect::<Vec<_>>(), needles)
}

/// Inserts needles between lines.
fn in_lines(mut lines: Vec<String>, needles: &[String], draw: &mut Draw) -> (Context, Vec<Range<usize>>) {
    for (needle, at) in needles.iter().zip(draw.sample(lines.len(), needles.len()).into_iter().rev()) {
        lines.insert(at, needle.clone());
    }
    let mut at = 0;
    let mut places = Vec::new();
    for line in &lines {
        if needles.contains(line) {
            places.push(at..at + line.len());
        }
        at += line.len() + 1;
    }
    (Context::made(lines.join("\n")), places)
}

const TRACKING: &str = "Memorize and track the chain(s) of variable assignment hidden in the following text.\n\n";
const HOPS: usize = 4;

/// A chain of variables in noise: its text, variables, value, and the byte ranges of its statements.
fn chain(noises: usize, letters: usize, draw: &mut Draw) -> (String, Vec<String>, String, Vec<Range<usize>>) {
    let mut names: Vec<String> = Vec::new();
    while names.len() <= HOPS {
        let name: String = (0..letters).map(|_| char::from(b'A' + draw.below(26) as u8)).collect();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let value = draw.between(10_000, 99_998).to_string();
    let mut statements = vec![format!("VAR {} = {value}", names[0])];
    statements.extend(names.windows(2).map(|pair| format!("VAR {} = VAR {} ", pair[1], pair[0])));
    let mut lines: Vec<String> = vec![format!("{NOISE}\n"); noises];
    for (at, place) in draw.sample(noises, statements.len()).into_iter().enumerate() {
        lines.insert(place + at, statements[at].clone());
    }
    let text = lines.join(" ").replace(". \n", ".\n");
    let places = statements.iter().filter_map(|s| text.find(s.trim_end()).map(|at| at..at + s.trim_end().len()));
    let places = places.collect();
    (text, names, value, places)
}

fn tracking(world: &World, tokens: f64, draw: &mut Draw) -> anyhow::Result<Option<Sample>> {
    let question =
        |value: &str| format!("\nQuestion: Find all variables that are assigned the value {value} in the text above.");
    let prefix = |value: &str| {
        format!(
            "Answer: According to the chain(s) of variable assignment in the text above, {} variables are assgined the value \
             {value}, they are:",
            HOPS + 1
        )
    };
    // The worked example has up to 500 tokens with its answer, and grows by five lines of noise.
    let mut example = String::new();
    for noises in (HOPS + 1..=60).step_by(5) {
        let (text, names, value, _) = chain(noises, 3, &mut draw.clone());
        let next = format!("{TRACKING}{text}{} {}  {}\n\n\n\n", question(&value), prefix(&value), names.join(" "));
        if !example.is_empty() && world.counter.count(&next)? + Ruler::Vt.max_new_tokens() > 500 {
            break;
        }
        example = next;
    }
    let each = world.counter.count(&format!("{NOISE}\n "))? as f64;
    let noises = ((tokens - world.counter.count(&example)? as f64) / each) as usize;
    if noises <= HOPS {
        return Ok(None);
    }
    let (text, names, value, evidence) = chain(noises, 5, draw);
    Ok(Some(Sample {
        before: format!("{example}{TRACKING}"),
        behind: question(&value),
        prefix: prefix(&value),
        context: Context::made(text),
        outputs: names.clone(),
        keys: names,
        evidence,
    }))
}

/// Distinct words: from the lists first, then made-up ones.
fn vocabulary(count: usize, draw: &mut Draw) -> Vec<String> {
    let mut words: Vec<String> = ADJECTIVES.iter().chain(&NOUNS).map(|word| (*word).to_owned()).collect();
    let mut seen: BTreeSet<String> = words.iter().cloned().collect();
    while words.len() < count {
        let word = draw.name().to_lowercase();
        if seen.insert(word.clone()) {
            words.push(word);
        }
    }
    draw.shuffle(&mut words);
    words.truncate(count);
    words
}

const COMMON: usize = 10;

fn numbered(words: &[String]) -> String {
    words.iter().enumerate().map(|(at, word)| format!("{}. {word}", at + 1)).collect::<Vec<_>>().join(" ")
}

/// A list in which ten words occur more often than the others.
fn list(words: &[String], common: usize, others: usize, draw: &mut Draw) -> (String, Vec<String>) {
    let times = |at: usize| if at < COMMON { common } else { others };
    let mut all: Vec<String> = words.iter().enumerate().flat_map(|(at, word)| vec![word.clone(); times(at)]).collect();
    draw.shuffle(&mut all);
    (numbered(&all), words[..COMMON].to_vec())
}

fn common_words(world: &World, bucket: usize, tokens: f64, draw: &mut Draw) -> anyhow::Result<Option<Sample>> {
    let before = "Below is a numbered list of words. In these words, some appear more often than others. Memorize the ones that \
                  appear most often.\n";
    let behind = "\nQuestion: What are the 10 most common words in the above list?";
    let prefix = "Answer: The top 10 words that appear most often in the list are:";
    let is_short = bucket < 4096;
    let (example_words, example_times) = if is_short { (20, (3, 1)) } else { (40, (10, 3)) };
    let (common, others) = if is_short { (6, 1) } else { (30, 3) };
    let (text, answer) = list(&vocabulary(example_words, draw), example_times.0, example_times.1, draw);
    let example = format!("{before}{text}{behind} {prefix}{}\n", numbered(&answer));
    let left = tokens - world.counter.count(&example)? as f64;
    let sampled = vocabulary(64, draw);
    let each = world.counter.count(&numbered(&sampled))? as f64 / 64.0;
    // Large numbers take more tokens than those of the sample; the next fit corrects this.
    let entries = (left / each) as usize;
    let Some(rest) = entries.checked_sub(COMMON * common).filter(|rest| rest / others > 0) else { return Ok(None) };
    let (text, outputs) = list(&vocabulary(COMMON + rest / others, draw), common, others, draw);
    Ok(Some(Sample {
        before: format!("{example}{before}"),
        behind: behind.to_owned(),
        prefix: prefix.to_owned(),
        context: Context::made(text),
        outputs,
        keys: Vec::new(),
        evidence: Vec::new(),
    }))
}

/// Words whose frequencies follow a zeta distribution with exponent 2; the most frequent one is written as dots.
fn frequent_words(world: &World, bucket: usize, tokens: f64, draw: &mut Draw) -> anyhow::Result<Option<Sample>> {
    const ZETA_2: f64 = std::f64::consts::PI * std::f64::consts::PI / 6.0;
    let mut words: Vec<String> = vec!["...".to_owned()];
    while words.len() < (bucket / 50).max(5) {
        let word: String = (0..6).map(|_| char::from(b'a' + draw.below(26) as u8)).collect();
        if !words.contains(&word) {
            words.push(word);
        }
    }
    let text = |total: f64, draw: &mut Draw| {
        let times = |rank: usize| (total / (rank * rank) as f64 / ZETA_2) as usize;
        let mut all: Vec<&str> =
            words.iter().enumerate().flat_map(|(at, word)| vec![word.as_str(); times(at + 1)]).collect();
        draw.shuffle(&mut all);
        all.join(" ")
    };
    let each = world.counter.count(&text(600.0, &mut draw.clone()))? as f64 / 600.0;
    let context = text(tokens / each, draw);
    let outputs = words[1..4].to_vec();
    Ok(Some(Sample {
        before: "Read the following coded text and track the frequency of each coded word. Find the three most frequently \
                 appeared coded words. "
            .to_owned(),
        behind: "\nQuestion: Do not provide any explanation. Please ignore the dots '....'. What are the three most frequently \
                 appeared words in the above coded text?"
            .to_owned(),
        prefix: "Answer: According to the coded text above, the three most frequently appeared words are:".to_owned(),
        context: Context::made(context),
        keys: outputs.clone(),
        outputs,
        evidence: Vec::new(),
    }))
}
