//! Rules that need no model (the Llama 3 paper, section 4.2.3): too many emoji or exclamation marks, apologetic
//! openers, repeated tails.

use std::sync::LazyLock;

use dataset::{Message, Role};
use regex::Regex;
use serde::{Deserialize, Serialize};

/// The limits. The paper does not disclose its limits; these are ours.
#[derive(clap::Args, Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Maximum number of emoji in an answer, for each started 100 words
    #[arg(long, default_value_t = 2, help_heading = "Rules")]
    pub max_emoji: usize,
    /// Maximum number of exclamation marks in an answer, for each started 100 words
    #[arg(long, default_value_t = 4, help_heading = "Rules")]
    pub max_exclamations: usize,
    /// Maximum share of the kept conversations whose answers open with an apology
    #[arg(long, default_value_t = 0.01, help_heading = "Rules")]
    pub max_apologies: f64,
    /// Maximum number of repetitions of a tail; more count as a loop
    #[arg(long, default_value_t = 4, help_heading = "Rules")]
    pub max_repeats: usize,
}

static EMOJI: LazyLock<Regex> = LazyLock::new(|| constant(r"\p{Emoji_Presentation}|\p{Emoji}\u{FE0F}"));
static APOLOGY: LazyLock<Regex> = LazyLock::new(|| {
    constant(
        r"(?i)^\W*(i['’]?m (so |very |really |deeply )?sorry|i (sincerely |deeply |do )?apologi[sz]e|(my )?(sincere |deepest )?apologies|sorry\b|unfortunately, i\b|i['’]?m afraid\b|as an ai\b)",
    )
});

fn constant(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is a constant, and a test uses it")
}

/// The rule that a conversation breaks, as a sentence; `None` if it breaks none.
#[must_use]
pub fn broken(messages: &[Message], limits: &Limits) -> Option<String> {
    for (number, answer) in answers(messages).enumerate() {
        let hundreds = answer.split_whitespace().count().div_ceil(100).max(1);
        let emoji = EMOJI.find_iter(answer).count();
        let exclamations = answer.chars().filter(|&c| c == '!' || c == '！').count();
        let found = |count: usize, what: &str| Some(format!("answer {} has {count} {what}", number + 1));
        if emoji > limits.max_emoji * hundreds {
            return found(emoji, "emoji");
        }
        if exclamations > limits.max_exclamations * hundreds {
            return found(exclamations, "exclamation marks");
        }
        if let Some((times, unit)) = repeated_tail(answer).filter(|(times, _)| *times > limits.max_repeats) {
            let shown: String = unit.trim().chars().take(40).collect();
            return Some(format!("answer {} ends with {times} times {shown:?}", number + 1));
        }
    }
    None
}

/// Whether an answer opens with an apology.
#[must_use]
pub fn apologises(messages: &[Message]) -> bool {
    answers(messages).any(|answer| APOLOGY.is_match(answer))
}

fn answers(messages: &[Message]) -> impl Iterator<Item = &str> {
    messages.iter().filter(|message| message.role == Role::Assistant).map(Message::text)
}

/// The shortest unit whose repetition forms the end of a text, and the number of repetitions, which cover at least 40
/// characters. A unit without a letter or digit (rules, dots, spaces) does not count.
fn repeated_tail(text: &str) -> Option<(usize, String)> {
    let characters: Vec<char> = text.trim_end().chars().collect();
    let n = characters.len();
    let mut best: Option<(usize, usize)> = None;
    for period in 1..=200.min(n / 2) {
        // The number of characters, from the end, for which the text equals itself shifted by the period.
        let same =
            (period..n).take_while(|back| characters[n - 1 - back] == characters[n - 1 - (back - period)]).count();
        let times = 1 + same / period;
        let covers = times * period;
        let unit = &characters[n - period..];
        if times >= 2 && covers >= 40 && unit.iter().any(|c| c.is_alphanumeric()) {
            best = Some((times, period));
            break;
        }
    }
    best.map(|(times, period)| (times, characters[n - period..].iter().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { max_emoji: 2, max_exclamations: 4, max_apologies: 0.01, max_repeats: 4 };

    fn says(answer: &str) -> Option<String> {
        broken(&[Message::user("Hi!!!!!!!! 🎉🎉🎉🎉"), Message::assistant(answer)], &LIMITS)
    }

    #[test]
    fn overuse_is_relative_to_length() {
        assert_eq!(says("Great! 🎉 Here © 2024 is ™ your # answer 1️⃣."), None);
        assert_eq!(says("🎉🎉🎉 Great"), Some("answer 1 has 3 emoji".into()));
        assert_eq!(says("Wow! So! Good! Is! It!"), Some("answer 1 has 5 exclamation marks".into()));
        let long = format!("{} 🎉🎉🎉 !!!!!", "word ".repeat(150));
        assert_eq!(says(&long), None);
    }

    #[test]
    fn loops_at_the_end_are_found() {
        assert_eq!(
            says(&"the same again and again. ".repeat(6)).as_deref(),
            Some("answer 1 ends with 5 times \"the same again and again.\"")
        );
        assert!(says(&format!("Start. {}", "ha".repeat(60))).is_some_and(|why| why.contains("60 times")));
        for fine in [
            "A\n\n----------------------------------------------------------------",
            "abc abc abc",
            "x = 1\n".repeat(3).as_str(),
        ] {
            assert_eq!(says(fine), None, "{fine}");
        }
    }

    #[test]
    fn apologies_at_the_start() {
        let opens = |answer: &str| apologises(&[Message::user("q"), Message::assistant(answer)]);
        for answer in ["I'm sorry, but no.", "I apologize for that.", "My apologies!", "Sorry, I can't.", "As an AI, I"]
        {
            assert!(opens(answer), "{answer}");
        }
        for answer in ["The word sorry is old.", "Sorrow fills the room.", "To apologise, write a letter."] {
            assert!(!opens(answer), "{answer}");
        }
    }
}
