//! Gopher's quality rules (Rae et al. 2021, appendix A1.1).

use serde::{Deserialize, Serialize};

use super::view::{share, split_lines};
use super::words::is_space;
use super::{Filter, Outcome, Rules, View};

/// The rules and their thresholds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GopherQuality {
    /// Minimum number of words, without punctuation.
    pub min_words: usize,
    /// Maximum number of words, without punctuation.
    pub max_words: usize,
    /// Minimum mean length of words, in characters.
    pub min_mean_word: f64,
    /// Maximum mean length of words, in characters.
    pub max_mean_word: f64,
    /// Maximum number of `#`, and of ellipses, per word.
    pub max_symbols: f64,
    /// Maximum share of lines that start with a bullet.
    pub max_bullets: f64,
    /// Maximum share of lines that end with an ellipsis.
    pub max_ellipses: f64,
    /// Minimum share of words with a letter.
    pub min_alphabetic: f64,
    /// Minimum number of different stop words.
    pub min_stop_words: usize,
    /// The stop words.
    pub stop_words: Vec<String>,
    /// Rules that are switched off.
    pub without: Vec<String>,
}

impl Default for GopherQuality {
    fn default() -> Self {
        Self {
            min_words: 50,
            max_words: 100_000,
            min_mean_word: 3.0,
            max_mean_word: 10.0,
            max_symbols: 0.1,
            max_bullets: 0.9,
            max_ellipses: 0.3,
            min_alphabetic: 0.8,
            min_stop_words: 2,
            stop_words: ["the", "be", "to", "of", "and", "that", "have", "with"].map(str::to_owned).to_vec(),
            without: Vec::new(),
        }
    }
}

const RULES: [&str; 10] = [
    "gopher_short_doc",
    "gopher_long_doc",
    "gopher_below_avg_threshold",
    "gopher_above_avg_threshold",
    "gopher_too_many_hashes",
    "gopher_too_many_ellipsis",
    "gopher_too_many_bullets",
    "gopher_too_many_end_ellipsis",
    "gopher_below_alpha_threshold",
    "gopher_enough_stop_words",
];

impl Filter for GopherQuality {
    fn rules(&self) -> Vec<String> {
        RULES.map(str::to_owned).to_vec()
    }

    fn without(&self) -> &[String] {
        &self.without
    }

    fn judge(&self, view: &View) -> Outcome {
        let text = view.text();
        let mut rules = Rules::new(&self.without);
        let (mut count, mut length, mut alphabetic) = (0_usize, 0_usize, 0_usize);
        for word in view.words() {
            if word.chars().any(|c| !is_punctuation(c)) {
                count += 1;
                length += word.chars().count();
            }
            alphabetic += usize::from(word.chars().any(char::is_alphabetic));
        }
        let all = view.word_count();
        rules.at_least(RULES[0], self.min_words as f64, || count as f64);
        rules.at_most(RULES[1], self.max_words as f64, || count as f64);
        let mean = share(length, count);
        rules.at_least(RULES[2], self.min_mean_word, || mean);
        rules.at_most(RULES[3], self.max_mean_word, || mean);
        rules.at_most(RULES[4], self.max_symbols, || share(text.matches('#').count(), all));
        rules.at_most(RULES[5], self.max_symbols, || {
            share(text.matches("...").count() + text.matches('…').count(), all)
        });
        let lines = if rules.wants(RULES[6]) || rules.wants(RULES[7]) { split_lines(text) } else { Vec::new() };
        let bullet = |line: &&&str| line.trim_start_matches(is_space).starts_with(['•', '-']);
        rules.at_most(RULES[6], self.max_bullets, || share(lines.iter().filter(bullet).count(), lines.len()));
        let ellipsis = |line: &&&str| {
            let line = line.trim_end_matches(is_space);
            line.ends_with("...") || line.ends_with('…')
        };
        rules.at_most(RULES[7], self.max_ellipses, || share(lines.iter().filter(ellipsis).count(), lines.len()));
        rules.at_least(RULES[8], self.min_alphabetic, || share(alphabetic, all));
        rules.at_least(RULES[9], self.min_stop_words as f64, || {
            self.stop_words.iter().filter(|stop| view.words().any(|word| word == *stop)).count() as f64
        });
        rules.finish()
    }
}

/// datatrove's set of punctuation: ASCII's and the usual marks of other scripts, control characters, terminal punctuation.
pub(super) fn is_punctuation(c: char) -> bool {
    const MARKS: &str = "!/—”:％１〈&(、━\\【#%「」，】；+^]~“《„';’{|∶´[=-`*．（–？！：$～«〉,><》)?）。…@_.\"}►»";
    if c.is_ascii() {
        return c.is_ascii_control() && c != '\t' && c != '\n' && (c as u32) < 32 && !matches!(c, '\u{9}' | '\u{a}')
            || c.is_ascii_punctuation();
    }
    ('\u{7f}'..'\u{a0}').contains(&c) || MARKS.contains(c) || super::fineweb::is_terminal(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_names_itself_and_its_value() {
        let good = "This is the text that we have to read with care and to keep. ".repeat(5);
        let failed =
            |text: &str| GopherQuality::default().judge(&View::new(text)).failed().map(|f| (f.rule.clone(), f.value));
        assert_eq!(failed(&good), None);
        assert_eq!(failed("too short"), Some(("gopher_short_doc".into(), 2.0)));
        assert_eq!(failed(&"to be of ".repeat(20)).unwrap().0, "gopher_below_avg_threshold");
        assert_eq!(failed(&"incomprehensibilities and the ".repeat(30)), None);
        assert_eq!(failed(&"incomprehensibilities of ".repeat(30)).unwrap().0, "gopher_above_avg_threshold");
        assert_eq!(failed(&format!("{good}{}", "#".repeat(12))).unwrap().0, "gopher_too_many_hashes");
        assert_eq!(failed(&good.replace(". ", "\n- ")), None);
        assert_eq!(failed(&format!("- {}", good.replace(". ", "\n- "))).map(|f| f.1), Some(1.0));
        assert_eq!(failed(&"12 34 567 the with 8901 ".repeat(20)).unwrap().0, "gopher_below_alpha_threshold");
        assert_eq!(failed(&"nothing else matters here ".repeat(20)).unwrap(), ("gopher_enough_stop_words".into(), 0.0));
    }

    #[test]
    fn a_rule_can_be_switched_off_and_must_exist() {
        let mut filter = GopherQuality { without: vec!["gopher_short_doc".into()], ..GopherQuality::default() };
        filter.check().unwrap();
        assert_eq!(filter.judge(&View::new("too short")).failed().unwrap().rule, "gopher_enough_stop_words");
        filter.without = vec!["short".into()];
        assert!(
            filter
                .check()
                .unwrap_err()
                .to_string()
                .contains("short is not a rule of this step; its rules are gopher_short")
        );
        filter.without = filter.rules();
        assert!(filter.check().unwrap_err().to_string().contains("could match nothing"));
    }
}
