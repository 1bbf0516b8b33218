//! Embeddings of whole conversations: from a model in this process, from a server, or from hashed n-grams.

use anyhow::{Context, ensure};
use dataset::Message;
use llama::attention::Causal;
use llama::device::Compute;
use llama::{ModelFolder, Pass, locate};
use ndarray::Array2;
use sampler::{Remote, RemoteOptions, RetryPolicy};
use serde::Serialize;
use serde_json::json;
use tch::{Kind, Tensor};
use text_quality::duplicates::{Embeddings, unit_rows};
use text_quality::hashed::{self, DIMENSIONS};

/// Maximum number of tokens of a conversation that a local model reads.
const LONGEST: usize = 2048;
/// Number of texts in one request to a server.
const AT_A_TIME: usize = 32;

/// The source of embeddings.
#[derive(clap::Args, Debug, Clone, Default, Serialize)]
pub struct EmbedArgs {
    /// Embed conversations with this model: the mean of its final hidden states
    #[arg(long, value_name = "MODEL", conflicts_with = "embed_endpoint", help_heading = "Deduplication")]
    pub embed_model: Option<String>,
    /// Embed conversations at this OpenAI-compatible server
    #[arg(long, value_name = "URL", help_heading = "Deduplication")]
    pub embed_endpoint: Option<String>,
    /// The embedding model's name on that server
    #[arg(long, value_name = "NAME", requires = "embed_endpoint", help_heading = "Deduplication")]
    pub embed_endpoint_model: Option<String>,
}

impl EmbedArgs {
    /// The name of the source, for people and records.
    #[must_use]
    pub fn name(&self) -> String {
        match (&self.embed_model, &self.embed_endpoint) {
            (Some(model), _) => format!("mean-pooled hidden states of {model}"),
            (_, Some(url)) => format!("{} at {url}", self.embed_endpoint_model.as_deref().unwrap_or("the model")),
            _ => format!("hashed word and character n-grams ({DIMENSIONS} dimensions; no semantic information)"),
        }
    }

    /// Unit vectors of all texts, in their order.
    ///
    /// # Errors
    /// When the model cannot be loaded, or the server returns no embedding for a text.
    pub fn embed(&self, texts: &[String], compute: &Compute) -> anyhow::Result<Embeddings> {
        match (&self.embed_model, &self.embed_endpoint) {
            (Some(model), _) => pooled(model, texts, compute),
            (_, Some(url)) => self.at_endpoint(url, texts),
            _ => Ok(hashed::embed(texts)),
        }
    }

    fn at_endpoint(&self, url: &str, texts: &[String]) -> anyhow::Result<Embeddings> {
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
        let mut all: Vec<Vec<Vec<f32>>> = vec![Vec::new(); chunks.len()];
        remote.ask_all(questions, Ok, &mut |place, answer| {
            let answer = answer?;
            let mut items: Vec<(u64, Vec<f32>)> = Vec::new();
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
            all[place] = items.into_iter().map(|(_, embedding)| embedding).collect();
            Ok(())
        })?;
        let all = all.concat();
        let width = all.first().map_or(0, Vec::len);
        ensure!(all.iter().all(|embedding| embedding.len() == width), "{url} gave embeddings of different sizes");
        Ok(unit_rows(Array2::from_shape_vec((all.len(), width), all.concat())?))
    }
}

/// A conversation as the text that is embedded.
#[must_use]
pub fn text(messages: &[Message]) -> String {
    messages.iter().map(|message| format!("{}: {}\n", message.role.as_str(), message.text())).collect()
}

/// The mean over the tokens of a model's final hidden states, minus the mean of all texts. Raw hidden states of
/// decoders all point in nearly the same direction (Mu and Viswanath 2018).
fn pooled(model: &str, texts: &[String], compute: &Compute) -> anyhow::Result<Embeddings> {
    let (device, kind) = compute.resolve()?;
    let mut folder = ModelFolder::load(&locate::locate(model)?, Some(kind), device)?;
    folder.model.set_gpu_kernels(compute.gpu_kernels()?);
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
        return Ok(Array2::zeros((0, 0)));
    }
    let all = Tensor::stack(&all, 0);
    let centred = if texts.len() > 1 { &all - all.mean_dim([0].as_slice(), true, Kind::Float) } else { all };
    let width = centred.size()[1] as usize;
    Ok(unit_rows(Array2::from_shape_vec((texts.len(), width), Vec::<f32>::try_from(centred.flatten(0, -1))?)?))
}
