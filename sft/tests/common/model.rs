//! A tiny model with a byte-level tokenizer and ChatML.

use std::fs;
use std::path::Path;

use llama::{Llama, LlamaConfig};
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};
use tch::{Device, Kind, Tensor};

const TEMPLATE: &str = "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n\
                        {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// GPT-2's printable stand-ins for the 256 bytes, in the order of the bytes.
fn byte_characters() -> Vec<char> {
    let printable =
        |byte: u32| (33..=126).contains(&byte) || (161..=172).contains(&byte) || (174..=255).contains(&byte);
    let mut next = 256;
    (0..256)
        .map(|byte| {
            let code = if printable(byte) {
                byte
            } else {
                next += 1;
                next - 1
            };
            char::from_u32(code).unwrap()
        })
        .collect()
}

/// Writes a model folder: two layers of width 32, random weights, one token a byte, ChatML.
pub fn write_model(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let write = |name: &str, value: &Value| fs::write(folder.join(name), value.to_string()).unwrap();
    write(
        "config.json",
        &json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 32, "intermediate_size": 64,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 260,
            "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true,
            "hidden_act": "silu", "bos_token_id": 256, "eos_token_id": 257
        }),
    );
    let mut vocab: Map<String, Value> =
        byte_characters().iter().enumerate().map(|(id, c)| (c.to_string(), json!(id))).collect();
    let special = ["<|im_start|>", "<|im_end|>"];
    vocab.extend(special.iter().enumerate().map(|(n, token)| ((*token).to_owned(), json!(256 + n))));
    let added: Vec<Value> = special
        .iter()
        .enumerate()
        .map(|(n, token)| {
            json!({"id": 256 + n, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": true})
        })
        .collect();
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    write(
        "tokenizer.json",
        &json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
            "pre_tokenizer": byte_level, "post_processor": null, "decoder": byte_level,
            "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                      "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                      "vocab": vocab, "merges": []}
        }),
    );
    write(
        "tokenizer_config.json",
        &json!({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>", "chat_template": TEMPLATE}),
    );
    torch_ext::init();
    // Not libtorch's generator, which tests that run at the same time share.
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(17);
    let config = LlamaConfig::from_dir(folder).unwrap();
    let model = Llama::build::<()>(config, |name, shape| {
        let options = (Kind::Float, Device::Cpu);
        if name.contains("norm") {
            return Ok(Tensor::ones(shape, options));
        }
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-0.17..0.17)).collect();
        Ok(Tensor::from_slice(&values).reshape(shape))
    });
    model.unwrap().save(folder, None).unwrap();
}
