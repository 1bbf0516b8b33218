use super::*;

/// A supervisor with a virtual time and a record of its actions.
struct Bench {
    supervisor: Supervisor,
    now: Time,
    actions: Vec<Action>,
}

impl Bench {
    fn new(ranks: u32, settings: Settings) -> Self {
        let place = |rank: u32| Place { host: format!("b{}", rank / 8), device: format!("GPU {}", rank % 8) };
        let mut supervisor = Supervisor::new((0..ranks).map(place).collect(), settings);
        let actions = supervisor.begin(Time::ZERO);
        Self { supervisor, now: Time::ZERO, actions }
    }

    fn event(&mut self, event: Event) {
        let actions = self.supervisor.handle(self.now, event);
        self.actions.extend(actions);
    }

    fn sign(&mut self, who: Who, sign: Sign) {
        self.event(Event::Ranks { attempt: self.supervisor.attempt(), who, sign });
    }

    fn beat(&mut self, who: Who, beat: Beat) {
        self.sign(who, Sign::Beat(beat));
    }

    fn exit(&mut self, rank: Rank, exit: Exit) {
        self.sign(Who::One(rank), Sign::Exited(exit));
    }

    /// Advances the time; everything due in it happens.
    fn wait(&mut self, milliseconds: u64) {
        let end = self.now + Duration::from_millis(milliseconds);
        while let Some(due) = self.supervisor.deadline().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.event(Event::Tick);
        }
        self.now = end;
    }

    fn take(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    fn said(&mut self) -> Vec<String> {
        let said = |action| if let Action::Say(notice) = action { Some(notice.to_string()) } else { None };
        self.take().into_iter().filter_map(said).collect()
    }

    /// All ranks work through steps of equal length, with a heartbeat at the start of each.
    fn steps(&mut self, from: Step, to: Step, milliseconds: u64) {
        for step in from..to {
            self.beat(Who::ALL, Beat::new(step, "forward"));
            self.wait(milliseconds);
        }
    }
}

fn kill(who: Who) -> Action {
    Action::Signal { signal: libc::SIGKILL, who }
}

fn terminate(who: Who) -> Action {
    Action::Signal { signal: libc::SIGTERM, who }
}

fn blind() -> Settings {
    Settings { policy: Policy { restarts: Some(0), ..Policy::default() }, ..Settings::default() }
}

#[test]
fn all_ranks_succeed() {
    let mut bench = Bench::new(3, Settings::default());
    assert_eq!(bench.take(), [Action::Start { attempt: 0, at_most: None }]);
    for rank in [1, 0, 2] {
        assert!(bench.actions.is_empty());
        bench.exit(rank, Exit::Code(0));
    }
    assert_eq!(bench.take(), [Action::End(Outcome::Success)]);
    assert!(bench.supervisor.is_over() && bench.supervisor.deadline().is_none());
    // Later events have no effect.
    bench.exit(1, Exit::Code(1));
    bench.event(Event::Stop(libc::SIGTERM));
    assert!(bench.actions.is_empty());
}

#[test]
fn one_failure_ends_all_and_names_the_rank() {
    let mut bench = Bench::new(12, blind());
    bench.beat(Who::ALL, Beat::new(4711, "forward"));
    bench.take();
    bench.exit(11, Exit::Signal(libc::SIGSEGV));
    let actions = bench.take();
    assert_eq!(actions[1..], [terminate(Who::AllBut(vec![11]))]);
    let Action::Say(notice) = &actions[0] else { panic!("{actions:?}") };
    let sentence =
        "rank 11 (b1, GPU 3) was killed by SIGSEGV in forward of step 4,711; the other 11 ranks are terminated";
    assert_eq!(notice.to_string(), sentence);
    // Ranks that end now are no further failures; a rank that does not end is killed after the grace period.
    for rank in 0..10 {
        bench.exit(rank, Exit::Code(1));
    }
    assert!(bench.take().is_empty());
    bench.wait(4999);
    assert!(bench.take().is_empty());
    bench.wait(1);
    let actions = bench.take();
    assert_eq!(actions[1], kill(Who::AllBut((0..10).chain([11]).collect())));
    let Action::Say(notice) = &actions[0] else { panic!("{actions:?}") };
    let sentence = "1 ranks did not exit within 5 s and are killed; the first is rank 10 (b1, GPU 2)";
    assert_eq!(notice.to_string(), sentence);
    bench.exit(10, Exit::Signal(libc::SIGKILL));
    let actions = bench.take();
    assert_eq!(actions.last(), Some(&Action::End(Outcome::Failed(128 + libc::SIGSEGV))));
}

#[test]
fn the_first_to_fail_is_the_cause() {
    let mut bench = Bench::new(2, blind());
    bench.exit(1, Exit::Code(7));
    bench.exit(0, Exit::Code(9));
    assert_eq!(bench.take().last(), Some(&Action::End(Outcome::Failed(7))));
}

#[test]
fn a_stall_names_the_rank_that_others_wait_for() {
    let mut bench = Bench::new(64, blind());
    bench.steps(0, 10, 7400);
    bench.take();
    let stuck = Beat { micro_batch: Some(3), every: Some(5), ..Beat::new(10, "forward") };
    bench.beat(Who::ALL, stuck.clone());
    bench.wait(2000);
    let wait = Beat { waiting: Some("reduce_scatter".into()), collective: 214_003, ..Beat::new(10, "backward") };
    // Heartbeats continue; the work does not.
    for second in (0..72).step_by(4) {
        bench.beat(Who::AllBut(vec![13]), wait.clone());
        bench.beat(Who::One(13), stuck.clone());
        assert!(bench.actions.is_empty(), "after {second} s: {:?}", bench.actions);
        bench.wait(4000);
    }
    let actions = bench.take();
    assert_eq!(actions[1], Action::Dump);
    let Action::Say(notice) = &actions[0] else { panic!("{actions:?}") };
    assert_eq!(
        notice.to_string(),
        "rank 13 (b1, GPU 5) has been in forward of step 10, micro-batch 3 for 74 s (limit 74 s, learned from 10 samples); \
         63 wait for it in reduce_scatter 214,003"
    );
    // No rank is killed before the recorders are written or their time is over.
    assert_eq!(actions.len(), 2, "{actions:?}");
    bench.wait(5000);
    assert_eq!(bench.take(), [kill(Who::ALL)]);
    bench.sign(Who::ALL, Sign::Exited(Exit::Signal(libc::SIGKILL)));
    assert_eq!(bench.take().last(), Some(&Action::End(Outcome::Failed(124))));
}

#[test]
fn recorders_that_are_written_shorten_the_wait() {
    let mut bench = Bench::new(2, blind());
    bench.beat(Who::ALL, Beat { every: Some(5), ..Beat::new(0, "forward") });
    bench.wait(30_000);
    assert_eq!(bench.take().last(), Some(&Action::Dump));
    bench.sign(Who::One(0), Sign::Dumped);
    assert!(bench.take().is_empty());
    bench.sign(Who::One(1), Sign::Dumped);
    assert_eq!(bench.take(), [kill(Who::ALL)]);
}

#[test]
fn where_all_wait_those_in_the_earliest_collective_are_behind() {
    let mut bench = Bench::new(8, blind());
    let wait = |collective| Beat { waiting: Some("all_gather".into()), collective, ..Beat::new(3, "optimizer") };
    bench.beat(Who::AllBut(vec![2, 5]), wait(90));
    bench.beat(Who::These(vec![2, 5]), wait(89));
    for _ in 0..200 {
        bench.wait(10_000);
    }
    let said = bench.said().remove(0);
    assert!(said.starts_with("rank 2 (b0, GPU 2) has waited in all_gather 89 for"), "{said}");
    assert!(said.contains("; rank 5 (b0, GPU 5) has waited in all_gather 89 for"), "{said}");
    assert!(said.ends_with("; 6 wait for it in all_gather 90"), "{said}");
}

#[test]
fn silence_and_stopped_processes_are_stalls_of_their_own() {
    let mut bench = Bench::new(4, blind());
    for beat in 0..20 {
        for rank in (0..4).filter(|rank| beat < 3 || *rank != 2) {
            bench.beat(Who::One(rank), Beat { every: Some(5), ..Beat::new(beat, "forward") });
        }
        bench.wait(5000);
    }
    let said = bench.said().remove(0);
    assert_eq!(said, "rank 2 (b0, GPU 2) has been silent for 30 s, last seen in forward of step 2 (limit 30 s)");
    // Without a promised heartbeat only the limit of the phase applies.
    let mut bench = Bench::new(1, blind());
    bench.beat(Who::ALL, Beat::new(0, "forward"));
    bench.wait(1_799_000);
    assert!(bench.said().is_empty());
    // A rank that promises a heartbeat a minute may be silent for longer.
    bench.beat(Who::ALL, Beat { every: Some(60), ..Beat::new(1, "forward") });
    bench.wait(179_000);
    assert!(bench.said().is_empty());
    bench.wait(1_000);
    assert!(bench.said()[0].contains("been silent for 180 s"));
    // The message says that the process is known to be stopped.
    let mut bench = Bench::new(2, blind());
    bench.sign(Who::One(1), Sign::Stopped);
    bench.wait(29_000);
    assert!(bench.said().is_empty());
    bench.sign(Who::One(1), Sign::Continued);
    bench.wait(100_000);
    assert!(bench.said().is_empty());
    bench.sign(Who::One(1), Sign::Stopped);
    bench.wait(30_000);
    assert_eq!(bench.said(), ["rank 1 (b0, GPU 1) has been stopped (SIGSTOP) for 30 s (limit 30 s)"]);
}

#[test]
fn a_program_without_heartbeats_may_be_silent_unless_a_limit_is_given() {
    let mut bench = Bench::new(2, blind());
    bench.wait(1_000_000_000);
    assert!(bench.said().is_empty());
    let limits = Limits { output: Some(Duration::from_secs(60)), ..Limits::default() };
    let mut bench = Bench::new(2, Settings { limits, ..blind() });
    for _ in 0..10 {
        bench.sign(Who::One(0), Sign::Output);
        bench.wait(10_000);
    }
    assert_eq!(bench.said(), ["rank 1 (b0, GPU 1) has been silent for 60 s (limit 60 s)"]);
}

#[test]
fn a_rank_that_never_begins_is_missed() {
    let mut bench = Bench::new(3, blind());
    for _ in 0..200 {
        bench.beat(Who::AllBut(vec![1]), Beat { waiting: Some("barrier".into()), ..Beat::new(0, LOAD) });
        bench.wait(10_000);
    }
    let said = bench.said().remove(0);
    assert_eq!(said, "rank 1 (b0, GPU 1) has been silent for 1800 s (limit 1800 s); 2 wait for it in barrier 0");
}

#[test]
fn restarts_go_on_as_long_as_they_get_further() {
    let mut bench = Bench::new(2, Settings::default());
    for attempt in 0..50u64 {
        assert_eq!(bench.supervisor.attempt(), u32::try_from(attempt).unwrap());
        let beat = Beat { saved: Some(attempt * 10), ..Beat::new(attempt * 10 + 3, "forward") };
        bench.beat(Who::ALL, beat);
        bench.exit(0, Exit::Code(1));
        bench.exit(1, Exit::Signal(libc::SIGTERM));
    }
    let said = bench.said();
    assert_eq!(said[1], "restart 1 from the checkpoint of step 0");
    assert_eq!(said.last().unwrap(), "restart 50 from the checkpoint of step 490");
    // No progress: no further restart.
    for rank in [0, 1] {
        bench.beat(Who::ALL, Beat { saved: Some(490), ..Beat::new(493, "forward") });
        bench.exit(rank, Exit::Code(1));
    }
    let said = bench.said();
    assert_eq!(
        said.last().unwrap(),
        "gave up after 51 attempts: the restart made no progress and failed in the same way"
    );
    assert!(bench.supervisor.is_over());
}

#[test]
fn what_an_earlier_attempt_says_is_ignored() {
    let mut bench = Bench::new(2, Settings::default());
    bench.exit(0, Exit::Code(1));
    bench.exit(1, Exit::Code(1));
    assert_eq!(bench.supervisor.attempt(), 1);
    bench.take();
    bench.event(Event::Ranks { attempt: 0, who: Who::One(1), sign: Sign::Exited(Exit::Code(1)) });
    let beat = Beat { saved: Some(99), ..Beat::new(99, "forward") };
    bench.event(Event::Ranks { attempt: 0, who: Who::One(1), sign: Sign::Beat(beat) });
    assert!(bench.take().is_empty());
    assert_eq!(bench.supervisor.saved(), None);
}

#[test]
fn what_cannot_be_started_is_not_started_again() {
    let mut bench = Bench::new(2, Settings::default());
    bench.take();
    bench.sign(Who::One(0), Sign::NotStarted("No such file or directory".into()));
    bench.sign(Who::One(1), Sign::NotStarted("No such file or directory".into()));
    let actions = bench.take();
    let Action::Say(notice) = &actions[0] else { panic!("{actions:?}") };
    assert_eq!(notice.to_string(), "rank 0 (b0, GPU 0) cannot be started: No such file or directory");
    assert_eq!(actions.last(), Some(&Action::End(Outcome::Failed(127))));
    assert!(!actions.iter().any(|action| matches!(action, Action::Start { .. })));
}

#[test]
fn a_stop_goes_on_to_the_ranks_and_is_no_failure() {
    let mut bench = Bench::new(2, Settings::default());
    bench.take();
    bench.event(Event::Stop(libc::SIGINT));
    let actions = bench.take();
    assert_eq!(actions[1], Action::Signal { signal: libc::SIGINT, who: Who::ALL });
    bench.exit(0, Exit::Signal(libc::SIGINT));
    bench.exit(1, Exit::Code(0));
    assert_eq!(bench.take(), [Action::End(Outcome::Stopped(libc::SIGINT))]);
    // A second request takes effect at once.
    let mut bench = Bench::new(2, Settings::default());
    bench.event(Event::Stop(libc::SIGTERM));
    bench.take();
    bench.event(Event::Stop(libc::SIGTERM));
    assert_eq!(bench.take(), [kill(Who::ALL)]);
    // A request during the end of ranks after a failure, and in the pause before a restart.
    let mut bench = Bench::new(2, Settings::default());
    bench.exit(0, Exit::Code(1));
    bench.event(Event::Stop(libc::SIGTERM));
    bench.exit(1, Exit::Code(1));
    assert_eq!(bench.take().last(), Some(&Action::End(Outcome::Stopped(libc::SIGTERM))));
    // A signal that is only forwarded.
    let mut bench = Bench::new(2, Settings::default());
    bench.take();
    bench.event(Event::Forward(libc::SIGUSR1));
    assert_eq!(bench.take(), [Action::Signal { signal: libc::SIGUSR1, who: Who::ALL }]);
}

#[test]
fn maintenance_saves_and_starts_again_without_counting() {
    let mut bench = Bench::new(2, blind());
    bench.steps(0, 5, 1000);
    bench.take();
    bench.event(Event::Drain("maintenance".into()));
    assert_eq!(bench.take()[1], terminate(Who::ALL));
    bench.beat(Who::ALL, Beat { saved: Some(5), ..Beat::new(5, "save") });
    bench.exit(0, Exit::Code(0));
    bench.exit(1, Exit::Code(0));
    assert_eq!(bench.take(), [Action::Start { attempt: 1, at_most: None }]);
    assert_eq!(bench.supervisor.saved(), Some(5));
}

#[test]
fn wrong_numbers_go_back_to_what_is_verified() {
    let mut bench = Bench::new(4, Settings::default());
    bench.beat(Who::ALL, Beat { saved: Some(40), ..Beat::new(47, "forward") });
    bench.take();
    bench.sign(Who::One(3), Sign::Corrupt(20));
    let actions = bench.take();
    let Action::Say(notice) = &actions[0] else { panic!("{actions:?}") };
    assert_eq!(
        notice.to_string(),
        "rank 3 (b0, GPU 3) computed wrong values; the run returns to the checkpoint of step 20"
    );
    // The wrong numbers are not saved.
    assert_eq!(actions[1], kill(Who::ALL));
    bench.sign(Who::ALL, Sign::Exited(Exit::Signal(libc::SIGKILL)));
    assert_eq!(bench.take().last(), Some(&Action::Start { attempt: 1, at_most: Some(20) }));
    // The limit stays until a newer checkpoint is valid.
    bench.beat(Who::ALL, Beat { saved: Some(20), ..Beat::new(21, "forward") });
    bench.exit(0, Exit::Signal(libc::SIGKILL));
    bench.sign(Who::ALL, Sign::Exited(Exit::Code(1)));
    bench.wait(60_000);
    assert_eq!(bench.take().last(), Some(&Action::Start { attempt: 2, at_most: Some(20) }));
    bench.beat(Who::ALL, Beat { saved: Some(25), ..Beat::new(26, "forward") });
    bench.exit(0, Exit::Signal(libc::SIGKILL));
    bench.sign(Who::ALL, Sign::Exited(Exit::Code(1)));
    bench.wait(60_000);
    assert_eq!(bench.take().last(), Some(&Action::Start { attempt: 3, at_most: None }));
}

#[test]
fn ranks_tell_by_heartbeats_who_is_slow_or_wrong() {
    let mut bench = Bench::new(4, Settings::default());
    bench.take();
    let slow = |step| Beat { slow: Some(31), ..Beat::new(step, "forward") };
    bench.beat(Who::One(2), slow(5));
    assert_eq!(bench.said(), ["rank 2 (b0, GPU 2) takes 31% longer for its own work than the other ranks"]);
    // The message appears once.
    bench.beat(Who::One(2), slow(6));
    assert!(bench.said().is_empty());
    bench.beat(Who::ALL, Beat { saved: Some(40), ..Beat::new(47, "forward") });
    bench.beat(Who::One(1), Beat { corrupt: Some(40), ..Beat::new(47, "check") });
    let actions = bench.take();
    assert!(actions.contains(&kill(Who::ALL)), "{actions:?}");
    bench.sign(Who::ALL, Sign::Exited(Exit::Code(WRONG_NUMBERS)));
    assert_eq!(bench.take().last(), Some(&Action::Start { attempt: 1, at_most: Some(40) }));
    // The device is permanently broken.
    bench.beat(Who::One(1), Beat { corrupt: Some(40), ..Beat::new(47, "check") });
    bench.sign(Who::ALL, Sign::Exited(Exit::Code(WRONG_NUMBERS)));
    assert_eq!(bench.take().last(), Some(&Action::End(Outcome::Failed(WRONG_NUMBERS))));
}

#[test]
fn a_slow_rank_is_named_and_replaced_where_that_is_wanted() {
    let mut bench = Bench::new(4, Settings::default());
    bench.take();
    bench.sign(Who::One(2), Sign::Slow(31));
    assert_eq!(bench.said(), ["rank 2 (b0, GPU 2) takes 31% longer for its own work than the other ranks"]);
    let mut bench = Bench::new(4, Settings { restart_slow: true, ..Settings::default() });
    bench.sign(Who::One(2), Sign::Slow(31));
    assert_eq!(bench.take().last(), Some(&terminate(Who::ALL)));
}

#[test]
fn killed_processes_that_stay_are_reported() {
    let mut bench = Bench::new(2, blind());
    bench.exit(0, Exit::Code(1));
    bench.wait(5000);
    bench.take();
    bench.wait(60_000);
    let said = bench.said();
    assert_eq!(said, ["1 killed ranks still exist (blocked in the kernel); the first is rank 1 (b0, GPU 1)"]);
}

/// One event for all ranks has the same effect as one event for each rank.
#[test]
fn events_for_many_ranks_are_events_for_each() {
    let run = |bulk: bool| {
        let mut bench = Bench::new(16, blind());
        let beat = |bench: &mut Bench, others: &[Rank], beat: &Beat| {
            if bulk {
                bench.beat(Who::AllBut(others.to_vec()), beat.clone());
            } else {
                for rank in (0..16).filter(|rank| !others.contains(rank)) {
                    bench.beat(Who::One(rank), beat.clone());
                }
            }
        };
        for step in 0..20 {
            beat(&mut bench, &[], &Beat::new(step, "forward"));
            bench.wait(4000);
            beat(&mut bench, &[], &Beat { saved: Some(step), ..Beat::new(step, "optimizer") });
            bench.wait(500);
        }
        beat(&mut bench, &[7], &Beat { waiting: Some("all_gather".into()), ..Beat::new(20, "forward") });
        bench.beat(Who::One(7), Beat::new(20, "forward"));
        for _ in 0..20 {
            bench.wait(3000);
            beat(&mut bench, &[7], &Beat { waiting: Some("all_gather".into()), ..Beat::new(20, "forward") });
        }
        bench.sign(Who::ALL, Sign::Exited(Exit::Signal(libc::SIGKILL)));
        (bench.now, bench.supervisor.saved(), bench.take())
    };
    let (bulk, each) = (run(true), run(false));
    assert_eq!((bulk.0, bulk.1), (each.0, each.1));
    // The numbers of learned times differ; everything else is equal.
    let without_counts = |actions: Vec<Action>| -> Vec<Action> {
        let mut actions = actions;
        for action in &mut actions {
            if let Action::Say(Notice::Stall { suspects, .. }) = action {
                suspects.iter_mut().for_each(|suspect| suspect.learned_from = 0);
            }
        }
        actions
    };
    let (bulk, each) = (without_counts(bulk.2), without_counts(each.2));
    assert!(bulk.iter().any(|action| matches!(action, Action::Say(Notice::Stall { .. }))), "{bulk:?}");
    assert_eq!(bulk, each);
}

#[test]
fn waiting_for_a_long_evaluation_is_no_stall() {
    let mut bench = Bench::new(4, blind());
    let wait = |collective| Beat { waiting: Some("barrier".into()), collective, ..Beat::new(collective, "forward") };
    // Barriers of one second are learned.
    for collective in 0..10 {
        bench.beat(Who::ALL, wait(collective));
        bench.wait(1000);
        bench.beat(Who::ALL, Beat::new(collective, "forward"));
        bench.wait(1000);
    }
    // Rank 0 evaluates for ten minutes while the others wait; then it joins them.
    bench.beat(Who::One(0), Beat::new(10, "evaluate"));
    for _ in 0..60 {
        bench.beat(Who::AllBut(vec![0]), wait(10));
        bench.wait(10_000);
    }
    bench.beat(Who::One(0), wait(10));
    bench.wait(1000);
    assert!(bench.said().is_empty());
}
