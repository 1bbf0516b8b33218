//! An instruction: its type and parameters as in the data, and the check of a text.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{capitals, format, punkt, python};

/// The ids of the 25 types.
pub const INSTRUCTIONS: [&str; 25] = [
    "change_case:capital_word_frequency",
    "change_case:english_capital",
    "change_case:english_lowercase",
    "combination:repeat_prompt",
    "combination:two_responses",
    "detectable_content:number_placeholders",
    "detectable_content:postscript",
    "detectable_format:constrained_response",
    "detectable_format:json_format",
    "detectable_format:multiple_sections",
    "detectable_format:number_bullet_lists",
    "detectable_format:number_highlighted_sections",
    "detectable_format:title",
    "keywords:existence",
    "keywords:forbidden_words",
    "keywords:frequency",
    "keywords:letter_frequency",
    "language:response_language",
    "length_constraints:nth_paragraph_first_word",
    "length_constraints:number_paragraphs",
    "length_constraints:number_sentences",
    "length_constraints:number_words",
    "punctuation:no_comma",
    "startend:end_checker",
    "startend:quotation",
];

/// The comparison of a count with its threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Relation {
    /// Fewer.
    #[serde(rename = "less than")]
    LessThan,
    /// As many or more.
    #[serde(rename = "at least")]
    AtLeast,
}

impl Relation {
    /// Whether `count` is fewer than, or at least, `threshold`.
    #[must_use]
    pub fn holds(self, count: usize, threshold: usize) -> bool {
        match self {
            Self::LessThan => count < threshold,
            Self::AtLeast => count >= threshold,
        }
    }
}

impl FromStr for Relation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "less than" => Ok(Self::LessThan),
            "at least" => Ok(Self::AtLeast),
            other => Err(format!("{other:?} is not a relation; use \"less than\" or \"at least\"")),
        }
    }
}

/// An instruction with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    /// A number of words in capital letters.
    CapitalWords(Relation, usize),
    /// English, all in capital letters.
    EnglishCapital,
    /// English, all in lower-case letters.
    EnglishLowercase,
    /// The response starts with this request.
    RepeatPrompt(String),
    /// Two different responses with `******` between them.
    TwoResponses,
    /// At least this number of `[placeholders]`.
    Placeholders(usize),
    /// A postscript with this marker.
    Postscript(String),
    /// One of three fixed answers.
    ConstrainedResponse,
    /// JSON, in a Markdown fence or bare.
    Json,
    /// At least this number of sections that start with this word and a number.
    Sections(String, usize),
    /// Exactly this number of bullet points.
    Bullets(usize),
    /// At least this number of `*highlighted*` parts.
    Highlights(usize),
    /// A `<<title>>`.
    Title,
    /// All of these words.
    Keywords(Vec<String>),
    /// None of these words.
    ForbiddenWords(Vec<String>),
    /// A number of occurrences of a word.
    KeywordFrequency(String, Relation, usize),
    /// A number of occurrences of a character, ignoring case.
    LetterFrequency(String, Relation, usize),
    /// The language, as an ISO 639-1 code.
    Language(String),
    /// A number of paragraphs, one of which starts with a given word.
    NthParagraph {
        /// Number of paragraphs, separated by an empty line.
        paragraphs: usize,
        /// The number of that paragraph, from 1.
        nth: usize,
        /// The first word of that paragraph, in lower case.
        first_word: String,
    },
    /// A number of paragraphs, separated by `***`.
    Paragraphs(usize),
    /// A number of sentences.
    Sentences(Relation, usize),
    /// A number of words.
    Words(Relation, usize),
    /// No comma.
    NoComma,
    /// The response ends with this phrase.
    EndPhrase(String),
    /// The response is enclosed in double quotation marks.
    Quotation,
}

impl Instruction {
    /// Reads an instruction from its id and the object of its parameters (null parameters are left out, as in the
    /// published data).
    ///
    /// # Errors
    /// When the id is unknown or a parameter is missing. The official checkers draw missing parameters at random,
    /// which would make scores random.
    pub fn new(id: &str, kwargs: &Value) -> Result<Self, String> {
        let read = Parameters { id, kwargs };
        Ok(match id {
            "change_case:capital_word_frequency" => {
                Self::CapitalWords(read.relation("capital_relation")?, read.count("capital_frequency")?)
            }
            "change_case:english_capital" => Self::EnglishCapital,
            "change_case:english_lowercase" => Self::EnglishLowercase,
            "combination:repeat_prompt" => Self::RepeatPrompt(read.text("prompt_to_repeat")?),
            "combination:two_responses" => Self::TwoResponses,
            "detectable_content:number_placeholders" => Self::Placeholders(read.count("num_placeholders")?),
            "detectable_content:postscript" => Self::Postscript(read.text("postscript_marker")?),
            "detectable_format:constrained_response" => Self::ConstrainedResponse,
            "detectable_format:json_format" => Self::Json,
            "detectable_format:multiple_sections" => {
                Self::Sections(read.text("section_spliter")?, read.count("num_sections")?)
            }
            "detectable_format:number_bullet_lists" => Self::Bullets(read.count("num_bullets")?),
            "detectable_format:number_highlighted_sections" => Self::Highlights(read.count("num_highlights")?),
            "detectable_format:title" => Self::Title,
            "keywords:existence" => Self::Keywords(read.texts("keywords")?),
            "keywords:forbidden_words" => Self::ForbiddenWords(read.texts("forbidden_words")?),
            "keywords:frequency" => {
                Self::KeywordFrequency(read.text("keyword")?, read.relation("relation")?, read.count("frequency")?)
            }
            "keywords:letter_frequency" => Self::LetterFrequency(
                read.text("letter")?.to_lowercase(),
                read.relation("let_relation")?,
                read.count("let_frequency")?,
            ),
            "language:response_language" => Self::Language(read.text("language")?),
            "length_constraints:nth_paragraph_first_word" => Self::NthParagraph {
                paragraphs: read.count("num_paragraphs")?,
                nth: read.count("nth_paragraph")?,
                first_word: read.text("first_word")?.to_lowercase(),
            },
            "length_constraints:number_paragraphs" => Self::Paragraphs(read.count("num_paragraphs")?),
            "length_constraints:number_sentences" => {
                Self::Sentences(read.relation("relation")?, read.count("num_sentences")?)
            }
            "length_constraints:number_words" => Self::Words(read.relation("relation")?, read.count("num_words")?),
            "punctuation:no_comma" => Self::NoComma,
            "startend:end_checker" => Self::EndPhrase(read.text("end_phrase")?),
            "startend:quotation" => Self::Quotation,
            _ => return Err(format!("{id:?} is none of the 25 instruction types of IFEval")),
        })
    }

    /// Whether a non-empty text follows the instruction.
    #[must_use]
    pub fn follows(&self, text: &str) -> bool {
        match self {
            Self::CapitalWords(relation, n) => relation.holds(capitals::count(text), *n),
            Self::EnglishCapital => python::is_upper(text) && is_language(text, "en"),
            Self::EnglishLowercase => python::is_lower(text) && is_language(text, "en"),
            Self::RepeatPrompt(prompt) => {
                python::strip(text).to_lowercase().starts_with(&python::strip(prompt).to_lowercase())
            }
            Self::TwoResponses => format::two_responses(text),
            Self::Placeholders(n) => python::count_matches(r"\[.*?\]", text) >= *n,
            Self::Postscript(marker) => format::postscript(text, marker),
            Self::ConstrainedResponse => format::constrained(text),
            Self::Json => format::json(text),
            Self::Sections(word, n) => python::count_matches(&format!(r"\s?{word}\s?\d+\s?"), text) >= *n,
            Self::Bullets(n) => format::bullets(text) == *n,
            Self::Highlights(n) => format::highlights(text) >= *n,
            Self::Title => format::title(text),
            Self::Keywords(words) => words.iter().all(|word| python::count_matches(&format!("(?i){word}"), text) > 0),
            Self::ForbiddenWords(words) => {
                words.iter().all(|word| python::count_matches(&format!(r"(?i)\b{word}\b"), text) == 0)
            }
            Self::KeywordFrequency(word, relation, n) => {
                relation.holds(python::count_matches(&format!("(?i){word}"), text), *n)
            }
            Self::LetterFrequency(letter, relation, n) => {
                relation.holds(text.to_lowercase().matches(letter.as_str()).count(), *n)
            }
            Self::Language(code) => is_language(text, code),
            Self::NthParagraph { paragraphs, nth, first_word } => {
                format::nth_paragraph(text, *paragraphs, *nth, first_word)
            }
            Self::Paragraphs(n) => format::paragraphs(text) == Some(*n),
            Self::Sentences(relation, n) => relation.holds(punkt::sentences(text).len(), *n),
            Self::Words(relation, n) => relation.holds(python::count_words(text), *n),
            Self::NoComma => !text.contains(','),
            Self::EndPhrase(phrase) => {
                let end = python::strip(text).trim_matches('"').to_lowercase();
                end.ends_with(&python::strip(phrase).to_lowercase())
            }
            Self::Quotation => {
                let text = python::strip(text);
                text.len() > 1 && text.starts_with('"') && text.ends_with('"')
            }
        }
    }
}

/// Whether langdetect detects this language. A text without letters counts as a match, as in the official checker.
fn is_language(text: &str, code: &str) -> bool {
    static DETECTOR: std::sync::LazyLock<langdetect::DetectorFactory> = std::sync::LazyLock::new(|| {
        let mut factory = langdetect::DetectorFactory::builtin().clone();
        // The official checker uses a random seed.
        factory.seed = langdetect::Seed::Int(0);
        factory
    });
    DETECTOR.detect(text).map_or(true, |found| found == code)
}

/// The parameters of an instruction.
struct Parameters<'a> {
    id: &'a str,
    kwargs: &'a Value,
}

impl Parameters<'_> {
    fn get(&self, name: &str) -> Result<&Value, String> {
        match self.kwargs.get(name) {
            None | Some(Value::Null) => Err(format!("{}: {name} is missing", self.id)),
            Some(value) => Ok(value),
        }
    }

    fn wrong(&self, name: &str, wanted: &str) -> String {
        format!("{}: {name} must be {wanted}", self.id)
    }

    fn count(&self, name: &str) -> Result<usize, String> {
        let value = self.get(name)?;
        // Some copies of the data store counts as floats.
        let whole =
            value.as_u64().or_else(|| value.as_f64().filter(|n| n.fract() == 0.0 && *n >= 0.0).map(|n| n as u64));
        whole.and_then(|n| usize::try_from(n).ok()).ok_or_else(|| self.wrong(name, "a whole number"))
    }

    fn text(&self, name: &str) -> Result<String, String> {
        let text = self.get(name)?.as_str().ok_or_else(|| self.wrong(name, "a string"))?;
        Ok(python::strip(text).to_owned())
    }

    fn texts(&self, name: &str) -> Result<Vec<String>, String> {
        serde_json::from_value(self.get(name)?.clone()).map_err(|_| self.wrong(name, "a list of strings"))
    }

    fn relation(&self, name: &str) -> Result<Relation, String> {
        self.text(name)?.parse().map_err(|e| format!("{}: {name}: {e}", self.id))
    }
}
