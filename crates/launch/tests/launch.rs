//! `launch run` with small programs: what the ranks are told, which rank a message names, exit codes, restarts, no orphans.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The program under test.
const LAUNCH: &str = env!("CARGO_BIN_EXE_launch");

fn launch(flags: &[&str], program: &[&str]) -> Command {
    let mut command = Command::new(LAUNCH);
    command.arg("run").args(flags).arg("--").args(program);
    command
}

fn shell(flags: &[&str], script: &str) -> Output {
    launch(flags, &["sh", "-c", script]).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The imagined rank of `examples/toy.rs`, which `cargo test` builds.
fn toy() -> String {
    let path = Path::new(LAUNCH).parent().unwrap().join("examples/toy");
    assert!(path.is_file(), "{} is not built: run the tests without --test", path.display());
    path.to_str().unwrap().to_owned()
}

/// A number of seconds that no other `sleep` of this machine has: what remains of a test is found by it.
fn mark(n: u32) -> String {
    format!("{}.{n:03}", 100_000 + std::process::id())
}

/// Processes whose command line holds a text.
fn running(text: &str) -> Vec<String> {
    let of = |entry: std::fs::DirEntry| {
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains(text).then_some(line)
    };
    std::fs::read_dir("/proc").unwrap().flatten().filter_map(of).collect()
}

/// Waits until something is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(20), "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn wait(child: Child) -> Output {
    child.wait_with_output().unwrap()
}

fn piped(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn signal(child: &Child, signal: i32) {
    // SAFETY: a signal to a child that is not collected yet.
    assert_eq!(unsafe { libc::kill(i32::try_from(child.id()).unwrap(), signal) }, 0);
}

#[test]
fn ranks_have_the_variables_of_torchrun() {
    let script = "echo $RANK/$WORLD_SIZE local $LOCAL_RANK/$LOCAL_WORLD_SIZE at $MASTER_ADDR:$MASTER_PORT attempt \
                  $TORCHELASTIC_RESTART_COUNT group $GROUP_RANK";
    let output = shell(&["--processes", "3", "--master-port", "29123"], script);
    assert_eq!((output.status.code(), err(&output)), (Some(0), String::new()));
    let mut lines: Vec<String> = out(&output).lines().map(str::to_owned).collect();
    lines.sort();
    let line = |rank| format!("[rank {rank}] {rank}/3 local {rank}/3 at 127.0.0.1:29123 attempt 0 group 0");
    assert_eq!(lines, [line(0), line(1), line(2)]);
    // A free port if none is given, the same for all ranks.
    let output = shell(&["--processes", "2", "--no-prefix"], "echo $MASTER_PORT");
    let ports: Vec<u16> = out(&output).lines().map(|line| line.parse().unwrap()).collect();
    assert!(ports.len() == 2 && ports[0] == ports[1] && ports[0] > 1023, "{ports:?}");
}

#[test]
fn the_exit_code_is_that_of_the_first_rank_that_fails_and_its_name_is_said() {
    let start = Instant::now();
    let output =
        shell(&["--processes", "3", "--max-restarts", "0"], "if [ $RANK = 1 ]; then exit 7; fi; exec sleep 1000");
    assert_eq!(output.status.code(), Some(7), "{}", err(&output));
    let text = err(&output);
    assert!(
        text.contains("rank 1 (")
            && text.contains("local rank 1) exited with code 7; the other 2 ranks are terminated"),
        "{text}"
    );
    assert!(text.contains("gave up after 1 attempt: 0 of 0 restarts are used"), "{text}");
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

#[test]
fn a_killed_rank_ends_all_and_leaves_no_orphan() {
    let mark = mark(1);
    // Every rank has a child in its group and a grandchild that left the group and the parent.
    let script = format!(
        "trap '' TERM; sleep {mark} & setsid sh -c 'sleep {mark} & exec sleep {mark}' & sleep 0.3; \
         if [ $RANK = 2 ]; then kill -9 $$; fi; while :; do sleep 0.1; done"
    );
    let start = Instant::now();
    let output = shell(&["--processes", "4", "--max-restarts", "0", "--failure-grace", "0.5"], &script);
    let text = err(&output);
    assert_eq!(output.status.code(), Some(137), "{text}");
    assert!(text.contains("local rank 2) was killed by SIGKILL; the other 3 ranks are terminated"), "{text}");
    // The others do not listen to SIGTERM.
    assert!(text.contains("3 ranks did not exit within 0.5 s and are killed"), "{text}");
    assert!(text.contains("processes that the ranks left behind were killed"), "{text}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!(running(&mark), [""; 0]);
}

#[test]
fn a_stopped_rank_is_named() {
    let script = "if [ $RANK = 1 ]; then kill -STOP $$; fi; exec sleep 1000";
    let output = shell(&["--processes", "2", "--max-restarts", "0", "--lowest-limit", "1"], script);
    let text = err(&output);
    assert_eq!(output.status.code(), Some(124), "{text}");
    assert!(text.contains("local rank 1) has been stopped (SIGSTOP) for 1 s (limit 1 s)"), "{text}");
    assert!(text.contains("state T (stopped)"), "{text}");
    assert!(!text.contains("rank 0 ("), "{text}");
}

#[test]
fn silence_is_a_stall_where_a_limit_is_given() {
    let script = "while [ $RANK = 0 ]; do echo busy; sleep 0.2; done; exec sleep 1000";
    let output = shell(&["--processes", "2", "--max-restarts", "0", "--silence-limit", "3"], script);
    let text = err(&output);
    assert_eq!(output.status.code(), Some(124), "{text}");
    assert!(text.contains("local rank 1) has been silent for 3 s (limit 3 s)"), "{text}");
}

#[test]
fn a_hang_is_found_by_heartbeats_and_flight_recorders_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, logs) = (dir.path().join("run"), dir.path().join("logs"));
    std::fs::create_dir(&folder).unwrap();
    let words = [toy().as_str(), "--folder", folder.to_str().unwrap(), "--fail", "1:15:hang"].map(str::to_owned);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let flags = ["--processes", "3", "--max-restarts", "0", "--lowest-limit", "2", "--logs", logs.to_str().unwrap()];
    let output = launch(&flags, &words).output().unwrap();
    let text = err(&output);
    assert_eq!(output.status.code(), Some(124), "{text}");
    let line = text.lines().find(|line| line.contains("has been in")).unwrap_or_else(|| panic!("{text}"));
    assert!(line.contains("local rank 1) has been in forward of step 15 for 2 s (limit 2 s, learned from"), "{line}");
    assert!(line.ends_with("; 2 wait for it in all_reduce 15"), "{line}");
    let run = std::fs::read_dir(&logs).unwrap().next().unwrap().unwrap().path();
    for rank in 0..3 {
        let dump = std::fs::read_to_string(run.join(format!("attempt-0/rank-{rank}.json"))).unwrap();
        assert_eq!(dump, format!("{{\"rank\": {rank}, \"entries\": []}}\n"));
        assert!(run.join(format!("attempt-0/rank-{rank}.log")).is_file());
    }
    let events = std::fs::read_to_string(run.join("events.jsonl")).unwrap();
    let events: Vec<serde_json::Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let stall = &events.iter().find(|event| event["detail"]["what"] == "stall").unwrap()["detail"];
    assert_eq!(stall["suspects"][0]["rank"], 1);
    assert_eq!(stall["waiting"]["collective"], 15);
    assert_eq!(events.last().unwrap()["detail"]["outcome"]["Failed"], 124);
}

#[test]
fn restarts_go_on_from_checkpoints_to_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().to_str().unwrap();
    let fails = ["0:25:kill:0", "2:47:exit:1", "1:55:stop:2", "3:73:hang:3"];
    let toy = toy();
    let mut words = vec![toy.as_str(), "--folder", folder];
    words.extend(fails.iter().flat_map(|fail| ["--fail", *fail]));
    let output = launch(&["--processes", "4", "--lowest-limit", "5"], &words).output().unwrap();
    let text = err(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for (restart, step) in [(1, 20), (2, 40), (3, 50), (4, 70)] {
        let line = format!("restart {restart} from the checkpoint of step {step}\n");
        assert!(text.contains(&line), "{line}{text}");
    }
    assert_eq!(out(&output).matches("finished 100 steps in attempt").count(), 4, "{}", out(&output));
}

#[test]
fn a_restart_that_gets_no_further_earns_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let words = [toy().as_str(), "--folder", dir.path().to_str().unwrap(), "--fail", "1:25:exit:*"].map(str::to_owned);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let output = launch(&["--processes", "2"], &words).output().unwrap();
    let text = err(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    let given_up = "gave up after 2 attempts: the restart made no progress and failed in the same way";
    assert!(text.contains("restart 1 from the checkpoint of step 20") && text.contains(given_up), "{text}");
}

#[test]
fn a_program_without_heartbeats_has_three_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let count = dir.path().join("count");
    let script = format!("echo >> {}; exit 9", count.display());
    let output = shell(&["--processes", "1"], &script);
    assert_eq!(output.status.code(), Some(9));
    assert!(err(&output).contains("gave up after 4 attempts: 3 of 3 restarts are used"), "{}", err(&output));
    assert_eq!(std::fs::read_to_string(&count).unwrap().lines().count(), 4);
    // Each attempt is told its number.
    let output =
        shell(&["--processes", "1"], "echo attempt $TORCHELASTIC_RESTART_COUNT; [ $TORCHELASTIC_RESTART_COUNT = 2 ]");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(out(&output), "[rank 0] attempt 0\n[rank 0] attempt 1\n[rank 0] attempt 2\n");
}

#[test]
fn a_program_that_is_not_there_is_not_started_again() {
    let output = launch(&["--processes", "3"], &["/no/such/program"]).output().unwrap();
    assert_eq!(output.status.code(), Some(127));
    let text = err(&output);
    assert!(text.contains("rank 0 (") && text.contains("cannot be started: /no/such/program: No such file"), "{text}");
    assert!(!text.contains("restart 1"), "{text}");
}

#[test]
fn a_signal_goes_on_to_the_ranks_which_may_save() {
    for (flags, code) in [(&["--processes", "2"][..], 143), (&["--processes", "2", "--requeue-code", "75"][..], 75)] {
        let dir = tempfile::tempdir().unwrap();
        let script = format!(
            "trap 'echo saved > {0}/saved-$RANK; exit 0' TERM; touch {0}/ready-$RANK; while :; do sleep 0.05; done",
            dir.path().display()
        );
        let child = piped(launch(flags, &["sh", "-c", &script]));
        let both = |name: &str| (0..2).all(|rank| dir.path().join(format!("{name}-{rank}")).exists());
        until("both ranks run", || both("ready"));
        signal(&child, libc::SIGTERM);
        let output = wait(child);
        assert_eq!(output.status.code(), Some(code), "{}", err(&output));
        assert!(both("saved"), "{}", err(&output));
        assert!(err(&output).contains("SIGTERM is passed to 2 ranks"), "{}", err(&output));
    }
}

#[test]
fn sigusr1_is_passed_on_and_ends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "trap 'touch {0}/usr1-$RANK' USR1; touch {0}/ready-$RANK; while [ ! -e {0}/end ]; do sleep 0.05; done",
        dir.path().display()
    );
    let child = piped(launch(&["--processes", "2"], &["sh", "-c", &script]));
    let both = |name: &str| (0..2).all(|rank| dir.path().join(format!("{name}-{rank}")).exists());
    until("both ranks run", || both("ready"));
    signal(&child, libc::SIGUSR1);
    until("both ranks have the signal", || both("usr1"));
    std::fs::write(dir.path().join("end"), "").unwrap();
    let output = wait(child);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
}

#[test]
fn a_killed_supervisor_leaves_no_rank() {
    let mark = mark(2);
    let dir = tempfile::tempdir().unwrap();
    // A child in the rank's group, which does not end with the rank by itself.
    let script = format!("sleep {mark} & touch {}/ready-$RANK; wait", dir.path().display());
    let mut child = piped(launch(&["--processes", "3"], &["sh", "-c", &script]));
    until("all ranks run", || (0..3).all(|rank| dir.path().join(format!("ready-{rank}")).exists()));
    assert!(!running(&mark).is_empty());
    signal(&child, libc::SIGKILL);
    child.wait().unwrap();
    until("no rank is left", || running(&mark).is_empty());
}

#[test]
fn a_supervisor_that_was_stopped_itself_accuses_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let words = [toy().as_str(), "--folder", dir.path().to_str().unwrap(), "--steps", "300"].map(str::to_owned);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let child = piped(launch(&["--processes", "2", "--lowest-limit", "2"], &words));
    until("a checkpoint", || dir.path().join("state").exists());
    signal(&child, libc::SIGSTOP);
    std::thread::sleep(Duration::from_millis(4000));
    signal(&child, libc::SIGCONT);
    let output = wait(child);
    assert_eq!((output.status.code(), err(&output)), (Some(0), String::new()));
}

#[test]
fn lines_of_many_ranks_stay_whole() {
    let script = "i=0; while [ $i -lt 500 ]; do echo line $i of rank $RANK $RANK $RANK $RANK; i=$((i+1)); done";
    let output = shell(&["--processes", "6"], script);
    assert_eq!(output.status.code(), Some(0));
    let text = out(&output);
    let mut next = [0; 6];
    for line in text.lines() {
        let rank: usize = line.strip_prefix("[rank ").unwrap()[..1].parse().unwrap();
        assert_eq!(line, format!("[rank {rank}] line {} of rank {rank} {rank} {rank} {rank}", next[rank]));
        next[rank] += 1;
    }
    assert_eq!(next, [500; 6]);
}

#[test]
fn mistakes_are_sentences() {
    let fails = |flags: &[&str], sentence: &str| {
        let output = launch(flags, &["true"]).output().unwrap();
        assert!(!output.status.success() && err(&output).contains(sentence), "{flags:?}: {}", err(&output));
    };
    fails(&["--processes", "0"], "error: --processes 0: from 1 to 1024");
    fails(&["--processes", "1", "--grace", "0"], "error: --grace 0: above 0");
    fails(&["--processes", "1", "--master-port", "0"], "error: --master-port 0: from 1");
    let file = tempfile::NamedTempFile::new().unwrap();
    fails(&["--processes", "1", "--logs", file.path().to_str().unwrap()], "error: cannot make the folder");
}

#[test]
fn a_bad_heartbeat_is_said_once_and_ends_nothing() {
    let script = "for i in 1 2 3; do echo '{\"stpe\": 1}' > $HERD_HEARTBEAT; done; sleep 0.5";
    let output = shell(&["--processes", "1"], script);
    let text = err(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(
        text.contains("rank 0 wrote 1 heartbeats that are not understood") && text.contains("unknown field `stpe`"),
        "{text}"
    );
}
