//! Runs the stages that the state machine decides: folders, journal, training, gates.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use dataset::journal::Journal;
use llama::device::{Compute, Dtype};
use llama::{Llama, LlamaConfig, device, weights_kind};
use longctx::needles::Wording;
use run::{Session, replace_folder};
use sampler::SamplerArgs;
use serde_json::{Map, Value, json};
use tch::{Device, Kind};

use super::data::Texts;
use super::gate::{Gate, ShortTexts};
use super::machine::{self, Event, Rules, Step};
use super::report;
use super::rope::{Origin, Rope, positions};
use super::round::{self, RoundConfig};
use super::tasks::ShortTasks;
use crate::world::Held;

/// Why an extension ended before its last stage; `herd` ends with the code 3.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Stopped(pub String);

/// The resolved configuration of an extension.
pub struct Plan<'a> {
    /// The folder of the run.
    pub output: &'a Path,
    /// The model's folder before the first stage.
    pub model: &'a Path,
    /// Lengths of the stages in tokens, rising.
    pub lengths: Vec<usize>,
    /// How positions are stretched.
    pub rope: Rope,
    /// Frequency bases given by the user, one for each stage; empty when the NTK rule decides.
    pub thetas: Vec<f64>,
    /// The rules of the gates.
    pub rules: Rules,
    /// The configuration of every round; model, data, output, lengths and seed are set for each round.
    pub round: RoundConfig,
    /// The longest example with skipped positions; none means the length of the stage.
    pub row: Option<usize>,
    /// The device and the arithmetic, also of gates.
    pub compute: Compute,
    /// Sequences decoded together in gates.
    pub max_num_seqs: usize,
    /// Depths of a gate's needles, from 0 to 1.
    pub depths: Vec<f64>,
    /// Haystacks of a gate.
    pub haystacks: u64,
    /// The wording of needles.
    pub wording: Wording,
    /// Number of short pieces of a gate, and the tokens of each.
    pub short: (usize, usize),
    /// Short benchmarks of the gates.
    pub tasks: ShortTasks,
    /// Seed of everything random.
    pub seed: u64,
}

/// The paths in the folder of a run.
struct Places<'a>(&'a Path);

impl Places<'_> {
    fn stage(&self, stage: usize) -> PathBuf {
        self.0.join(format!("stage-{}", stage + 1))
    }

    /// The model that a stage starts from: the previous model with the stage's positions.
    fn base(&self, stage: usize) -> PathBuf {
        self.stage(stage).join("base")
    }

    fn round(&self, stage: usize, round: usize) -> PathBuf {
        self.stage(stage).join(format!("round-{}", round + 1))
    }

    fn gate(&self, stage: usize, round: usize) -> PathBuf {
        self.stage(stage).join(format!("gate-{}", round + 1))
    }

    /// The model after a round.
    fn trained(&self, stage: usize, round: usize) -> PathBuf {
        self.round(stage, round).join("model")
    }
}

/// Extends a model, or resumes: the journal tells what was done, and every round and gate can be resumed.
///
/// # Errors
/// [`Stopped`] when a stage has not passed after its last round; another error says what is wrong.
pub fn run(plan: &Plan, held: &Held, long: &Texts, short: &Texts, session: Session) -> anyhow::Result<()> {
    let places = Places(plan.output);
    let fingerprint = session.fingerprint().to_owned();
    let origin = origin(plan.model)?;
    let all = (0..plan.lengths.len()).map(|stage| {
        let theta = plan.thetas.get(stage).copied();
        positions(&origin, plan.lengths[stage], plan.rope, theta)
    });
    let all = all.collect::<anyhow::Result<Vec<_>>>()?;
    let texts: Vec<String> = all.iter().map(|positions| positions.text.clone()).collect();
    println!("{}", texts.join("\n"));
    let mut journal = Journal::<Event>::open(plan.output.join("journal.jsonl"), &fingerprint)?;
    let tokenizer = chat::Tokenizer::from_dir(plan.model)?;
    let kept = if short.held_out.is_empty() { &long.held_out } else { &short.held_out };
    let short_texts = ShortTexts::new(kept, &tokenizer, plan.short.0, plan.short.1)?;
    let start = plan.output.join("start");
    fs::create_dir_all(&start).with_context(|| format!("cannot make {}", start.display()))?;
    let mut sampler = open(plan, plan.model)?;
    let before = short_texts.losses(sampler.local().context("a model in this process")?, &start.join("short.jsonl"))?;
    let tasks_before = plan.tasks.ask(&mut sampler, &start.join("tasks"), &fingerprint)?;
    drop(sampler);
    let gate = Gate {
        world: &held.world,
        wording: &plan.wording,
        depths: &plan.depths,
        haystacks: plan.haystacks,
        short: &short_texts,
        before: &before,
        tasks: &plan.tasks,
        tasks_before: &tasks_before,
        seed: plan.seed,
    };
    loop {
        let events = events(&journal)?;
        let step = machine::next(&plan.rules, &events)?;
        match &step {
            Step::Train { .. } | Step::Gate { .. } => println!("{step}"),
            Step::Finished | Step::Stopped { .. } => {}
        }
        let event = match step {
            Step::Train { stage, round } => {
                let model = match round {
                    0 => {
                        let before = last_model(plan, &places, &events, stage);
                        let base = places.base(stage);
                        make_base(&before, &base, &all[stage].config, plan.lengths[stage])?;
                        base
                    }
                    _ => places.trained(stage, round - 1),
                };
                let tokens = train(plan, &places, (stage, round), &model, long, short)?;
                Event::Trained { stage, round, tokens }
            }
            Step::Gate { stage, round } => {
                let mut sampler = open(plan, &places.trained(stage, round))?;
                let folder = places.gate(stage, round);
                let findings = gate.measure(&mut sampler, plan.lengths[stage], &folder, &fingerprint)?;
                for failure in machine::failures(&plan.rules, &findings) {
                    println!("  {failure}");
                }
                Event::Gated { stage, round, findings }
            }
            Step::Finished => return finish(plan, &places, &events, &texts, session),
            Step::Stopped { stage, failures } => {
                let why = format!(
                    "stage {} ({} tokens) did not pass its gate in {} rounds: {}; the model of its last round is {}. Train it longer \
                     (--rounds), with more or other texts, or take smaller steps (--stages)",
                    stage + 1,
                    plan.lengths[stage],
                    plan.rules.rounds,
                    failures.join("; "),
                    places.trained(stage, plan.rules.rounds - 1).display()
                );
                report::write(&plan.output.join("report.html"), &texts, &plan.rules, &events, &why)?;
                println!("{}", report::table(&plan.rules, &events));
                return Err(Stopped(why).into());
            }
        };
        let number = events.len() as u64;
        journal.insert(number, event)?;
    }
}

fn events(journal: &Journal<Event>) -> anyhow::Result<Vec<Event>> {
    let mut events = Vec::new();
    while let Some(event) = journal.get(events.len() as u64) {
        events.push(event.clone());
    }
    Ok(events)
}

/// Reads the positions in the configuration of the model.
fn origin(model: &Path) -> anyhow::Result<Origin> {
    let text = fs::read_to_string(model.join("config.json"))
        .with_context(|| format!("cannot read {}", model.join("config.json").display()))?;
    let config: Map<String, Value> = serde_json::from_str(&text)?;
    let parsed = LlamaConfig::from_json(config.clone())?;
    Ok(Origin {
        config,
        context: usize::try_from(parsed.max_position_embeddings)?,
        head_dim: parsed.head_dim,
        theta: parsed.rope_theta,
    })
}

/// The model that a stage starts from: that of the last round before it.
fn last_model(plan: &Plan, places: &Places, events: &[Event], stage: usize) -> PathBuf {
    let last = events.iter().rev().find_map(|event| match event {
        Event::Trained { stage: of, round, .. } if *of < stage => Some(places.trained(*of, *round)),
        _ => None,
    });
    last.unwrap_or_else(|| plan.model.to_owned())
}

fn open(plan: &Plan, model: &Path) -> anyhow::Result<sampler::Sampler> {
    let args = SamplerArgs {
        model: Some(model.to_string_lossy().into_owned()),
        max_num_seqs: plan.max_num_seqs,
        compute: plan.compute.clone(),
        ..SamplerArgs::default()
    };
    args.open()
}

/// Makes a model folder with the weights of another one and a stage's positions. The weights are hard links where possible.
fn make_base(from: &Path, to: &Path, config: &Map<String, Value>, length: usize) -> anyhow::Result<()> {
    if to.is_dir() {
        return Ok(());
    }
    let parent = to.parent().context("a folder without a parent")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    replace_folder(to, |target| {
        for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json") {
                let new = target.join(&name);
                if fs::hard_link(entry.path(), &new).is_err() {
                    fs::copy(entry.path(), &new).with_context(|| format!("cannot write {}", new.display()))?;
                }
            }
        }
        chat::Tokenizer::from_dir(from)?.save(target)?;
        lengthen_tokenizer(target, length)?;
        // The configuration names the type of the weight files: rounds write float32.
        let mut config = config.clone();
        let of_weights: Map<String, Value> = serde_json::from_str(&fs::read_to_string(from.join("config.json"))?)?;
        for key in ["dtype", "torch_dtype"] {
            match of_weights.get(key) {
                Some(value) => config.insert(key.into(), value.clone()),
                None => config.remove(key),
            };
        }
        let text = format!("{}\n", serde_json::to_string_pretty(&config)?);
        Ok(dataset::write_file(target.join("config.json"), text.as_bytes())?)
    })
}

/// Raises the tokenizer's own limit, because vLLM reads it as the model's.
fn lengthen_tokenizer(folder: &Path, length: usize) -> anyhow::Result<()> {
    let path = folder.join("tokenizer_config.json");
    let Ok(text) = fs::read_to_string(&path) else { return Ok(()) };
    let mut config: Map<String, Value> = serde_json::from_str(&text).with_context(|| format!("{}", path.display()))?;
    if config.get("model_max_length").and_then(Value::as_f64).is_some_and(|limit| limit < length as f64) {
        config.insert("model_max_length".into(), json!(length));
        let text = format!("{}\n", serde_json::to_string_pretty(&config)?);
        dataset::write_file(&path, text.as_bytes())?;
    }
    Ok(())
}

fn train(
    plan: &Plan,
    places: &Places,
    (stage, round): (usize, usize),
    model: &Path,
    long: &Texts,
    short: &Texts,
) -> anyhow::Result<u64> {
    let length = plan.lengths[stage];
    let row = plan.row.map_or(length, |row| row.min(length));
    let mut config = plan.round.clone();
    config.length = length;
    config.row = row;
    let training = &mut config.training;
    training.model = model.to_owned();
    training.output = places.round(stage, round);
    training.max_length = Some(row);
    training.micro_batch_tokens = training.micro_batch_tokens.max(row);
    // A step has at least one row of the stage's length.
    let steps = training.max_steps.unwrap_or(1) * training.batch_tokens;
    training.batch_tokens = training.batch_tokens.max(row);
    training.max_steps = Some(steps.div_ceil(training.batch_tokens));
    training.seed = plan.seed.wrapping_mul(1_000_003).wrapping_add((1000 * stage + round) as u64) & ((1 << 53) - 1);
    // A narrow type would lose the small updates of a long schedule.
    training.save_dtype = Some(Dtype::F32);
    let (tokens, folder) = round::train(&config, long, short)?;
    ensure!(folder == places.trained(stage, round), "the round's model is in {}", folder.display());
    Ok(tokens)
}

/// Writes the result: the model of the last round, in the type that the weights had before the first stage.
fn finish(plan: &Plan, places: &Places, events: &[Event], texts: &[String], session: Session) -> anyhow::Result<()> {
    let last = last_model(plan, places, events, plan.lengths.len());
    let kind = weights_kind(plan.model)?;
    replace_folder(&plan.output.join("model"), |target| {
        let model = Llama::load(&last, Some(Kind::Float), Device::Cpu)?;
        model.save(target, Some(kind))?;
        Ok(chat::Tokenizer::from_dir(&last)?.save(target)?)
    })?;
    let table = report::table(&plan.rules, events);
    let folder = plan.output.join("model");
    let summary = format!(
        "{table}\na context of {} tokens, weights in {}: {}",
        plan.lengths.last().copied().unwrap_or_default(),
        device::name(kind),
        folder.display()
    );
    report::write(&plan.output.join("report.html"), texts, &plan.rules, events, &summary)?;
    let figures = json!({"lengths": plan.lengths, "positions": texts, "events": events});
    session.finish(&["model", "journal.jsonl"], &summary, figures)?;
    println!("{summary}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_has_the_weights_and_other_positions() {
        torch_ext::init();
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("model"), dir.path().join("stage-1/base"));
        llama::NewModel { hidden: 16, layers: 1, context: 64, seed: 1 }.write(&from).unwrap();
        let path = from.join("tokenizer_config.json");
        let mut tokenizer: Map<String, Value> = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        tokenizer.insert("model_max_length".into(), json!(64));
        fs::write(&path, serde_json::to_string(&tokenizer).unwrap()).unwrap();
        let origin = origin(&from).unwrap();
        assert_eq!((origin.context, origin.theta, origin.head_dim), (64, 10_000.0, 4));
        let longer = positions(&origin, 128, Rope::Ntk, None).unwrap();
        make_base(&from, &to, &longer.config, 128).unwrap();
        let config = LlamaConfig::from_dir(&to).unwrap();
        assert_eq!(config.max_position_embeddings, 128);
        assert!((config.rope_theta - 40_000.0).abs() < 1e-6, "{}", config.rope_theta);
        let read = |folder: &Path, name: &str| fs::read(folder.join(name)).unwrap();
        assert_eq!(read(&from, "model.safetensors"), read(&to, "model.safetensors"));
        assert!(String::from_utf8(read(&to, "tokenizer_config.json")).unwrap().contains("\"model_max_length\": 128"));
        // An existing folder is kept.
        make_base(&from, &to, &origin.config, 64).unwrap();
        assert_eq!(LlamaConfig::from_dir(&to).unwrap().max_position_embeddings, 128);
    }
}
