//! Questions that sentences and paragraphs of the text itself answer.

use std::ops::Range;

use crate::context::Context;
use crate::draw::Draw;
use crate::phrases::NOT_SAID;
use crate::stream::{BREAK, Stream};
use crate::task::{Form, Turn};

/// Number of opening words that identify a sentence in a question.
const OPENING: usize = 5;
/// Smallest and largest number of sentences in an order question.
const ORDERED: (u64, u64) = (3, 6);
/// Largest paragraph number that a question uses, counted from either end.
const COUNTED: usize = 12;
/// Number of draws before a passage is given up.
const DRAWS: usize = 20;

/// Asks for the sentence after or before a quoted one, or for the whole of a sentence whose opening is quoted.
pub fn extract(context: &Context, draw: &mut Draw) -> Option<Turn> {
    let pairs = context.neighbours();
    for _ in 0..DRAWS {
        let form = *draw.one(&[Form::NextSentence, Form::PreviousSentence, Form::Complete])?;
        let turn =
            if form == Form::Complete { complete(context, draw) } else { neighbour(context, &pairs, form, draw) };
        if turn.is_some() {
            return turn;
        }
    }
    None
}

fn neighbour(context: &Context, pairs: &[usize], form: Form, draw: &mut Draw) -> Option<Turn> {
    let at = *draw.one(pairs)?;
    let (first, second) = (context.clean[at].clone(), context.clean[at + 1].clone());
    let (asked, answer) = if form == Form::NextSentence { (first, second) } else { (second, first) };
    let quoted = &context.text[asked.clone()];
    context.only(quoted)?;
    Some(Turn::new(form, &[quoted], &context.text[answer.clone()], draw).at(vec![asked, answer]))
}

fn complete(context: &Context, draw: &mut Draw) -> Option<Turn> {
    let sentence = draw.one(&context.clean)?.clone();
    let text = &context.text[sentence.clone()];
    let (end, _) = text.match_indices(' ').nth(OPENING - 1)?;
    let opening = &text[..end];
    context.only(opening)?;
    Some(Turn::new(Form::Complete, &[opening], text, draw).at(vec![sentence]))
}

/// Asks for the sentence after one that occurs only elsewhere in the texts, so the context has no answer.
pub fn absent(stream: &Stream, context: &Context, draw: &mut Draw) -> Option<Turn> {
    for _ in 0..DRAWS {
        let sentence = &stream.text[draw.one(&stream.clean)?.bytes.clone()];
        if !context.has(sentence) {
            let form = *draw.one(&[Form::NextSentence, Form::PreviousSentence])?;
            return Some(Turn::new(form, &[sentence], NOT_SAID, draw));
        }
    }
    None
}

/// Asks for the order of sentences.
pub fn order(context: &Context, draw: &mut Draw) -> Option<Turn> {
    for _ in 0..DRAWS {
        let count = draw.between(ORDERED.0, ORDERED.1) as usize;
        let chosen: Vec<Range<usize>> =
            draw.sample(context.clean.len(), count).into_iter().map(|at| context.clean[at].clone()).collect();
        let all_once = chosen.iter().all(|sentence| context.only(&context.text[sentence.clone()]).is_some());
        if chosen.len() < count || !all_once {
            continue;
        }
        // Positions of the letters: letter i stands for sentence shown[i] of the text.
        let mut shown: Vec<usize> = (0..count).collect();
        draw.shuffle(&mut shown);
        let letter = |at: usize| char::from(b'A' + at as u8);
        let lines = shown.iter().enumerate();
        let lines: Vec<String> =
            lines.map(|(at, of)| format!("{}: \"{}\"", letter(at), &context.text[chosen[*of].clone()])).collect();
        let mut letters: Vec<(usize, char)> = shown.iter().enumerate().map(|(at, of)| (*of, letter(at))).collect();
        letters.sort_unstable();
        let answer: Vec<String> = letters.iter().map(|(_, letter)| letter.to_string()).collect();
        return Some(Turn::about(Form::Order, &lines.join("\n"), answer.join(", "), draw).at(chosen));
    }
    None
}

/// Asks for the first sentence of a paragraph, counted from the start or the end.
pub fn position(context: &Context, draw: &mut Draw) -> Option<Turn> {
    let paragraphs = paragraphs(&context.text);
    for _ in 0..DRAWS {
        let number = 1 + draw.below(COUNTED.min(paragraphs.len()));
        let form = *draw.one(&[Form::Paragraph, Form::ParagraphFromEnd])?;
        let at = if form == Form::Paragraph { number - 1 } else { paragraphs.len() - number };
        let begin = paragraphs[at].start;
        let found = context.clean.binary_search_by_key(&begin, |sentence| sentence.start);
        if let Ok(found) = found {
            let sentence = context.clean[found].clone();
            let answer = &context.text[sentence.clone()];
            return Some(Turn::new(form, &[&number.to_string()], answer, draw).at(vec![sentence]));
        }
    }
    None
}

/// The byte ranges of the paragraphs, which blank lines separate.
fn paragraphs(text: &str) -> Vec<Range<usize>> {
    let mut start = 0;
    text.split(BREAK)
        .map(|paragraph| {
            let range = start..start + paragraph.len();
            start = range.end + BREAK.len();
            range
        })
        .collect()
}
