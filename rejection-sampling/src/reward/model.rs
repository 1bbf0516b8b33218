//! A trained reward model that scores conversations.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use chat::{ChatError, ChatTemplate, EncodeOptions, RenderOptions, Tokenizer, Train};
use dataset::Message;
use llama::attention::{SharedPrompt, shared_positions};
use llama::{GpuKernels, Pass, SequenceClassifier};
use serde_json::Value;
use tch::{Device, Kind};

use super::group::{Group, Row};

/// A reward model with its tokenizer and chat template.
pub struct RewardModel {
    /// The path from which it was loaded.
    pub path: PathBuf,
    classifier: SequenceClassifier,
    tokenizer: Tokenizer,
    template: ChatTemplate,
}

impl RewardModel {
    /// Loads a sequence-classification folder with one label, or an adapter with such a head on its base model.
    ///
    /// # Errors
    /// When the folder is not a reward model, or has no chat template.
    pub fn load(path: &Path, kind: Kind, device: Device) -> anyhow::Result<Self> {
        let classifier = SequenceClassifier::load(path, Some(kind), device).with_context(|| {
            format!("{} is not a reward model; train one with `herd rejection-sampling train-rm`", path.display())
        })?;
        let labels = classifier.score.size()[0];
        ensure!(labels == 1, "{} has {labels} labels; a reward model has one", path.display());
        let texts = SequenceClassifier::texts(path)?;
        let template = ChatTemplate::from_dir(&texts)?.with_context(|| {
            format!("{} has no chat template; give the folder a chat_template.jinja", texts.display())
        })?;
        Ok(Self { path: path.to_owned(), classifier, tokenizer: Tokenizer::from_dir(&texts)?, template })
    }

    /// Sets what computes on a GPU.
    pub fn set_gpu_kernels(&mut self, on_gpu: GpuKernels) {
        self.classifier.model.set_gpu_kernels(on_gpu);
    }

    /// The token ids of a conversation that ends with the answer to score.
    ///
    /// # Errors
    /// When the template refuses the conversation, a message contains a special token, or the conversation is longer
    /// than the model's context.
    pub fn encode(&self, messages: &[Message], tools: Vec<Value>) -> anyhow::Result<Vec<i64>> {
        let ids = encode(&self.tokenizer, &self.template, messages, tools)?;
        let context = self.classifier.model.config().max_position_embeddings;
        ensure!(
            ids.len() as i64 <= context,
            "the conversation has {} tokens, the reward model's context is {context}",
            ids.len()
        );
        Ok(ids)
    }

    /// The scores of the responses of each group; all groups are in one row.
    ///
    /// # Errors
    /// Errors of libtorch.
    pub fn score(&self, groups: &[&Group]) -> anyhow::Result<Vec<Vec<f64>>> {
        let _no_grad = tch::no_grad_guard();
        let model = &self.classifier.model;
        let scores = torch_ext::catch(|| {
            let row = Row::new(groups, model.device());
            let positions = shared_positions(&row.groups, row.input_ids.size()[1]).to_device(model.device());
            let mut attend = SharedPrompt { groups: &row.groups };
            let hidden = model.hidden_states(&row.input_ids, &positions, &mut attend, Pass::default())?;
            let picked = hidden.squeeze_dim(0).index_select(0, &row.last);
            anyhow::Ok(Vec::<f32>::try_from(self.classifier.logits(&picked)?.squeeze_dim(-1))?)
        })?;
        let mut scores = scores.into_iter().map(f64::from);
        Ok(groups.iter().map(|group| scores.by_ref().take(group.responses.len()).collect()).collect())
    }
}

/// The token ids of a whole conversation in the chat template.
///
/// # Errors
/// Errors of the template.
pub fn encode(
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    messages: &[Message],
    tools: Vec<Value>,
) -> Result<Vec<i64>, ChatError> {
    let render = RenderOptions { tools, ..RenderOptions::default() };
    let options = EncodeOptions { train: Train::LastTurn, render, ..EncodeOptions::default() };
    let encoded = chat::encode_conversation(tokenizer, template, messages, &options)?;
    Ok(encoded.ids.into_iter().map(i64::from).collect())
}
