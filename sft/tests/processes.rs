//! Several processes train one model: the same bytes as one, and what happens when one of them fails.

// Clippy's setting for tests does not cover helpers outside of test functions.
use crate::common;
use crate::ranks;

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::World;
use rand::{RngExt, SeedableRng};
use ranks::{bytes, ended};

fn command(world: &World, output: &str, flags: &str) -> Command {
    common::child(&std::env::current_exe().unwrap(), &world.flags(output, flags))
}

/// Starts so many ranks of one run; flags of a rank's own come from `own`.
fn start(world: &World, output: &str, size: usize, flags: &str, own: impl Fn(usize) -> &'static str) -> Vec<Child> {
    let store = world.path(&format!("{output}.store"));
    ranks::start(&store, size, |rank| command(world, output, &format!("{flags} {}", own(rank))))
}

fn train(world: &World, output: &str, size: usize, flags: &str) {
    ranks::succeed(&world.path(&format!("{output}.store")), size, |_| command(world, output, flags));
}

/// Steps of several micro-batches, so that two and four processes share them unevenly.
const FULL: &str = "--epochs 2 --checkpoint-steps 3 --keep-last 9 --batch-tokens 900 --micro-batch-tokens 256 --neftune-alpha 5 \
                    --eval-fraction 0.2 --eval-steps 3";
const LORA: &str = "--epochs 1 --checkpoint-steps 2 --batch-tokens 900 --micro-batch-tokens 256 --lora-rank 4 --lora-dropout 0.1 \
                    --eval-fraction 0.2 --merge --average ema --average-decay 0.9";

#[test]
fn one_two_and_four_processes_end_with_the_same_bytes() {
    let world = World::new(60);
    for (name, flags) in [
        ("full", FULL.to_owned()),
        ("full-bf16", format!("{FULL} --dtype bf16 --recompute")),
        ("lora", LORA.to_owned()),
        ("lora-bf16", format!("{LORA} --dtype bf16")),
        ("average", format!("{FULL} --dtype bf16 --average polyak --decay-ratio 0.5")),
    ] {
        let alone = format!("{name}-1");
        assert_eq!(ended(world.spawn(&alone, &flags)).0, Some(0));
        let expected = bytes(&world.path(&alone));
        let sizes: &[usize] = if name == "full" || name == "lora-bf16" { &[2, 4] } else { &[4] };
        for &size in sizes {
            let output = format!("{name}-{size}");
            train(&world, &output, size, &flags);
            assert_eq!(bytes(&world.path(&output)), expected, "{name} on {size} processes");
        }
    }
}

#[test]
fn the_library_s_sums_are_the_same_but_for_rounding() {
    let world = World::new(40);
    let flags = "--epochs 2 --batch-tokens 900 --micro-batch-tokens 256";
    world.run("alone", flags).unwrap();
    train(&world, "fast", 4, &format!("{flags} --reduce fast"));
    let first = |output: &str| {
        let log = trainer::metrics::read(&world.path(output).join("metrics.jsonl")).unwrap();
        (log[0].loss, log[0].grad_norm)
    };
    // The same losses, gradients that are added in another order.
    let (alone, fast) = (first("alone"), first("fast"));
    assert_eq!(alone.0, fast.0);
    assert!((alone.1 / fast.1 - 1.0).abs() < 1e-6, "{alone:?} {fast:?}");
    let read = |output: &str| trainer::state::read(&world.path(output).join("model")).unwrap();
    for ((name, a), (_, b)) in read("alone").iter().zip(&read("fast")) {
        let (a, b) = (a.to_kind(tch::Kind::Double), b.to_kind(tch::Kind::Double));
        let error = f64::try_from((&a - &b).norm() / b.norm()).unwrap();
        // AdamW divides by the root of a second moment that is next to nothing at first.
        assert!(error < 1e-4, "{name} is off by {error}");
    }
}

/// Waits until the run has logged so many steps.
fn reached(world: &World, output: &str, steps: usize, ranks: &mut [Child]) {
    let start = Instant::now();
    while world.steps_done(output) < steps && ranks.iter_mut().all(|rank| rank.try_wait().unwrap().is_none()) {
        assert!(start.elapsed() < Duration::from_secs(120), "the run hangs");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn killed_ranks_and_another_number_of_ranks_change_no_byte() {
    let world = World::new(60);
    let flags = "--epochs 6 --checkpoint-steps 2 --batch-tokens 900 --micro-batch-tokens 256 --eval-fraction 0.1";
    world.run("whole", flags).unwrap();
    for (attempt, size) in [4, 2, 3].into_iter().enumerate() {
        let mut ranks = start(&world, "killed", size, flags, |_| "");
        reached(&world, "killed", 4 * (attempt + 1), &mut ranks);
        let victim = attempt % size;
        ranks[victim].kill().unwrap();
        for (rank, child) in ranks.into_iter().enumerate() {
            let (code, text) = ended(child);
            assert!(code != Some(0), "rank {rank} went on alone: {text}");
            let named = format!("rank {victim} (");
            assert!(rank == victim || text.contains(&named) && text.contains("does not answer"), "rank {rank}: {text}");
        }
    }
    train(&world, "killed", 2, flags);
    assert!(world.weights("whole") == world.weights("killed"), "the weights differ");
    assert_eq!(world.steps_done("whole"), world.steps_done("killed"));
}

#[test]
fn a_signal_to_one_rank_stops_all_after_the_same_step() {
    let world = World::new(40);
    let flags = "--epochs 8 --checkpoint-minutes 0 --batch-tokens 900 --micro-batch-tokens 256";
    let mut ranks = start(&world, "stopped", 2, flags, |_| "");
    reached(&world, "stopped", 3, &mut ranks);
    // SAFETY: the signal goes to our own child process, which has not been waited for.
    assert_eq!(unsafe { libc::kill(ranks[1].id() as i32, libc::SIGTERM) }, 0);
    let texts: Vec<String> = ranks.into_iter().map(|child| ended(child).1).collect();
    let sentence = |text: &String| text.lines().find(|line| line.contains("stopped by a signal")).map(str::to_owned);
    let first = sentence(&texts[0]).unwrap_or_else(|| panic!("{texts:?}"));
    assert_eq!(sentence(&texts[1]), Some(first), "{texts:?}");
    world.run("stopped", flags).unwrap();
    world.run("whole", flags).unwrap();
    assert!(world.weights("whole") == world.weights("stopped"), "the weights differ");
}

#[test]
fn other_configurations_are_refused_and_only_the_first_rank_writes() {
    let world = World::new(40);
    let flags = "--epochs 1 --eval-fraction 0.2";
    let ranks = start(&world, "other", 2, flags, |rank| if rank == 1 { "--seed 7" } else { "" });
    for child in ranks {
        let (code, text) = ended(child);
        assert_eq!(code, Some(1));
        let sentence = "rank 1 was started with another value of seed than rank 0: 7 instead of 0";
        assert!(text.contains(sentence), "{text}");
    }
    assert!(!world.path("other").join("run.json").exists());
    train(&world, "run", 2, flags);
    let record = run::Record::read(&world.path("run")).unwrap().unwrap();
    assert!(record.finished && record.damage(&world.path("run")).unwrap().is_empty());
    assert_eq!(record.stage.figures["report"]["processes"], 2);
    // A finished run is finished for all.
    train(&world, "run", 2, flags);
}

/// The processes that `parent` has started.
fn children(parent: u32) -> Vec<i32> {
    let is_child = |pid: &i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line.split_whitespace().eq(["PPid:", &parent.to_string()]))
    };
    let all = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    all.filter(is_child).collect()
}

#[test]
fn the_supervisor_starts_again_what_was_killed_and_no_byte_changes() {
    let Some(launch) = test_support::program("launch") else { return };
    let world = World::new(60);
    let flags = "--epochs 6 --checkpoint-steps 2 --batch-tokens 900 --micro-batch-tokens 256";
    world.run("whole", flags).unwrap();
    let mut run = Command::new(launch);
    run.args(["run", "--processes", "4", "--"]).arg(std::env::current_exe().unwrap()).args([
        "--exact",
        "child",
        "--nocapture",
    ]);
    run.env("SFT_CHILD", world.flags("launched", flags).join("\n")).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut supervisor = run.spawn().unwrap();
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
    for goal in [3, 7] {
        reached(&world, "launched", goal, std::slice::from_mut(&mut supervisor));
        std::thread::sleep(Duration::from_millis(rng.random_range(0..30)));
        let ranks = children(supervisor.id());
        if let Some(&victim) = ranks.get(rng.random_range(0..4)) {
            // SAFETY: the signal goes to a process that our own child has started.
            unsafe { libc::kill(victim, libc::SIGKILL) };
        }
    }
    let (code, text) = ended(supervisor);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("was killed by SIGKILL") && text.contains("going on after step"), "{text}");
    assert!(world.weights("whole") == world.weights("launched"), "the weights differ");
}
