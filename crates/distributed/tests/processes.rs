//! Real processes on this machine: this test program starts itself again, once for each rank.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use distributed::{Address, Error, Group, Place, Store, World};
use tch::{Kind, Tensor};

/// The output and the exit status of a rank.
struct Ended {
    code: Option<i32>,
    text: String,
}

/// Starts so many ranks with this work; `port`: with a TCP store in rank 0, else in a file.
fn start(work: &str, size: usize, folder: &Path, port: Option<u16>) -> Vec<Child> {
    let rank = |rank: usize| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "rank", "--ignored", "--nocapture", "--test-threads", "1"]);
        command.env("HERD_TEST_WORK", work).env("RANK", rank.to_string()).env("WORLD_SIZE", size.to_string());
        match port {
            Some(port) => command.env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", port.to_string()),
            None => command.env("HERD_STORE_FILE", folder.join("store")),
        };
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    (0..size).map(rank).collect()
}

fn wait(ranks: Vec<Child>) -> Vec<Ended> {
    let ended = |output: Output| Ended {
        code: output.status.code(),
        text: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    ranks.into_iter().map(|rank| ended(rank.wait_with_output().unwrap())).collect()
}

fn all(work: &str, size: usize, tcp: bool) -> Vec<Ended> {
    let dir = tempfile::tempdir().unwrap();
    let port = tcp.then(|| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port());
    wait(start(work, size, dir.path(), port))
}

/// The body of a rank; another test starts it.
#[test]
#[ignore = "a process of the other tests"]
fn rank() {
    torch_ext::init();
    tch::set_num_threads(1);
    let work = std::env::var("HERD_TEST_WORK").expect("set by the tests that start this one");
    let limit = Duration::from_millis(if work == "stop" { 5000 } else { 60_000 });
    let world = World::from_env(limit).and_then(|world| match do_work(&work, &world) {
        Ok(()) => world.done().and_then(|()| world.finish()),
        Err(error) => {
            world.fail(&error.to_string());
            Err(error)
        }
    });
    if let Err(error) = world {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
    std::process::exit(0);
}

fn do_work(work: &str, world: &World) -> Result<(), Error> {
    let (rank, size) = (world.rank() as i64, world.size() as i64);
    let last = rank == size - 1;
    match work {
        "collectives" => collectives(world),
        "die" | "die-first" | "stop" => {
            for step in 0..4 {
                let mut sum = Tensor::ones([1 << 16], (Kind::Float, tch::Device::Cpu));
                if step == 2 && if work == "die-first" { rank == 0 } else { last } {
                    // SAFETY: a signal to this process.
                    unsafe { libc::raise(if work == "stop" { libc::SIGSTOP } else { libc::SIGKILL }) };
                }
                world.all_reduce("gradients", &mut sum)?;
            }
            Ok(())
        }
        "lengths" => {
            let mut sum = Tensor::ones([1000 + 24 * i64::from(last)], (Kind::Float, tch::Device::Cpu));
            world.all_reduce("gradients", &mut sum)
        }
        "order" => {
            let names = if last { ["b", "a"] } else { ["a", "b"] };
            let mut sum = Tensor::from(1.0_f32);
            names.iter().try_for_each(|name| world.all_reduce(name, &mut sum))
        }
        "operation" => match last {
            true => world.broadcast("x", &mut Tensor::from(1.0_f32), 1),
            false => world.gather_bytes("x", b"four").map(drop),
        },
        "configuration" => {
            let seed = if last { "7" } else { "0" };
            world.agree(&[("data".into(), "same".into()), ("--seed".into(), seed.into())])
        }
        "error" if last => Err(Error::Refused("the disk is full".into())),
        "error" => world.barrier("step"),
        other => panic!("{other}"),
    }
}

fn collectives(world: &World) -> Result<(), Error> {
    let (rank, size) = (world.rank() as i64, world.size() as i64);
    let cpu = tch::Device::Cpu;
    let values = |tensor: &Tensor| Vec::<f64>::try_from(tensor.to_kind(Kind::Double).flatten(0, -1)).unwrap();
    let total = (size * (size + 1) / 2) as f64;
    for kind in [Kind::Float, Kind::BFloat16, Kind::Int64] {
        let own = || Tensor::full([33], rank + 1, (kind, cpu));
        let mut sum = own();
        world.all_reduce("sum", &mut sum)?;
        assert_eq!((values(&sum), sum.kind()), (vec![total; 33], kind));
        let mut sum = own();
        world.reduce("sum at the last", &mut sum, world.size() - 1)?;
        assert!(rank < size - 1 || values(&sum) == vec![total; 33]);
        let mut told = own();
        world.broadcast("told", &mut told, 1)?;
        assert_eq!(values(&told), vec![2.0; 33]);
        let mut each: Vec<Tensor> = (0..size).map(|root| Tensor::full([root * 5], rank, (kind, cpu))).collect();
        world.broadcast_each("each", &mut each)?;
        for (root, tensor) in each.iter().enumerate() {
            assert_eq!(values(tensor), vec![root as f64; 5 * root]);
        }
        let all = world.all_gather("all", &own().view([3, 11]))?;
        assert_eq!(all.size(), [size, 3, 11]);
        assert_eq!(values(&all), (1..=size).flat_map(|r| vec![r as f64; 33]).collect::<Vec<_>>());
        // Uneven parts, one of them empty: rank k gets 3 k numbers of each.
        let lengths: Vec<i64> = (0..size).map(|to| 3 * to).collect();
        let parts: Vec<Tensor> = (0..size).map(|to| Tensor::full([3 * to], 10 * rank + to, (kind, cpu))).collect();
        let got = world.exchange("parts", &Tensor::cat(&parts, 0), &lengths)?;
        assert_eq!(got.size(), [size, 3 * rank]);
        assert_eq!(
            values(&got),
            (0..size).flat_map(|from| vec![(10 * from + rank) as f64; 3 * rank as usize]).collect::<Vec<_>>()
        );
        let got = world.collect("at the first", &Tensor::full([3 * rank], rank, (kind, cpu)), &lengths)?;
        let expected =
            if rank == 0 { (0..size).flat_map(|k| vec![k as f64; 3 * k as usize]).collect() } else { vec![] };
        assert_eq!(values(&got), expected);
    }
    let texts = world.gather_bytes("texts", "x".repeat(rank as usize).as_bytes())?;
    assert_eq!(texts.iter().map(Vec::len).collect::<Vec<_>>(), (0..size as usize).collect::<Vec<_>>());
    assert_eq!(world.share_bytes("words", format!("from {rank}").as_bytes())?, b"from 0");
    assert_eq!(world.any("flags", 1 << rank)?, (1 << size) - 1);
    world.agree(&[("seed".into(), "0".into())])
}

#[test]
fn two_and_four_processes_get_right_results() {
    for (size, tcp) in [(2, true), (4, false)] {
        for (rank, ended) in all("collectives", size, tcp).into_iter().enumerate() {
            assert_eq!(ended.code, Some(0), "rank {rank} of {size}: {}", ended.text);
        }
    }
}

#[test]
fn a_process_alone_needs_no_others() {
    torch_ext::init();
    let world = World::single();
    let own = Tensor::from_slice(&[1.0_f32, 2.0]);
    let mut sum = own.copy();
    world.all_reduce("sum", &mut sum).unwrap();
    assert_eq!(sum, own);
    assert_eq!(world.all_gather("all", &own).unwrap().size(), [1, 2]);
    assert_eq!(world.exchange("parts", &own, &[2]).unwrap().size(), [1, 2]);
    assert_eq!(world.gather_bytes("bytes", b"x").unwrap(), [b"x"]);
    assert_eq!(world.any("flags", 5).unwrap(), 5);
    world.finish().unwrap();
}

/// All ranks end with an error that has this in it; returns how long that took.
fn refused(work: &str, size: usize, tcp: bool, sentence: &str) {
    for (rank, ended) in all(work, size, tcp).into_iter().enumerate() {
        assert_eq!(ended.code, Some(1), "rank {rank}: {}", ended.text);
        assert!(ended.text.contains(sentence), "rank {rank}: {}", ended.text);
    }
}

#[test]
fn other_work_is_refused_before_it_begins() {
    refused(
        "lengths",
        2,
        true,
        "rank 0 in all_reduce 2 \"gradients\" of 1000 Float; rank 1 in all_reduce 2 \"gradients\" of 1024",
    );
    refused("order", 4, false, "ranks 0, 1, 2 in all_reduce 2 \"a\" of 1 Float; rank 3 in all_reduce 2 \"b\"");
    refused("operation", 2, false, "rank 0 in gather_bytes 2 \"x\"; rank 1 in broadcast 2 \"x\" of 1 Float, root 1");
    refused("configuration", 4, false, "rank 3 was started with another --seed than rank 0: 7 instead of 0");
}

#[test]
fn a_rank_that_is_killed_is_named() {
    let start = Instant::now();
    let ended = all("die", 4, true);
    for (rank, ended) in ended[..3].iter().enumerate() {
        assert_eq!(ended.code, Some(1), "rank {rank}: {}", ended.text);
        assert!(
            ended.text.contains("rank 3 (") && ended.text.contains("does not answer"),
            "rank {rank}: {}",
            ended.text
        );
    }
    // The error appears before any time limit.
    assert!(start.elapsed() < Duration::from_secs(40), "{:?}", start.elapsed());
}

#[test]
fn the_rank_that_holds_the_store_is_named_too() {
    let ended = all("die-first", 2, true);
    assert!(ended[1].text.contains("rank 0, which holds the store, does not answer"), "{}", ended[1].text);
    assert_eq!(ended[1].code, Some(1));
}

#[test]
fn a_rank_that_is_stopped_is_named_within_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let start_of = Instant::now();
    let mut ranks = start("stop", 4, dir.path(), None);
    let mut stopped = ranks.pop().unwrap();
    let ended = wait(ranks);
    let took = start_of.elapsed();
    stopped.kill().unwrap();
    stopped.wait().unwrap();
    for (rank, ended) in ended.iter().enumerate() {
        assert_eq!(ended.code, Some(1), "rank {rank}: {}", ended.text);
        assert!(ended.text.contains("rank 3 (") && ended.text.contains("stopped"), "rank {rank}: {}", ended.text);
    }
    // 5 s of the limit, 1.6 s to see whose counter stands still, and the start on a busy machine.
    assert!(took < Duration::from_secs(30), "{took:?}");
}

#[test]
fn the_sentence_of_a_rank_that_fails_reaches_the_others() {
    let ended = all("error", 2, true);
    assert!(ended[0].text.contains("rank 1 ended: libtorch: the disk is full"), "{}", ended[0].text);
}

#[test]
fn a_rank_that_does_not_come_is_named() {
    torch_ext::init();
    let dir = tempfile::tempdir().unwrap();
    let place = |address| Place { rank: 1, size: 3, local_rank: 0, address, attempt: 0 };
    let limit = Duration::from_millis(300);
    let error = World::join(place(Address::File(dir.path().join("store"))), limit).err().unwrap().to_string();
    assert!(error.contains("of 3 ranks these have not come within 0 s: 0, 2"), "{error}");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = Address::Tcp { host: "127.0.0.1".into(), port, serve: false };
    let error = World::join(place(address), limit).err().unwrap().to_string();
    assert!(error.contains("nobody holds the store at 127.0.0.1"), "{error}");
    assert!(fs::read_dir(dir.path()).is_ok());
}

/// The body of the rank that shares a group with Python's torch.distributed.
#[test]
#[ignore = "a process of the next test"]
fn rank_beside_python() {
    torch_ext::init();
    let number = |name: &str| std::env::var(name).unwrap().parse::<usize>().unwrap();
    let (limit, rank) = (Duration::from_secs(60), number("RANK"));
    let (store, _) = Store::tcp("127.0.0.1", number("MASTER_PORT") as u16, rank == 0, limit).unwrap();
    // The prefixes of torch.distributed.init_process_group.
    let store = ["default_pg", "0/", "cpu/"].iter().fold(store, |store, prefix| store.prefix(prefix).unwrap());
    let group = Group::gloo(&store, rank, 2, Some("127.0.0.1"), limit).unwrap();
    let mut sum = Tensor::arange(1000, (Kind::Float, tch::Device::Cpu)) * (rank as f64 + 1.0);
    group.all_reduce(&mut sum).unwrap().wait().unwrap();
    eprintln!("sum {}", sum.double_value(&[999]));
    // The other side closes first, so that rank 0's store is there for it.
    let mut flag = Tensor::from(1.0_f32);
    group.all_reduce(&mut flag).unwrap().wait().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    std::process::exit(0);
}

/// `HERD_TORCH_PYTHON=.../bin/python cargo test -p distributed -- --ignored python_s_torch`
#[test]
#[ignore = "needs a Python with torch 2.11"]
fn python_s_torch_may_be_in_the_same_group() {
    let python = std::env::var("HERD_TORCH_PYTHON").expect("HERD_TORCH_PYTHON names a Python with torch");
    let script = "import os, torch, torch.distributed as d\n\
                  d.init_process_group('gloo')\n\
                  t = torch.arange(1000.) * (d.get_rank() + 1); d.all_reduce(t); print('sum', t[999].item())\n\
                  f = torch.ones(()); d.all_reduce(f)\n";
    for ours in [0, 1] {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let with = |command: &mut Command, rank: usize| {
            command.env("RANK", rank.to_string()).env("WORLD_SIZE", "2").env("MASTER_ADDR", "127.0.0.1");
            command.env("MASTER_PORT", port.to_string()).env("GLOO_SOCKET_IFNAME", "lo");
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let mut rust = Command::new(std::env::current_exe().unwrap());
        rust.args(["--exact", "rank_beside_python", "--ignored", "--nocapture"]);
        let rust = with(&mut rust, ours);
        let python = with(Command::new(&python).args(["-c", script]), 1 - ours).wait_with_output().unwrap();
        let rust = rust.wait_with_output().unwrap();
        let (rust, python) = (String::from_utf8_lossy(&rust.stderr), String::from_utf8_lossy(&python.stdout));
        assert!(rust.contains("sum 2997") && python.contains("sum 2997"), "ours is rank {ours}: {rust} {python}");
    }
}
