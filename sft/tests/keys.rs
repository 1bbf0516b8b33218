//! A run that is stopped and resumed with other values: which changes are refused, which are accepted, and which only
//! repeat the saving.

// Clippy's setting for tests does not cover helpers outside of test functions.
use crate::common;

use std::fs;
use std::io::Read;
use std::time::Duration;

use common::World;
use llama::Llama;
use run::Record;
use tch::Device;

const RUN: &str = "--epochs 8 --checkpoint-minutes 0";

/// A run that SIGTERM stopped after a few steps.
fn stopped(world: &World) {
    let mut child = world.spawn("run", RUN);
    while world.steps_done("run") < 3 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(2));
    }
    // SAFETY: the signal goes to our own child process, which has not been waited for.
    assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGTERM) }, 0);
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

fn record(world: &World) -> Record {
    Record::read(&world.path("run")).unwrap().unwrap()
}

#[test]
fn another_course_is_refused_and_names_every_key() {
    let world = World::new(40);
    stopped(&world);
    let first = record(&world);
    assert!(!first.finished && first.bit_exact && first.duration_seconds > 0.0, "{first:?}");
    let other = "--epochs 9 --checkpoint-minutes 0 --batch-size 4 --lora-rank 2 --learning-rate 1e-3";
    let error = format!("{:#}", world.run("run", other).unwrap_err());
    for part in [
        "epochs: 8 before, 9 now",
        "batch_size: not set before, 4 now",
        "lora_rank: 0 before, 2 now",
        "learning_rate: 0.003 before, 0.001 now",
        "choose another --output",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(!error.contains("checkpoint"), "{error}");
    // The refused command leaves nothing; the first command continues.
    assert_eq!(record(&world), first);
    world.run("run", RUN).unwrap();
    assert!(record(&world).finished && record(&world).bit_exact);
}

/// Changes that an out-of-memory error advises, and changes that another machine causes.
#[test]
fn memory_and_threads_may_change_on_the_way() {
    let world = World::new(40);
    stopped(&world);
    let mut child = world.spawn("run", &format!("{RUN} --micro-batch-tokens 300 --recompute --threads 2"));
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(child.wait().unwrap().success(), "{errors}");
    assert!(errors.contains("going on after step"), "{errors}");
    for part in ["micro_batch_tokens: 256 before, 300 now: accepted", "threads: 1"] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
    let record = record(&world);
    assert!(record.finished && !record.bit_exact);
    assert_eq!((record.notes.len(), record.resumed.len(), record.resumed[0].changed.len()), (2, 1, 2), "{record:?}");
    // It is the same training, up to rounding.
    world.run("whole", RUN).unwrap();
    let load = |run: &str| Llama::load(&world.path(run).join("model"), None, Device::Cpu).unwrap().named_parameters();
    for ((name, a), (_, b)) in load("run").iter().zip(&load("whole")) {
        let error = f64::try_from((a - b).norm() / b.norm()).unwrap();
        assert!(error < 1e-4, "{name} is off by {error}");
    }
}

/// Recomputing activations does not change the training.
#[test]
fn a_run_that_goes_on_with_recomputation_ends_with_the_same_bytes() {
    let world = World::new(40);
    stopped(&world);
    world.run("run", &format!("{RUN} --recompute-layers 1")).unwrap();
    let record = record(&world);
    assert!(record.finished && record.bit_exact && record.notes.is_empty(), "{record:?}");
    world.run("whole", &format!("{RUN} --recompute")).unwrap();
    assert!(world.weights("whole") == world.weights("run"), "the weights differ");
}

#[test]
fn a_finished_adapter_is_merged_without_training_again() {
    let world = World::new(40);
    let flags = "--epochs 2 --lora-rank 4";
    world.run("run", flags).unwrap();
    let adapter = || fs::read(world.path("run/adapter/adapter_model.safetensors")).unwrap();
    let metrics = || fs::read(world.path("run/metrics.jsonl")).unwrap();
    let (trained, steps) = (adapter(), metrics());
    assert!(!world.path("run/model").exists());
    world.run("run", &format!("{flags} --merge --save-dtype bf16")).unwrap();
    assert!(adapter() == trained && metrics() == steps, "it was trained again");
    let merged = Llama::load(&world.path("run/model"), None, Device::Cpu).unwrap();
    assert_eq!(merged.kind(), tch::Kind::BFloat16);
    // The result equals that of a run that merged at its end.
    world.run("at-once", &format!("{flags} --merge --save-dtype bf16")).unwrap();
    assert!(world.weights("run") == world.weights("at-once"), "the merged weights differ");
    let last = record(&world);
    assert!(last.finished && last.bit_exact && last.outputs.iter().any(|file| file.path == "model/model.safetensors"));
    // Without its last checkpoint, the run cannot be saved in another form, and stays unchanged.
    fs::remove_dir_all(world.path("run/checkpoints")).unwrap();
    let error = format!("{:#}", world.run("run", &format!("{flags} --merge --save-dtype f32")).unwrap_err());
    assert!(error.contains("its last checkpoint") && error.contains("is not there"), "{error}");
    assert_eq!(record(&world), last);
}
