//! Embeddings of whole conversations: from a model in this process, from a server, or from n-grams.

use std::collections::HashMap;

use anyhow::{Context, ensure};
use dataset::Message;
use llama::attention::Causal;
use llama::device::Compute;
use llama::{ModelFolder, Pass, locate};
use sampler::{Remote, RemoteOptions, RetryPolicy};
use serde::Serialize;
use serde_json::json;
use tch::{Kind, Tensor};

use super::dedup::{Embedding, unit};

/// Dimensions of the n-gram embedding.
const HASHED: usize = 4096;
/// Tokens of a conversation that a local model reads.
const LONGEST: usize = 2048;
/// Texts in one question to a server.
const AT_A_TIME: usize = 32;

/// Where embeddings come from.
#[derive(clap::Args, Debug, Clone, Default, Serialize)]
pub struct EmbedArgs {
    /// Embed conversations with this model: the mean of its final hidden states
    #[arg(long, value_name = "MODEL", conflicts_with = "embed_endpoint", help_heading = "Deduplication")]
    pub embed_model: Option<String>,
    /// Embed conversations at this OpenAI-compatible server
    #[arg(long, value_name = "URL", help_heading = "Deduplication")]
    pub embed_endpoint: Option<String>,
    /// That server's name of the model
    #[arg(long, value_name = "NAME", requires = "embed_endpoint", help_heading = "Deduplication")]
    pub embed_endpoint_model: Option<String>,
}

impl EmbedArgs {
    /// Who embeds, for people and records.
    #[must_use]
    pub fn name(&self) -> String {
        match (&self.embed_model, &self.embed_endpoint) {
            (Some(model), _) => format!("mean-pooled hidden states of {model}"),
            (_, Some(url)) => format!("{} at {url}", self.embed_endpoint_model.as_deref().unwrap_or("the model")),
            _ => format!("hashed word and character n-grams ({HASHED} dimensions; nothing semantic about them)"),
        }
    }

    /// Unit vectors of all texts, in their order.
    ///
    /// # Errors
    /// When the model cannot be loaded, or the server gives no embedding for one of them.
    pub fn embed(&self, texts: &[String], compute: &Compute) -> anyhow::Result<Vec<Embedding>> {
        match (&self.embed_model, &self.embed_endpoint) {
            (Some(model), _) => pooled(model, texts, compute),
            (_, Some(url)) => self.at_endpoint(url, texts),
            _ => Ok(weighted_n_grams(texts)),
        }
    }

    fn at_endpoint(&self, url: &str, texts: &[String]) -> anyhow::Result<Vec<Embedding>> {
        let options = RemoteOptions {
            concurrency: 8,
            timeout: std::time::Duration::from_secs(120),
            retry: RetryPolicy::default(),
            bearer: std::env::var("OPENAI_API_KEY").ok().filter(|key| !key.is_empty()),
        };
        let remote = Remote::openai("--embed-endpoint", url, options)?;
        let model = self.embed_endpoint_model.as_deref().context("--embed-endpoint needs --embed-endpoint-model")?;
        let chunks: Vec<&[String]> = texts.chunks(AT_A_TIME).collect();
        let questions = chunks.iter().map(|chunk| ("/embeddings", json!({"model": model, "input": chunk})));
        let mut all: Vec<Vec<Embedding>> = vec![Vec::new(); chunks.len()];
        remote.ask_all(questions, Ok, &mut |place, answer| {
            let answer = answer?;
            let mut items: Vec<(u64, Embedding)> = Vec::new();
            for item in answer["data"].as_array().into_iter().flatten() {
                items.push((
                    item["index"].as_u64().unwrap_or_default(),
                    serde_json::from_value(item["embedding"].clone())?,
                ));
            }
            items.sort_by_key(|(index, _)| *index);
            ensure!(
                items.len() == chunks[place].len(),
                "{url} gave {} embeddings for {} texts",
                items.len(),
                chunks[place].len()
            );
            all[place] = items.into_iter().map(|(_, embedding)| unit(embedding)).collect();
            Ok(())
        })?;
        let all = all.concat();
        let width = all.first().map_or(0, Vec::len);
        ensure!(all.iter().all(|embedding| embedding.len() == width), "{url} gave embeddings of different sizes");
        Ok(all)
    }
}

/// A conversation as the text that is embedded.
#[must_use]
pub fn text(messages: &[Message]) -> String {
    messages.iter().map(|message| format!("{}: {}\n", message.role.as_str(), message.text())).collect()
}

/// The mean over the tokens of a model's final hidden states, minus the mean of all texts: raw states of decoders point
/// in nearly one direction (Mu and Viswanath 2018).
fn pooled(model: &str, texts: &[String], compute: &Compute) -> anyhow::Result<Vec<Embedding>> {
    let (device, kind) = compute.resolve()?;
    let folder = ModelFolder::load(&locate::locate(model)?, Some(kind), device)?;
    let _no_grad = tch::no_grad_guard();
    let context = (folder.model.config().max_position_embeddings as usize).min(LONGEST);
    let mut all = Vec::with_capacity(texts.len());
    for text in texts {
        let mut ids: Vec<i64> = folder.tokenizer.encode(text, true)?.into_iter().map(i64::from).collect();
        ids.truncate(context);
        let input = Tensor::from_slice(&ids).unsqueeze(0).to_device(device);
        let positions = Tensor::arange(ids.len() as i64, (Kind::Int64, device)).unsqueeze(0);
        let hidden = folder.model.hidden_states(&input, &positions, &mut Causal, Pass::default())?;
        all.push(hidden.mean_dim([1].as_slice(), false, Kind::Float).squeeze_dim(0));
    }
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let all = Tensor::stack(&all, 0);
    let centred = if texts.len() > 1 { &all - all.mean_dim([0].as_slice(), true, Kind::Float) } else { all };
    (0..texts.len() as i64).map(|row| Ok(unit(Vec::<f32>::try_from(centred.get(row))?))).collect()
}

/// Words, pairs of words and runs of five characters, hashed into a vector with the sign trick (Weinberger et al. 2009)
/// and weighted by how rare they are among the texts.
fn weighted_n_grams(texts: &[String]) -> Vec<Embedding> {
    let grams: Vec<HashMap<u64, f32>> = texts.iter().map(|text| n_grams(text)).collect();
    let mut documents: HashMap<u64, u32> = HashMap::new();
    for gram in grams.iter().flat_map(HashMap::keys) {
        *documents.entry(*gram).or_default() += 1;
    }
    let total = texts.len() as f32;
    let embed = |grams: &HashMap<u64, f32>| {
        let mut vector = vec![0.0_f32; HASHED];
        // A fixed order, so that sums round the same in every run.
        let mut sorted: Vec<(&u64, &f32)> = grams.iter().collect();
        sorted.sort_by_key(|(gram, _)| **gram);
        for (gram, count) in sorted {
            let rarity = ((1.0 + total) / (1.0 + documents.get(gram).copied().unwrap_or(1) as f32)).ln() + 1.0;
            let sign = if gram >> 63 == 0 { 1.0 } else { -1.0 };
            vector[(gram % HASHED as u64) as usize] += sign * (1.0 + count.ln()) * rarity;
        }
        unit(vector)
    };
    grams.iter().map(embed).collect()
}

fn n_grams(text: &str) -> HashMap<u64, f32> {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let mut counts = HashMap::new();
    let mut add = |gram: &str| *counts.entry(hash(gram)).or_default() += 1.0;
    words.iter().for_each(|word| add(word));
    words.windows(2).for_each(|pair| add(&pair.join(" ")));
    let characters: Vec<char> = words.join(" ").chars().collect();
    characters.windows(5).for_each(|run| add(&run.iter().collect::<String>()));
    counts
}

/// FNV-1a, which is the same everywhere and always, with a final mix so that high bits are as good as low ones.
fn hash(text: &str) -> u64 {
    let folded = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (folded ^ (folded >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::super::dedup::cosine;
    use super::*;

    #[test]
    fn n_grams_tell_near_copies_from_other_texts() {
        let texts = [
            "user: What is the capital of France?\nassistant: The capital of France is Paris.\n",
            "user: what is the capital of France\nassistant: The capital of France is Paris!\n",
            "user: How do I sort a list in Python?\nassistant: Call sorted() on it.\n",
        ];
        let all = weighted_n_grams(&texts.map(str::to_owned));
        assert!(cosine(&all[0], &all[1]) > 0.99, "{}", cosine(&all[0], &all[1]));
        assert!(cosine(&all[0], &all[2]) < 0.2, "{}", cosine(&all[0], &all[2]));
        assert_eq!(hash("a"), hash("a"));
        assert!((all[0].iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
    }
}
