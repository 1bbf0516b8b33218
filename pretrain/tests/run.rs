//! Whole runs on a tiny model.

// Helpers of tests stand outside of test functions.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "../../sft/tests/common/ranks.rs"]
mod ranks;

use std::io::Read;
use std::time::{Duration, Instant};

use common::{World, child, text, write_shard};
use rand::{RngExt, SeedableRng};

#[test]
fn a_run_learns_and_says_what_it_saw() {
    let world = World::new();
    world.run("run", "--tokens 20000 --eval-steps 20").unwrap();
    let metrics = world.metrics("run");
    assert_eq!(metrics.len(), 20000_usize.div_ceil(256));
    let last = metrics.last().unwrap();
    let (first, end) = (metrics[0]["loss"].as_f64().unwrap(), last["loss"].as_f64().unwrap());
    assert!(first > 5.0 && end < 3.0, "{first} {end}");
    for name in ["loss/sums", "loss/rhymes", "epoch/sums", "epoch/rhymes", "eval_loss", "eval_bits_per_byte"] {
        assert!(last[name].is_f64(), "{name}: {last}");
    }
    // The loss is the mean over the sources' tokens, and lies between theirs.
    let (sums, rhymes) = (last["loss/sums"].as_f64().unwrap(), last["loss/rhymes"].as_f64().unwrap());
    assert!(end <= sums.max(rhymes) && end >= sums.min(rhymes), "{last}");
    // A byte is a token here: bits per byte are nats / ln 2, but for the ends of documents.
    let (bits, loss) = (last["eval_bits_per_byte"].as_f64().unwrap(), last["eval_loss"].as_f64().unwrap());
    assert!((bits * std::f64::consts::LN_2 / loss - 1.0).abs() < 0.1, "{bits} {loss}");
    let record = run::Record::read(&world.path("run")).unwrap().unwrap();
    assert!(record.finished && record.bit_exact && record.stage.name == "pretrain");
    let data: Vec<&run::Input> = record.inputs.iter().filter(|input| input.key == "data").collect();
    assert_eq!(data.iter().map(|input| input.weight).collect::<Vec<_>>(), [Some(0.7), Some(0.7), Some(0.3)]);
    // A model folder that loads again.
    let model = llama::Llama::load(&world.path("run/model"), None, tch::Device::Cpu).unwrap();
    assert_eq!(model.config().num_hidden_layers, 2);
}

/// Steps see the tokens that the plan names: with a learning rate of 0, the losses of all steps over one epoch are the
/// evaluation of the same text.
#[test]
fn an_epoch_is_the_whole_text() {
    let world = World::new();
    let model = world.path("model");
    // Documents that fill their shard: no window is left over.
    let texts: Vec<String> = (0..80).map(|n| text(0, n)).collect();
    let mut all = texts.concat();
    assert!(all.len() >= 32 * 8 * 10);
    all.truncate(32 * 8 * 10 - 1);
    write_shard(&world.path("one/0.ds"), &model, &[all]);
    let one = world.path("one").display().to_string();
    world.run("run", &format!("--learning-rate 0 --tokens 2560 --data {one} --eval-data {one}")).unwrap();
    let metrics = world.metrics("run");
    assert_eq!(metrics.len(), 10);
    assert_eq!(metrics[9]["epoch"], 1.0);
    let sum = |name: &str| metrics.iter().map(|step| step[name].as_f64().unwrap()).sum::<f64>();
    let trained: f64 = sum("trained_tokens");
    let loss = metrics.iter().map(|m| m["loss"].as_f64().unwrap() * m["trained_tokens"].as_f64().unwrap()).sum::<f64>();
    // Every token but the first of the document is predicted once.
    assert_eq!(trained, 2559.0);
    let expected = metrics[9]["eval_loss"].as_f64().unwrap();
    assert!((loss / trained - expected).abs() < 1e-4, "{} {expected}", loss / trained);
}

#[test]
fn micro_batches_do_not_change_the_step() {
    let world = World::new();
    world.run("small", "--micro-batch-tokens 32").unwrap();
    world.run("large", "--micro-batch-tokens 256").unwrap();
    for (small, large) in world.metrics("small").iter().zip(world.metrics("large")) {
        let (a, b) = (small["loss"].as_f64().unwrap(), large["loss"].as_f64().unwrap());
        assert!((a - b).abs() < 2e-3, "{a} {b}");
        let (a, b) = (small["epoch/sums"].as_f64().unwrap(), large["epoch/sums"].as_f64().unwrap());
        assert!((a - b).abs() < 1e-12, "{a} {b}");
    }
}

/// Kills a run with SIGKILL at random moments, then lets it finish.
fn killed(world: &World, output: &str, flags: &str, times: usize, seed: u64) {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let (mut killed, mut goal) = (0, 0);
    for _ in 0..times {
        let mut child = world.spawn(output, flags);
        goal += rng.random_range(1..5);
        let start = Instant::now();
        while world.metrics(output).len() < goal && child.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < Duration::from_secs(300), "the run hangs");
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_millis(rng.random_range(0..25)));
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            killed += 1;
        }
        child.wait().unwrap();
    }
    assert!(killed > 0, "no kill hit the run");
    let output = child(&world.flags(output, flags)).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.contains("going on after step"), "{errors}");
}

#[test]
fn sigkill_at_random_moments_changes_no_byte() {
    let world = World::new();
    // Ramps, another mix and the spike guard on the way, over more than one epoch of the small source.
    let flags = "--tokens 12000 --ramp 3000:512:64 --reweight 6000:0.4,0.6 --spike-sigma 3 --z-loss 1e-4 --checkpoint-steps 2 \
                 --schedule wsd --average polyak";
    assert!(world.spawn("whole", flags).wait().unwrap().success());
    killed(&world, "killed", flags, 6, 1);
    assert!(world.weights("whole") == world.weights("killed"), "the weights differ");
    let (whole, killed) = (world.metrics("whole"), world.metrics("killed"));
    let losses =
        |metrics: &[serde_json::Value]| metrics.iter().map(|step| step["loss"].to_string()).collect::<Vec<_>>();
    assert_eq!(losses(&whole), losses(&killed));
}

#[test]
fn a_spike_is_skipped_and_counted() {
    let world = World::new();
    let model = world.path("model");
    // Bytes without order, rarely, among sums that are soon learned.
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
    let noise: Vec<u32> = (0..2048).map(|_| rng.random_range(128..256)).collect();
    let sha256 = dataset::digest::file(model.join("tokenizer.json")).unwrap();
    let tokenizer = token_shards::Tokenizer { sha256, vocab_size: 258, ..Default::default() };
    std::fs::create_dir_all(world.path("noise")).unwrap();
    let mut writer = token_shards::ShardWriter::create(world.path("noise/0.ds"), tokenizer, "noise").unwrap();
    writer.push(&noise, None).unwrap();
    writer.finish().unwrap();
    let flags = "--data DIR/sums:1 DIR/noise:0 --tokens 26000 --reweight 25600:0,1 --spike-sigma 4";
    world.run("run", flags).unwrap();
    let metrics = world.metrics("run");
    assert_eq!(metrics[100]["skipped"], 1.0, "{}", metrics[100]);
    let record = run::Record::read(&world.path("run")).unwrap().unwrap();
    assert!(record.summary.contains("steps skipped as spikes"), "{}", record.summary);
}

#[test]
fn faults_are_one_sentence_before_the_first_step() {
    let world = World::new();
    let error = |more: &str| {
        let error = format!("{:#}", world.run("run", more).unwrap_err());
        assert!(!error.contains('\n'), "{error}");
        assert!(world.metrics("run").is_empty(), "{error}");
        error
    };
    let contains = |error: String, part: &str| assert!(error.contains(part), "{error}");
    contains(error("--data DIR/none:1"), "does not exist: name a folder of token shards");
    contains(
        error("--ramp 3000:500:64"),
        "the batch at 3000 tokens is 500, which is no multiple of the sequence length 64",
    );
    contains(error("--ramp 9000:512:64"), "a ramp at 9000 tokens never comes: the run has 6000 tokens");
    contains(error("--reweight 3000:1"), "the weights at 3000 tokens are 1, and there are 2 sources");
    contains(error("--data DIR/sums:1 DIR/rhymes:0"), "source 2 has weight 0 from beginning to end");
    contains(error("--sequence-length 256 --batch-tokens 512 --micro-batch-tokens 512"), "the context of");
    // A source without a window.
    write_shard(&world.path("short/0.ds"), &world.path("model"), &["abc".to_owned()]);
    contains(
        error("--data DIR/sums:1 DIR/short:1"),
        "it has a weight but not one window of 32 tokens (4 tokens in all)",
    );
    // Another tokenizer.
    std::fs::create_dir(world.path("other")).unwrap();
    std::fs::write(world.path("other/tokenizer.json"), "{}").unwrap();
    write_shard(&world.path("foreign/0.ds"), &world.path("other"), &["abc".repeat(99)]);
    contains(error("--data DIR/foreign"), "its tokens were made by another tokenizer");
    // A vocabulary that the model does not have.
    let sha256 = dataset::digest::file(world.path("model/tokenizer.json")).unwrap();
    let tokenizer = token_shards::Tokenizer { sha256, vocab_size: 1000, ..Default::default() };
    std::fs::create_dir(world.path("wide")).unwrap();
    let mut writer = token_shards::ShardWriter::create(world.path("wide/0.ds"), tokenizer, "wide").unwrap();
    writer.push(&[900; 200], None).unwrap();
    writer.finish().unwrap();
    contains(error("--data DIR/wide"), "its vocabulary has 1000 tokens, and the model has embeddings for 260");
    // Flips one bit of a shard.
    let shard = world.path("sums/00001.ds");
    let mut bytes = std::fs::read(&shard).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&shard, bytes).unwrap();
    contains(error(""), "00001.ds: SHA-256 is");
}

#[test]
fn a_dry_run_shows_the_plan() {
    let world = World::new();
    let flags = world.flags("dry", "--dry-run --ramp 3000:512:64");
    let output = child(&flags).output().unwrap();
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.stderr.as_slice().read_to_string(&mut text).unwrap();
    for part in [
        "2 shards",
        "8 rows of 32 = 256 tokens a step; sums 0.7, rhymes 0.3",
        "8 rows of 64 = 512 tokens a step",
        "held out:",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!world.path("dry/run.json").exists());
}

#[test]
fn annealing_goes_to_zero_and_averages() {
    let world = World::new();
    world.run("base", "--tokens 12000 --final-lr-ratio 1").unwrap();
    let base = world.path("base/model").display().to_string();
    let mut flags = world.flags("annealed", &format!("--model {base} --tokens 8000 --warmup-steps 0"));
    flags.insert(0, "anneal".into());
    common::run(&flags).unwrap();
    let metrics = world.metrics("annealed");
    let rate = |step: usize| metrics[step]["learning_rate"].as_f64().unwrap();
    assert!(rate(0) == 3e-3 && rate(metrics.len() - 1) < 1.1e-4, "{} {}", rate(0), rate(metrics.len() - 1));
    let last = metrics.last().unwrap();
    // The average is evaluated beside the last weights, and both are better than before.
    let before: serde_json::Value =
        serde_json::from_slice(&std::fs::read(world.path("annealed/eval_start.json")).unwrap()).unwrap();
    let start = before["loss"].as_f64().unwrap();
    for name in ["eval_loss", "eval_loss_of_last_weights"] {
        assert!(last[name].as_f64().unwrap() < start, "{name}: {last}, {start} before");
    }
    let record = run::Record::read(&world.path("annealed")).unwrap().unwrap();
    assert_eq!(record.stage.name, "pretrain anneal");
}

#[test]
fn processes_end_with_the_bytes_of_one() {
    let world = World::new();
    let flags = "--checkpoint-steps 5 --eval-steps 5 --batch-tokens 512 --spike-sigma 6 --z-loss 1e-4";
    world.run("alone", flags).unwrap();
    ranks::succeed(&world.path("store"), 4, |_| common::child(&world.flags("together", flags)));
    assert_eq!(ranks::bytes(&world.path("together")), ranks::bytes(&world.path("alone")));
}

/// The processes that a program has started.
fn children(program: u32) -> Vec<i32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{program}/task")) else { return Vec::new() };
    let of = |thread: std::fs::DirEntry| std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
    threads
        .flatten()
        .flat_map(|thread| of(thread).split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>())
        .collect()
}

/// `cargo build -p launch && cargo test -p pretrain --test run twenty_kills -- --ignored --nocapture`
#[test]
#[ignore = "a minute or two; needs the program launch"]
fn twenty_kills_of_one_of_two_processes() {
    let launch = test_support::program("launch").expect("cargo build -p launch");
    let world = World::new();
    let flags = "--tokens 300000 --checkpoint-steps 5 --ramp 60000:512:64 --reweight 150000:0.4,0.6 --spike-sigma 6 --z-loss 1e-4 \
                 --average polyak";
    assert!(world.spawn("whole", flags).wait().unwrap().success());
    let steps = world.metrics("whole").len();
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(9);
    let begin = Instant::now();
    let (mut killed, mut given_up) = (0, 0);
    while killed < 20 {
        let ranks = child(&world.flags("killed", flags));
        let mut command = std::process::Command::new(&launch);
        command.args(["run", "--processes", "2", "--"]).arg(ranks.get_program()).args(ranks.get_args());
        let log = world.path(&format!("launch-{given_up}.log"));
        command.stdout(std::process::Stdio::null()).stderr(std::fs::File::create(&log).unwrap());
        let mut launcher = command.spawn().unwrap();
        let status = loop {
            // Between two kills the run goes on by 5 to 30 steps, since a kill costs up to 5.
            let goal = world.metrics("killed").len() + rng.random_range(10..35);
            let hangs = Instant::now() + Duration::from_secs(300);
            while world.metrics("killed").len() < goal && launcher.try_wait().unwrap().is_none() {
                assert!(Instant::now() < hangs, "the run hangs");
                std::thread::sleep(Duration::from_millis(5));
            }
            std::thread::sleep(Duration::from_millis(rng.random_range(0..100)));
            if let Some(status) = launcher.try_wait().unwrap() {
                break status;
            }
            let ranks = children(launcher.id());
            if killed < 20 && !ranks.is_empty() {
                // SAFETY: a signal to a process that our own child has started.
                unsafe { libc::kill(ranks[rng.random_range(0..ranks.len())], libc::SIGKILL) };
                killed += 1;
            }
        };
        if status.success() {
            break;
        }
        assert!(killed > 0, "{}", std::fs::read_to_string(&log).unwrap());
        given_up += 1;
    }
    let output = child(&world.flags("killed", flags)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(killed, 20, "the run ended before");
    println!(
        "{steps} steps, 20 SIGKILLs to one of two processes in {:.0} s; started again by hand {given_up} times",
        begin.elapsed().as_secs_f64()
    );
    assert!(ranks::bytes(&world.path("whole")) == ranks::bytes(&world.path("killed")), "the bytes differ");
}

/// Rhymes are worth something to a model that has seen sums only, for rhymes; more sums are not.
#[test]
fn a_probe_tells_what_data_are_worth() {
    let world = World::new();
    let model = world.path("model");
    let rhymes: Vec<String> = (60..80).map(|number| text(1, number)).collect();
    write_shard(&world.path("valid-rhymes/0.ds"), &model, &rhymes);
    let more: Vec<String> = (200..260).map(|number| text(0, number)).collect();
    write_shard(&world.path("more-sums/0.ds"), &model, &more);
    let sums: Vec<String> = (100..110).map(|number| text(0, number)).collect();
    write_shard(&world.path("valid-sums/0.ds"), &model, &sums);
    world.run("half", "--tokens 4096 --data DIR/sums").unwrap();
    let probe = |more: &str| {
        let usual = "--model DIR/half/model --data DIR/sums --eval-data DIR/valid-sums DIR/valid-rhymes --tokens 4096 --warmup-steps 0";
        let mut flags = world.flags("probe", &format!("{usual} {more}"));
        flags.insert(0, "probe".into());
        common::run(&flags)
    };
    probe("--candidate rhymes=DIR/rhymes same=DIR/more-sums").unwrap();
    let table = || -> Vec<serde_json::Value> {
        serde_json::from_slice(&std::fs::read(world.path("probe/probe.json")).unwrap()).unwrap()
    };
    let of = |candidate: &str, source: &str| {
        let found = table().into_iter().find(|row| row["name"] == candidate && row["source"] == source);
        let found = &found.unwrap()["difference"];
        (found["low"].as_f64().unwrap(), found["high"].as_f64().unwrap())
    };
    assert_eq!(table().len(), 6);
    assert!(of("rhymes", "valid-rhymes").1 < -0.1, "{:?}", table());
    assert!(of("same", "valid-rhymes").1 > -0.1 && of("rhymes", "valid-rhymes").1 < of("same", "valid-rhymes").0);
    // The run without a candidate is plain annealing.
    let record = run::Record::read(&world.path("probe/runs/default")).unwrap().unwrap();
    assert_eq!(record.stage.name, "pretrain anneal");
    let loss = record.stage.figures["report"]["evaluation"]["loss"].as_f64().unwrap();
    let rows = table();
    let all = rows.iter().find(|row| row["source"] == "").unwrap();
    assert!((all["base"].as_f64().unwrap() - loss).abs() < 1e-3, "{all} {loss}");
    // The same command does nothing; another candidate needs another folder.
    let written = || std::fs::metadata(world.path("probe/probe.json")).unwrap().modified().unwrap();
    let before = written();
    probe("--candidate rhymes=DIR/rhymes same=DIR/more-sums").unwrap();
    assert_eq!(written(), before);
    let error = format!("{:#}", probe("--candidate rhymes=DIR/rhymes").unwrap_err());
    assert!(error.contains("holds a run with another configuration"), "{error}");
    let error = format!("{:#}", probe("--candidate rhymes").unwrap_err());
    assert!(error.contains("--candidate rhymes: write NAME=SHARDS"), "{error}");
    // Compared by themselves, the models differ as they do in the probe's table.
    let compare = |more: &str| {
        let words = format!(
            "compare --eval-data DIR/valid-sums DIR/valid-rhymes --output DIR/compared --dtype f32 --device cpu {more}"
        );
        let flags: Vec<String> =
            words.split_whitespace().map(|word| word.replace("DIR", &world.path("").display().to_string())).collect();
        common::run(&flags)
    };
    let models = "--models DIR/probe/runs/default/model DIR/probe/runs/rhymes/model --sequence-length 32";
    compare(models).unwrap();
    let found: Vec<serde_json::Value> =
        serde_json::from_slice(&std::fs::read(world.path("compared/compare.json")).unwrap()).unwrap();
    let table = table();
    assert_eq!(found.len(), 3);
    for (found, expected) in found.iter().zip(&table) {
        assert_eq!(
            ["source", "base", "loss", "difference"].map(|key| &found[key]),
            ["source", "base", "loss", "difference"].map(|key| &expected[key])
        );
    }
    let error = format!("{:#}", compare("--models DIR/model").unwrap_err());
    assert!(error.contains("a comparison needs at least two"), "{error}");
    // The tokenizer of shards is part of them.
    std::fs::remove_dir_all(world.path("compared")).unwrap();
    let other = world.path("other");
    llama::NewModel { hidden: 32, layers: 1, context: 128, seed: 1 }.write(&other).unwrap();
    let tokenizer = std::fs::read_to_string(other.join("tokenizer.json")).unwrap();
    std::fs::write(other.join("tokenizer.json"), tokenizer + " ").unwrap();
    let error = format!("{:#}", compare("--models DIR/model DIR/other --sequence-length 32").unwrap_err());
    assert!(error.contains("tokenizer"), "{error}");
}
