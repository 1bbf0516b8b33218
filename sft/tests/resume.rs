//! A killed run ends with the bytes of an uninterrupted run.

// Clippy's setting for tests does not cover helpers outside of test functions.
use crate::common;

use std::io::Read;
use std::time::{Duration, Instant};

use common::World;
use rand::{RngExt, SeedableRng};

const RUN: &str = "--epochs 6 --checkpoint-steps 2 --keep-last 2";

/// Kills a run with SIGKILL after a random number of steps, `times` times, then lets it finish.
fn killed(world: &World, output: &str, flags: &str, times: usize, seed: u64) {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let mut killed = 0;
    let mut goal = 0;
    for _ in 0..times {
        let mut child = world.spawn(output, flags);
        goal += rng.random_range(1..6);
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
}

#[test]
fn sigkill_at_random_steps_changes_no_byte() {
    let world = World::new(40);
    world.run("whole", RUN).unwrap();
    killed(&world, "killed", RUN, 5, 1);
    assert!(world.weights("whole") == world.weights("killed"), "the weights differ");
    assert_eq!(world.steps_done("whole"), world.steps_done("killed"));
}

#[test]
fn noise_averages_accumulation_and_bf16_resume_too() {
    let world = World::new(30);
    let flags = "--epochs 5 --checkpoint-steps 3 --neftune-alpha 5 --average ema --average-decay 0.9 --recompute \
                 --dtype bf16 --eval-fraction 0.1 --eval-steps 4 --schedule wsd";
    // A child process, since its noise must not share libtorch's generator with concurrent tests.
    assert!(world.spawn("whole", flags).wait().unwrap().success());
    killed(&world, "killed", flags, 3, 2);
    assert!(world.weights("whole") == world.weights("killed"), "the weights differ");
}

#[test]
fn sigterm_saves_and_the_same_command_goes_on() {
    let world = World::new(40);
    let flags = "--epochs 8 --checkpoint-minutes 0";
    let mut child = world.spawn("stopped", flags);
    while world.steps_done("stopped") < 3 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(2));
    }
    // SAFETY: the signal goes to our own child process, which has not been waited for.
    assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGTERM) }, 0);
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(errors.contains("stopped by a signal after step") && errors.contains("same command goes on"), "{errors}");
    world.run("stopped", flags).unwrap();
    world.run("whole", flags).unwrap();
    assert!(world.weights("whole") == world.weights("stopped"), "the weights differ");
}

#[test]
fn a_damaged_checkpoint_is_reported_and_the_previous_one_used() {
    let world = World::new(40);
    world.run("whole", RUN).unwrap();
    let mut child = world.spawn("damaged", RUN);
    while world.steps_done("damaged") < 7 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let checkpoints = world.path("damaged/checkpoints");
    let mut steps: Vec<u64> = std::fs::read_dir(&checkpoints)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_prefix("step-")?.parse().ok())
        .collect();
    steps.sort_unstable();
    assert!(steps.len() >= 2, "{steps:?}");
    let newest = checkpoints.join(format!("step-{}", steps[steps.len() - 1]));
    let file = newest.join("state/moments.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let mut child = world.spawn("damaged", RUN);
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(child.wait().unwrap().success(), "{errors}");
    assert!(errors.contains("is damaged and passed over: state/moments.safetensors has changed"), "{errors}");
    assert!(errors.contains(&format!("going on after step {}", steps[steps.len() - 2])), "{errors}");
    assert!(world.weights("whole") == world.weights("damaged"), "the weights differ");
}
