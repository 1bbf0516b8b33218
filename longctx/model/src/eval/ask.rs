//! Asks a model all items of a plan, in order, and judges the answers. A killed run resumes with the same command.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use ::eval::record::{Response, Sample};
use ::eval::score::Scores;
use anyhow::{Context as _, bail, ensure};
use dataset::resume::OrderedOutput;
use dataset::{FinishReason, Message, digest};
use llama::SamplingParams;
use run::Progress;
use sampler::{Answer, SampleError, SampleRequest, Sampler, Turn, sequence_seed};
use serde_json::Map;

use super::items::{Bundle, Grading, Item, Maker};

/// Maximum number of items in memory at a time.
const ITEMS: usize = 64;
/// Maximum bytes of texts in memory at a time, unless one bundle is larger.
const BYTES: usize = 64 << 20;
/// Characters that a sample keeps of the start and of the end of a long prompt.
const SHOWN: usize = 300;

/// Asks the items that `path` lacks, and returns all samples.
///
/// # Errors
/// When the model does not answer, an item cannot be made, or the file belongs to another run.
pub fn ask(
    path: &Path,
    fingerprint: &str,
    sampler: &mut Sampler,
    plan: &[Bundle],
    maker: &Maker,
) -> anyhow::Result<Vec<Sample>> {
    if path.exists() {
        return Ok(dataset::jsonl::read_all(path)?);
    }
    let total: usize = plan.iter().map(|bundle| bundle.items).sum();
    let mut output = OrderedOutput::open(path, fingerprint)?;
    let done = output.done();
    if done > 0 {
        eprintln!("{done} of {total} answers exist from an earlier run; going on");
    }
    let progress = Progress::new("answers", Some(total), done);
    let start = Instant::now();
    let (mut first, mut prompt_tokens) = (0, 0);
    let mut held: Vec<Item> = Vec::new();
    let mut bundles = plan.iter().peekable();
    while let Some(bundle) = bundles.next() {
        let behind = first + held.len() + bundle.items;
        if behind <= done {
            first = behind;
            continue;
        }
        let items = maker.make(*bundle)?;
        ensure!(items.len() == bundle.items, "{} items where {} were planned", items.len(), bundle.items);
        held.extend(items);
        let bytes: usize = held.iter().flat_map(|item| &item.messages).map(|message| message.text().len()).sum();
        let goes_on = bundles.peek().is_some_and(|next| {
            next.task.is_prefilled() == bundle.task.is_prefilled() && held.len() + next.items <= ITEMS && bytes < BYTES
        });
        if goes_on {
            continue;
        }
        // Part of this bundle may have been answered before a kill: skip that part.
        let skip = done.saturating_sub(first);
        let asked = &held[skip..];
        answer(sampler, asked, &mut |at, sample| {
            prompt_tokens += asked[at].tokens;
            progress.note(format!("{:.0} tokens/s", prompt_tokens as f64 / start.elapsed().as_secs_f64().max(1e-9)));
            progress.add(1);
            Ok(output.push(first + skip + at, &sample)?)
        })?;
        first += held.len();
        held.clear();
    }
    output.finish(total)?;
    Ok(dataset::jsonl::read_all(path)?)
}

/// Asks items that are all prefilled, or all not prefilled.
fn answer(
    sampler: &mut Sampler,
    items: &[Item],
    done: &mut dyn FnMut(usize, Sample) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let is_loss = |item: &Item| matches!(item.grading, Grading::Loss { .. });
    let asked: Vec<usize> = (0..items.len()).filter(|at| !is_loss(&items[*at])).collect();
    if let Some(first) = asked.first() {
        sampler.set_turn(Turn { continues: items[*first].task.is_prefilled(), ..Turn::default() });
    }
    let request = |at: &usize| SampleRequest {
        messages: items[*at].messages.clone(),
        tools: Vec::new(),
        sampling: SamplingParams { temperature: 0.0, ..SamplingParams::default() },
        seed: sequence_seed(0, *at, 0),
        max_new_tokens: items[*at].max_new_tokens,
        stop: Vec::new(),
    };
    let requests: Vec<SampleRequest> = asked.iter().map(request).collect();
    sampler.sample(&requests, &mut |index, answer| {
        let item = &items[asked[index]];
        match answer {
            Ok(answer) => done(asked[index], judged(item, &answer)),
            // The item cannot be asked: it counts as wrong, and in a separate count.
            Err(SampleError::Request(reason)) => done(asked[index], unasked(item, reason)),
            Err(other) => bail!(
                "{} {}: {other}; the same command goes on (where the server's context is shorter, leave out --lengths)",
                item.task.name(),
                item.id
            ),
        }
    })?;
    for (at, item) in items.iter().enumerate() {
        let Grading::Loss { prompt, continuation } = &item.grading else { continue };
        let model = sampler.local().context(
            "ppl-by-position needs the log-probabilities of given texts, which a server's chat interface does not give: use --model",
        )?;
        let log_probs = model.log_probs(&[(prompt.clone(), continuation.clone())])?;
        let nll = -log_probs.iter().flatten().map(|&x| f64::from(x)).sum::<f64>();
        let scores = [("token-nll".to_owned(), (nll, continuation.len() as f64))].into();
        let response = Response { finish_reason: "likelihood".to_owned(), ..response(item) };
        done(at, sample(item, response, (true, "scored"), scores))?;
    }
    Ok(())
}

fn response(item: &Item) -> Response {
    Response {
        task: item.task.name(),
        id: item.id.clone(),
        sample: 0,
        response: String::new(),
        finish_reason: String::new(),
        tokens: 0,
        error: None,
    }
}

/// The status of an answer that used up its tokens before it was right.
pub const CUT: &str = "cut";
/// The status of an item that could not be asked.
pub const NO_ANSWER: &str = "no answer";

/// An answer with its judgement: `right`, `partly`, `wrong`, or `cut` when it used up its tokens without being right.
fn judged(item: &Item, answer: &Answer) -> Sample {
    let (score, exact) = match &item.grading {
        Grading::Contains(outputs) => (longctx::ruler::score(&answer.text, outputs), None),
        Grading::Names(reference) => {
            let (recall, exact) = names(&answer.text, reference);
            (recall, Some(exact))
        }
        Grading::Loss { .. } => (0.0, None),
    };
    let passed = exact.unwrap_or(score == 1.0);
    let status = match (passed, answer.finish_reason == FinishReason::Length) {
        (true, _) => "right",
        (false, true) => CUT,
        (false, false) if score > 0.0 => "partly",
        (false, false) => "wrong",
    };
    let mut scores: Scores = [("recall".to_owned(), (score, 1.0))].into();
    if let Some(exact) = exact {
        scores.insert("exact".to_owned(), (f64::from(u8::from(exact)), 1.0));
    }
    let response = Response {
        response: answer.text.clone(),
        finish_reason: Response::word(&answer.finish_reason),
        tokens: answer.tokens,
        ..response(item)
    };
    sample(item, response, (passed, status), scores)
}

fn unasked(item: &Item, reason: String) -> Sample {
    let mut scores: Scores = [("recall".to_owned(), (0.0, 1.0))].into();
    if matches!(item.grading, Grading::Names(_)) {
        scores.insert("exact".to_owned(), (0.0, 1.0));
    }
    let response = Response { finish_reason: "error".to_owned(), error: Some(reason), ..response(item) };
    sample(item, response, (false, NO_ANSWER), scores)
}

fn sample(item: &Item, response: Response, (passed, status): (bool, &str), scores: Scores) -> Sample {
    let mut groups: BTreeMap<String, String> = [("length".to_owned(), item.length.to_string())].into();
    if let Some(depth) = item.depth {
        groups.insert("depth".to_owned(), format!("{depth}%"));
    }
    let mut extra = Map::new();
    extra.insert("length_tokens".to_owned(), item.tokens.into());
    match &item.grading {
        Grading::Contains(outputs) => extra.insert("outputs".to_owned(), outputs.clone().into()),
        Grading::Names(names) => extra.insert("outputs".to_owned(), vec![names.clone()].into()),
        Grading::Loss { .. } => None,
    };
    Sample {
        task: response.task,
        id: response.id,
        sample: 0,
        passed,
        status: status.to_owned(),
        scores,
        extracted: None,
        detail: response.error,
        groups,
        question: item.question.clone(),
        prompt: shortened(item),
        response: response.response,
        finish_reason: response.finish_reason,
        tokens: response.tokens,
        extra,
    }
}

/// The prompt as a sample keeps it: start and end of a long message with the digest of the whole, so that a comparison can tell whether
/// two runs asked the same.
fn shortened(item: &Item) -> Vec<Message> {
    if let Grading::Loss { prompt, continuation } = &item.grading {
        let digest = digest::bytes(format!("{prompt:?} {continuation:?}").as_bytes());
        return vec![Message::user(format!("{} tokens of text, SHA-256 {digest}", prompt.len()))];
    }
    let short = |message: &Message| {
        let text = message.text();
        let count = text.chars().count();
        if count <= 4 * SHOWN {
            return message.clone();
        }
        let begin: String = text.chars().take(SHOWN).collect();
        let end: String = text.chars().skip(count - SHOWN).collect();
        let left_out = count - 2 * SHOWN;
        let digest = digest::bytes(text.as_bytes());
        Message::user(format!("{begin}\n[... {left_out} characters, SHA-256 of the whole {digest} ...]\n{end}"))
    };
    item.messages.iter().map(short).collect()
}

/// The share of the reference's names that an answer gives, and whether it gives exactly these names. Names are separated by commas or
/// line breaks; quotes, backticks, list marks and a final full stop do not count.
fn names(answer: &str, reference: &str) -> (f64, bool) {
    let of = |text: &str| -> std::collections::BTreeSet<String> {
        let parts = text.split([',', '\n']);
        let parts = parts.map(|part| {
            let part = part.trim().trim_start_matches(['-', '*']).trim();
            part.trim_matches(['`', '"', '\'']).trim_end_matches('.').trim_matches(['`', '"', '\'']).to_owned()
        });
        parts.filter(|part| !part.is_empty()).collect()
    };
    let (given, wanted) = (of(answer), of(reference));
    let found = wanted.intersection(&given).count();
    (found as f64 / wanted.len().max(1) as f64, given == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::items::Task;

    fn item(grading: Grading) -> Item {
        Item {
            task: if matches!(grading, Grading::Names(_)) { Task::Repo } else { Task::Niah },
            id: "4096-000-05".into(),
            length: 4096,
            depth: Some(55.6),
            messages: vec![Message::user("x".repeat(5000)), Message::assistant("The number is")],
            question: "?".into(),
            grading,
            max_new_tokens: 8,
            tokens: 4000,
        }
    }

    fn answer_of(text: &str, finish_reason: FinishReason) -> Answer {
        Answer { text: text.into(), finish_reason, logprob: None, tokens: 3, token_ids: None, token_logprobs: None }
    }

    #[test]
    fn a_cut_answer_is_no_wrong_one() {
        let item = item(Grading::Contains(vec!["1234567".into(), "7654321".into()]));
        let status = |text: &str, reason| judged(&item, &answer_of(text, reason)).status;
        assert_eq!(status(" 1234567 and 7654321.", FinishReason::Length), "right");
        assert_eq!(status(" 1234567 and 76", FinishReason::Length), "cut");
        assert_eq!(status(" 1234567.", FinishReason::Stop), "partly");
        assert_eq!(status(" I do not know.", FinishReason::Stop), "wrong");
        let sample = judged(&item, &answer_of(" 1234567.", FinishReason::Stop));
        assert_eq!((sample.scores["recall"], sample.passed), ((0.5, 1.0), false));
        assert_eq!((&*sample.groups["length"], &*sample.groups["depth"]), ("4096", "55.6%"));
        let unasked = unasked(&item, "too long".into());
        assert_eq!((&*unasked.status, unasked.detail.as_deref()), (NO_ANSWER, Some("too long")));
    }

    #[test]
    fn names_are_compared_as_sets() {
        assert_eq!(names("a/b.py, `c.py`.", "c.py, a/b.py"), (1.0, true));
        assert_eq!(names("- a.py\n- b.py\n- x.py", "a.py, b.py"), (1.0, false));
        assert_eq!(names("a.py", "a.py, b.py"), (0.5, false));
        assert_eq!(names("The text does not say", "The text does not say."), (1.0, true));
        let sample = judged(&item(Grading::Names("a.py, b.py".into())), &answer_of("a.py", FinishReason::Stop));
        assert_eq!((sample.scores["recall"], sample.scores["exact"]), ((0.5, 1.0), (0.0, 1.0)));
    }

    #[test]
    fn a_sample_keeps_no_haystack_but_its_digest() {
        let kept = shortened(&item(Grading::Contains(vec!["1".into()])));
        assert!(kept[0].text().len() < 900 && kept[0].text().contains("SHA-256"), "{}", kept[0].text());
        assert_eq!(kept[1].text(), "The number is");
        let mut other = item(Grading::Contains(vec!["1".into()]));
        other.messages[0] = Message::user("x".repeat(2499) + "y" + &"x".repeat(2500));
        assert_ne!(shortened(&other)[0], kept[0]);
    }
}
