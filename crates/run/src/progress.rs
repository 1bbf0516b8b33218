//! How far a piece of work is: a bar on a terminal, a line now and then elsewhere, in a log or under a pipeline.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Between two lines where there is no terminal; work that takes less says nothing.
const PAUSE: Duration = Duration::from_secs(10);

/// Pieces before which the rest is not estimated: those that are done together, a batch of answers, come late and at once.
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

/// What there is to say, and when it was last said.
struct Lines {
    total: Option<usize>,
    /// Done before this run.
    before: usize,
    done: usize,
    note: String,
    start: Instant,
    last: Instant,
}

impl Progress {
    /// Of work that has `done` of `total` pieces behind it; `what` is the pieces' name, in the plural.
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

    /// Of work whose results go to the terminal themselves.
    #[must_use]
    pub fn hidden() -> Self {
        Self { what: "", shown: Shown::Nothing }
    }

    /// So many more pieces are done.
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

    /// What else there is to know, a rate say.
    pub fn note(&self, text: String) {
        match &self.shown {
            Shown::Bar(bar) => bar.set_message(text),
            Shown::Lines(lines) => lines.lock().unwrap_or_else(PoisonError::into_inner).note = text,
            Shown::Nothing => {}
        }
    }
}

/// A bar disappears with its work.
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

/// `1 h 02 min`, `3 min 20 s`, `12.5 s`.
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
        // What was there before took no time in this run.
        let text = lines(Some(300), 100, 200, "").text("answers", Duration::from_secs(40));
        assert_eq!(text, "200/300 answers, 40.0 s left");
        assert_eq!(lines(None, 0, 7, "").text("records", Duration::from_secs(3)), "7 records");
        // Nothing or little done says nothing about the rest.
        assert_eq!(lines(Some(9), 5, 5, "").text("records", Duration::from_secs(3)), "5/9 records");
        assert_eq!(lines(Some(900), 5, 6, "").text("records", Duration::from_secs(3)), "6/900 records");
    }
}
