//! A tiny run of several processes whose ranks fail on demand, and what it leaves.
//!
//! A file `plan/RANK` in the run's folder, `STEP KIND`, makes a rank fail in that step (from 1) or the next one that it begins.
//! Each is done once.

#![allow(dead_code)]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use llama::{Head, Llama, NewModel};
use tch::{Device, Kind, Tensor};
use trainer::context::Share;
use trainer::stage::Training;
use trainer::{
    Corrupt, Input, Interval, Loss, Named, Objective, Outcome, PackedBatch, RunFolder, TrainedWeights, World, cost,
    train,
};

use crate::common::{Fixed, example};

/// The variable with a child's work.
const RUN: &str = "FAULTY_RUN";

/// The settings of a run.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Settings {
    pub steps: u64,
    pub checkpoint_steps: u64,
    pub check_weights: Option<u64>,
    pub check_gradients: Option<u64>,
    /// A step takes so many milliseconds more.
    pub step_ms: u64,
    /// A start takes so many milliseconds more.
    pub load_ms: u64,
    /// Examples of a micro-batch.
    pub micro_batch: usize,
    pub context_parallel: bool,
    pub recompute: bool,
}

pub const SETTINGS: Settings = Settings {
    steps: 12,
    checkpoint_steps: 2,
    check_weights: Some(1),
    check_gradients: None,
    step_ms: 0,
    load_ms: 0,
    micro_batch: 1,
    context_parallel: false,
    recompute: false,
};

/// The results of undisturbed runs, by number of steps.
static UNDISTURBED: Mutex<BTreeMap<u64, [String; 2]>> = Mutex::new(BTreeMap::new());

/// A run's folder, with a model.
pub struct Place {
    pub dir: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self::of(32, 2)
    }

    /// Makes a world with a model of this width and number of layers.
    pub fn of(hidden: usize, layers: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        NewModel { hidden, layers, context: 128, seed: 17 }.write(&dir.path().join("model")).unwrap();
        Self { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A rank fails: see the module.
    pub fn plan(&self, run: &str, rank: usize, step: u64, kind: &str) {
        let folder = self.path(run).join("plan");
        fs::create_dir_all(&folder).unwrap();
        let partial = folder.join(format!("{rank}.partial"));
        fs::write(&partial, format!("{step} {kind}")).unwrap();
        fs::rename(partial, folder.join(rank.to_string())).unwrap();
    }

    /// This test program again, as a rank.
    pub fn command(&self, run: &str, settings: &Settings) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child", "--nocapture", "--test-threads", "1"]);
        command.env(
            RUN,
            serde_json::json!({"model": self.path("model"), "run": self.path(run), "settings": settings}).to_string(),
        );
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// Starts `size` ranks that meet in a file; returns the exit code and the output of each.
    pub fn ranks(&self, run: &str, size: usize, settings: &Settings) -> Vec<(Option<i32>, String)> {
        let store = self.path(&format!("{run}.store"));
        fs::remove_file(&store).ok();
        let rank = |rank: usize| {
            let mut command = self.command(run, settings);
            command.env("RANK", rank.to_string()).env("WORLD_SIZE", size.to_string()).env("HERD_STORE_FILE", &store);
            command.spawn().unwrap()
        };
        let ranks: Vec<Child> = (0..size).map(rank).collect();
        ranks.into_iter().map(ended).collect()
    }

    /// The ranks of this run under a launcher: `words` are its program and arguments.
    pub fn launched(&self, run: &str, settings: &Settings, words: &[&str]) -> Command {
        let child = self.command(run, settings);
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(child.get_program()).args(child.get_args());
        command.envs(child.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// Steps that the run has logged.
    pub fn steps(&self, run: &str) -> usize {
        fs::read_to_string(self.path(run).join("run/metrics.jsonl")).map_or(0, |text| text.lines().count())
    }

    /// Digests of weights and moments after the last step.
    pub fn bytes(&self, run: &str, steps: u64) -> [String; 2] {
        let folder = self.path(run).join(format!("run/checkpoints/step-{steps}"));
        ["model.safetensors", "state/moments.safetensors"].map(|name| dataset::digest::file(folder.join(name)).unwrap())
    }

    /// The same of a run of one process that nothing disturbed; tests with as many steps of the usual model share it.
    pub fn undisturbed(&self, settings: &Settings) -> [String; 2] {
        let mut known = UNDISTURBED.lock().unwrap();
        if let Some(bytes) = known.get(&settings.steps) {
            return bytes.clone();
        }
        let (code, text) = ended(self.command("undisturbed", settings).spawn().unwrap());
        assert_eq!(code, Some(0), "{text}");
        let bytes = self.bytes("undisturbed", settings.steps);
        known.insert(settings.steps, bytes.clone());
        bytes
    }
}

/// The exit code of a process and what it wrote to its standard error.
pub fn ended(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The body of the test `child`: nothing unless [`Place::command`] started the program.
pub fn be_a_child() {
    let Ok(text) = std::env::var(RUN) else { return };
    let work: serde_json::Value = serde_json::from_str(&text).unwrap();
    torch_ext::init();
    tch::set_num_threads(1);
    let result = World::from_env(Duration::from_secs(60)).map_err(anyhow::Error::from).and_then(|world| {
        match rank(&world, &work) {
            Ok(()) => Ok(world.finish()?),
            Err(error) => {
                world.fail(&format!("{error:#}"));
                Err(error)
            }
        }
    });
    if let Err(error) = result {
        eprintln!("error: {error:#}");
        std::process::exit(Corrupt::exit_code(&error).into());
    }
    std::process::exit(0);
}

fn rank(world: &World, work: &serde_json::Value) -> anyhow::Result<()> {
    let settings: Settings = serde_json::from_value(work["settings"].clone())?;
    let folder = PathBuf::from(work["run"].as_str().unwrap());
    std::thread::sleep(Duration::from_millis(settings.load_ms));
    let scratch = tempfile::tempdir()?;
    let run = RunFolder::open(&if world.is_first() { folder.join("run") } else { scratch.path().join("run") })?;
    let model = Llama::load(Path::new(work["model"].as_str().unwrap()), None, Device::Cpu)?;
    let mut named: Named = model.named_parameters();
    named.retain(|(name, _)| name != "lm_head.weight");
    let id = |n: usize, place: usize| (3 + (n * 7919 + place * 104_729 + n * place * 31) % 250) as i64;
    let ids = |n: usize| (0..12 + 5 * n).map(|place| id(n, place)).collect::<Vec<_>>();
    let examples = (0..8).map(|n| example(&format!("example-{n}"), &ids(n), 3)).collect();
    let objective = Faulty {
        inner: Fixed { examples, micro_batch: settings.micro_batch, steps: settings.steps },
        plan: folder.join("plan").join(world.rank().to_string()),
        weights: named.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect(),
        step_ms: settings.step_ms,
        losses: Cell::new(Spoilt::No),
        slow: Cell::new(false),
    };
    let training = Training {
        checkpoint_steps: settings.checkpoint_steps,
        checkpoint_minutes: Interval::Minutes(0.0),
        learning_rate: 3e-3,
        check_weights: settings.check_weights,
        check_gradients: settings.check_gradients.unwrap_or(0),
        context_parallel: settings.context_parallel,
        recompute: settings.recompute,
        ..Training::default()
    };
    let settings = training.settings(settings.steps, cost::Trained::Everything, "faulty".into());
    let weights = TrainedWeights { named, exact: &|_| Ok(None) };
    match train(&run, &model, weights, &objective, &settings, &|_| Ok(()), world)? {
        Outcome::Finished(..) => {
            let peak = trainer::memory::peak().unwrap_or_default() as f64 / 1e6;
            eprintln!("rank {} held {peak:.0} MB at most", world.rank());
            Ok(())
        }
        Outcome::Interrupted(step) => anyhow::bail!("stopped after step {step}"),
    }
}

/// The fault of the next loss.
#[derive(Clone, Copy, PartialEq)]
enum Spoilt {
    No,
    NotANumber,
    /// A gradient of a million times its length.
    Far,
    /// A gradient that is off by a ten-millionth.
    Slightly,
}

struct Faulty {
    inner: Fixed,
    plan: PathBuf,
    weights: Named,
    step_ms: u64,
    losses: Cell<Spoilt>,
    slow: Cell<bool>,
}

impl Faulty {
    fn fail(&self, step: u64) {
        let Ok(text) = fs::read_to_string(&self.plan) else { return };
        let (at, kind) = text.split_once(' ').unwrap();
        if at.parse::<u64>().unwrap() > step {
            return;
        }
        fs::rename(&self.plan, self.plan.with_extension("done")).unwrap();
        // SAFETY: signals to this process, a limit of it, and a bit of a tensor that this process has.
        unsafe {
            match kind {
                "flip" => {
                    let (_, tensor) = self.weights.iter().find(|(name, _)| name.contains("layers.1.mlp.up")).unwrap();
                    *tensor.data_ptr().cast::<u32>().add(77) ^= 1 << 12;
                }
                "nan" => self.losses.set(Spoilt::NotANumber),
                "far" => self.losses.set(Spoilt::Far),
                "slightly" => self.losses.set(Spoilt::Slightly),
                "slow" => self.slow.set(true),
                "exit" => std::process::exit(3),
                "kill" => drop(libc::raise(libc::SIGKILL)),
                "stop" => drop(libc::raise(libc::SIGSTOP)),
                "disk" => {
                    // No file can grow beyond this size, as on a full disk.
                    libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
                    libc::setrlimit(libc::RLIMIT_FSIZE, &libc::rlimit { rlim_cur: 20_000, rlim_max: 20_000 });
                }
                other => panic!("{other}"),
            }
        }
    }
}

impl Objective for Faulty {
    type Batch = PackedBatch;

    fn steps(&self) -> u64 {
        self.inner.steps
    }

    fn epoch(&self, steps: u64) -> f64 {
        self.inner.epoch(steps)
    }

    fn batches(&self, step: u64) -> Vec<PackedBatch> {
        self.inner.batches(step)
    }

    fn load(&self, step: u64) -> anyhow::Result<Vec<PackedBatch>> {
        self.fail(step + 1);
        std::thread::sleep(Duration::from_millis(self.step_ms));
        Ok(self.batches(step))
    }

    fn normaliser(&self, batch: &PackedBatch) -> f64 {
        self.inner.normaliser(batch)
    }

    fn tokens(&self, batch: &PackedBatch) -> (u64, u64) {
        self.inner.tokens(batch)
    }

    fn example_ids<'a>(&self, batch: &'a PackedBatch) -> &'a [String] {
        self.inner.example_ids(batch)
    }

    fn input<'a>(&self, batch: &'a PackedBatch) -> Input<'a> {
        self.inner.input(batch)
    }

    fn share(&self, batch: &PackedBatch, share: &Share) -> anyhow::Result<PackedBatch> {
        Ok(batch.share(share))
    }

    fn loss(&self, hidden: &Tensor, head: Head, batch: &PackedBatch) -> anyhow::Result<Loss> {
        if self.slow.get() {
            std::thread::sleep(Duration::from_millis(20));
        }
        let Loss { sum, metrics } = self.inner.loss(hidden, head, batch)?;
        let factor = match self.losses.replace(Spoilt::No) {
            Spoilt::No => return Ok(Loss { sum, metrics }),
            Spoilt::NotANumber => f64::NAN,
            Spoilt::Far => 1e6,
            Spoilt::Slightly => 1.000_000_2,
        };
        Ok(Loss { sum: sum * Tensor::from(factor).to_kind(Kind::Float), metrics })
    }
}
