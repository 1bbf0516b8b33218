//! Compares averages with their formulas, computed independently, and tests refusals.

// Clippy's setting for tests does not cover helpers outside of test functions.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use llama::{Llama, LlamaConfig, LoraConfig, TargetModules};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use weights::{Checkpoint, DType, SafetensorsWriter};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: average::command::Args,
}

fn run(dir: &Path, flags: &str) -> anyhow::Result<()> {
    torch_ext::init();
    // `@name` is a path in the folder.
    let path = |name: &str| dir.join(name).display().to_string();
    let words = flags.split_whitespace().map(|word| word.strip_prefix('@').map_or(word.to_owned(), path));
    average::command::run(&Cli::try_parse_from(std::iter::once("average".to_owned()).chain(words))?.args)
}

fn sentence(result: anyhow::Result<()>) -> String {
    format!("{:#}", result.unwrap_err())
}

fn config(tied: bool) -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 16, "intermediate_size": 24,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 40,
        "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": tied,
        "hidden_act": "silu"
    })
}

/// A model with random weights, a word-level tokenizer and a chat template.
fn write_model(folder: &Path, seed: i64, kind: Kind, tied: bool) {
    torch_ext::init();
    fs::create_dir_all(folder).unwrap();
    let keys = config(tied).as_object().unwrap().clone();
    tch::manual_seed(seed);
    let model = Llama::build::<()>(LlamaConfig::from_json(keys).unwrap(), |_, shape| {
        Ok((Tensor::randn(shape, (Kind::Float, Device::Cpu)) * 0.2).to_kind(kind))
    });
    model.unwrap().save(folder, None).unwrap();
    let vocab: serde_json::Map<String, Value> = (0..40).map(|n| (format!("w{n}"), json!(n))).collect();
    let tokenizer = json!({"version": "1.0", "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "w0"}});
    fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    fs::write(folder.join("tokenizer_config.json"), json!({"chat_template": "{{ messages }}"}).to_string()).unwrap();
}

/// A tensor in float64.
fn tensor(folder: &Path, name: &str) -> Tensor {
    let checkpoint = Checkpoint::open(folder).unwrap();
    let view = checkpoint.tensor(name).unwrap();
    let shape: Vec<i64> = view.shape.iter().map(|&size| size as i64).collect();
    Tensor::from_data_size(view.data, &shape, llama::torch_kind(view.dtype).unwrap()).to_kind(Kind::Double)
}

fn names(folder: &Path) -> Vec<String> {
    Checkpoint::open(folder).unwrap().names().map(str::to_owned).collect()
}

fn largest(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[])
}

fn three(kind: Kind, tied: bool) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (seed, name) in ["a", "b", "c"].iter().enumerate() {
        write_model(&dir.path().join(name), seed as i64, kind, tied);
    }
    dir
}

#[test]
fn equal_and_given_weights() {
    let dir = three(Kind::Float, false);
    let at = |name: &str| dir.path().join(name);
    run(dir.path(), "--models @a @b @c --output @mean").unwrap();
    run(dir.path(), "--models @a @b @c --weights 2 1 1 --output @weighted").unwrap();
    assert_eq!(names(&at("mean")), names(&at("a")));
    for name in names(&at("a")) {
        let [a, b, c] = ["a", "b", "c"].map(|folder| tensor(&at(folder), &name));
        assert!(largest(&tensor(&at("mean"), &name), &((&a + &b + &c) / 3.0)) < 1e-7, "{name}");
        assert!(largest(&tensor(&at("weighted"), &name), &(a * 0.5 + b * 0.25 + c * 0.25)) < 1e-7, "{name}");
    }
    // The result is a model with the tokenizer of the first, and records its inputs.
    Llama::load(&at("mean"), None, Device::Cpu).unwrap();
    assert!(at("mean/tokenizer.json").is_file() && at("mean/tokenizer_config.json").is_file());
    let record = run::Record::read(&at("weighted")).unwrap().unwrap();
    assert_eq!(record.inputs[0], run::Input::model("models", &at("a")).unwrap().weighted(0.5));
    assert!(record.finished && record.outputs.iter().any(|file| file.path == "model.safetensors"));
    // The same command again does nothing; another average is refused.
    let written = fs::metadata(at("mean/model.safetensors")).unwrap().modified().unwrap();
    run(dir.path(), "--models @a @b @c --output @mean").unwrap();
    assert_eq!(fs::metadata(at("mean/model.safetensors")).unwrap().modified().unwrap(), written);
    let error = sentence(run(dir.path(), "--models @a @c --output @mean"));
    assert!(error.contains("another configuration, model or data") && error.contains("models: "), "{error}");
}

#[test]
fn a_model_with_itself_is_itself_and_bf16_is_rounded_at_the_end() {
    let dir = three(Kind::BFloat16, true);
    let at = |name: &str| dir.path().join(name);
    run(dir.path(), "--models @a @a @a --weights 1 2 4 --output @same").unwrap();
    let bytes = |folder: &str, name: &str| {
        Checkpoint::open(at(folder)).unwrap().tensor(name).map(|view| view.data.to_vec()).unwrap()
    };
    assert!(names(&at("a")).iter().all(|name| bytes("same", name) == bytes("a", name)));
    run(dir.path(), "--models @a @b @c --output @narrow").unwrap();
    run(dir.path(), "--models @a @b @c --output @wide --save-dtype f32").unwrap();
    assert_eq!(Checkpoint::open(at("narrow")).unwrap().tensor("model.norm.weight").unwrap().dtype, DType::BF16);
    let config: Value = serde_json::from_slice(&fs::read(at("wide/config.json")).unwrap()).unwrap();
    assert_eq!(config.get("dtype").or(config.get("torch_dtype")).unwrap(), "float32");
    for name in names(&at("a")) {
        let [a, b, c] = ["a", "b", "c"].map(|folder| tensor(&at(folder), &name));
        let exact = (a + b + c) / 3.0;
        let rounded = exact.to_kind(Kind::BFloat16).to_kind(Kind::Double);
        assert_eq!(largest(&tensor(&at("narrow"), &name), &rounded), 0.0, "{name}");
        assert!(largest(&tensor(&at("wide"), &name), &exact) < 1e-7, "{name}");
    }
}

#[test]
fn a_copy_of_tied_embeddings_is_no_weight() {
    let dir = three(Kind::Float, true);
    let at = |name: &str| dir.path().join(name);
    let with_head = |folder: &Path, head: &Tensor| {
        let mut all: Vec<(String, Tensor)> = names(folder)
            .into_iter()
            .filter(|n| n != "lm_head.weight")
            .map(|n| (n.clone(), tensor(folder, &n)))
            .collect();
        all.push(("lm_head.weight".into(), head.shallow_clone()));
        let shape = |t: &Tensor| t.size().iter().map(|&size| size as usize).collect();
        let declared = all.iter().map(|(name, t)| (name.clone(), DType::F32, shape(t))).collect();
        let mut writer = SafetensorsWriter::create(folder, declared).unwrap();
        for (name, t) in &all {
            writer.write(name, &llama::to_bytes(t, Kind::Float).unwrap()).unwrap();
        }
        writer.finish().unwrap();
    };
    with_head(&at("b"), &tensor(&at("b"), "model.embed_tokens.weight"));
    run(dir.path(), "--models @a @b --output @mean").unwrap();
    assert_eq!(names(&at("mean")), names(&at("a")));
    Llama::load(&at("mean"), None, Device::Cpu).unwrap();
    with_head(&at("b"), &tensor(&at("a"), "model.embed_tokens.weight"));
    let error = sentence(run(dir.path(), "--models @a @b --output @other"));
    assert!(error.contains("lm_head.weight differs from model.embed_tokens.weight"), "{error}");
    assert!(!at("other").exists() && !at("other.partial").join("model.safetensors").exists());
}

#[test]
fn what_does_not_agree_is_named() {
    let dir = three(Kind::Float, false);
    let at = |name: &str| dir.path().join(name);
    let edit = |file: &str, change: &dyn Fn(&mut Value)| {
        let text = fs::read(at(file)).unwrap();
        let mut value: Value = serde_json::from_slice(&text).unwrap();
        change(&mut value);
        fs::write(at(file), value.to_string()).unwrap();
        text
    };
    let refused = |expected: &str| {
        let error = sentence(run(dir.path(), "--models @a @b --output @mean"));
        assert!(error.contains(expected), "{error}");
        assert!(!at("mean").exists());
    };
    let old = edit("b/config.json", &|config| config["rope_theta"] = json!(5e5));
    refused("b/config.json: rope_theta is 500000.0, but in ");
    fs::write(at("b/config.json"), old).unwrap();
    let old = edit("b/tokenizer.json", &|tokenizer| tokenizer["model"]["vocab"]["w7"] = json!(8));
    refused("b/tokenizer.json: model.vocab.w7 is 8, but in ");
    fs::write(at("b/tokenizer.json"), old).unwrap();
    let old = edit("b/tokenizer_config.json", &|config| config["chat_template"] = json!("other"));
    refused("have different chat templates");
    fs::write(at("b/tokenizer_config.json"), old).unwrap();
    // Keys that do not affect the weights may differ.
    edit("b/config.json", &|config| config["transformers_version"] = json!("4.0"));
    run(dir.path(), "--models @a @b --output @mean").unwrap();
    for (flags, expected) in [
        ("--models @a @b --output @a", "already exists"),
        ("--models @a --output @x", "at least two"),
        ("--models @a @b --weights 1 --output @x", "--weights gives 1 weights for 2 models"),
        ("--models @a @b --weights 0 0 --output @x", "are all 0"),
        ("--models @a @b --adapters concat --output @x", "are for LoRA adapters"),
        ("--run @a --output @x", "is not a run"),
    ] {
        let error = sentence(run(dir.path(), flags));
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn the_newest_whole_checkpoints_of_a_run() {
    let dir = three(Kind::Float, false);
    let at = |name: &str| dir.path().join(name);
    let checkpoints = trainer::checkpoint::Checkpoints::open(at("run/checkpoints"), 9, 0).unwrap();
    for (step, source) in [(1, "a"), (2, "b"), (10, "c"), (11, "a")] {
        let manifest = trainer::checkpoint::Manifest {
            step,
            trained_tokens: 0,
            tokens: 0,
            seconds: 0.0,
            evaluation: None,
            last_evaluation: None,
            fingerprint: String::new(),
            files: Default::default(),
        };
        let fill = |folder: &Path| {
            for entry in fs::read_dir(at(source))? {
                let path = entry?.path();
                fs::copy(&path, folder.join(path.file_name().unwrap()))?;
            }
            Ok(Vec::new())
        };
        checkpoints.write(manifest, fill).unwrap();
    }
    // The newest checkpoint is damaged, so it is skipped.
    fs::write(at("run/checkpoints/step-11/config.json"), "{}").unwrap();
    run(dir.path(), "--run @run --last 2 --output @two").unwrap();
    run(dir.path(), "--run @run --output @all").unwrap();
    for name in names(&at("a")) {
        let [a, b, c] = ["a", "b", "c"].map(|folder| tensor(&at(folder), &name));
        assert!(largest(&tensor(&at("two"), &name), &((&b + &c) / 2.0)) < 1e-7, "{name}");
        assert!(largest(&tensor(&at("all"), &name), &((a + b + c) / 3.0)) < 1e-7, "{name}");
    }
    assert!(!at("two/checkpoint.json").exists());
    let error = sentence(run(dir.path(), "--run @run --last 4 --output @x"));
    assert!(error.contains("has 3 whole checkpoints, 4 are asked for"), "{error}");
}

/// Writes an adapter with random factors of rank `rank`, and returns its update of a projection.
fn write_adapter(base: &Path, folder: &Path, seed: i64, rank: i64, alpha: f64) {
    fs::create_dir_all(folder).unwrap();
    let config = LoraConfig {
        peft_type: "LORA".into(),
        task_type: Some("CAUSAL_LM".into()),
        base_model_name_or_path: Some(base.display().to_string()),
        r: rank,
        lora_alpha: alpha,
        lora_dropout: 0.0,
        use_rslora: false,
        target_modules: TargetModules::Names(["q_proj", "down_proj"].map(str::to_owned).to_vec()),
        rank_pattern: Default::default(),
        alpha_pattern: Default::default(),
        bias: "none".into(),
        modules_to_save: None,
        use_dora: false,
        fan_in_fan_out: false,
        inference_mode: true,
        scope: Default::default(),
    };
    let mut model = Llama::load(base, None, Device::Cpu).unwrap();
    tch::manual_seed(seed);
    let options = (Kind::Float, Device::Cpu);
    model.add_adapter(&config, |_, shape, _| Ok(Tensor::randn(shape, options) * 0.1)).unwrap();
    for (_, linear) in model.linears_mut() {
        if let Some(lora) = &mut linear.lora {
            lora.b = Tensor::randn(lora.b.size(), options) * 0.1;
        }
    }
    model.save_adapter(folder, &config).unwrap();
}

fn logits(base: &Path, adapter: Option<&Path>) -> Tensor {
    let mut model = Llama::load(base, Some(Kind::Double), Device::Cpu).unwrap();
    if let Some(adapter) = adapter {
        model.load_adapter(adapter).unwrap();
    }
    let _no_grad = tch::no_grad_guard();
    model.forward(&Tensor::arange(40, (Kind::Int64, Device::Cpu)).unsqueeze(0)).unwrap()
}

/// The logits of transformers and PEFT for a model, or for a model and an adapter, computed by the Python that
/// `HERD_PEER_PYTHON` names.
fn peer_logits(folders: &[PathBuf]) -> Tensor {
    let python = std::env::var_os("HERD_PEER_PYTHON").expect("HERD_PEER_PYTHON: a Python with transformers and peft");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peft_logits.py");
    let output = std::process::Command::new(python).arg(script).args(folders).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().last().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    Tensor::from_slice(&serde_json::from_str::<Vec<f64>>(line).unwrap())
}

#[test]
#[ignore = "needs HERD_PEER_PYTHON, a Python with transformers and peft"]
fn transformers_and_peft_read_averaged_adapters() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    write_model(&at("base"), 7, Kind::Float, false);
    write_adapter(&at("base"), &at("x"), 1, 2, 4.0);
    write_adapter(&at("base"), &at("y"), 2, 3, 3.0);
    let by_hand = merged_by_hand(&at("base"), &[(at("x"), 0.75, 2.0), (at("y"), 0.25, 1.0)]);
    let expected = {
        let _no_grad = tch::no_grad_guard();
        by_hand.forward(&Tensor::arange(40, (Kind::Int64, Device::Cpu)).unsqueeze(0)).unwrap()
    };
    run(dir.path(), "--models @x @y --weights 3 1 --output @joined").unwrap();
    run(dir.path(), "--models @x @y --weights 3 1 --adapters merge --output @merged").unwrap();
    for folders in [vec![at("base"), at("joined")], vec![at("merged")]] {
        assert!(largest(&peer_logits(&folders), &expected.flatten(0, -1)) < 1e-4);
    }
}

/// The base with `Σ wᵢ sᵢ Bᵢ Aᵢ` added to its weights, by matrix products.
fn merged_by_hand(base: &Path, adapters: &[(PathBuf, f64, f64)]) -> Llama {
    let mut model = Llama::load(base, Some(Kind::Double), Device::Cpu).unwrap();
    for (name, linear) in model.linears_mut() {
        if !name.ends_with("q_proj") && !name.ends_with("down_proj") {
            continue;
        }
        for (folder, weight, scale) in adapters {
            let factor = |part: &str| {
                tensor(&folder.join("adapter_model.safetensors"), &format!("base_model.model.{name}.{part}.weight"))
            };
            linear.weight = &linear.weight + factor("lora_B").matmul(&factor("lora_A")) * (weight * scale);
        }
    }
    model
}

#[test]
fn adapters_are_averaged_exactly_or_factor_by_factor() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    write_model(&at("base"), 7, Kind::Float, false);
    write_adapter(&at("base"), &at("x"), 1, 2, 4.0);
    write_adapter(&at("base"), &at("y"), 2, 3, 3.0);
    let by_hand = merged_by_hand(&at("base"), &[(at("x"), 0.75, 2.0), (at("y"), 0.25, 1.0)]);
    let expected = {
        let _no_grad = tch::no_grad_guard();
        by_hand.forward(&Tensor::arange(40, (Kind::Int64, Device::Cpu)).unsqueeze(0)).unwrap()
    };
    run(dir.path(), "--models @x @y --weights 3 1 --output @joined").unwrap();
    assert!(largest(&logits(&at("base"), Some(&at("joined"))), &expected) < 1e-5);
    let config: Value = serde_json::from_slice(&fs::read(at("joined/adapter_config.json")).unwrap()).unwrap();
    assert_eq!((&config["r"], &config["lora_alpha"]), (&json!(5), &json!(5.0)));
    run(dir.path(), "--models @x @y --weights 3 1 --adapters merge --output @merged").unwrap();
    assert!(largest(&logits(&at("merged"), None), &expected) < 1e-5);
    assert!(at("merged/tokenizer.json").is_file());
    // Factors of different ranks have no average.
    let error = sentence(run(dir.path(), "--models @x @y --adapters factors --output @f"));
    assert!(error.contains("has rank 2 and scale 2") && error.contains("--adapters concat does without"), "{error}");
    write_adapter(&at("base"), &at("z"), 3, 2, 4.0);
    run(dir.path(), "--models @x @z --adapters factors --output @f").unwrap();
    let file = |folder: &str| at(folder).join("adapter_model.safetensors");
    for name in names(&file("x")) {
        let [x, z, f] = ["x", "z", "f"].map(|folder| tensor(&file(folder), &name));
        assert!(largest(&f, &((x + z) / 2.0)) < 1e-7, "{name}");
    }
    // Adapters of different models, and an adapter with a model.
    write_model(&at("other"), 8, Kind::Float, false);
    write_adapter(&at("other"), &at("w"), 1, 2, 4.0);
    let error = sentence(run(dir.path(), "--models @x @w --output @q"));
    assert!(error.contains("if these are the same model, name it with --base"), "{error}");
    let error = sentence(run(dir.path(), "--models @x @base --output @q"));
    assert!(error.contains("are a model and an adapter"), "{error}");
}

#[test]
fn a_model_with_values_that_are_not_finite_is_refused() {
    let dir = three(Kind::Float, true);
    let bad = dir.path().join("bad");
    fs::create_dir(&bad).unwrap();
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        fs::copy(dir.path().join("b").join(name), bad.join(name)).unwrap();
    }
    for value in [f32::NAN, f32::INFINITY] {
        let checkpoint = Checkpoint::open(dir.path().join("b")).unwrap();
        let all: Vec<String> = checkpoint.names().map(str::to_owned).collect();
        let declared =
            all.iter().map(|name| (name.clone(), DType::F32, checkpoint.tensor(name).unwrap().shape.to_vec()));
        let mut writer = SafetensorsWriter::create(&bad, declared.collect()).unwrap();
        for name in &all {
            let mut data = checkpoint.tensor(name).unwrap().data.to_vec();
            if name == "model.norm.weight" {
                data[4..8].copy_from_slice(&value.to_le_bytes());
            }
            writer.write(name, &data).unwrap();
        }
        writer.finish().unwrap();
        let error = sentence(run(dir.path(), "--models @a @bad --output @out"));
        assert!(error.contains("the tensor model.norm.weight holds values that are not finite"), "{error}");
        assert!(!dir.path().join("out").exists());
    }
}

#[derive(Parser)]
struct MergeCli {
    #[command(flatten)]
    args: average::merge::Args,
}

fn merge(dir: &Path, flags: &str) -> anyhow::Result<()> {
    torch_ext::init();
    let path = |name: &str| dir.join(name).display().to_string();
    let words = flags.split_whitespace().map(|word| word.strip_prefix('@').map_or(word.to_owned(), path));
    average::merge::run(&MergeCli::try_parse_from(std::iter::once("merge".to_owned()).chain(words))?.args)
}

#[test]
fn an_adapter_is_merged_into_its_base() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    write_model(&at("base"), 7, Kind::BFloat16, false);
    write_adapter(&at("base"), &at("x"), 1, 2, 4.0);
    merge(dir.path(), "@x --output @merged --save-dtype f32").unwrap();
    assert!(largest(&logits(&at("merged"), None), &logits(&at("base"), Some(&at("x")))) < 1e-5);
    assert!(at("merged/tokenizer.json").is_file() && at("merged/run.json").is_file());
    // By default, the type is that of the base model's files.
    merge(dir.path(), "@x --output @narrow").unwrap();
    assert_eq!(Llama::load(&at("narrow"), None, Device::Cpu).unwrap().kind(), Kind::BFloat16);
    // Another type for the same folder only repeats the saving.
    merge(dir.path(), "@x --output @merged").unwrap();
    assert_eq!(Llama::load(&at("merged"), None, Device::Cpu).unwrap().kind(), Kind::BFloat16);
    assert!(sentence(merge(dir.path(), "@x --output @base")).contains("already exists"));
    assert!(sentence(merge(dir.path(), "@base --output @y")).contains("is a model; there is nothing to merge"));
}

#[test]
fn adapters_of_reward_models_are_averaged_with_their_heads() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    torch_ext::init();
    llama::NewModel { hidden: 16, layers: 2, context: 64, seed: 4 }.write(&at("base")).unwrap();
    for (seed, name) in [(1, "x"), (2, "y")] {
        write_adapter(&at("base"), &at(name), seed, 2, 4.0);
        // With a head, as `train-rm --lora-rank` writes it.
        let file = at(name).join("adapter_model.safetensors");
        let score = "base_model.model.score.weight".to_owned();
        let mut tensors: Vec<(String, Tensor)> =
            names(&file).into_iter().map(|name| (name.clone(), tensor(&file, &name))).collect();
        tensors.push((score, Tensor::randn([1, 16], (Kind::Double, Device::Cpu))));
        let shape = |tensor: &Tensor| tensor.size().iter().map(|&size| size as usize).collect::<Vec<_>>();
        let declared = tensors.iter().map(|(name, tensor)| (name.clone(), DType::F32, shape(tensor))).collect();
        let mut writer = SafetensorsWriter::create_file(&file, declared).unwrap();
        for (name, tensor) in &tensors {
            writer.write(name, &llama::to_bytes(tensor, Kind::Float).unwrap()).unwrap();
        }
        writer.finish().unwrap();
        let path = at(name).join("adapter_config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        config["modules_to_save"] = json!(["score"]);
        fs::write(&path, config.to_string()).unwrap();
    }
    run(dir.path(), "--models @x @y --weights 3 1 --output @joined").unwrap();
    run(dir.path(), "--models @x @y --weights 3 1 --adapters merge --output @merged").unwrap();
    let score = |folder: &str| {
        let classifier = llama::SequenceClassifier::load(&at(folder), Some(Kind::Float), Device::Cpu).unwrap();
        let ids = Tensor::arange(20, (Kind::Int64, Device::Cpu)).unsqueeze(0);
        let _no_grad = tch::no_grad_guard();
        let hidden = classifier.model.hidden_states(&ids, &ids, &mut llama::attention::Causal, llama::Pass::default());
        (classifier.logits(&hidden.unwrap()).unwrap().to_kind(Kind::Double), classifier.score.to_kind(Kind::Double))
    };
    let (joined, head) = score("joined");
    let (merged, _) = score("merged");
    assert!(largest(&joined, &merged) < 1e-4);
    assert!(largest(&head, &(score("x").1 * 0.75 + score("y").1 * 0.25)) < 1e-6);
    let config: Value = serde_json::from_slice(&fs::read(at("merged/config.json")).unwrap()).unwrap();
    assert_eq!(config["architectures"], json!(["LlamaForSequenceClassification"]));
}
