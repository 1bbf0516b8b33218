//! A rank of an imagined training run, for tests of `launch run` and to show how a rank sends heartbeats.
//!
//!     launch run --processes 4 -- target/debug/examples/toy --folder /tmp/toy --steps 100 --fail 2:30:stop
//!
//! A step is some milliseconds of sleep and a barrier. Every few steps rank 0 saves the step's number; the next attempt resumes from it.
//! `--fail RANK:STEP:HOW[:ATTEMPT]` makes a rank fail at a step (in the first attempt, in the given one, or with `*` in every attempt):
//! `exit` (code 3), `kill`, `stop` (SIGSTOP), `hang` (no progress, but heartbeats continue).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use launch::heartbeat::{Pulse, Recorder};
use launch::supervisor::{Beat, LOAD, Step};

#[derive(Parser)]
struct Args {
    /// A folder that all ranks share
    #[arg(long)]
    folder: PathBuf,
    /// Steps of the run
    #[arg(long, default_value_t = 100)]
    steps: Step,
    /// Duration of a step in milliseconds
    #[arg(long, default_value_t = 10)]
    step_ms: u64,
    /// Steps between checkpoints
    #[arg(long, default_value_t = 10)]
    save_every: Step,
    /// Duration of a checkpoint in milliseconds
    #[arg(long, default_value_t = 5)]
    save_ms: u64,
    /// Duration of loading in milliseconds
    #[arg(long, default_value_t = 0)]
    load_ms: u64,
    /// RANK:STEP:HOW[:ATTEMPT]
    #[arg(long)]
    fail: Vec<String>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let variable = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set"));
    let (rank, ranks): (u32, u32) = (variable("RANK")?.parse()?, variable("WORLD_SIZE")?.parse()?);
    let attempt = variable("TORCHELASTIC_RESTART_COUNT")?;
    let recorder: Recorder = Box::new(move || format!("{{\"rank\": {rank}, \"entries\": []}}\n").into_bytes());
    let pulse = Pulse::from_env(Some(recorder))?;
    let tell = |beat: Beat| {
        if let Some(pulse) = &pulse {
            pulse.at(beat);
        }
    };
    let state = args.folder.join("state");
    let mut done: Step = fs::read_to_string(&state).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    let saved = |done| (rank == 0 && done > 0).then_some(done);
    let mut last = done;
    tell(Beat { saved: saved(last), ..Beat::new(done, LOAD) });
    std::thread::sleep(Duration::from_millis(args.load_ms));
    let barrier = args.folder.join(format!("barrier-{attempt}"));
    fs::create_dir_all(&barrier)?;
    while done < args.steps {
        tell(Beat { saved: saved(last), ..Beat::new(done + 1, "forward") });
        fail(&args.fail, rank, done + 1, &attempt)?;
        std::thread::sleep(Duration::from_millis(args.step_ms));
        let waiting = Some("all_reduce".into());
        tell(Beat { waiting, collective: done + 1, saved: saved(last), ..Beat::new(done + 1, "backward") });
        wait(&barrier, rank, ranks, done + 1)?;
        done += 1;
        if rank == 0 && done.is_multiple_of(args.save_every) {
            tell(Beat { saved: saved(last), ..Beat::new(done, "save") });
            std::thread::sleep(Duration::from_millis(args.save_ms));
            let partial = args.folder.join("state.partial");
            fs::write(&partial, done.to_string())?;
            fs::rename(partial, &state)?;
            last = done;
        }
    }
    println!("finished {done} steps in attempt {attempt}");
    Ok(())
}

/// Waits until all ranks have reached a step.
fn wait(folder: &Path, rank: u32, ranks: u32, step: Step) -> anyhow::Result<()> {
    let partial = folder.join(format!("{rank}.partial"));
    fs::write(&partial, step.to_string())?;
    fs::rename(partial, folder.join(rank.to_string()))?;
    let there = |rank: u32| {
        let text = fs::read_to_string(folder.join(rank.to_string())).ok();
        text.and_then(|text| text.parse::<Step>().ok()).is_some_and(|other| other >= step)
    };
    while !(0..ranks).all(there) {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn fail(plans: &[String], rank: u32, step: Step, attempt: &str) -> anyhow::Result<()> {
    for plan in plans {
        let parts: Vec<&str> = plan.split(':').collect();
        let [at_rank, at_step, how, rest @ ..] = parts.as_slice() else {
            bail!("--fail {plan}: RANK:STEP:HOW[:ATTEMPT]")
        };
        let at_attempt = rest.first().copied().unwrap_or("0");
        if at_rank.parse() != Ok(rank) || at_step.parse() != Ok(step) || !["*", attempt].contains(&at_attempt) {
            continue;
        }
        // The heartbeat thread reports this place first.
        std::thread::sleep(Duration::from_millis(100));
        // SAFETY: signals to this process.
        unsafe {
            match *how {
                "exit" => std::process::exit(3),
                "kill" => libc::kill(libc::getpid(), libc::SIGKILL),
                "stop" => libc::kill(libc::getpid(), libc::SIGSTOP),
                "hang" => loop {
                    std::thread::sleep(Duration::from_secs(1));
                },
                _ => bail!("--fail {plan}: {how} is none of exit, kill, stop, hang"),
            };
        }
    }
    Ok(())
}
