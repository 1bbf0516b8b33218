//! The display of a pipeline: a line for each stage that has ended, and a moving line for the running stage.

use std::fs::File;
use std::io::{IsTerminal, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use run::progress::duration;

/// The time between two lines if there is no terminal.
const PAUSE: Duration = Duration::from_secs(60);

/// The progress of the pipeline on standard error.
pub struct View {
    bar: Option<ProgressBar>,
    total: usize,
    last: Instant,
}

impl View {
    /// A view of a pipeline with `total` stages.
    pub fn new(total: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {wide_msg}");
            let bar = ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        Self { bar, total, last: Instant::now() }
    }

    /// Prints a permanent line.
    pub fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }

    /// Shows that a stage starts.
    pub fn start(&mut self, number: usize, name: &str, command: &str) {
        self.last = Instant::now();
        if self.bar.is_none() {
            self.line(&format!("[{number}/{}] {name}: {command}", self.total));
        }
    }

    /// Shows that a stage is running.
    pub fn tick(&mut self, number: usize, name: &str, elapsed: Duration, log: &Path) {
        let now = || format!("[{number}/{}] {name} {}  {}", self.total, duration(elapsed), last_line(log));
        match &self.bar {
            Some(bar) => bar.set_message(now()),
            None if self.last.elapsed() > PAUSE => {
                eprintln!("{}", now());
                self.last = Instant::now();
            }
            None => {}
        }
    }

    /// Ends the display.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The last `count` non-empty lines of a log, oldest first. Progress bars overwrite their line; only the final text
/// of a line counts.
pub fn tail(log: &Path, count: usize) -> Vec<String> {
    const BYTES: u64 = 16 * 1024;
    let mut text = Vec::new();
    let read = File::open(log).and_then(|mut file| {
        let length = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(length.saturating_sub(BYTES)))?;
        file.read_to_end(&mut text)
    });
    if read.is_err() {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().filter_map(|line| line.rsplit('\r').find(|part| !part.trim().is_empty()));
    let mut lines: Vec<String> = lines.map(|line| line.trim_end().to_owned()).collect();
    lines.split_off(lines.len().saturating_sub(count))
}

fn last_line(log: &Path) -> String {
    tail(log, 1).pop().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_what_stands_on_the_screen() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "$ herd\nfirst\n\n10%\r20%\r\nlast\n").unwrap();
        assert_eq!(tail(file.path(), 3), ["first", "20%", "last"]);
        assert_eq!(last_line(Path::new("/nowhere")), "");
    }
}
