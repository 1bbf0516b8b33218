//! FineWeb's own rules (Penedo et al. 2024, section 3.6): pages of lists, of short lines, of repeated lines.

use serde::{Deserialize, Serialize};

use super::view::{chars, duplicates, share, strip};
use super::{Filter, Outcome, Rules, View};

/// The rules and their thresholds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FineWeb {
    /// Minimum share of lines that end with terminal punctuation.
    pub min_ended_lines: f64,
    /// Maximum share of short lines.
    pub max_short_lines: f64,
    /// Maximum number of characters of a short line.
    pub short_line: usize,
    /// Maximum share of characters in repeated lines.
    pub max_repeated_chars: f64,
    /// Maximum number of newlines per word.
    pub max_newlines: f64,
    /// Rules that are switched off.
    pub without: Vec<String>,
}

impl Default for FineWeb {
    fn default() -> Self {
        Self {
            min_ended_lines: 0.12,
            max_short_lines: 0.67,
            short_line: 30,
            max_repeated_chars: 0.01,
            max_newlines: 0.3,
            without: Vec::new(),
        }
    }
}

impl Filter for FineWeb {
    fn rules(&self) -> Vec<String> {
        ["empty", "line_punct_ratio", "short_line_ratio", "char_dup_ratio", "list_ratio"].map(str::to_owned).to_vec()
    }

    fn without(&self) -> &[String] {
        &self.without
    }

    fn judge(&self, view: &View) -> Outcome {
        let text = view.text();
        let mut rules = Rules::new(&self.without);
        let lines: Vec<&str> = text.split('\n').filter(|line| !strip(line).is_empty()).collect();
        rules.at_least("empty", 1.0, || lines.len() as f64);
        let ended = |line: &&&str| line.chars().next_back().is_some_and(is_terminal);
        rules.at_least("line_punct_ratio", self.min_ended_lines, || {
            share(lines.iter().filter(ended).count(), lines.len())
        });
        let short = |line: &&&str| line.len() <= self.short_line || chars(line) <= self.short_line;
        rules.at_most("short_line_ratio", self.max_short_lines, || {
            share(lines.iter().filter(short).count(), lines.len())
        });
        let newlines = text.bytes().filter(|byte| *byte == b'\n').count();
        rules.at_most("char_dup_ratio", self.max_repeated_chars, || {
            share(duplicates(&lines).1, view.chars() - newlines)
        });
        rules.at_most("list_ratio", self.max_newlines, || share(newlines, view.word_count()));
        rules.finish()
    }
}

/// Marks that end a sentence, in any script (datatrove's list).
pub(super) fn is_terminal(c: char) -> bool {
    const MARKS: &str = "᪩？⁈𑩂．꩞𑅃﹗𑂾\u{1b7d}፧𑅂꡶꘎⁉࠾᪨𑊩𑱂᱿𖩮᥅\u{11f43}\u{11f44}﹒𑈹𑈸።܂؞꛳\u{10f88}𑗍𐩖𑙂\u{61d}꩟᠉\u{1b7e}𑗗᰼𑻸؟𑪜꧉𑗉𐽙𖫵𖬷܀꓿᜵𑗏𑁇𑗓𑥄៖𑥆𑗑𑗒꯫۔𐩗\u{10f86}꡷\u{2e54}｡៕߹⸮.𑇅࠹𛲟꫰꤯𐽗᭞𑜼፨𑃁꣏𑇟𖬸𑪛𑜾࠷𝪈?𑃀𑗃！։꣎॥𑗖᭛᠃!၊𖺘⁇𑗌𑑋𖭄᭟𑅁𑙁⸼꩝𑗋。꧈꫱𑜽𐽖𑂿᙮។꛷\u{10f89}៚᥄𑗕𑗎᪪᭚࠽𑇞𑗊𐽘\u{2e53}𑗔𖩯𑇍𑻷𐽕𑩃।𑗂𑇆𑁈။᱾𑱁꘏܁᜶‼𑈻‽᪫﹖𑑌𑈼\u{10f87}𑗐៙᰻";
    if c.is_ascii() { matches!(c, '.' | '?' | '!') } else { MARKS.contains(c) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_dropped() {
        let failed =
            |text: &str| FineWeb::default().judge(&View::new(text)).failed().map(|f| (f.rule.clone(), f.value));
        let line = "A line that is longer than thirty characters, and that is number";
        let good: String = (0..10).map(|n| format!("{line} {n}.\n")).collect();
        assert_eq!(failed(&good), None);
        assert_eq!(failed(" \n\n"), Some(("empty".into(), 0.0)));
        assert_eq!(failed(&good.replace('.', "")), Some(("line_punct_ratio".into(), 0.0)));
        assert_eq!(failed("Short.\nLines.\nOnly.\n"), Some(("short_line_ratio".into(), 1.0)));
        assert_eq!(failed(&format!("{good}{good}")).unwrap().0, "char_dup_ratio");
        let tall = good.replace('\n', &"\n".repeat(8));
        assert_eq!(failed(&tall).unwrap().0, "list_ratio");
    }
}
