//! The progress of a piece of work: a bar on a terminal, or an occasional line in a log or a pipeline.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// The time between two lines if there is no terminal. Work that takes less time prints nothing.
const PAUSE: Duration = Duration::from_secs(10);

/// The number of finished pieces below which no remaining time is estimated. Pieces that are computed together, such
/// as a batch of answers, finish late and at the same time.
const FEW: usize = 16;

/// The progress of one piece of work on standard error.
pub struct Progress {
    what: &'static str,
    shown: Shown,
}

enum Shown {
    Bar(ProgressBar),
    Lines(Mutex<Lines>),
    Nothing,
}

/// The text of the progress, and the time of the last line.
struct Lines {
    total: Option<usize>,
    /// Pieces that were done before this run.
    before: usize,
    done: usize,
    note: String,
    start: Instant,
    last: Instant,
}

impl Progress {
    /// Progress of work with `done` of `total` pieces finished. `what` is the name of the pieces, in the plural.
    #[must_use]
    pub fn new(what: &'static str, total: Option<usize>, done: usize) -> Self {
        let shown = if std::io::stderr().is_terminal() {
            let template = match total {
                Some(_) => format!("{{bar:30}} {{pos}}/{{len}} {what} {{msg}} {{elapsed}}, {{eta}} left"),
                None => format!("{{spinner}} {{human_pos}} {what}, {{per_sec}}, {{elapsed}}"),
            };
            let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = total.map_or_else(ProgressBar::no_length, |total| ProgressBar::new(total as u64));
            let bar = bar.with_style(style).with_position(done as u64);
            bar.reset_eta();
            bar.enable_steady_tick(Duration::from_millis(500));
            Shown::Bar(bar)
        } else {
            let now = Instant::now();
            Shown::Lines(Mutex::new(Lines { total, before: done, done, note: String::new(), start: now, last: now }))
        };
        Self { what, shown }
    }

    /// Progress without output, for work that prints its results to the terminal.
    #[must_use]
    pub fn hidden() -> Self {
        Self { what: "", shown: Shown::Nothing }
    }

    /// Reports that `pieces` more pieces are done.
    pub fn add(&self, pieces: usize) {
        match &self.shown {
            Shown::Bar(bar) => bar.inc(pieces as u64),
            Shown::Lines(lines) => {
                let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                lines.done += pieces;
                if lines.last.elapsed() > PAUSE {
                    lines.last = Instant::now();
                    eprintln!("{}", lines.text(self.what, lines.start.elapsed()));
                }
            }
            Shown::Nothing => {}
        }
    }

    /// Adds further information to the progress, such as a rate.
    pub fn note(&self, text: String) {
        match &self.shown {
            Shown::Bar(bar) => bar.set_message(text),
            Shown::Lines(lines) => lines.lock().unwrap_or_else(PoisonError::into_inner).note = text,
            Shown::Nothing => {}
        }
    }
}

/// Removes the bar when the work ends.
impl Drop for Progress {
    fn drop(&mut self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

impl Lines {
    fn text(&self, what: &str, elapsed: Duration) -> String {
        let of = self.total.map_or(String::new(), |total| format!("/{total}"));
        let note = if self.note.is_empty() { String::new() } else { format!(", {}", self.note) };
        let now = self.done - self.before;
        let each = elapsed.checked_div(u32::try_from(now).unwrap_or(u32::MAX)).filter(|_| now >= FEW);
        let left = self.total.zip(each);
        let left = left.map_or(String::new(), |(total, each)| {
            let rest = u32::try_from(total.saturating_sub(self.done)).unwrap_or(u32::MAX);
            format!(", {} left", duration(each.saturating_mul(rest)))
        });
        format!("{}{of} {what}{note}{left}", self.done)
    }
}

/// A duration as text: `1 h 02 min`, `3 min 20 s`, `12.5 s`.
#[must_use]
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(total: Option<usize>, before: usize, done: usize, note: &str) -> Lines {
        let now = Instant::now();
        Lines { total, before, done, note: note.into(), start: now, last: now }
    }

    #[test]
    fn a_line_says_how_far_and_how_long_still() {
        let text = lines(Some(300), 0, 100, "280 tokens/s").text("answers", Duration::from_secs(40));
        assert_eq!(text, "100/300 answers, 280 tokens/s, 1 min 20 s left");
        // Pieces from before the run took no time in this run.
        let text = lines(Some(300), 100, 200, "").text("answers", Duration::from_secs(40));
        assert_eq!(text, "200/300 answers, 40.0 s left");
        assert_eq!(lines(None, 0, 7, "").text("records", Duration::from_secs(3)), "7 records");
        // No estimate if no piece, or only a few pieces, are done.
        assert_eq!(lines(Some(9), 5, 5, "").text("records", Duration::from_secs(3)), "5/9 records");
        assert_eq!(lines(Some(900), 5, 6, "").text("records", Duration::from_secs(3)), "6/900 records");
    }
}
