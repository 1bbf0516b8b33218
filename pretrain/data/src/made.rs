//! Seeded texts of many kinds for tests, comparisons and examples: prose, lists, logs, code, boilerplate, repetitive
//! texts, each with shares drawn around the thresholds of the published filters. All texts are invented.

use crate::hash;

/// A random number generator: the n-th number is a hash of seed and n, so it is the same on every machine and in
/// every version.
#[derive(Debug, Clone)]
pub struct Draw {
    seed: u64,
    count: u64,
}

impl Draw {
    /// A generator for one item of a seed.
    #[must_use]
    pub fn new(seed: u64, thing: u64) -> Self {
        Self { seed: hash::combine(hash::seeded(seed), thing), count: 0 }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.count += 1;
        hash::combine(self.seed, self.count)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }

    /// A number from 0 to below 1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// One of several values.
    pub fn of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

const SMALL: [&str; 40] = [
    "the", "of", "and", "to", "in", "a", "is", "that", "for", "it", "as", "was", "with", "be", "by", "on", "not", "he",
    "his", "but", "at", "are", "this", "have", "from", "or", "had", "an", "they", "which", "one", "we", "all", "her",
    "she", "there", "would", "their", "when", "who",
];
const ONSETS: [&str; 20] =
    ["b", "br", "c", "ch", "d", "f", "g", "gr", "h", "l", "m", "n", "p", "pl", "r", "s", "st", "t", "tr", "w"];
const NUCLEI: [&str; 10] = ["a", "e", "i", "o", "u", "ea", "ou", "ai", "ee", "io"];
const CODAS: [&str; 12] = ["", "n", "r", "s", "t", "l", "nd", "st", "m", "ck", "ng", "p"];
const SPECIAL: [&str; 36] = [
    "don't",
    "isn't",
    "we're",
    "it's",
    "I'm",
    "Mr.",
    "Dr.",
    "e.g.",
    "U.S.",
    "well-known",
    "and/or",
    "\"so\"",
    "(perhaps)",
    "$5.00",
    "50%",
    "3kg",
    "10am",
    "https://example.org/page?id=3",
    "example.com",
    "2024-05-01",
    "café",
    "naïve",
    "…",
    "...",
    "#1",
    "a_b",
    "f(x)",
    "x = 3;",
    "[12]",
    "[edit]",
    "cannot",
    "John's",
    "’twas",
    "“quoted”",
    "—",
    "1,000",
];
const POLICY: [&str; 6] = [
    "Please read our privacy policy and the terms of use.",
    "This site uses cookies to make your visit better.",
    "Please enable JavaScript in your browser to see this page.",
    "Lorem ipsum dolor sit amet, consectetur.",
    "All rights reserved",
    "Share on social media | Print | E-mail",
];

/// The word with this number: the same for every text, so that frequent words are frequent everywhere.
#[must_use]
pub fn word(number: usize) -> String {
    let mut draw = Draw::new(0x776f_7264, number as u64);
    let syllables = 1 + draw.below(2) + usize::from(number.is_multiple_of(3));
    (0..syllables).map(|_| [*draw.of(&ONSETS), *draw.of(&NUCLEI), *draw.of(&CODAS)].concat()).collect()
}

/// A sentence of about `words` words.
pub fn sentence(draw: &mut Draw, words: usize, special: f64) -> String {
    let mut out = String::new();
    for n in 0..words.max(1) {
        if n > 0 {
            out.push_str(if draw.chance(0.06) { ", " } else { " " });
        }
        if draw.chance(special) {
            out.push_str(draw.of::<&str>(&SPECIAL));
        } else if draw.chance(0.45) {
            out.push_str(draw.of::<&str>(&SMALL));
        } else {
            // Frequencies as in prose: the n-th word has a share of about 1/n.
            let number = (draw.unit() * 8.0).exp2() * 12.0;
            out.push_str(&word(number as usize));
        }
    }
    let first = out.chars().next().map(|c| c.to_uppercase().collect::<String>()).unwrap_or_default();
    let rest: String = out.chars().skip(1).collect();
    first + &rest
}

fn prose(draw: &mut Draw, sentences: usize, special: f64) -> String {
    let mut out = String::new();
    for n in 0..sentences {
        let words = 4 + draw.below(18);
        out.push_str(&sentence(draw, words, special));
        out.push_str(draw.of::<&str>(&[".", ".", ".", ".", ".", "!", "?", ".\"", "...", ""]));
        if n + 1 < sentences {
            out.push_str(if draw.chance(0.2) {
                "\n\n"
            } else if draw.chance(0.1) {
                "\n"
            } else {
                " "
            });
        }
    }
    out
}

/// The text with this number under a seed.
#[must_use]
pub fn text(seed: u64, number: u64) -> String {
    let mut draw = Draw::new(seed, number);
    let draw = &mut draw;
    let special = *draw.of(&[0.0, 0.02, 0.05, 0.2]);
    let mut out = match number % 16 {
        0 | 1 => {
            let sentences = 1 + draw.below(30);
            prose(draw, sentences, special)
        }
        // Close to the minimum number of words.
        2 => {
            let words = 40 + draw.below(25);
            format!("{}.", sentence(draw, words, special))
        }
        // Lines of a list, with a share of bullets and of ended lines.
        3 | 4 => {
            let (bullets, ended, words) = (draw.unit(), draw.unit() * 0.3, 2 + draw.below(10));
            let lines = 10 + draw.below(40);
            (0..lines)
                .map(|_| {
                    let bullet = if draw.chance(bullets) { *draw.of(&["- ", "• ", "  - "]) } else { "" };
                    let words = 1 + draw.below(words * 2);
                    let line = sentence(draw, words, special);
                    format!("{bullet}{line}{}\n", if draw.chance(ended) { "." } else { "" })
                })
                .collect()
        }
        // Repeated lines or paragraphs.
        5 | 6 => {
            let again = draw.unit() * 0.6;
            let between = *draw.of(&["\n", "\n\n", "\n\n\n"]);
            let mut parts: Vec<String> = Vec::new();
            for _ in 0..5 + draw.below(40) {
                let words = 3 + draw.below(20);
                let part = if !parts.is_empty() && draw.chance(again) {
                    draw.of(&parts).clone()
                } else {
                    sentence(draw, words, special) + "."
                };
                parts.push(part);
            }
            parts.join(between)
        }
        // Phrases that are repeated within the text.
        7 | 8 => {
            let (again, length) = (draw.unit() * 0.25, 2 + draw.below(9));
            let phrase = sentence(draw, length, 0.0).to_lowercase();
            let mut out = String::new();
            for _ in 0..60 + draw.below(200) {
                let next = if draw.chance(again) { phrase.clone() } else { sentence(draw, 1, special).to_lowercase() };
                out.push_str(&next);
                out.push_str(if draw.chance(0.07) { ".\n" } else { " " });
            }
            out
        }
        // Signs and numbers.
        9 => {
            let share = draw.unit() * 0.4;
            let sign = *draw.of(&["#", "...", "…", "12", "3.5", "{", "%", "|"]);
            (0..60 + draw.below(120))
                .map(|_| {
                    let word =
                        if draw.chance(share) { sign.to_owned() } else { sentence(draw, 1, special).to_lowercase() };
                    word + if draw.chance(0.06) { ".\n" } else { " " }
                })
                .collect()
        }
        // Boilerplate among prose.
        10 | 11 => {
            let share = draw.unit() * 0.5;
            (0..6 + draw.below(25))
                .map(|_| {
                    let words = 1 + draw.below(20);
                    let line = sentence(draw, words, special) + draw.of::<&str>(&[".", ".", "", "!", "..."]);
                    let line = if draw.chance(share) { (*draw.of(&POLICY)).to_owned() } else { line };
                    line + draw.of::<&str>(&["\n", "\n", "\r\n", " \n\n"])
                })
                .collect()
        }
        // Logs and code.
        12 => (0..10 + draw.below(60))
            .map(|n| {
                format!(
                    "2024-05-{:02} 12:{n:02}:00 ERROR [worker-{}] cannot open /var/{}: code {n}\n",
                    n % 28 + 1,
                    n % 4,
                    word(n % 7)
                )
            })
            .collect(),
        13 => {
            let lines = 10 + draw.below(40);
            let body = (0..lines)
                .map(|n| format!("    let {} = {}(x, {n}); // {}\n", word(n), word(n + 1), sentence(draw, 4, 0.0)))
                .collect::<String>();
            format!("{}\n\nfn {}() {{\n{body}}}\n", prose(draw, 6, special), word(3))
        }
        // Short or long words.
        14 => {
            let long = draw.unit();
            (0..50 + draw.below(60))
                .map(|n| {
                    let word = if draw.chance(long) {
                        word(n) + &word(n + 9) + &word(n + 33)
                    } else {
                        (*draw.of(&["a", "I", "to", "is", "of"])).to_owned()
                    };
                    word + if draw.chance(0.08) { ". " } else { " " }
                })
                .collect()
        }
        _ => {
            let (ending, sentences) = (draw.unit() * 0.6, 3 + draw.below(30));
            (0..sentences)
                .map(|_| {
                    let words = 2 + draw.below(12);
                    sentence(draw, words, special) + if draw.chance(ending) { "...\n" } else { ".\n" }
                })
                .collect()
        }
    };
    if draw.chance(0.02) {
        out.insert_str(0, draw.of::<&str>(&["\n\n", " ", "\u{feff}", "\t"]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_everywhere() {
        let all: String = (0..64).map(|n| text(1, n)).collect();
        assert_eq!(&dataset::digest::bytes(all.as_bytes())[..16], "702055c0703c2a82");
        assert!((0..64).all(|n| text(2, n) != text(1, n)));
    }
}
