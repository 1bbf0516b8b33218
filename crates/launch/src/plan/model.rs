//! The sizes of a model: parameters and floating-point operations.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

/// The sizes of a Llama-like decoder that determine its cost. Biases and the norms of queries and keys are left out: they are less than a
/// thousandth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Model {
    /// The name of the model.
    pub name: String,
    /// Layers.
    pub layers: u64,
    /// Width of the residual stream.
    pub hidden: u64,
    /// Width of the feed-forward block.
    pub intermediate: u64,
    /// Query heads.
    pub heads: u64,
    /// Key and value heads.
    pub kv_heads: u64,
    /// Width of a head.
    pub head_dim: u64,
    /// Rows of the embedding.
    pub vocabulary: u64,
    /// Whether the output head is the embedding.
    pub tied: bool,
}

/// Names and sizes of Llama 3's models: layers, hidden, intermediate, heads, key and value heads, tied.
const NAMED: [(&str, [u64; 5], bool); 5] = [
    ("llama-3.2-1b", [16, 2048, 8192, 32, 8], true),
    ("llama-3.2-3b", [28, 3072, 8192, 24, 8], true),
    ("llama-3-8b", [32, 4096, 14_336, 32, 8], false),
    ("llama-3-70b", [80, 8192, 28_672, 64, 8], false),
    ("llama-3-405b", [126, 16_384, 53_248, 128, 8], false),
];

/// The fields that are read from `config.json`.
#[derive(Deserialize)]
struct File {
    hidden_size: Option<u64>,
    intermediate_size: Option<u64>,
    num_hidden_layers: Option<u64>,
    num_attention_heads: Option<u64>,
    num_key_value_heads: Option<u64>,
    head_dim: Option<u64>,
    vocab_size: Option<u64>,
    tie_word_embeddings: Option<bool>,
    num_experts: Option<u64>,
    num_local_experts: Option<u64>,
}

impl Model {
    /// Finds a named model, or reads a `config.json` (or the folder that contains it).
    ///
    /// # Errors
    /// When the name is unknown (the error lists the known names), or when the file or a field is invalid.
    pub fn find(name: &str) -> anyhow::Result<Self> {
        if let Some((name, sizes, tied)) = NAMED.into_iter().find(|(known, ..)| *known == name) {
            let [layers, hidden, intermediate, heads, kv_heads] = sizes;
            let head_dim = hidden / heads;
            let name = name.to_owned();
            return Ok(Self {
                name,
                layers,
                hidden,
                intermediate,
                heads,
                kv_heads,
                head_dim,
                vocabulary: 128_256,
                tied,
            });
        }
        let path = Path::new(name);
        let file = if path.is_dir() { path.join("config.json") } else { path.to_owned() };
        if !file.is_file() {
            let names: Vec<&str> = NAMED.iter().map(|(name, ..)| *name).collect();
            bail!("--model {name}: no such file or folder, and none of the names {}", names.join(", "));
        }
        Self::read(&file)
    }

    fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
        let file: File = serde_json::from_str(&text).with_context(|| shown.to_string())?;
        ensure!(
            file.num_experts.or(file.num_local_experts).unwrap_or(0) <= 1,
            "{shown}: a mixture of experts, which is not planned for"
        );
        let need = |name: &str, value: Option<u64>| match value {
            Some(value) if (1..=1 << 32).contains(&value) => Ok(value),
            Some(value) => bail!("{shown}: {name} is {value}"),
            None => bail!("{shown}: {name} is missing"),
        };
        let hidden = need("hidden_size", file.hidden_size)?;
        let heads = need("num_attention_heads", file.num_attention_heads)?;
        let kv_heads = need("num_key_value_heads", file.num_key_value_heads.or(Some(heads)))?;
        ensure!(heads.is_multiple_of(kv_heads), "{shown}: {heads} heads cannot share {kv_heads} key and value heads");
        Ok(Self {
            name: shown.to_string(),
            layers: need("num_hidden_layers", file.num_hidden_layers)?,
            hidden,
            intermediate: need("intermediate_size", file.intermediate_size)?,
            heads,
            kv_heads,
            head_dim: need("head_dim", file.head_dim.or(Some(hidden / heads)))?,
            vocabulary: need("vocab_size", file.vocab_size)?,
            tied: file.tie_word_embeddings.unwrap_or(false),
        })
    }

    /// Total width of the queries.
    #[must_use]
    pub fn queries(&self) -> u64 {
        self.heads * self.head_dim
    }

    /// Total width of the keys.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.kv_heads * self.head_dim
    }

    /// Parameters of the matrices of a layer.
    #[must_use]
    pub fn layer_matrices(&self) -> u64 {
        self.hidden * (2 * self.queries() + 2 * self.keys() + 3 * self.intermediate)
    }

    /// Parameters of a layer.
    #[must_use]
    pub fn layer(&self) -> u64 {
        self.layer_matrices() + 2 * self.hidden
    }

    /// Parameters of the embedding; the head has as many.
    #[must_use]
    pub fn embedding(&self) -> u64 {
        self.vocabulary * self.hidden
    }

    /// Parameters of embedding and head.
    #[must_use]
    pub fn ends(&self) -> u64 {
        if self.tied { self.embedding() } else { 2 * self.embedding() }
    }

    /// All parameters.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.layers * self.layer() + self.ends() + self.hidden
    }

    /// Parameters of LoRA adapters of a rank on the seven matrices of each layer.
    #[must_use]
    pub fn adapters(&self, rank: u64) -> u64 {
        let (h, q, k, f) = (self.hidden, self.queries(), self.keys(), self.intermediate);
        self.layers * rank * ((h + q) * 2 + (h + k) * 2 + (h + f) * 3)
    }

    /// Operations of one token's forward pass through one layer, in a sequence of `sequence` tokens: two for each parameter, plus causal
    /// attention, in which a token sees half of the sequence on average.
    #[must_use]
    pub fn layer_forward(&self, sequence: u64) -> f64 {
        let attention = 4.0 * sequence as f64 * self.queries() as f64 / 2.0;
        2.0 * self.layer_matrices() as f64 + attention
    }

    /// Operations of a token's forward pass.
    #[must_use]
    pub fn forward(&self, sequence: u64) -> f64 {
        self.layers as f64 * self.layer_forward(sequence) + 2.0 * self.embedding() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_those_of_the_published_files() {
        for (name, parameters) in [
            ("llama-3.2-1b", 1_235_814_400),
            ("llama-3.2-3b", 3_212_749_824),
            ("llama-3-8b", 8_030_261_248),
            ("llama-3-70b", 70_553_706_496),
            ("llama-3-405b", 405_853_388_800),
        ] {
            assert_eq!(Model::find(name).unwrap().parameters(), parameters, "{name}");
        }
    }

    #[test]
    fn adapters_are_two_thin_matrices_each() {
        // The count of peft for rank 16 on the seven linear layers of Llama 3 8B.
        assert_eq!(Model::find("llama-3-8b").unwrap().adapters(16), 41_943_040);
    }

    #[test]
    fn config_files_are_read_and_mistakes_are_sentences() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.json");
        let whole = r#"{"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
            "num_key_value_heads": 3, "vocab_size": 49152, "tie_word_embeddings": true, "rope_theta": 100000}"#;
        std::fs::write(&file, whole).unwrap();
        let model = Model::find(dir.path().to_str().unwrap()).unwrap();
        assert_eq!((model.parameters(), model.head_dim), (134_515_008, 64));
        for (text, sentence) in [
            (whole.replace("\"vocab_size\": 49152,", ""), "config.json: vocab_size is missing"),
            (whole.replace("\"hidden_size\": 576", "\"hidden_size\": 0"), "config.json: hidden_size is 0"),
            (whole.replace("heads\": 3", "heads\": 2"), "9 heads cannot share 2 key and value heads"),
            (whole.replace('{', "{\"num_local_experts\": 8,"), "a mixture of experts"),
            ("[]".into(), "config.json"),
        ] {
            std::fs::write(&file, text).unwrap();
            let error = format!("{:#}", Model::find(file.to_str().unwrap()).unwrap_err());
            assert!(error.contains(sentence), "{error}");
        }
        let error = Model::find("llama-4").unwrap_err().to_string();
        assert!(
            error.starts_with("--model llama-4: no such file or folder, and none of the names llama-3.2-1b,"),
            "{error}"
        );
    }

    #[test]
    fn operations_of_a_forward_pass() {
        let model = Model::find("llama-3-8b").unwrap();
        // Two operations for each parameter except the embedding and the norms, and attention over half of the sequence.
        let matrices = 2.0 * (8_030_261_248.0 - 128_256.0 * 4096.0 - 65.0 * 4096.0);
        assert_eq!(model.forward(0), matrices);
        assert_eq!(model.forward(8192) - matrices, 32.0 * 2.0 * 8192.0 * 4096.0);
    }
}
