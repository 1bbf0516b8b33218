//! The score of an answer, as lm-eval's `ruler` tasks give it (`common_utils.py`, version 0.4.13).

/// The share of the references that the prediction contains, in lower case: the metric of all tasks that need text only.
#[must_use]
pub fn score(prediction: &str, references: &[String]) -> f64 {
    let cleaned = strip(&strip(prediction).replace(|c: char| c <= '\u{1f}', "\n")).to_lowercase();
    let found = references.iter().filter(|reference| cleaned.contains(&reference.to_lowercase())).count();
    found as f64 / references.len() as f64
}

/// Python's `str.strip`: its white space includes the four separators from U+001C on.
fn strip(text: &str) -> String {
    text.trim_matches(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Row {
        outputs: Vec<String>,
        prediction: String,
        score: f64,
    }

    #[test]
    fn scores_are_those_of_lm_eval() {
        let file = test_support::fixture("ruler/scores.jsonl");
        let rows: Vec<Row> = dataset::jsonl::read_all(file).unwrap();
        assert_eq!(rows.len(), 1000);
        for row in rows {
            let ours = score(&row.prediction, &row.outputs);
            assert!(
                (ours - row.score).abs() < 1e-12,
                "{:?} in {:?}: {ours}, not {}",
                row.outputs,
                row.prediction,
                row.score
            );
        }
    }
}
