//! Questions about the frequency and order of words. A word is a run of letters and digits.

use std::ops::Range;

use rustc_hash::FxHashMap;

use crate::context::Context;
use crate::draw::Draw;
use crate::task::{Form, Turn};

/// Minimum number of letters of a word in a question.
const LETTERS: usize = 4;
/// Preferred range of occurrences of a counted word, and the maximum when no word is in that range.
const COUNTED: (usize, usize) = (2, 12);
const MANY: usize = 60;
/// Number of words to choose from.
const CHOICE: usize = 4;

/// A word with the byte ranges of its occurrences.
struct Word<'a> {
    word: &'a str,
    at: Vec<usize>,
}

impl Word<'_> {
    fn ranges(&self) -> impl Iterator<Item = Range<usize>> {
        self.at.iter().map(|at| *at..at + self.word.len())
    }
}

/// The words with at least four letters and no other characters, by first occurrence.
fn words(text: &str) -> Vec<Word<'_>> {
    let mut number: FxHashMap<&str, usize> = FxHashMap::default();
    let mut words: Vec<Word> = Vec::new();
    let base = text.as_ptr() as usize;
    for word in text.split(|c: char| !c.is_alphanumeric()) {
        if word.len() < LETTERS || word.chars().count() < LETTERS || !word.chars().all(char::is_alphabetic) {
            continue;
        }
        let at = word.as_ptr() as usize - base;
        let number = *number.entry(word).or_insert_with(|| {
            words.push(Word { word, at: Vec::new() });
            words.len() - 1
        });
        words[number].at.push(at);
    }
    words
}

/// Asks for the number of occurrences of a word.
pub fn count(context: &Context, draw: &mut Draw) -> Option<Turn> {
    let mut words = words(&context.text);
    words.retain(|word| (COUNTED.0..=MANY).contains(&word.at.len()));
    if words.iter().any(|word| word.at.len() <= COUNTED.1) {
        words.retain(|word| word.at.len() <= COUNTED.1);
    }
    // Counts of all sizes are drawn, though most words are rare.
    let size = draw.between(COUNTED.0 as u64, COUNTED.1 as u64) as usize;
    let of_size: Vec<&Word> = words.iter().filter(|word| word.at.len() == size).collect();
    let word = draw.one(&of_size).copied().or_else(|| draw.one(&words))?;
    Some(Turn::new(Form::Count, &[word.word], word.at.len().to_string(), draw).at(word.ranges().collect()))
}

/// Asks for the most frequent, the first or the last of four words.
pub fn aggregate(context: &Context, draw: &mut Draw) -> Option<Turn> {
    let words = words(&context.text);
    let form = *draw.one(&[Form::Most, Form::FirstOf, Form::LastOf])?;
    let mut chosen: Vec<&Word> = Vec::new();
    if form == Form::Most {
        let many: Vec<&Word> = words.iter().filter(|word| (4..=MANY).contains(&word.at.len())).collect();
        let top = *draw.one(&many)?;
        let fewer: Vec<&Word> =
            words.iter().filter(|word| word.at.len() + 2 <= top.at.len() && word.at.len() > 1).collect();
        chosen.push(top);
        chosen.extend(draw.sample(fewer.len(), CHOICE - 1).into_iter().map(|at| fewer[at]));
    } else {
        let rare: Vec<&Word> = words.iter().filter(|word| word.at.len() <= 3).collect();
        chosen.extend(draw.sample(rare.len(), CHOICE).into_iter().map(|at| rare[at]));
    }
    if chosen.len() < CHOICE {
        return None;
    }
    let right = match form {
        Form::Most => chosen.iter().max_by_key(|word| word.at.len()),
        Form::FirstOf => chosen.iter().min_by_key(|word| word.at.first()),
        _ => chosen.iter().max_by_key(|word| word.at.last()),
    };
    let right = *right?;
    let evidence: Vec<Range<usize>> = match form {
        Form::Most => chosen.iter().flat_map(|word| word.ranges()).collect(),
        Form::FirstOf => right.ranges().take(1).collect(),
        _ => right.ranges().last().into_iter().collect(),
    };
    draw.shuffle(&mut chosen);
    let names: Vec<&str> = chosen.iter().map(|word| word.word).collect();
    Some(Turn::new(form, &names, right.word, draw).at(evidence))
}
