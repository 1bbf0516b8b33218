//! Runs of `herd vision train`: killed ones, records that cannot be used, and what is shown.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::common::World;
use serde_json::{Value, json};

/// The bytes of all files below a folder.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                all.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    all
}

#[test]
fn a_killed_run_ends_with_the_same_bytes() {
    let world = World::new(48, 1);
    let flags = "--epochs 4 --batch-size 8 --checkpoint-steps 2 --learning-rate 3e-3";
    world.run("whole", flags).unwrap();
    // Temporary files that a kill left behind are ignored.
    let features_of = |run: &str| {
        let mut all = files(&world.path(run).join("features"));
        all.retain(|name, _| name.ends_with(".f16"));
        all
    };
    let count = |folder: &str| std::fs::read_dir(world.path(folder)).map_or(0, Iterator::count);
    type Reached<'a> = &'a dyn Fn() -> bool;
    // While features are computed, and in two steps.
    let moments: [Reached; 3] =
        [&|| count("killed/features") >= 5, &|| world.steps_done("killed") >= 5, &|| world.steps_done("killed") >= 14];
    let mut killed = 0;
    for reached in moments {
        let mut child = world.spawn("killed", flags);
        let start = Instant::now();
        while !reached() && child.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < Duration::from_secs(120), "the run hangs");
            std::thread::sleep(Duration::from_millis(1));
        }
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            killed += 1;
        }
        child.wait().unwrap();
    }
    assert!(killed > 0, "no kill hit the run");
    // A state that was half written, and one that the disk spoilt.
    let features = features_of("killed");
    let mut names = features.keys();
    let (cut, spoilt) = (names.next().unwrap(), names.next().unwrap());
    let path = |name: &str| world.path("killed/features").join(name);
    std::fs::write(path(cut), &features[cut][..features[cut].len() / 2]).unwrap();
    let mut bytes = features[spoilt].clone();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(path(spoilt), bytes).unwrap();
    let output = crate::common::child(&world.flags("killed", flags)).output().unwrap();
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{stderr}");
    assert!(stdout.contains("2 damaged files of states were computed again"), "{stdout}");
    assert!(stderr.contains("going on after step"), "{stderr}");
    assert!(files(&world.path("whole/model")) == files(&world.path("killed/model")), "the models differ");
    assert!(features_of("whole") == features_of("killed"), "the features differ");
}

/// Conversations with one of the world's pictures each, from their turns.
fn write(world: &World, name: &str, records: &[Value]) {
    let lines: Vec<String> = records.iter().map(|messages| json!({"messages": messages}).to_string()).collect();
    std::fs::write(world.path(name), lines.join("\n") + "\n").unwrap();
}

fn picture(name: &str) -> Value {
    json!({"type": "image", "image": format!("pictures/{name}.png")})
}

fn answer(text: &str) -> Value {
    json!({"role": "assistant", "content": text})
}

#[test]
fn what_cannot_be_used_is_counted_and_never_trained_without_its_picture() {
    let world = World::new(4, 4);
    let long = "x".repeat(60);
    write(
        &world,
        "mixed.jsonl",
        &[
            json!([{"role": "user", "content": [picture("train-0"), "a"]}, answer("b")]),
            // Text alone: nothing that is trained changes it.
            json!([{"role": "user", "content": "a"}, answer("b")]),
            // Too long; without its first turn it would have lost the picture.
            json!([{"role": "user", "content": [picture("train-1"), long]}, answer("b"),
                   {"role": "user", "content": "and?"}, answer("c")]),
            json!([{"role": "user", "content": [picture("missing"), "a"]}, answer("b")]),
            json!([{"role": "user", "content": [picture("train-2"), "a <|image|>"]}, answer("b")]),
        ],
    );
    let data = world.path("mixed.jsonl").display().to_string();
    let flags = format!("--data {data} --max-length 80 --over-long truncate-prompt --max-steps 1");
    let error = format!("{:#}", world.run("strict", &flags).unwrap_err());
    assert!(error.contains("mixed.jsonl:4") && error.contains("pictures/missing.png: cannot be read"), "{error}");
    let output = crate::common::child(&world.flags("lenient", &format!("{flags} --skip-bad"))).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let record: Value = serde_json::from_slice(&std::fs::read(world.path("lenient/run.json")).unwrap()).unwrap();
    let ledger = &record["stage"]["figures"]["data"][0];
    for (name, count) in [
        ("rows", 5),
        ("examples", 1),
        ("set_aside", 2),
        ("pictures", 1),
        ("without_a_picture", 1),
        ("picture_cut_off", 1),
        ("unusable_picture", 1),
    ] {
        assert_eq!(ledger[name].as_u64().or(ledger["counts"][name].as_u64()), Some(count), "{name}: {ledger}");
    }
    let rejected = std::fs::read_to_string(world.path("lenient/rejected-1.jsonl")).unwrap();
    assert!(rejected.contains("the text holds the special token <|image|>"), "{rejected}");
    // The example that is shown names its picture, and marks the answer.
    assert!(stdout.contains("train-0.png, 28 x 28 pixels, SHA-256 "), "{stdout}");
    assert!(stdout.contains("<|image|>·a·") && stdout.contains("⟦b·<|im_end|>·"), "{stdout}");
}

#[test]
fn the_encoder_can_be_trained_and_training_goes_on_from_a_model() {
    let world = World::new(16, 1);
    world.run("first", "--max-steps 3 --batch-size 4 --learning-rate 1e-2").unwrap();
    let first = world.path("first/model").display().to_string();
    let flags = format!("--from {first} --train-encoder --max-steps 3 --batch-size 4 --learning-rate 1e-2");
    let kept = without(world.flags("second", &flags), &["--encoder", "--image-size", "--cross-every"]);
    crate::common::run(&kept).unwrap();
    assert!(!world.path("second/features").exists(), "a trained encoder's states are not kept");
    let tensor = |run: &str, name: &str| {
        let checkpoint = weights::Checkpoint::open(world.path(run).join("model/encoder")).unwrap();
        checkpoint.tensor(name).unwrap().data.to_vec()
    };
    let fixture = weights::Checkpoint::open(test_support::fixture("vision/dinov2/model.safetensors")).unwrap();
    for name in ["encoder.layer.0.norm1.weight", "embeddings.patch_embeddings.projection.weight"] {
        assert!(tensor("first", name) == fixture.tensor(name).unwrap().data, "{name} was frozen");
        assert!(tensor("second", name) != tensor("first", name), "{name} was trained");
    }
    assert_eq!(tensor("second", "embeddings.mask_token"), tensor("first", "embeddings.mask_token"));
    vision::Composed::load(&world.path("second/model"), None, None, tch::Device::Cpu).unwrap();
}

/// Flags without some of them and their values.
fn without(flags: Vec<String>, names: &[&str]) -> Vec<String> {
    let mut flags = flags.into_iter();
    let mut kept = Vec::new();
    while let Some(word) = flags.next() {
        if names.contains(&word.as_str()) {
            flags.next();
        } else {
            kept.push(word);
        }
    }
    kept
}

#[test]
fn the_tower_of_llama_3_2_vision_is_an_encoder_too() {
    let world = World::new(8, 1);
    let source = test_support::fixture("vision/mllama");
    let folder = world.path("mllama");
    std::fs::create_dir(&folder).unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(source.join(name), folder.join(name)).unwrap();
    }
    let settings = json!({"size": {"height": 28, "width": 28}, "max_image_tiles": 4});
    std::fs::write(folder.join("preprocessor_config.json"), settings.to_string()).unwrap();
    let flags = format!("--encoder {} --max-steps 2", folder.display());
    let error = format!("{:#}", world.run("refused", &flags).unwrap_err());
    assert!(error.contains("leave --image-size and --encoder-layers out"), "{error}");
    crate::common::run(&without(world.flags("run", &flags), &["--image-size"])).unwrap();
    let model = vision::Composed::load(&world.path("run/model"), None, None, tch::Device::Cpu).unwrap();
    // One tile of 4 patches and the class token; the last state and those of two layers.
    let picture = pictures::Source::Path(world.path("pictures/train-0.png"));
    let states = model.look(&[picture], &pictures::Limits::default()).unwrap();
    assert_eq!(states[0].size(), [5, 96]);
    let kept = weights::Checkpoint::open(world.path("run/model/encoder")).unwrap();
    assert!(kept.len() > 20 && kept.names().all(|name| name.starts_with("vision_model.")), "the tower alone");
}
