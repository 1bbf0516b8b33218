//! Measures the speed of sampling, training and scoring beside another busy program: SmolLM2-135M-Instruct in float32.
//!
//!     cargo bench --profile dev -p llama --bench beside -- [sample] [train] [score] [seconds=6] [rounds=3] [two=3] [threads=N|auto]
//!
//! For each kind of work, the benchmark alternates between turns alone and turns beside a process that keeps one processor busy.
//! Then it runs two processes of this program at the same time. Without a kind of work, all three run. `OMP_WAIT_POLICY` and
//! `GOMP_SPINCOUNT` keep their values.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use llama::attention::{Packed, packed_positions};
use llama::device::Compute;
use llama::{Engine, Llama, Next, Pass, Request, SamplingParams, locate};
use tch::{Device, Kind, Tensor};

const ALL: [&str; 3] = ["sample", "train", "score"];

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let value = |name: &str| arguments.iter().find_map(|argument| argument.strip_prefix(name)?.strip_prefix('='));
    if arguments.first().is_some_and(|first| first == "busy") {
        loop {
            std::hint::spin_loop();
        }
    }
    torch_ext::init();
    if let Some(threads) = value("threads") {
        let threads = Some(threads.parse().map_err(anyhow::Error::msg)?);
        Compute { threads, ..Compute::default() }.resolve()?;
    }
    let turn = Duration::from_secs_f64(value("seconds").unwrap_or("6").parse()?);
    let rounds: usize = value("rounds").unwrap_or("3").parse()?;
    let rounds_of_two: usize = value("two").map_or(Ok(rounds), str::parse)?;
    let model = Llama::load(&locate::locate("smollm2-135m-instruct")?, Some(Kind::Float), Device::Cpu)?;
    if let Some(name) = value("work") {
        // This is one of two processes: it works for one turn and prints its rate.
        let mut work = work(name, &model)?;
        work()?;
        println!("{}", rate(turn, &mut *work)?);
        return Ok(());
    }
    println!("{} threads, tokens/s, turns of {turn:?}", tch::get_num_threads());
    for name in ALL
        .iter()
        .filter(|name| arguments.iter().all(|a| !ALL.contains(&a.as_str())) || arguments.iter().any(|a| a == *name))
    {
        let mut work = work(name, &model)?;
        work()?;
        let (mut alone, mut beside, mut processor) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let (start, before) = (Instant::now(), processor_seconds());
            let tokens_per_second = rate(turn, &mut *work)?;
            alone.push(tokens_per_second);
            processor.push(1e3 * (processor_seconds() - before) / (tokens_per_second * start.elapsed().as_secs_f64()));
            let busy = Busy::start()?;
            // The program checks once per second whether other programs are running.
            std::thread::sleep(Duration::from_secs(2));
            work()?;
            beside.push(rate(turn, &mut *work)?);
            drop(busy);
            std::thread::sleep(Duration::from_secs(2));
        }
        let (a, b) = (middle(&mut alone), middle(&mut beside));
        println!("{name}: alone {a:.0} {alone:.0?}, beside a busy process {b:.0} {beside:.0?}: {:.2}", b / a);
        println!("{name}: {:.3} s of processor time for 1,000 tokens alone {processor:.3?}", middle(&mut processor));
        if rounds_of_two == 0 {
            continue;
        }
        let mut pairs = Vec::new();
        for _ in 0..rounds_of_two {
            let two = [other(name, turn)?, other(name, turn)?];
            let rates = two.map(|child| -> anyhow::Result<f64> {
                Ok(String::from_utf8(child.wait_with_output()?.stdout)?.trim().parse()?)
            });
            let mut sum = 0.0;
            for rate in rates {
                sum += rate?;
            }
            pairs.push(sum);
        }
        println!(
            "{name}: two at the same time {:.0} together {pairs:.0?}: {:.2}",
            middle(&mut pairs),
            middle(&mut pairs) / a
        );
    }
    Ok(())
}

/// Starts a second process of this program that does the same work.
fn other(name: &str, turn: Duration) -> anyhow::Result<Child> {
    let seconds = format!("seconds={}", turn.as_secs_f64());
    let mut command = Command::new(std::env::current_exe()?);
    Ok(command.args([format!("work={name}"), seconds]).stdout(Stdio::piped()).spawn()?)
}

/// A process that keeps a processor busy until it is dropped.
struct Busy(Child);

impl Busy {
    fn start() -> anyhow::Result<Self> {
        Ok(Self(Command::new(std::env::current_exe()?).arg("busy").spawn()?))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn middle(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

type Work<'a> = Box<dyn FnMut() -> anyhow::Result<usize> + 'a>;

/// CPU time of this process in seconds.
fn processor_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Tokens per second of `work` over the time `turn`. A call of `work` returns its number of tokens.
fn rate(turn: Duration, work: &mut dyn FnMut() -> anyhow::Result<usize>) -> anyhow::Result<f64> {
    let (start, mut tokens) = (Instant::now(), 0);
    while start.elapsed() < turn {
        tokens += work()?;
    }
    Ok(tokens as f64 / start.elapsed().as_secs_f64())
}

fn ids(tokens: i64, seed: i64) -> Vec<i64> {
    (0..tokens).map(|place| 100 + (place * 37 + seed * 1009) % 40_000).collect()
}

fn work<'a>(name: &str, model: &'a Llama) -> anyhow::Result<Work<'a>> {
    let mut turn = 0;
    Ok(match name {
        // 16 samples of 16 tokens after one prompt of 64 tokens.
        "sample" => {
            let mut engine = Engine::new(model, 16)?;
            Box::new(move || {
                turn += 1;
                let sampling = SamplingParams { temperature: 0.8, ..SamplingParams::default() };
                let request = |seed| Request {
                    prompt: ids(64, turn),
                    sampling: sampling.clone(),
                    seed,
                    max_new_tokens: 16,
                    top_logprobs: 0,
                };
                engine.generate(&(0..16).map(request).collect::<Vec<_>>(), |_, _| Next::Continue)?;
                Ok(16 * 16)
            })
        }
        // A forward and backward pass over eight texts of 128 tokens.
        "train" => {
            for (_, parameter) in model.named_parameters() {
                let _ = parameter.set_requires_grad(true);
            }
            let documents = [vec![128_i64; 8]];
            let positions = packed_positions(&documents, 1024);
            let ids = Tensor::from_slice(&ids(1024, 1)).unsqueeze(0);
            Box::new(move || {
                let mut attend = Packed { documents: &documents };
                let hidden = model.hidden_states(&ids, &positions, &mut attend, Pass::fused())?.squeeze_dim(0);
                let labels = ids.squeeze_dim(0);
                model.head().cross_entropy_sum(&hidden, &labels, None)?.backward();
                for (_, parameter) in model.named_parameters() {
                    torch_ext::take_grad(&parameter)?;
                }
                Ok(1024)
            })
        }
        // 12 continuations of 16 tokens after prompts of 64 tokens.
        "score" => {
            let pairs: Vec<_> = (0..12).map(|seed| (ids(64, seed), ids(16, seed + 100))).collect();
            Box::new(move || {
                llama::log_probs(model, &pairs)?;
                Ok(12 * 80)
            })
        }
        other => anyhow::bail!("{other} is none of {}", ALL.join(", ")),
    })
}
