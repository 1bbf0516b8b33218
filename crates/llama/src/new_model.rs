//! A small untrained model: random weights, a tokenizer with one token per byte, the ChatML template. For tests, and for
//! pipelines that start from scratch.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};
use tch::{Device, Kind, Tensor};

use crate::{Llama, LlamaConfig, ModelError};

const TEMPLATE: &str = "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n\
                        {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
const SPECIAL: [&str; 2] = ["<|im_start|>", "<|im_end|>"];
const BYTES: usize = 256;

/// Sizes of a new model: Llama's architecture with 4 query heads, 2 key/value heads, a feed-forward width of twice the hidden
/// size, and tied embeddings.
#[derive(Debug, Clone, Copy)]
pub struct NewModel {
    /// Hidden size, a multiple of 8.
    pub hidden: usize,
    /// Number of layers.
    pub layers: usize,
    /// Context length in tokens; a token is one byte of text.
    pub context: usize,
    /// Seed of the weights.
    pub seed: u64,
}

impl NewModel {
    /// Writes a model folder in float32 and in Hugging Face's format.
    ///
    /// # Errors
    /// When the sizes are invalid or the folder cannot be written.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        ensure!(self.hidden > 0 && self.hidden.is_multiple_of(8), "a width of {} is no multiple of 8", self.hidden);
        ensure!(self.layers > 0 && self.context > 0, "a model needs at least one layer and a context of one token");
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let write = |name: &str, value: &Value| {
            let path = folder.join(name);
            fs::write(&path, value.to_string()).with_context(|| format!("cannot write {}", path.display()))
        };
        write("config.json", &self.config())?;
        write("tokenizer.json", &tokenizer())?;
        write(
            "tokenizer_config.json",
            &json!({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": SPECIAL[1], "chat_template": TEMPLATE}),
        )?;
        torch_ext::init();
        // Not libtorch's generator: the whole process shares its state.
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let bound = 0.17 * (32.0 / self.hidden as f32).sqrt();
        let model = Llama::build::<ModelError>(LlamaConfig::from_dir(folder)?, |name, shape| {
            if name.contains("norm") {
                return Ok(Tensor::ones(shape, (Kind::Float, Device::Cpu)));
            }
            let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-bound..bound)).collect();
            Ok(Tensor::from_slice(&values).reshape(shape))
        });
        Ok(model?.save(folder, None)?)
    }

    fn config(&self) -> Value {
        json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": self.hidden,
            "intermediate_size": 2 * self.hidden, "num_hidden_layers": self.layers, "num_attention_heads": 4,
            "num_key_value_heads": 2, "vocab_size": 260, "max_position_embeddings": self.context, "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0, "tie_word_embeddings": true, "hidden_act": "silu", "bos_token_id": BYTES,
            "eos_token_id": BYTES + 1
        })
    }
}

/// The `tokenizer.json` with one token per byte, and ChatML's two special tokens.
fn tokenizer() -> Value {
    let mut vocab: Map<String, Value> =
        byte_characters().iter().enumerate().map(|(id, c)| (c.to_string(), json!(id))).collect();
    let special = || SPECIAL.iter().enumerate().map(|(n, token)| (BYTES + n, *token));
    vocab.extend(special().map(|(id, token)| (token.to_owned(), json!(id))));
    let added: Vec<Value> = special()
        .map(|(id, token)| {
            json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": true})
        })
        .collect();
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": byte_level, "post_processor": null, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                  "vocab": vocab, "merges": []}
    })
}

/// GPT-2's printable characters for the 256 bytes, in the order of the bytes.
fn byte_characters() -> Vec<char> {
    let printable = |byte: u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let stand_ins = (BYTES as u32..).filter_map(char::from_u32);
    let mut stand_ins = stand_ins.take((u8::MIN..=u8::MAX).filter(|&byte| !printable(byte)).count());
    let stand_in = |byte: u8| if printable(byte) { Some(char::from(byte)) } else { stand_ins.next() };
    (u8::MIN..=u8::MAX).filter_map(stand_in).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelFolder;

    #[test]
    fn any_text_comes_back_and_a_seed_repeats() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let fresh = NewModel { hidden: 16, layers: 1, context: 64, seed: 3 };
        fresh.write(a.path()).unwrap();
        fresh.write(b.path()).unwrap();
        let weights = |folder: &Path| fs::read(folder.join("model.safetensors")).unwrap();
        assert_eq!(weights(a.path()), weights(b.path()));
        NewModel { seed: 4, ..fresh }.write(b.path()).unwrap();
        assert_ne!(weights(a.path()), weights(b.path()));

        let folder = ModelFolder::load(a.path(), None, Device::Cpu).unwrap();
        let text = "a\n é \u{1F40E}\t\u{0}";
        let ids = folder.encode_prompt(&[dataset::Message::user(text)]).unwrap();
        let bytes: Vec<i64> = text.bytes().map(i64::from).collect();
        assert!(ids.windows(bytes.len()).any(|window| window == bytes), "{ids:?}");

        let error = NewModel { hidden: 12, ..fresh }.write(a.path()).unwrap_err().to_string();
        assert_eq!(error, "a width of 12 is no multiple of 8");
    }
}
