//! Generates tasks from a seed: a correct program, incorrect programs, and tests in every form that public data sets
//! use.

mod others;
mod python;
mod weak;

use serde_json::Value;

/// A task: compute `a * x + b` for an integer `x`, or the sum of that over a list of integers.
#[derive(Debug, Clone)]
pub struct Task {
    pub name: String,
    pub a: i64,
    pub b: i64,
    pub is_list: bool,
    /// Arguments for the tests; an integer is stored as a list of one item.
    pub inputs: Vec<Vec<i64>>,
}

impl Task {
    /// The correct result for an argument.
    pub fn answer(&self, input: &[i64]) -> i64 {
        input.iter().map(|x| self.a * x + self.b).sum()
    }

    /// An argument as source text: a number, or a list in brackets, which most languages read.
    pub fn shown(&self, input: &[i64]) -> String {
        if self.is_list { format!("{input:?}") } else { input[0].to_string() }
    }

    /// All arguments as source text, with their correct results.
    pub fn pairs(&self) -> Vec<(String, i64)> {
        self.inputs.iter().map(|input| (self.shown(input), self.answer(input))).collect()
    }
}

/// One record to run.
pub struct Made {
    /// The form of its tests.
    pub form: &'static str,
    /// What is wrong with it, so that it must not pass; `None` if it must pass.
    pub wrong: Option<&'static str>,
    pub record: Value,
}

/// A seeded random number generator: SplitMix64 (Steele, Lea, Flood 2014).
pub struct Random(pub u64);

impl Random {
    /// A random number from 0 to `bound - 1`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    fn task(&mut self) -> Task {
        let words = ["shift", "scale", "total", "weigh", "price", "count", "blend", "score"];
        let name = format!("{}_{}", words[self.below(words.len())], words[self.below(words.len())]);
        let is_list = self.below(2) == 1;
        let (a, b) = (self.below(8) as i64 + 2, self.below(9) as i64 + 1);
        let count = self.below(3) + 2;
        let mut inputs: Vec<Vec<i64>> = Vec::new();
        while inputs.len() < count {
            let length = if is_list { self.below(4) + 1 } else { 1 };
            let input: Vec<i64> = (0..length).map(|_| self.below(40) as i64 + 3).collect();
            if !inputs.contains(&input) {
                inputs.push(input);
            }
        }
        Task { name, a, b, is_list, inputs }
    }
}

/// Languages in which tasks are generated.
pub const LANGUAGES: [&str; 6] = ["python", "javascript", "php", "ruby", "c", "cpp"];

/// At least `count` incorrect programs of one language, with the correct programs of the same tasks and forms.
pub fn made(language: &'static str, count: usize, seed: u64) -> Vec<Made> {
    let mut random = Random(seed);
    let mut all = Vec::new();
    let mut wrong = 0;
    let mut turn = 0;
    while wrong < count {
        let task = random.task();
        let some = match language {
            // Every third task has weak tests.
            _ if turn % 3 == 2 => weak::records(language, &task, turn / 3, &mut random),
            "python" => python::records(&task, turn - turn / 3, &mut random),
            _ => others::records(language, &task, turn - turn / 3, &mut random),
        };
        turn += 1;
        for mut one in some {
            wrong += usize::from(one.wrong.is_some());
            one.record["id"] = all.len().to_string().into();
            one.record["language"] = language.into();
            all.push(one);
        }
    }
    all
}

/// Every weak test of one language once, each with a correct and an incorrect program.
pub fn weak(language: &'static str) -> Vec<Made> {
    let mut random = Random(7);
    let task = random.task();
    let mut all: Vec<Made> =
        (0..weak::count(language)).flat_map(|turn| weak::records(language, &task, turn, &mut random)).collect();
    for (i, one) in all.iter_mut().enumerate() {
        one.record["id"] = i.to_string().into();
        one.record["language"] = language.into();
    }
    all
}
