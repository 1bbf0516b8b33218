//! Many-shot conversations: many requests that seem to be answered, followed by one that is refused.
//!
//! A long context full of compliance makes a model comply (Anil et al. 2024, "Many-shot Jailbreaking"). The paper trains on such
//! conversations with a safe answer at the end. The answers before it are placeholders without content and are not trained (`"train":
//! false`). If harmless requests have answers, as many conversations end with one of these, so that a model does not learn to refuse
//! because of the length.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safety_text::refusal::Refusals;
use serde_json::{Value, json};

use super::Counts;
use super::refusals::{Dealer, answer};
use super::requests::Request;

/// The placeholders for answers.
const PLACEHOLDERS: [&str; 6] = [
    "[an answer that is left out here]",
    "[left out]",
    "Sure. [The rest is left out.]",
    "[The answer stood here.]",
    "Of course: [...]",
    "Here it is: [left out].",
];

/// The conversations, with counts by kind.
#[derive(Debug, Default)]
pub struct Made {
    /// Conversations.
    pub conversations: Vec<Value>,
    /// Number of conversations that end with a refusal.
    pub refused: usize,
    /// Number of conversations that end with an answer.
    pub answered: usize,
}

/// Makes `count` conversations for each number of shots; if there are `answers`, also as many with a harmless end.
#[must_use]
pub fn make(
    requests: &[Request],
    answers: &BTreeMap<String, Vec<String>>,
    refusals: &Refusals,
    dealer: &mut Dealer,
    shots: &[usize],
    count: usize,
    seed: u64,
) -> Made {
    let plain = |request: &&Request| request.messages.len() == 1;
    let bad: Vec<&Request> = requests.iter().filter(|request| request.is_unsafe).filter(plain).collect();
    let answered = |request: &&Request| answer(refusals, answers.get(&request.id)?);
    let good: Vec<(&Request, &str)> = requests
        .iter()
        .filter(|request| !request.is_unsafe)
        .filter(plain)
        .filter_map(|request| Some((request, answered(&request)?)))
        .collect();
    let mut made = Made::default();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for &shots in shots {
        for number in 0..count {
            let mut order: Vec<usize> = (0..bad.len()).collect();
            order.shuffle(&mut random);
            let last = bad[order[0]];
            let turns = turns(&mut random, &bad, &order, shots);
            if let Some((text, _)) = dealer.deal(last, &[], &mut Counts::default()) {
                made.conversations.push(record(&turns, last.messages[0].text(), &text, "refused", shots, number));
                made.refused += 1;
            }
            if !good.is_empty() {
                let (request, text) = good[random.random_range(0..good.len())];
                made.conversations.push(record(&turns, request.messages[0].text(), text, "answered", shots, number));
                made.answered += 1;
            }
        }
    }
    made
}

/// The turns before the end. Requests repeat only if there are too few.
fn turns(random: &mut ChaCha8Rng, bad: &[&Request], order: &[usize], shots: usize) -> Vec<Value> {
    // The first of the order is the last request.
    let others = order.get(1..).filter(|others| !others.is_empty()).unwrap_or(order);
    let mut turns = Vec::with_capacity(2 * shots);
    for shot in 0..shots {
        let request = bad[others[shot % others.len()]];
        turns.push(json!({"role": "user", "content": request.messages[0].text()}));
        let placeholder = PLACEHOLDERS[random.random_range(0..PLACEHOLDERS.len())];
        turns.push(json!({"role": "assistant", "content": placeholder, "train": false}));
    }
    turns
}

fn record(turns: &[Value], request: &str, answer: &str, kind: &str, shots: usize, number: usize) -> Value {
    let end = [json!({"role": "user", "content": request}), json!({"role": "assistant", "content": answer})];
    let messages: Vec<&Value> = turns.iter().chain(&end).collect();
    json!({"id": format!("many-shot-{shots}-{number}-{kind}"), "messages": messages, "source": "safety-many-shot",
        "capability": "safety"})
}
