//! What a run reports about its saved weights.

// Clippy's setting for tests does not cover helpers outside of test functions.
use crate::common;

use std::fs;

use common::World;
use llama::Llama;
use serde_json::{Value, json};
use tch::{Device, Kind};

fn json_of(world: &World, file: &str) -> Value {
    serde_json::from_slice(&fs::read(world.path(file)).unwrap()).unwrap()
}

fn refused(world: &World, flags: &str) -> String {
    format!("{:#}", world.run("refused", flags).unwrap_err())
}

#[test]
fn learning_rate_0_gives_the_input_back_byte_for_byte() {
    let world = World::new(8);
    let folder = world.path("model");
    let model = Llama::load(&folder, Some(Kind::Float), Device::Cpu).unwrap();
    {
        // float32 weights that bfloat16 cannot represent, and a negative zero.
        let _no_grad = tch::no_grad_guard();
        for (_, mut weight) in model.named_parameters() {
            let _ = weight.g_mul_scalar_(1.001);
            let _ = weight.flatten(0, -1).get(0).fill_(-0.0);
        }
    }
    for stored in [Kind::Float, Kind::BFloat16, Kind::Half] {
        model.save(&folder, Some(stored)).unwrap();
        let before = fs::read(folder.join("model.safetensors")).unwrap();
        for compute in ["f32", "bf16"] {
            let output = format!("{stored:?}-{compute}");
            world.run(&output, &format!("--learning-rate 0 --max-steps 2 --dtype {compute}")).unwrap();
            assert!(world.weights(&output) == before, "{output}: the weights differ");
        }
    }
}

#[test]
fn the_average_that_is_saved_is_what_is_reported_and_ranked() {
    let world = World::new(40);
    let turn = |role: &str, text: String| json!({"role": role, "content": text});
    let lines: Vec<String> = (0..6)
        .map(|n| json!({"messages": [turn("user", format!("And {n}, what is it?")), turn("assistant", format!("It is {n}."))]}))
        .map(|line| line.to_string())
        .collect();
    fs::write(world.path("held.jsonl"), lines.join("\n") + "\n").unwrap();
    let held = world.path("held.jsonl").display().to_string();
    for (name, flags) in [
        ("ema", "--average ema"),
        ("polyak", "--average polyak --decay-ratio 0.5"),
        ("lora", "--average ema --lora-rank 4 --merge --learning-rate 1e-2"),
    ] {
        let steps = "--max-steps 12 --eval-steps 4 --checkpoint-steps 4 --keep-last 9";
        world.run(name, &format!("{flags} --eval-data {held} {steps}")).unwrap();
        let report = json_of(&world, &format!("{name}/run.json"))["stage"]["figures"]["report"].clone();
        let loss = |evaluation: &Value| evaluation["loss"].as_f64().unwrap();
        let (saved, last) = (loss(&report["evaluation"]), loss(&report["last_evaluation"]));
        let start = loss(&json_of(&world, &format!("{name}/eval_start.json")));
        assert!(saved != last && saved < 0.9 * start, "{name}: {start} before, {saved} saved, {last} last");
        // A run that starts from the saved model measures the same before its first step.
        let again = format!("{name}-again");
        let model = world.path(name).join("model").display().to_string();
        world.run(&again, &format!("--model {model} --eval-data {held} --max-steps 1")).unwrap();
        let measured = loss(&json_of(&world, &format!("{again}/eval_start.json")));
        assert!((measured / saved - 1.0).abs() < 1e-5, "{name}: {saved} is reported, {measured} is true");
        assert!(!world.path(name).join("adapter").exists(), "{name}: an average is not an adapter");
        // The same holds for the checkpoints, whose losses decide which ones are kept.
        let metrics = trainer::metrics::read(&world.path(name).join("metrics.jsonl")).unwrap();
        assert_eq!(metrics[11].eval_loss, Some(saved));
        assert_eq!(metrics[11].metrics["eval_loss_of_last_weights"], last);
        let checkpoint = json_of(&world, &format!("{name}/checkpoints/step-12/checkpoint.json"));
        assert_eq!(loss(&checkpoint["evaluation"]), saved);
        if name != "lora" {
            let again = format!("{name}-checkpoint");
            let model = world.path(name).join("checkpoints/step-8").display().to_string();
            world.run(&again, &format!("--model {model} --eval-data {held} --max-steps 1")).unwrap();
            let measured = loss(&json_of(&world, &format!("{again}/eval_start.json")));
            assert!((measured / metrics[7].eval_loss.unwrap() - 1.0).abs() < 1e-5, "{name}: {measured}");
        }
    }
}

#[test]
fn an_averaging_run_that_is_stopped_ends_with_the_same_bytes() {
    let world = World::new(40);
    for (name, flags) in [("full", "--average polyak"), ("lora", "--average polyak --lora-rank 4 --merge")] {
        let flags = format!("{flags} --max-steps 12 --checkpoint-steps 1 --keep-last 20 --decay-ratio 0.5");
        let (whole, cut) = (format!("{name}-whole"), format!("{name}-cut"));
        world.run(&whole, &flags).unwrap();
        world.run(&cut, &flags).unwrap();
        // Before the average starts, and after.
        for step in [3, 9] {
            for later in step + 1..=12 {
                fs::remove_dir_all(world.path(&cut).join(format!("checkpoints/step-{later}"))).ok();
            }
            fs::remove_dir_all(world.path(&cut).join("model")).unwrap();
            world.run(&cut, &flags).unwrap();
            assert!(world.weights(&whole) == world.weights(&cut), "{name}, from step {step}");
        }
    }
}

#[test]
fn what_cannot_be_done_is_said_before_the_first_step() {
    let world = World::new(8);
    let error = refused(&world, "--lora-rank 4 --lora-targets q_proj v_porj");
    assert!(error.starts_with("--lora-targets v_porj matches no projection; the names are q_proj, k_proj"), "{error}");
    let error = refused(&world, "--dtype f16");
    assert!(error.starts_with("--dtype f16 is not for training: "), "{error}");
    let error = refused(&world, "--average ema --lora-rank 4");
    assert!(error.contains("needs --merge"), "{error}");
    world.run("all", "--lora-rank 4 --lora-targets all-linear q_proj --max-steps 1").unwrap();
    let config = json_of(&world, "all/adapter/adapter_config.json");
    assert_eq!(config["target_modules"].as_array().unwrap().len(), 7);
}

#[test]
fn a_resumed_run_knows_its_best_checkpoint() {
    let world = World::new(40);
    // At learning rate 0, nothing improves on the model before training, so no checkpoint is made as the best one.
    let flags =
        "--max-steps 8 --eval-steps 2 --eval-fraction 0.2 --learning-rate 0 --keep-last 50 --checkpoint-minutes 0";
    world.run("run", flags).unwrap();
    let checkpoints = || fs::read_dir(world.path("run/checkpoints")).unwrap().count();
    assert_eq!(checkpoints(), 1, "only the last");
    world.run("cut", &format!("{flags} --checkpoint-steps 3")).unwrap();
    fs::remove_dir_all(world.path("cut/model")).unwrap();
    for step in [6, 8] {
        fs::remove_dir_all(world.path(&format!("cut/checkpoints/step-{step}"))).unwrap();
    }
    world.run("cut", &format!("{flags} --checkpoint-steps 3")).unwrap();
    let mut names: Vec<String> = fs::read_dir(world.path("cut/checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["step-3", "step-6", "step-8"]);
}

#[test]
fn checkpoints_say_what_they_cost() {
    let world = World::new(20);
    world.run("run", "--max-steps 4 --checkpoint-steps 2").unwrap();
    let record = json_of(&world, "run/run.json");
    let cost = &record["stage"]["figures"]["report"]["checkpoints"];
    assert_eq!(cost["count"], 2);
    assert!(cost["bytes"].as_u64().unwrap() > 20_000 && cost["seconds"].as_f64().unwrap() > 0.0, "{cost}");
    assert!(record["summary"].as_str().unwrap().contains("2 checkpoints of "), "{}", record["summary"]);
    // The digests of the manifest, most of which are computed during writing, equal those of the files.
    let manifest = json_of(&world, "run/checkpoints/step-4/checkpoint.json");
    for (name, file) in manifest["files"].as_object().unwrap() {
        let path = world.path("run/checkpoints/step-4").join(name);
        assert_eq!(file["sha256"].as_str().unwrap(), dataset::digest::file(&path).unwrap(), "{name}");
    }
}
