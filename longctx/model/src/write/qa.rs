//! Questions about a chunk: parses what the model wrote and decides what is kept.

use std::collections::BTreeMap;

use memchr::memmem;

/// A question with its answer, and the words that prove it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The question.
    pub question: String,
    /// The answer.
    pub answer: String,
    /// Words of the text.
    pub quote: String,
}

/// Why a question was dropped; each reason is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dropped {
    /// The quote has too few characters to prove anything.
    ShortQuote,
    /// The quote is not in the chunk.
    NoQuote,
    /// The quote stands more than once in the passage.
    RepeatedQuote,
    /// The same question was kept already.
    Repeated,
    /// The model, asked with the chunk, answers otherwise.
    OtherAnswer,
    /// The model, asked without the chunk, answers alike.
    KnownAnyway,
}

impl Dropped {
    /// The reason in words.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::ShortQuote => "quote too short",
            Self::NoQuote => "quote not in the chunk",
            Self::RepeatedQuote => "quote more than once in the passage",
            Self::Repeated => "question asked already",
            Self::OtherAnswer => "answered otherwise from the chunk",
            Self::KnownAnyway => "answered alike without the chunk",
        }
    }
}

/// Minimum number of characters of a quote.
pub const QUOTE: usize = 16;

/// The pairs in what a model wrote: lines that begin with `Question:`, `Answer:` and `Quote:`, in this order; numbers, list marks,
/// bold and quotation marks around them do not count. A pair without one of its lines is left out.
#[must_use]
pub fn parse(text: &str) -> Vec<Pair> {
    let mut pairs = Vec::new();
    let mut open: BTreeMap<&str, String> = BTreeMap::new();
    let mut last = "";
    for line in text.lines() {
        let plain = line.replace("**", "");
        let plain = plain.trim().trim_start_matches(|c: char| c.is_ascii_digit() || "-*.) #".contains(c)).trim();
        let field = ["question", "answer", "quote"].into_iter().find_map(|name| {
            let head = plain.get(..name.len())?;
            let rest = plain[name.len()..].trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
            head.eq_ignore_ascii_case(name).then_some(())?;
            Some((name, rest.strip_prefix(':')?.trim()))
        });
        match field {
            Some((name, rest)) => {
                if name == "question" {
                    close(&mut open, &mut pairs);
                }
                open.insert(name, rest.to_owned());
                last = name;
            }
            // This line continues the previous one.
            None if !plain.is_empty() && !last.is_empty() => {
                if let Some(text) = open.get_mut(last) {
                    if !text.is_empty() {
                        text.push(' ');
                    }
                    text.push_str(plain);
                }
            }
            None => {}
        }
    }
    close(&mut open, &mut pairs);
    pairs
}

fn close(open: &mut BTreeMap<&str, String>, pairs: &mut Vec<Pair>) {
    let mut take = |name: &str| {
        let text = open.remove(name)?;
        let text = text.trim_matches(['"', '“', '”']).trim().to_owned();
        (!text.is_empty()).then_some(text)
    };
    let (question, answer, quote) = (take("question"), take("answer"), take("quote"));
    if let (Some(question), Some(answer), Some(quote)) = (question, answer, quote) {
        pairs.push(Pair { question, answer, quote });
    }
    open.clear();
}

/// Checks that the quote occurs in the chunk, and exactly once in the passage. Returns its byte offset in the passage.
///
/// # Errors
/// The reason to drop the pair.
pub fn place(pair: &Pair, passage: &str, chunk: &str) -> Result<usize, Dropped> {
    if pair.quote.chars().count() < QUOTE {
        return Err(Dropped::ShortQuote);
    }
    if !chunk.contains(&pair.quote) {
        return Err(Dropped::NoQuote);
    }
    let mut found = memmem::find_iter(passage.as_bytes(), pair.quote.as_bytes());
    match (found.next(), found.next()) {
        (Some(at), None) => Ok(at),
        (None, _) => Err(Dropped::NoQuote),
        (Some(_), Some(_)) => Err(Dropped::RepeatedQuote),
    }
}

/// Whether two answers agree: all words of the shorter reference occur in the other one, or their F1 over words (SQuAD's) is at least
/// 0.6. Case, punctuation and articles are ignored.
#[must_use]
pub fn alike(reference: &str, other: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        let lower = text.to_lowercase();
        let words = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        words.filter(|word| !["a", "an", "the"].contains(word)).map(str::to_owned).collect()
    };
    let (reference, other) = (words(reference), words(other));
    if reference.is_empty() || other.is_empty() {
        return reference.is_empty() && other.is_empty();
    }
    let mut left = other.clone();
    let mut common = 0;
    for word in &reference {
        if let Some(at) = left.iter().position(|candidate| candidate == word) {
            left.swap_remove(at);
            common += 1;
        }
    }
    let f1 = 2.0 * common as f64 / (reference.len() + other.len()) as f64;
    common == reference.len() || f1 >= 0.6
}

/// Decides whether a pair is kept: at least `agree` of the answers with the chunk agree with it, and the answer without it does not.
///
/// # Errors
/// The reason to drop the pair.
pub fn judge(pair: &Pair, with: &[&str], without: &str, agree: usize) -> Result<(), Dropped> {
    let same = with.iter().filter(|answer| alike(&pair.answer, answer)).count();
    if same < agree {
        return Err(Dropped::OtherAnswer);
    }
    if alike(&pair.answer, without) {
        return Err(Dropped::KnownAnyway);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(question: &str, answer: &str, quote: &str) -> Pair {
        Pair { question: question.into(), answer: answer.into(), quote: quote.into() }
    }

    #[test]
    fn pairs_are_read_as_models_write_them() {
        let text = "Here are the questions:\n\n1. **Question:** Who mended the boat?\n**Answer:** The carter.\n\
                    Quote: \"The carter mended the boat\nbefore dawn.\"\n\nQuestion 2: When?\nAnswer: At noon\n\n\
                    - question: What was sold?\n- answer: A ladder\n- quote: sold the old ladder at noon";
        assert_eq!(
            parse(text),
            [
                pair("Who mended the boat?", "The carter.", "The carter mended the boat before dawn."),
                pair("What was sold?", "A ladder", "sold the old ladder at noon"),
            ]
        );
        assert!(parse("I cannot help with that.").is_empty());
    }

    #[test]
    fn a_quote_stands_once() {
        let chunk = "The carter mended the boat before dawn. He sold it at noon.";
        let passage = format!("{chunk}\n\nThe ferryman waited. He sold it at noon.");
        let of = |quote: &str| place(&pair("?", "!", quote), &passage, chunk);
        assert_eq!(of("mended the boat before dawn"), Ok(11));
        assert_eq!(of("He sold it at noon."), Err(Dropped::RepeatedQuote));
        assert_eq!(of("The ferryman waited."), Err(Dropped::NoQuote));
        assert_eq!(of("at noon."), Err(Dropped::ShortQuote));
    }

    #[test]
    fn answers_are_alike_by_their_words() {
        assert!(alike("The carter.", "It was the carter who mended it"));
        assert!(alike("at noon on Friday", "Friday at noon"));
        assert!(!alike("the carter", "the ferryman"));
        assert!(!alike("12 boats", "120 boats and a raft"));
        assert!(!alike("noon", "I do not know."));
    }

    #[test]
    fn what_the_model_knows_anyway_is_dropped() {
        let pair = pair("?", "the carter", "q");
        assert_eq!(judge(&pair, &["Carter", "the carter", "a smith"], "I do not know", 2), Ok(()));
        assert_eq!(judge(&pair, &["Carter", "a smith", "a smith"], "I do not know", 2), Err(Dropped::OtherAnswer));
        assert_eq!(judge(&pair, &["Carter", "carter", "a smith"], "The carter", 2), Err(Dropped::KnownAnyway));
    }
}
