//! `--engine`: the same bytes as in memory. The tests that need the program herd-engine run on request (`cargo xtask engine`).

use std::process::Command;
use std::time::{Duration, Instant};

use pretrain_data::dedup::{Carrier, Dated, External, Memory};
use pretrain_data::hash;
use pretrain_data::made::Draw;

use crate::run::{BINARY, World, fail, files};

#[test]
fn an_engine_that_is_not_there_is_a_sentence() {
    let world = World::new(10, 1);
    let words = world.words("out", &["--engine", "datafusion", "--engine-program", "/nowhere/herd-engine"]);
    let text = fail(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let expected = "there is no herd-engine at /nowhere/herd-engine: build it with `cargo xtask engine`";
    assert!(text.contains(expected) && text.lines().count() == 1, "{text}");
    assert!(!world.path("out").exists());
}

#[test]
#[ignore = "needs the program herd-engine: cargo xtask engine"]
fn datafusion_gives_the_bytes_of_memory() {
    let world = World::new(1500, 3);
    let more = "[[step]]\nkind = \"dedup-exact\"\n";
    world.recipe(more);
    world.run("memory", &[]);
    let expected = files(&world.path("memory/data"));
    let ledger = |run: &str| std::fs::read(world.path(run).join("ledger.json")).unwrap();
    for (name, memory) in [("roomy", "1024"), ("narrow", "48")] {
        world.run(name, &["--engine", "datafusion", "--memory", memory]);
        assert!(files(&world.path(name).join("data")) == expected, "{name}: other bytes");
        assert!(ledger(name) == ledger("memory"), "{name}: another ledger");
        assert!(!world.path(name).join("work/spill").exists(), "{name}: temporary files are left");
    }
}

#[test]
#[ignore = "needs the program herd-engine: cargo xtask engine"]
fn a_run_with_an_engine_can_be_killed() {
    let world = World::new(600, 2);
    world.run("memory", &[]);
    let words = world.words("killed", &["--engine", "datafusion", "--threads", "2"]);
    let begin = Instant::now();
    world.run("whole", &["--engine", "datafusion", "--threads", "2"]);
    let time = begin.elapsed();
    let mut draw = Draw::new(std::process::id().into(), 5);
    let mut kills = 0;
    for _ in 0..20 {
        let mut child = Command::new(BINARY).args(&words).spawn().unwrap();
        std::thread::sleep(time.mul_f64(0.05 + 0.4 * draw.unit()).max(Duration::from_millis(5)));
        if child.try_wait().unwrap().is_some() {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    println!("{kills} kills within {time:?}");
    assert!(kills > 1, "the run was too fast to be killed");
    world.run("killed", &["--engine", "datafusion"]);
    assert!(files(&world.path("killed/data")) == files(&world.path("memory/data")), "other bytes after {kills} kills");
    let ledger = |run: &str| std::fs::read(world.path(run).join("ledger.json")).unwrap();
    assert!(ledger("killed") == ledger("memory"), "another ledger after {kills} kills");
}

/// Seconds and processor time of a step with 20 million addresses, with the exchange of the rows.
#[test]
#[ignore = "a measurement: 20 million rows"]
fn twenty_million_addresses() {
    let dir = tempfile::tempdir().unwrap();
    let external = External {
        program: pretrain_data::dedup::external::find(
            std::env::var_os("HERD_ENGINE").map(std::path::PathBuf::from).as_deref(),
        )
        .unwrap(),
        budget: 1 << 30,
        threads: 2,
        folder: dir.path().join("exchange"),
        stop: &|| false,
    };
    let memory = Memory::new(1 << 30, dir.path().to_owned()).unwrap();
    let carriers: [(&str, &dyn Carrier); 2] = [("memory", &memory), ("datafusion", &external)];
    let mut found = Vec::new();
    for (name, carrier) in carriers {
        let begin = Instant::now();
        let mut feed = |take: &mut dyn FnMut(Dated) -> anyhow::Result<()>| {
            (0..20_000_000_u64).try_for_each(|document| {
                let draw = hash::seeded(document);
                let key = hash::seeded(draw % 19_000_000);
                take(Dated::new(key, 1_600_000_000 + (draw >> 40) as i64, document))
            })
        };
        found.push(carrier.older(&mut feed).unwrap());
        println!("{name}: {} replaced, {:.1} s", found.last().map_or(0, Vec::len), begin.elapsed().as_secs_f64());
    }
    assert!(found[0] == found[1]);
}
