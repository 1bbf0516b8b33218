//! Multiple choice and perplexity by the model's probabilities.

use anyhow::ensure;
use sampler::Local;
use serde_json::json;

use crate::items::Item;
use crate::score::{Grading, Judgement, one};

/// Number of pairs of prompt and continuation that are scored together.
const PAIRS: usize = 64;

/// Judges items by likelihood, in order; `done` gets each with its index.
///
/// # Errors
/// When a text does not fit into the model's context; errors that `done` returns.
pub(crate) fn judge(
    model: &Local,
    items: &[Item],
    window: usize,
    done: &mut dyn FnMut(usize, Judgement) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for (place, item) in items.iter().enumerate() {
        let judgement = match &item.grading {
            Grading::Choice { choices, right } => choose(model, item, choices, *right)?,
            Grading::Perplexity { text } => perplexity(model, text, window)?,
            _ => continue,
        };
        done(place, judgement)?;
    }
    Ok(())
}

/// The ids of a text, with the beginning-of-text token if the tokenizer adds one.
fn encode(model: &Local, text: &str) -> anyhow::Result<Vec<i64>> {
    Ok(model.folder().tokenizer.encode(text, true)?.into_iter().map(i64::from).collect())
}

/// The token before a text's first token, from which that is predicted, if the tokenizer adds none: the end-of-text
/// token, as in the harness.
fn prefix(model: &Local) -> Option<i64> {
    let tokenizer = &model.folder().tokenizer;
    tokenizer.bos_id().map(i64::from).or_else(|| model.folder().stop_ids.first().copied())
}

/// Compares choices by the sum of their tokens' log-probabilities, plain (`acc`) and per character (`acc-norm`).
///
/// Prompt and choice are tokenised together and split at the end of the prompt's own tokens, as in the harness.
fn choose(model: &Local, item: &Item, choices: &[String], right: usize) -> anyhow::Result<Judgement> {
    let context = item.messages.last().map(|message| message.text().to_owned()).unwrap_or_default();
    let start = encode(model, &context)?;
    let mut pairs = Vec::new();
    for choice in choices {
        let whole = encode(model, &format!("{context}{choice}"))?;
        ensure!(whole.len() > start.len(), "item {}: the choice {choice:?} adds no tokens to the question", item.id);
        pairs.push((whole[..start.len()].to_vec(), whole[start.len()..].to_vec()));
    }
    let mut sums = Vec::new();
    for pairs in pairs.chunks(PAIRS) {
        sums.extend(model.log_probs(pairs)?.iter().map(|l| l.iter().map(|&x| f64::from(x)).sum::<f64>()));
    }
    let best = |score: &dyn Fn(usize) -> f64| {
        (0..choices.len()).max_by(|&a, &b| score(a).total_cmp(&score(b)).then(b.cmp(&a))).unwrap_or(0)
    };
    let chosen = best(&|i| sums[i]);
    let by_length = best(&|i| sums[i] / choices[i].trim_start().chars().count().max(1) as f64);
    let mut judgement = Judgement::new(chosen == right, if chosen == right { "right" } else { "wrong" }, "acc");
    judgement.scores.insert("acc-norm".into(), one(by_length == right));
    judgement.extracted = Some(choices[chosen].trim().to_owned());
    judgement.extra.insert("log_likelihoods".into(), json!(sums));
    Ok(judgement)
}

/// Perplexity with windows that do not overlap: each token is predicted once, from the tokens before it in its
/// window. The first token of a window is predicted from the last token of the previous one (the harness's rolling
/// log-likelihood).
fn perplexity(model: &Local, text: &str, window: usize) -> anyhow::Result<Judgement> {
    let ids: Vec<i64> = model.folder().tokenizer.encode(text, false)?.into_iter().map(i64::from).collect();
    ensure!(!ids.is_empty(), "the text is empty");
    let context = model.folder().model.config().max_position_embeddings as usize;
    ensure!(window >= 2 && window <= context, "--window must be from 2 to the model's context, {context}");
    let first = prefix(model);
    // Without any special token, the first token cannot be predicted.
    let skip = usize::from(first.is_none());
    let mut pairs = Vec::new();
    let mut before = first.unwrap_or(ids[0]);
    for chunk in ids[skip..].chunks(window - 1) {
        pairs.push((vec![before], chunk.to_vec()));
        before = chunk[chunk.len() - 1];
    }
    let (mut nll, mut tokens) = (0.0, 0usize);
    for pairs in pairs.chunks(4) {
        for log_probs in model.log_probs(pairs)? {
            nll -= log_probs.iter().map(|&x| f64::from(x)).sum::<f64>();
            tokens += log_probs.len();
        }
    }
    let mut judgement = Judgement::new(true, "scored", "token-nll");
    let columns = [("token-nll", tokens), ("word-nll", text.split_whitespace().count()), ("byte-nll", text.len())];
    judgement.scores = columns.iter().map(|(name, n)| ((*name).to_owned(), (nll, *n as f64))).collect();
    Ok(judgement)
}
