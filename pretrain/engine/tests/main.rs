//! Steps through the binary, compared with searches that keep everything in memory.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{Rows, World, components, frequent, newest, smallest};

/// Rows of `keys` keys of 1 to 4 documents, 1 in `apart` with hundreds.
fn dated(count: u64, seed: u64) -> Vec<[i64; 3]> {
    let mut rows = Rows(seed);
    (0..count)
        .map(|document| {
            let key = if rows.below(50) == 0 { rows.below(20) } else { rows.below(count) };
            // Few distinct times, before and after 1970.
            let age = [!0, !1_700_000_000, !1_700_000_001, !(-5), i64::MIN, i64::MAX][rows.below(6) as usize];
            [common::hash(key), age, document as i64]
        })
        .collect()
}

#[test]
fn steps_equal_a_search_in_memory() {
    let world = World::new();
    let rows = dated(60_000, 1);
    let expected = newest(&rows);
    assert!(expected.len() > 10_000);
    for (memory, threads) in [(1 << 30, 4), (16 << 20, 2)] {
        world.write("older", &["key", "age", "document"], &rows);
        assert_eq!(world.pairs("older", memory, threads), expected, "older with {memory}");
    }
    let keyed: Vec<[i64; 2]> = rows.iter().map(|[key, _, document]| [*key, *document]).collect();
    world.write("repeated", &["key", "document"], &keyed);
    assert_eq!(world.pairs("repeated", 1 << 30, 3), smallest(&keyed));
    let keys: Vec<[i64; 1]> = rows.iter().map(|[key, ..]| [*key]).collect();
    world.write("frequent", &["key"], &keys);
    let expected = frequent(&keys, 6);
    assert!(!expected.is_empty());
    assert_eq!(world.keys("frequent", 1 << 30, &["--times", "6"]), expected);
}

#[test]
fn nothing_is_found_where_nothing_is() {
    let world = World::new();
    world.write("connected", &["key", "document"], &[[1, 5], [2, 6]]);
    assert_eq!(world.pairs("connected", 1 << 30, 2), BTreeMap::new());
    world.write("older", &["key", "age", "document"], &[[1, 0, 5]]);
    assert_eq!(world.pairs("older", 1 << 30, 2), BTreeMap::new());
}

#[test]
fn components_are_found_in_chains_and_clusters() {
    let world = World::new();
    // A chain whose numbers are mixed takes the most rounds.
    let mut rows = Rows(7);
    let mut order: Vec<i64> = (0..2000).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, rows.below(at as u64 + 1) as usize);
    }
    let mut keyed: Vec<[i64; 2]> = Vec::new();
    for (at, pair) in order.windows(2).enumerate() {
        keyed.extend(pair.iter().map(|document| [common::hash(at as u64), *document]));
    }
    // Documents of 14 keys each, as bands make them, with many repeated pairs.
    for document in 2000..6000_i64 {
        for band in 0..14_u64 {
            let group = if rows.below(3) == 0 { rows.below(4000) } else { document as u64 / 5 };
            keyed.push([common::hash(1_000_000 + group * 14 + band), document]);
        }
    }
    world.write("connected", &["key", "document"], &keyed);
    let expected = components(&keyed);
    assert_eq!((expected[&1999], expected.len() > 2500), (0, true));
    assert_eq!(world.pairs("connected", 1 << 30, 2), expected);
    assert_eq!(world.pairs("connected", 16 << 20, 2), expected);
}

/// The rows are more than twice as large as the pool.
#[test]
fn less_memory_than_data_is_enough() {
    let world = World::new();
    let memory = 64 << 20;
    let rows = dated(7_000_000, 3);
    // 16 MB are too small: DataFusion's fair pool lets the first sorts take what the merges of later ones need, and
    // the step ends with a sentence (docs/log/2026-11.md).
    assert!(rows.len() as u64 * 24 > 2 * memory);
    world.write("older", &["key", "age", "document"], &rows);
    let begin = Instant::now();
    assert_eq!(world.pairs("older", memory, 2), newest(&rows), "older");
    println!("older: {:?}", begin.elapsed());
    let keyed: Vec<[i64; 2]> = rows.iter().map(|[key, _, document]| [*key, *document]).collect();
    world.write("repeated", &["key", "document"], &keyed);
    assert_eq!(world.pairs("repeated", memory, 2), smallest(&keyed), "repeated");
    println!("repeated: {:?}", begin.elapsed());
    assert_eq!(world.pairs_of("connected", "repeated", memory, 2, &[]), components(&keyed), "connected");
    println!("connected: {:?}", begin.elapsed());
    let keys: Vec<[i64; 1]> = rows.iter().map(|[key, ..]| [*key]).collect();
    world.write("frequent", &["key"], &keys);
    let found = world.keys("frequent", memory, &["--times", "6"]);
    assert_eq!(found, frequent(&keys, 6), "frequent");
    println!("frequent: {:?}", begin.elapsed());
}

#[test]
fn the_program_ends_with_its_caller_and_leaves_no_result() {
    let world = World::new();
    world.write("older", &["key", "age", "document"], &dated(2_000_000, 5));
    let mut child =
        world.command("older", "older", 16 << 20, 2).arg("--watch-stdin").stdin(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none(), "the step was too fast to be interrupted");
    let begin = Instant::now();
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert!(!world.path("older-result").exists());
    // The same command again.
    assert_eq!(world.pairs("older", 16 << 20, 2), newest(&dated(2_000_000, 5)));
}

#[test]
fn faults_are_sentences() {
    let world = World::new();
    world.write("older", &["key", "age", "document"], &dated(100, 1));
    let fail = |words: &[&str], memory| {
        let output = world.command("older", "older", memory, 2).args(words).output().unwrap();
        assert!(!output.status.success(), "{words:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let text = fail(&[], 1 << 20);
    assert!(text.contains("error: a pool of 1 MB is too small: give at least 16 MB"), "{text}");
    let text = fail(&["--exchange", "9"], 1 << 30);
    assert!(text.contains("build both from the same commit"), "{text}");
    std::fs::write(world.path("older/cut.parquet"), "PAR1").unwrap();
    let text = fail(&[], 1 << 30);
    assert!(text.contains("cut.parquet") || text.contains("cannot read rows"), "{text}");
}

/// The figure of the issue: 20 million addresses, 14 million of them different, newest wins, a pool of 512 MB.
#[test]
#[ignore = "a measurement: 480 MB of rows"]
fn twenty_million_addresses() {
    let world = World::new();
    let mut rows = Rows(11);
    let rows: Vec<[i64; 3]> = (0..20_000_000_i64)
        .map(|document| {
            [common::hash(rows.below(19_000_000)), !(1_600_000_000 + rows.below(100_000_000) as i64), document]
        })
        .collect();
    world.write("older", &["key", "age", "document"], &rows);
    let expected = newest(&rows);
    drop(rows);
    for (memory, threads) in [(512 << 20, 2), (48 << 20, 2)] {
        let (begin, before) = (Instant::now(), common::children());
        let found = world.pairs("older", memory, threads);
        let wall = begin.elapsed().as_secs_f64();
        let spent = common::children() - before;
        println!("pool {} MB: {wall:.1} s with reading the result, {spent:.1} s of processor time", memory >> 20);
        assert!(found == expected);
    }
}
