//! C4's rules (Raffel et al. 2020): they remove lines without terminal punctuation and boilerplate lines, and drop
//! pages of code, pages with placeholder text, and pages with few sentences. FineWeb leaves out the rule on terminal
//! punctuation. The rules on curly brackets and JavaScript delete code: switch them off for pages of code.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::view::{split_lines, strip};
use super::words::{is_space, sentences, split};
use super::{Filter, Outcome, Rules, View};

/// The rules and their thresholds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct C4 {
    /// Minimum number of sentences of a page, in the remaining lines.
    pub min_sentences: usize,
    /// Minimum number of words of a line.
    pub min_words: usize,
    /// Maximum length of a word in a line, in characters.
    pub max_word: usize,
    /// Rules that are switched off. Rules of lines: `long_word`, `citations` (removes only the marks),
    /// `no_terminal_punct`, `few_words`, `javascript`, `policy`. Rules of pages: `lorem_ipsum`, `curly_bracket`,
    /// `too_few_sentences`.
    pub without: Vec<String>,
}

impl Default for C4 {
    fn default() -> Self {
        Self { min_sentences: 5, min_words: 3, max_word: 1000, without: Vec::new() }
    }
}

const RULES: [&str; 9] = [
    "lorem_ipsum",
    "curly_bracket",
    "too_few_sentences",
    "long_word",
    "citations",
    "no_terminal_punct",
    "few_words",
    "javascript",
    "policy",
];

const POLICY: [&str; 6] =
    ["terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies"];

impl Filter for C4 {
    fn rules(&self) -> Vec<String> {
        RULES.map(str::to_owned).to_vec()
    }

    fn without(&self) -> &[String] {
        &self.without
    }

    fn judge(&self, view: &View) -> Outcome {
        let on = |rule: &str| !self.without.iter().any(|name| name == rule);
        let (long, cites, ends) = (on("long_word"), on("citations"), on("no_terminal_punct"));
        let (few, script, policy) = (on("few_words"), on("javascript"), on("policy"));
        let mut rules = Rules::new(&self.without);
        let mut kept = String::with_capacity(view.text().len());
        let mut count = 0;
        for line in split_lines(view.text()) {
            let line = strip(line);
            let words = || line.split(is_space).filter(|word| !word.is_empty());
            if long && line.len() > self.max_word && words().any(|word| word.chars().count() > self.max_word) {
                continue;
            }
            let clean = if cites { without_citations(line) } else { None };
            let clean = clean.as_deref().unwrap_or(line);
            if ends && (!clean.ends_with(['.', '?', '!', '"', '\'']) || clean.ends_with("...")) {
                continue;
            }
            if few && words().take(self.min_words).count() < self.min_words {
                continue;
            }
            let lower = clean.to_lowercase();
            if rules.wants("lorem_ipsum") && lower.contains("lorem ipsum") {
                rules.at_most("lorem_ipsum", 0.0, || 1.0);
            }
            if script && lower.contains("javascript") {
                continue;
            }
            if rules.wants("curly_bracket") && clean.contains('{') {
                rules.at_most("curly_bracket", 0.0, || 1.0);
            }
            if rules.outcome.failed().is_some() {
                return rules.finish();
            }
            if policy && POLICY.iter().any(|phrase| lower.contains(phrase)) {
                continue;
            }
            if on("too_few_sentences") {
                let ranges: Vec<Range<u32>> = split(clean);
                count += sentences(clean, &ranges);
            }
            if !kept.is_empty() {
                kept.push('\n');
            }
            kept.push_str(clean);
        }
        for rule in ["lorem_ipsum", "curly_bracket"] {
            rules.at_most(rule, 0.0, || 0.0);
        }
        rules.at_least("too_few_sentences", self.min_sentences as f64, || count as f64);
        let mut outcome = rules.finish();
        let kept = strip(&kept);
        if outcome.failed().is_none() && kept != view.text() {
            outcome.text = Some(kept.to_owned());
        }
        outcome
    }
}

/// The line without `[12]`, `[edit]`, `[citation needed]`; `None` if it has none of these.
fn without_citations(line: &str) -> Option<String> {
    let mut out: Option<String> = None;
    let mut rest = line;
    while let Some(at) = rest.find('[') {
        let inner = &rest[at + 1..];
        let digits = inner.bytes().take_while(u8::is_ascii_digit).count();
        let length = if inner[digits..].starts_with(']') {
            Some(digits + 2)
        } else {
            ["edit]", "citation needed]"].iter().find(|mark| inner.starts_with(*mark)).map(|mark| mark.len() + 1)
        };
        let keep = at + usize::from(length.is_none());
        if length.is_some() || out.is_some() {
            let out = out.get_or_insert_with(|| line[..line.len() - rest.len()].to_owned());
            out.push_str(&rest[..keep]);
        }
        rest = &rest[keep + length.unwrap_or(0)..];
    }
    if let Some(out) = &mut out {
        out.push_str(rest);
    }
    out
}

/// mC4's rule: at least three lines of at least 200 characters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct C4Paragraphs {
    /// Minimum number of long lines.
    pub min_lines: usize,
    /// Minimum number of characters of a long line.
    pub min_chars: usize,
    /// Rules that are switched off.
    pub without: Vec<String>,
}

impl Default for C4Paragraphs {
    fn default() -> Self {
        Self { min_lines: 3, min_chars: 200, without: Vec::new() }
    }
}

impl Filter for C4Paragraphs {
    fn rules(&self) -> Vec<String> {
        vec!["long_lines".to_owned()]
    }

    fn without(&self) -> &[String] {
        &self.without
    }

    fn judge(&self, view: &View) -> Outcome {
        let mut rules = Rules::new(&self.without);
        let long = |line: &&str| line.chars().count() >= self.min_chars;
        let count = view.text().split('\n').filter(long).count();
        rules.at_least("long_lines", self.min_lines as f64, || count as f64);
        rules.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_and_pages_go() {
        let line = "This line has enough words and ends well.";
        let page = |extra: &str| format!("{}{extra}\n{line}\n", format!("{line}\n").repeat(5));
        let judge = |text: &str, without: &[&str]| {
            C4 { without: without.iter().map(|s| (*s).to_owned()).collect(), ..C4::default() }.judge(&View::new(text))
        };
        let kept = [line; 6].join("\n");
        for extra in [
            "no end",
            "Two words.",
            "Please enable JavaScript in here.",
            "Read the privacy policy, please.",
            "wait for it...",
        ] {
            assert_eq!(judge(&page(extra), &[]).text.as_deref(), Some(&*kept), "{extra}");
        }
        let cited = judge(&page("It is known[12] to be so[citation needed] in [3 places]."), &[]).text.unwrap();
        assert!(cited.contains("It is known to be so in [3 places]."), "{cited}");
        let failed = |text: &str, without: &[&str]| judge(text, without).failed().map(|f| f.rule.clone());
        assert_eq!(failed(&page("a { b } c d."), &[]).as_deref(), Some("curly_bracket"));
        assert_eq!(failed(&page("a { b } c d."), &["curly_bracket"]), None);
        assert_eq!(failed(&page("Lorem ipsum dolor sit."), &[]).as_deref(), Some("lorem_ipsum"));
        assert_eq!(failed(line, &[]).as_deref(), Some("too_few_sentences"));
        assert_eq!(judge(line, &[]).findings.last().unwrap().value, 1.0);
        // FineWeb's form keeps lines without an end.
        assert!(judge(&page("no end at all"), &["no_terminal_punct"]).text.unwrap().contains("no end at all"));
    }
}
