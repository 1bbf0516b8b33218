//! A killed run ends with the bytes of an uninterrupted run, and continues its reference's log-probs.

// Clippy's setting for tests does not cover helpers outside of test functions.
use crate::common;

use std::fs;
use std::io::Read;
use std::time::{Duration, Instant};

use common::World;
use rand::{RngExt, SeedableRng};

/// Kills a run with SIGKILL after a random number of steps, `times` times, then lets it finish. Returns the output of
/// the last run.
fn killed(world: &World, output: &str, flags: &str, times: usize, seed: u64) -> String {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let (mut killed, mut goal) = (0, 0);
    for _ in 0..times {
        let mut child = world.spawn(output, flags);
        goal += rng.random_range(1..5);
        let start = Instant::now();
        while world.steps_done(output) < goal && child.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < Duration::from_secs(300), "the run hangs");
            std::thread::sleep(Duration::from_millis(2));
        }
        // The kill comes anywhere in a step or in a checkpoint.
        std::thread::sleep(Duration::from_millis(rng.random_range(0..25)));
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            killed += 1;
        }
        child.wait().unwrap();
    }
    assert!(killed > 0, "no kill hit the run");
    let mut child = world.spawn(output, flags);
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(child.wait().unwrap().success(), "{errors}");
    assert!(errors.contains("going on after step"), "{errors}");
    errors
}

#[test]
fn sigkill_at_random_steps_changes_no_byte_and_the_cache_is_reused() {
    let world = World::new(40);
    let flags = "--epochs 4 --checkpoint-steps 2 --eval-fraction 0.1 --eval-steps 4";
    world.run("whole", flags).unwrap();
    let errors = killed(&world, "killed", flags, 4, 1);
    assert!(errors.contains("reference log-probs of 40 pairs from"), "{errors}");
    assert!(world.weights("whole") == world.weights("killed"), "the weights differ");
    assert_eq!(world.steps_done("whole"), world.steps_done("killed"));
    let cache = |run: &str| fs::read(world.path(run).join("reference/log_probs.safetensors")).unwrap();
    assert!(cache("whole") == cache("killed"), "the reference's log-probs differ");
}

#[test]
fn lora_in_bf16_with_a_live_reference_too() {
    let world = World::new(30);
    let flags = "--epochs 4 --checkpoint-steps 3 --lora-rank 4 --merge --dtype bf16 --live-reference --average ema \
                 --average-decay 0.9";
    assert!(world.spawn("whole", flags).wait().unwrap().success());
    killed(&world, "killed", flags, 3, 2);
    assert!(world.weights("whole") == world.weights("killed"), "the weights differ");
}

#[test]
fn a_kill_before_the_first_step_leaves_no_half_cache() {
    let world = World::new(60);
    let flags = "--max-steps 2";
    world.run("whole", flags).unwrap();
    let mut child = world.spawn("killed", flags);
    let start = Instant::now();
    while !world.path("killed/config.toml").is_file() {
        assert!(start.elapsed() < Duration::from_secs(60), "the run does not begin");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    world.run("killed", flags).unwrap();
    assert!(world.weights("whole") == world.weights("killed"), "the weights differ");
}
