use super::*;
use crate::faults::formula;
use crate::faults::mix::Cause;

fn setting(gpus: u32, mix: Mix) -> Setting {
    Setting { gpus, days: 54.0, step: 6.0, mix, slow_factor: 2.0, person: 3600.0, gone: 1.0 }
}

fn ours() -> Practice {
    Practice {
        name: "ours".into(),
        interval: 210.0,
        stop: 2.0,
        write: 60.0,
        restart: 300.0,
        exit_seen: Some(15.0),
        fixed_limit: None,
        slow_seen: 300.0,
        corrupt_seen: 3600.0,
    }
}

fn peers() -> Practice {
    Practice::assumed_peers(60.0)
}

/// A mix with one symptom: `count` failures in 54 days on 16,384 GPUs.
fn only(shows: Shows, count: f64) -> Mix {
    let cause = vec![Cause { name: "x".into(), count, shows }];
    Mix { planned: 0.0, cause, ..Mix::paper() }
}

fn sum(shares: Shares) -> f64 {
    shares.effective + shares.lost + shares.saving + shares.noticing + shares.restarting
}

fn mean(setting: &Setting, practice: &Practice, seeds: u64) -> Shares {
    let runs: Vec<Run> = (0..seeds).map(|seed| simulate(setting, practice, seed)).collect();
    crate::faults::mean(&runs)
}

#[test]
fn without_failures_only_saving_costs() {
    let mix = Mix { planned: 0.0, cause: Vec::new(), ..Mix::paper() };
    let run = simulate(&setting(64, mix), &ours(), 1);
    assert_eq!((run.failures, run.planned, run.restarts, run.given_up), (0, 0, 0, 0));
    // 35 steps of 6 s and a stop of 2 s: 210 of 212 seconds, except for one start.
    let expected = (1.0 - 300.0 / (54.0 * 86400.0)) * 210.0 / 212.0;
    assert!((run.shares.effective - expected).abs() < 1e-5, "{run:?}");
    assert!((sum(run.shares) - 1.0).abs() < 1e-9);
}

#[test]
fn every_second_is_booked_and_seeds_repeat() {
    for practice in [ours(), peers()] {
        let setting = setting(16_384, Mix::paper());
        let run = simulate(&setting, &practice, 3);
        assert!((sum(run.shares) - 1.0).abs() < 1e-9, "{run:?}");
        assert!([run.shares.lost, run.shares.saving, run.shares.noticing].iter().all(|share| *share > 0.0), "{run:?}");
        assert_eq!(run, simulate(&setting, &practice, 3));
        assert_ne!(run.shares, simulate(&setting, &practice, 4).shares);
        // 419 and 47 are expected; four standard deviations.
        assert!((337..=501).contains(&run.failures) && (20..=75).contains(&run.planned), "{run:?}");
    }
}

/// The requirement of issue 22, with the paper's counts on 16,384 GPUs.
#[test]
fn ours_is_fifteen_points_above_the_assumed_peers() {
    let setting = setting(16_384, Mix::paper());
    let (ours_, peers_) = (mean(&setting, &ours(), 4), mean(&setting, &peers(), 4));
    assert!(ours_.effective > peers_.effective + 0.15, "{ours_:?} {peers_:?}");
    // Young's interval and limits learned by phase reach what the paper reports (over 90%).
    assert!(ours_.effective > 0.92 && ours_.effective < 0.96, "{ours_:?}");
    assert!(peers_.effective > 0.70 && peers_.effective < 0.79, "{peers_:?}");
}

#[test]
fn the_formula_agrees() {
    for gpus in [2_048, 16_384] {
        for (practice, points) in [(ours(), 0.01), (peers(), 0.05)] {
            let setting = setting(gpus, Mix::paper());
            let simulated = mean(&setting, &practice, 4).effective;
            let noticed = |shows| practice.noticed(shows, setting.step);
            let formula = formula::effective(gpus, &setting.mix, &practice, noticed);
            assert!((formula - simulated).abs() < points, "{gpus} {}: {formula} {simulated}", practice.name);
        }
    }
}

/// The state machine detects a hang 60 s (10 steps) after the step began, gives the recorders 5 s, and all processes are gone 1 s later.
#[test]
fn hangs_last_as_long_as_the_learned_limit() {
    let mut setting = setting(16_384, only(Shows::Hang, 200.0));
    setting.days = 20.0;
    let run = simulate(&setting, &ours(), 5);
    let each = run.shares.noticing * setting.days * 86_400.0 / f64::from(run.failures);
    assert!(run.failures > 40 && (55.0..=75.0).contains(&each), "{each} s, {run:?}");
    // A fixed limit of ten minutes costs ten minutes.
    let run = simulate(&setting, &Practice { fixed_limit: Some(600.0), ..ours() }, 5);
    let each = run.shares.noticing * setting.days * 86_400.0 / f64::from(run.failures);
    assert!((560.0..=610.0).contains(&each), "{each} s, {run:?}");
}

#[test]
fn wrong_numbers_cost_the_work_since_the_last_right_checkpoint() {
    let mut setting = setting(16_384, only(Shows::Silent, 100.0));
    setting.days = 20.0;
    let run = simulate(&setting, &ours(), 5);
    let each = run.shares.lost * setting.days * 86_400.0 / f64::from(run.failures);
    // An hour until detection, and half an interval before; a second failure in that hour is not distinguished.
    assert!(run.failures > 20 && (3000.0..=3900.0).contains(&each), "{each} s, {run:?}");
}

#[test]
fn slow_devices_cost_half_of_the_time_until_they_are_named() {
    let mut setting = setting(16_384, only(Shows::Slow, 100.0));
    setting.days = 20.0;
    let run = simulate(&setting, &ours(), 5);
    let each = run.shares.noticing * setting.days * 86_400.0 / f64::from(run.failures);
    assert!(run.failures > 20 && (130.0..=190.0).contains(&each), "{each} s, {run:?}");
    assert!(run.shares.lost < 0.001, "it saves before it is replaced: {run:?}");
}

/// With a failure every 5 minutes and a start of 5 minutes, the supervisor gives up again and again; the simulation still ends.
#[test]
fn hopeless_runs_end() {
    let mut setting = setting(16_384, only(Shows::Crash, 54.0 * 288.0));
    setting.days = 5.0;
    let run = simulate(&setting, &ours(), 1);
    assert!(run.given_up > 0 && run.shares.effective < 0.2, "{run:?}");
    assert!((sum(run.shares) - 1.0).abs() < 1e-9, "{run:?}");
}

#[test]
fn a_stopped_process_is_seen_before_any_limit_is_learned() {
    // During the first load, only the first limit of half an hour would detect a hang.
    let mix = || only(Shows::Stopped, 1.0);
    let setting = Setting { days: 0.05, step: 1.0, ..setting(4, mix()) };
    let practice = Practice { restart: 60.0, ..ours() };
    let run = |shows| retell(&setting, &practice, &practice.settings(1.0), &[(10.0, shows)]);
    let (stopped, hang) = (run(Shows::Stopped), run(Shows::Hang));
    assert_eq!((stopped.failures, stopped.restarts), (1, 1));
    // 30 s, 5 s for the recorders, and one second until the processes are gone.
    let noticed = stopped.shares.noticing * 4320.0;
    assert!((noticed - 36.0).abs() < 1.0, "{noticed}");
    assert!(hang.shares.noticing * 4320.0 > 1700.0, "{hang:?}");
}

#[test]
fn failures_that_are_told_again_are_those() {
    let setting = Setting { days: 0.05, step: 1.0, ..setting(4, only(Shows::Crash, 1.0)) };
    let practice = Practice { interval: 10.0, stop: 0.0, write: 0.0, restart: 20.0, exit_seen: Some(0.0), ..ours() };
    let settings = Settings { failure_grace: Duration::ZERO, ..practice.settings(1.0) };
    let crash = |after: f64| (after, Shows::Crash);
    let run = retell(&setting, &practice, &settings, &[crash(104.5), crash(306.0)]);
    // 104.5 s: 84.5 s of steps, of which 80 are saved; 306 s: 180.5 s after the next start, of which 180 are saved; and the step
    // that ends with the simulation.
    assert_eq!((run.failures, run.restarts), (2, 2));
    let lost = run.shares.lost * 4320.0;
    assert!((lost - 6.0).abs() < 0.01, "{lost}");
    assert!((run.shares.restarting * 4320.0 - 60.0).abs() < 0.01, "{run:?}");
    assert_eq!(retell(&setting, &practice, &settings, &[]).failures, 0);
}
