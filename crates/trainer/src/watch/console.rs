//! Progress output of a training run: a progress bar on a terminal, otherwise lines.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use run::progress::duration;

use crate::watch::metrics::StepMetrics;

/// Minimal time between two lines without a terminal.
const PAUSE: Duration = Duration::from_secs(10);

/// Progress on standard error.
pub struct Console {
    bar: Option<ProgressBar>,
    total: u64,
    last: Option<Instant>,
}

impl Console {
    /// For a run of `total` steps of which `step` are done.
    #[must_use]
    pub fn new(step: u64, total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg} [{elapsed} < {eta}]");
            let bar = ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_position(step);
            bar.reset_eta();
            bar
        });
        Self { bar, total, last: None }
    }

    /// Prints a line.
    pub fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }

    /// Updates the progress after a step. `left` is the expected time to the end.
    pub fn step(&mut self, m: &StepMetrics, left: Duration) {
        let eval = m.eval_loss.map_or(String::new(), |loss| format!(" eval {loss:.4}"));
        let text = format!(
            "loss {:.4}{eval} lr {:.2e} grad {:.2} {:.0} tok/s mfu {:.0}%",
            m.loss,
            m.learning_rate,
            m.grad_norm,
            m.tokens_per_second,
            100.0 * m.mfu
        );
        let text = m.metrics.iter().fold(text, |text, (name, value)| format!("{text} {name} {value:.3}"));
        if let Some(bar) = &self.bar {
            bar.set_position(m.step);
            bar.set_message(text);
            if m.eval_loss.is_some() {
                bar.println(format!("step {}: evaluation loss{eval}", m.step));
            }
        } else if m.step == self.total || m.eval_loss.is_some() || self.last.is_none_or(|last| last.elapsed() > PAUSE) {
            self.last = Some(Instant::now());
            eprintln!("step {}/{}: {text}, {} left", m.step, self.total, duration(left));
        }
    }

    /// Finishes the progress bar at the end.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish();
        }
    }
}
