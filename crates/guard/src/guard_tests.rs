use super::*;
use crate::fusion::Fusion;
use crate::linear::C;
use crate::split::tests::record;

/// A model that finds texts with the word "bad" unsafe and calls them S10 or S1.
struct Fake {
    mass: f64,
    asked: usize,
}

impl Scorer for Fake {
    fn score(&mut self, _: &Policy, asked: &[&Asked]) -> anyhow::Result<Vec<ModelScore>> {
        let score = |asked: &&Asked| {
            let log_odds = if asked.text().contains("bad") { 3.0 } else { -3.0 };
            ModelScore { log_odds, mass: self.mass, windows: 1, dropped_turns: 0 }
        };
        Ok(asked.iter().map(score).collect())
    }

    fn categories(&mut self, policy: &Policy, asked: &Asked) -> anyhow::Result<Vec<(String, f64)>> {
        self.asked += 1;
        let on = |id: &str| policy.enabled(asked.side()).any(|category| category.id == id);
        let shares: Vec<(&str, f64)> = [("S1", 0.4), ("S10", 0.6)].into_iter().filter(|(id, _)| on(id)).collect();
        let all: f64 = shares.iter().map(|(_, share)| share).sum();
        Ok(shares.into_iter().map(|(id, share)| (id.to_owned(), share / all)).collect())
    }
}

fn with_model(mass: f64) -> Guard {
    let fusion = Fusion { bias: 0.0, linear: 0.0, model: 1.0 };
    let policy = Policy::builtin("herd-14").unwrap();
    Guard::new("g".into(), policy, 0.5, fusion, None, Some(Box::new(Fake { mass, asked: 0 })))
}

fn linear() -> Guard {
    let mut records = Vec::new();
    for n in 0..12 {
        for (category, word) in [("S1", "apple"), ("S2", "banana")] {
            let mut bad = record(&format!("{word}{n}"), &format!("take the bad {word} number {n}"), true, None);
            bad.categories = vec![category.into()];
            records.push(bad);
            records.push(record(&format!("g{word}{n}"), &format!("take the good {word} number {n}"), false, None));
        }
    }
    let linear = Linear::train(&records.iter().collect::<Vec<_>>(), C);
    let fusion = Fusion { bias: 0.0, linear: 1.0, model: 0.0 };
    Guard::new("g".into(), Policy::builtin("herd-14").unwrap(), 0.5, fusion, Some(linear), None)
}

fn one(guard: &mut Guard, text: &str) -> Verdict {
    guard.judge(&[Asked::prompt(text)]).unwrap().remove(0)
}

#[test]
fn all_violated_categories_come_with_a_score() {
    let mut guard = with_model(1.0);
    let verdict = one(&mut guard, "a bad text");
    assert!(verdict.is_unsafe && verdict.mass == Some(1.0));
    assert_eq!(verdict.violated, ["S10", "S1"]);
    assert!((verdict.categories["S10"] - verdict.score).abs() < 1e-12);
    assert!((verdict.categories["S1"] - verdict.score * 0.4 / 0.6).abs() < 1e-12);
    assert_eq!(verdict.categories.len(), 14);
    let verdict = one(&mut guard, "a good text");
    assert!(!verdict.is_unsafe && verdict.violated.is_empty());
    let record = serde_json::to_value(&verdict).unwrap();
    assert_eq!((&record["label"], &record["windows"]), (&"safe".into(), &1.into()));
}

#[test]
fn a_threshold_of_a_category_counts_for_it() {
    let mut guard = with_model(1.0);
    let mut policy = Policy::builtin("herd-14").unwrap();
    policy.categories[0].threshold = Some(0.9);
    guard.set_policy(policy);
    assert_eq!(one(&mut guard, "a bad text").violated, ["S10"]);
    guard.set_threshold(0.99);
    assert!(!one(&mut guard, "a bad text").is_unsafe);
}

#[test]
fn a_model_without_answers_is_no_guard() {
    let error = with_model(0.4).judge(&[Asked::prompt("x")]).unwrap_err().to_string();
    assert!(error.contains("hold 0.4000 of the probability") && error.contains("this model is not a guard"), "{error}");
}

#[test]
fn nothing_to_judge_is_safe_and_says_so() {
    let mut guard = with_model(1.0);
    let verdicts = guard.judge(&[Asked::prompt(" \u{200B}"), Asked::prompt("bad"), Asked::prompt("")]).unwrap();
    assert!(verdicts[0].empty && verdicts[0].removed_characters == 1 && verdicts[2].empty);
    assert!(verdicts[1].is_unsafe && !verdicts[1].empty);
    guard.set_policy(Policy::builtin("herd-14").unwrap().only::<&str>(&[]).unwrap());
    assert!(!one(&mut guard, "bad").is_unsafe, "no category is on");
}

#[test]
fn a_category_that_is_off_is_not_judged() {
    let mut guard = linear();
    assert_eq!(one(&mut guard, "take the bad apple").violated, ["S1"]);
    assert_eq!(one(&mut guard, "take the bad banana").violated, ["S2"]);
    guard.set_policy(Policy::builtin("herd-14").unwrap().only(&["S2", "S10"]).unwrap());
    let (apple, banana) = (one(&mut guard, "take the bad apple"), one(&mut guard, "take the bad banana"));
    assert!(!apple.is_unsafe && banana.is_unsafe, "{apple:?} {banana:?}");
    assert_eq!(banana.categories.keys().collect::<Vec<_>>(), ["S10", "S2"]);
}
