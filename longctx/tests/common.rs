//! A tokenizer, texts, and the program.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder with a tokenizer, and one with texts of which some belong to each split.
pub struct Place {
    dir: tempfile::TempDir,
}

/// Sentences that do not repeat, with rare and frequent words.
pub fn prose(document: usize, paragraphs: usize) -> String {
    const WHO: [&str; 5] = ["The miller", "The baker", "A carter", "The old clerk", "The ferryman"];
    const DID: [&str; 7] = ["closed", "painted", "sold", "carried", "mended", "measured", "washed"];
    const WHAT: [&str; 6] = ["gate", "boat", "ladder", "basket", "window", "cart"];
    let letters = |mut n: usize| {
        let mut word = String::from("Q");
        for _ in 0..6 {
            word.push(char::from(b"aeioulnrst"[n % 10]));
            n /= 10;
        }
        word
    };
    let mut text = String::new();
    let mut state = document * 7919 + 13;
    let mut next = |n: usize| {
        state = (state * 1_103_515_245 + 12_345) % (1 << 31);
        (state >> 8) % n
    };
    for paragraph in 0..paragraphs {
        for sentence in 0..2 + next(4) {
            let (who, did, what) = (WHO[next(5)], DID[next(7)], WHAT[next(6)]);
            let place = letters(document * 10_000 + paragraph * 10 + sentence);
            let space = if sentence == 0 { "" } else { " " };
            text += &format!("{space}{who} {did} the {what} near {place} on day {}.", paragraph * 7 + sentence);
        }
        text += "\n\n";
    }
    text
}

impl Place {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let texts = dir.path().join("texts");
        std::fs::create_dir(&texts).unwrap();
        let all: Vec<String> = (0..16).map(|document| prose(document, 90)).collect();
        for (number, text) in all.iter().enumerate() {
            std::fs::write(texts.join(format!("{number:02}.txt")), text).unwrap();
        }
        let tokenizer = dir.path().join("tokenizer");
        std::fs::create_dir(&tokenizer).unwrap();
        let counts = bpe::WordCounts::of(all.into_iter().take(3).map(Ok)).unwrap();
        let mut vocabulary = bpe::train::train(&counts, 450, 2);
        vocabulary.add_special(&["<|im_start|>", "<|im_end|>"]);
        vocabulary.write(&tokenizer).unwrap();
        let template = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}\
                        {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
        std::fs::write(tokenizer.join("chat_template.jinja"), template).unwrap();
        let config = r#"{"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>"}"#;
        std::fs::write(tokenizer.join("tokenizer_config.json"), config).unwrap();
        Self { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_longctx"));
        command.current_dir(self.dir.path()).args(words);
        command
    }

    pub fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    pub fn make(&self, output: &str, more: &[&str]) -> Output {
        let words =
            ["make", "--texts", "texts", "--tokenizer", "tokenizer", "--licence", "CC0-1.0", "--output", output];
        self.run(&[&words[..], more].concat())
    }
}

pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
