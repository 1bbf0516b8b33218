//! The Llama 3 paper's coverage by duplicated n-grams (section 3.1.1): the share of a document that is in n-grams
//! which occur more than once in it. The filter finds long lines of logs and error messages, which line deduplication
//! misses because each line is unique. The paper gives no threshold; the defaults are ours.

use serde::{Deserialize, Serialize};

use super::repetition::coverage;
use super::{Filter, Outcome, Rules, View};

/// Lengths of n-grams, and the maximum share of the text that they may cover.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Coverage {
    /// For each length in words: the maximum covered share of the characters.
    pub max: Vec<(usize, f64)>,
    /// Rules that are switched off.
    pub without: Vec<String>,
}

impl Default for Coverage {
    fn default() -> Self {
        Self { max: vec![(5, 0.4), (10, 0.3)], without: Vec::new() }
    }
}

impl Filter for Coverage {
    fn rules(&self) -> Vec<String> {
        self.max.iter().map(|(n, _)| format!("covered_by_{n}_grams")).collect()
    }

    fn without(&self) -> &[String] {
        &self.without
    }

    fn judge(&self, view: &View) -> Outcome {
        let mut rules = Rules::new(&self.without);
        for (n, limit) in &self.max {
            rules.at_most(&format!("covered_by_{n}_grams"), *limit, || coverage(view, *n));
        }
        rules.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_covered_and_prose_is_not() {
        let log: String =
            (0..40).map(|n| format!("{n} error while opening the file of the user, code {n}\n")).collect();
        let failed = |text: &str| Coverage::default().judge(&View::new(text)).failed().map(|f| f.rule.clone());
        assert_eq!(failed(&log).as_deref(), Some("covered_by_5_grams"));
        assert_eq!(failed("Every word of this sentence differs from those that came before it."), None);
    }
}
