//! Checks whether an answer is in the language of its prompt (the Llama 3 paper, section 4.3.2).

use serde::{Deserialize, Serialize};

/// Minimum number of letters in a text for a guess of its language.
const ENOUGH: usize = 60;
/// Minimum confidence of the guess.
const SURE: f64 = 0.9;

/// The languages of a prompt and its answer, as ISO 639-3 codes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Languages {
    /// The prompt's.
    pub prompt: String,
    /// The answer's.
    pub response: String,
}

/// The two languages if both are certain; `None` otherwise: a short text, a formula, a program.
#[must_use]
pub fn languages(prompt: &str, response: &str) -> Option<Languages> {
    Some(Languages { prompt: certain(prompt)?, response: certain(response)? })
}

impl Languages {
    /// Whether they are the same.
    #[must_use]
    pub fn agree(&self) -> bool {
        self.prompt == self.response
    }
}

fn certain(text: &str) -> Option<String> {
    let prose = without_code(text);
    if prose.chars().filter(|c| c.is_alphabetic()).count() < ENOUGH {
        return None;
    }
    let found = whatlang::detect(&prose)?;
    (found.is_reliable() && found.confidence() >= SURE).then(|| found.lang().code().to_owned())
}

/// The text without fenced code blocks, whose words are English in every language.
fn without_code(text: &str) -> String {
    let mut inside = false;
    let prose = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence
    });
    prose.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GERMAN: &str = "Warum ist der Himmel am Tag blau und am Abend rot? Bitte erkläre es mir in einfachen Worten, so \
                          dass auch ein Kind es versteht.";
    const ENGLISH: &str = "The sky is blue because air scatters short waves of light more strongly than long ones, so more \
                           blue light reaches your eyes from every direction.";

    #[test]
    fn only_certain_languages_are_compared() {
        let other = languages(GERMAN, ENGLISH).unwrap();
        assert_eq!((other.prompt.as_str(), other.response.as_str(), other.agree()), ("deu", "eng", false));
        assert!(languages(GERMAN, GERMAN).unwrap().agree());
        assert_eq!(languages(GERMAN, "42"), None);
        assert_eq!(languages(GERMAN, "1 + 1 = 2, 2 + 2 = 4, 4 + 4 = 8, 8 + 8 = 16, 16 + 16 = 32, 32 + 32 = 64"), None);
        let code =
            format!("{GERMAN}\n```python\n# The function returns the number of words in the text\ndef f(x): ...\n```");
        assert!(languages(GERMAN, &code).unwrap().agree());
    }
}
