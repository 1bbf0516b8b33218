//! The schedule as a state machine: train a stage, measure it, then advance, train another round, or stop. The module itself neither
//! trains nor measures: the state is a function of the events so far, which a journal keeps.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The rules that decide whether a stage is passed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// Number of stages.
    pub stages: usize,
    /// Maximum number of training rounds of a stage.
    pub rounds: usize,
    /// How much worse a short metric may be before it counts as fallen, beyond the noise: in nats for losses, as a share for scores.
    pub tolerance: f64,
    /// Share of the needles that must be found.
    pub needles: f64,
    /// Whether a stage that has not passed after its last round is only reported.
    pub report_only: bool,
}

/// A short metric, paired by item with the model before the first stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Short {
    /// The name of the metric.
    pub name: String,
    /// Number of items.
    pub items: usize,
    /// The mean before the first stage.
    pub before: f64,
    /// The mean now.
    pub now: f64,
    /// The lower end of the one-sided 95% interval of the deterioration; above 0, the metric is significantly worse.
    pub worse_at_least: f64,
}

impl Short {
    /// Compares paired items for which a higher number is worse: `m - 1.645 s / sqrt(n)` with the mean `m` and the standard deviation `s`
    /// of the differences.
    #[must_use]
    pub fn paired(name: &str, before: &[f64], now: &[f64]) -> Self {
        let n = before.len().min(now.len());
        let mean = |values: &[f64]| values.iter().take(n).sum::<f64>() / n.max(1) as f64;
        let differences: Vec<f64> = before.iter().zip(now).map(|(before, now)| now - before).collect();
        let worse = mean(&differences);
        let squares: f64 = differences.iter().map(|difference| (difference - worse).powi(2)).sum();
        let error = if n > 1 { (squares / (n - 1) as f64 / n as f64).sqrt() } else { f64::INFINITY };
        Self {
            name: name.to_owned(),
            items: n,
            before: mean(before),
            now: mean(now),
            // A single item gives no error estimate; JSON needs a finite number.
            worse_at_least: if error.is_finite() { worse - ONE_SIDED * error } else { f64::MIN },
        }
    }
}

/// The normal quantile of a one-sided 95% interval.
const ONE_SIDED: f64 = 1.644_853_626_951_472;

/// The needles at a depth of the new length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Depth {
    /// The depth in percent.
    pub depth: f64,
    /// Needles found.
    pub found: usize,
    /// Needles asked for.
    pub of: usize,
}

/// The measurements of a gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Findings {
    /// The length of the needles, in tokens.
    pub length: usize,
    /// The short metrics.
    pub short: Vec<Short>,
    /// The needles, by depth.
    pub needles: Vec<Depth>,
}

/// An event of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A round of training ended.
    Trained {
        /// The stage, from 0.
        stage: usize,
        /// The round, from 0.
        round: usize,
        /// Tokens trained on in this round.
        tokens: u64,
    },
    /// A gate was measured.
    Gated {
        /// The stage, from 0.
        stage: usize,
        /// The round, from 0.
        round: usize,
        /// The measurements.
        findings: Findings,
    },
}

/// The next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Train a round of a stage.
    Train {
        /// The stage, from 0.
        stage: usize,
        /// The round, from 0.
        round: usize,
    },
    /// Measure after a round of a stage.
    Gate {
        /// The stage, from 0.
        stage: usize,
        /// The round, from 0.
        round: usize,
    },
    /// All stages are done.
    Finished,
    /// A stage has not passed its gate after its last round.
    Stopped {
        /// The stage, from 0.
        stage: usize,
        /// The unmet conditions, a sentence each.
        failures: Vec<String>,
    },
}

/// The unmet conditions of a gate, a sentence each; empty when the gate is passed.
#[must_use]
pub fn failures(rules: &Rules, findings: &Findings) -> Vec<String> {
    let mut failures = Vec::new();
    for short in findings.short.iter().filter(|short| short.worse_at_least > rules.tolerance) {
        failures.push(format!(
            "{} fell: {:.4} before the first stage, {:.4} now, worse by at least {:.4} (one-sided 95% over {} items), where {} is \
             allowed",
            short.name, short.before, short.now, short.worse_at_least, short.items, rules.tolerance
        ));
    }
    let (found, of) = findings.needles.iter().fold((0, 0), |sum, depth| (sum.0 + depth.found, sum.1 + depth.of));
    if of == 0 || (found as f64) < rules.needles * of as f64 {
        let missed = findings.needles.iter().filter(|depth| depth.found < depth.of);
        let missed: Vec<String> =
            missed.map(|Depth { depth, found, of }| format!("{found} of {of} at depth {depth}%")).collect();
        failures.push(format!(
            "needles at {} tokens: {found} of {of} found, where {:.0}% are needed: {}",
            findings.length,
            100.0 * rules.needles,
            if missed.is_empty() { "none was asked for".to_owned() } else { missed.join(", ") }
        ));
    }
    failures
}

/// The next step after these events.
///
/// # Errors
/// When these rules cannot produce such events.
pub fn next(rules: &Rules, events: &[Event]) -> anyhow::Result<Step> {
    let mut step = Step::Train { stage: 0, round: 0 };
    for event in events {
        step = match (&step, event) {
            (Step::Train { stage, round }, Event::Trained { stage: of, round: at, .. })
                if (stage, round) == (of, at) =>
            {
                Step::Gate { stage: *stage, round: *round }
            }
            (Step::Gate { stage, round }, Event::Gated { stage: of, round: at, findings })
                if (stage, round) == (of, at) =>
            {
                after_gate(rules, *stage, *round, failures(rules, findings))
            }
            (step, event) => anyhow::bail!("the journal has {event:?} where the next step was {step:?}"),
        };
    }
    Ok(step)
}

fn after_gate(rules: &Rules, stage: usize, round: usize, failures: Vec<String>) -> Step {
    let is_last = round + 1 >= rules.rounds;
    if failures.is_empty() || (is_last && rules.report_only) {
        return if stage + 1 < rules.stages { Step::Train { stage: stage + 1, round: 0 } } else { Step::Finished };
    }
    if is_last { Step::Stopped { stage, failures } } else { Step::Train { stage, round: round + 1 } }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Train { stage, round } => write!(f, "stage {}, round {}: training", stage + 1, round + 1),
            Self::Gate { stage, round } => write!(f, "stage {}, round {}: gate", stage + 1, round + 1),
            Self::Finished => write!(f, "all stages are done"),
            Self::Stopped { stage, failures } => write!(f, "stopped in stage {}: {}", stage + 1, failures.join("; ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { stages: 2, rounds: 2, tolerance: 0.01, needles: 1.0, report_only: false };

    /// The findings of a gate with these numbers of needles found at each depth, and with this change of the short loss.
    fn findings(found: [usize; 3], worse: f64) -> Findings {
        let before: Vec<f64> = (0..20).map(|item| 2.0 + 0.1 * f64::from(item % 5)).collect();
        // Noise of 0.02 around the change.
        let now: Vec<f64> =
            before.iter().enumerate().map(|(at, loss)| loss + worse + if at % 2 == 0 { 0.02 } else { -0.02 }).collect();
        let depths = [0.0, 50.0, 100.0];
        Findings {
            length: 512,
            short: vec![Short::paired("short loss", &before, &now)],
            needles: depths.iter().zip(found).map(|(depth, found)| Depth { depth: *depth, found, of: 5 }).collect(),
        }
    }

    fn trained(stage: usize, round: usize) -> Event {
        Event::Trained { stage, round, tokens: 100 }
    }

    fn gated(stage: usize, round: usize, found: [usize; 3], worse: f64) -> Event {
        Event::Gated { stage, round, findings: findings(found, worse) }
    }

    fn after(events: &[Event]) -> Step {
        next(&RULES, events).unwrap()
    }

    #[test]
    fn a_stage_that_passes_is_left_and_the_last_one_ends_the_run() {
        assert_eq!(after(&[]), Step::Train { stage: 0, round: 0 });
        assert_eq!(after(&[trained(0, 0)]), Step::Gate { stage: 0, round: 0 });
        let mut events = vec![trained(0, 0), gated(0, 0, [5, 5, 5], 0.0)];
        assert_eq!(after(&events), Step::Train { stage: 1, round: 0 });
        events.extend([trained(1, 0), gated(1, 0, [5, 5, 5], -0.5)]);
        assert_eq!(after(&events), Step::Finished);
    }

    #[test]
    fn a_model_whose_short_ability_fell_is_stopped() {
        // The mean is better than the tolerance, and the interval reaches it: no fall.
        assert!(failures(&RULES, &findings([5, 5, 5], 0.005)).is_empty());
        assert!(failures(&RULES, &findings([5, 5, 5], 0.015)).is_empty());
        let mut events = vec![trained(0, 0), gated(0, 0, [5, 5, 5], 0.05)];
        // The stage may train another round, in which the loss can recover.
        assert_eq!(after(&events), Step::Train { stage: 0, round: 1 });
        events.extend([trained(0, 1), gated(0, 1, [5, 5, 5], 0.05)]);
        let Step::Stopped { stage: 0, failures } = after(&events) else { panic!("{:?}", after(&events)) };
        assert_eq!(failures.len(), 1);
        assert!(failures[0].starts_with("short loss fell: 2.2000 before the first stage, 2.2500 now"), "{failures:?}");
        // If it had recovered, the run would go on.
        events[3] = gated(0, 1, [5, 5, 5], 0.0);
        assert_eq!(after(&events), Step::Train { stage: 1, round: 0 });
    }

    #[test]
    fn a_failing_depth_stops() {
        let events = [trained(0, 0), gated(0, 0, [5, 4, 5], 0.0), trained(0, 1), gated(0, 1, [5, 4, 5], 0.0)];
        let Step::Stopped { failures, .. } = after(&events) else { panic!("{:?}", after(&events)) };
        assert_eq!(failures, ["needles at 512 tokens: 14 of 15 found, where 100% are needed: 4 of 5 at depth 50%"]);
        // The user may choose a lower share.
        let rules = Rules { needles: 0.9, ..RULES };
        assert_eq!(next(&rules, &events[..2]).unwrap(), Step::Train { stage: 1, round: 0 });
        // A gate without needles proves nothing.
        let none = Findings { needles: Vec::new(), ..findings([5, 5, 5], 0.0) };
        assert!(failures_of(&none)[0].contains("none was asked for"));
    }

    fn failures_of(findings: &Findings) -> Vec<String> {
        failures(&RULES, findings)
    }

    #[test]
    fn a_gate_that_only_reports_lets_everything_through_in_the_last_round() {
        let rules = Rules { report_only: true, ..RULES };
        let mut events = vec![trained(0, 0), gated(0, 0, [0, 0, 0], 1.0)];
        assert_eq!(next(&rules, &events).unwrap(), Step::Train { stage: 0, round: 1 });
        events.extend([trained(0, 1), gated(0, 1, [0, 0, 0], 1.0)]);
        assert_eq!(next(&rules, &events).unwrap(), Step::Train { stage: 1, round: 0 });
    }

    #[test]
    fn more_rounds_go_on_after_a_stop() {
        let events = [trained(0, 0), gated(0, 0, [5, 4, 5], 0.0), trained(0, 1), gated(0, 1, [5, 4, 5], 0.0)];
        let rules = Rules { rounds: 3, ..RULES };
        assert_eq!(next(&rules, &events).unwrap(), Step::Train { stage: 0, round: 2 });
    }

    #[test]
    fn a_journal_of_another_run_is_refused() {
        assert!(next(&RULES, &[gated(0, 0, [5, 5, 5], 0.0)]).is_err());
        assert!(next(&RULES, &[trained(1, 0)]).is_err());
    }

    #[test]
    fn the_comparison_is_paired() {
        // The items differ by more than the change; their pairs do not.
        let before = [1.0, 2.0, 3.0, 4.0];
        let now = before.map(|loss| loss + 0.1);
        let short = Short::paired("x", &before, &now);
        assert!((short.worse_at_least - 0.1).abs() < 1e-12);
        // Differences 0, 0.2, 0, 0.2: mean 0.1, standard error sqrt(0.04 / 3 / 4) = 0.05774.
        let now = [1.0, 2.2, 3.0, 4.2];
        let short = Short::paired("x", &before, &now);
        assert!((short.worse_at_least - (0.1 - 1.644_854 * 0.057_735)).abs() < 1e-5, "{short:?}");
        assert_eq!(Short::paired("x", &[1.0], &[9.0]).worse_at_least, f64::MIN);
    }
}
