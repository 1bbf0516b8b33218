//! The failure mix: kinds and frequencies of failures. The default is the 54 days of the Llama 3 paper (section 3.3.4, table 5).

use std::path::Path;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

/// The symptom of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shows {
    /// A process ends.
    Crash,
    /// A process stalls, and the others wait for it.
    Hang,
    /// A process is stopped by a signal, which the supervisor sees, and the others wait for it.
    Stopped,
    /// One device is slower, and it slows down all others.
    Slow,
    /// Numbers are wrong, without any other symptom.
    Silent,
}

impl Shows {
    /// All symptoms.
    pub const ALL: [Self; 5] = [Self::Crash, Self::Hang, Self::Stopped, Self::Slow, Self::Silent];

    /// The name for tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Hang => "hang",
            Self::Stopped => "stopped",
            Self::Slow => "slow",
            Self::Silent => "silent",
        }
    }
}

/// A kind of failure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cause {
    /// The part that fails.
    pub name: String,
    /// The number of observed failures.
    pub count: f64,
    /// The symptom.
    pub shows: Shows,
}

/// Failures counted on a number of GPUs over a number of days.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    /// Number of observed GPUs.
    pub gpus: f64,
    /// Number of observed days.
    pub days: f64,
    /// Number of planned interruptions in these days.
    pub planned: f64,
    /// The unexpected failures by cause.
    pub cause: Vec<Cause>,
}

const SECONDS_PER_DAY: f64 = 86_400.0;

impl Mix {
    /// The counts in the paper. The symptom of each cause is an assumption: the paper does not state it.
    #[must_use]
    pub fn paper() -> Self {
        use Shows::{Crash, Hang, Silent, Slow};
        let causes = [
            ("faulty GPU", 148.0, Crash),
            ("HBM3 memory", 72.0, Crash),
            ("software bug", 54.0, Crash),
            ("network switch or cable", 35.0, Hang),
            ("host maintenance", 32.0, Crash),
            ("GPU SRAM memory", 19.0, Crash),
            ("GPU system processor", 17.0, Crash),
            ("network card", 7.0, Hang),
            ("NCCL watchdog time-out", 7.0, Hang),
            ("silent data corruption", 6.0, Silent),
            ("GPU thermal interface, sensor", 6.0, Slow),
            ("SSD", 3.0, Crash),
            ("power supply", 3.0, Crash),
            ("server chassis", 2.0, Crash),
            ("I/O expansion board", 2.0, Crash),
            ("dependency", 2.0, Crash),
            ("CPU", 2.0, Crash),
            ("system memory", 2.0, Crash),
        ];
        let cause = |(name, count, shows): (&str, f64, Shows)| Cause { name: name.to_owned(), count, shows };
        Self { gpus: 16_384.0, days: 54.0, planned: 47.0, cause: causes.into_iter().map(cause).collect() }
    }

    /// Reads a TOML file with the keys of this structure.
    ///
    /// # Errors
    /// When the file cannot be read or a key is invalid.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mix: Self = toml::from_str(&text).with_context(|| path.display().to_string())?;
        let positive = |value: f64| value > 0.0 && value.is_finite();
        ensure!(positive(mix.gpus), "{}: gpus has to be above 0", path.display());
        ensure!(positive(mix.days), "{}: days has to be above 0", path.display());
        ensure!(mix.planned >= 0.0 && mix.planned.is_finite(), "{}: planned cannot be negative", path.display());
        for cause in &mix.cause {
            let name = &cause.name;
            ensure!(positive(cause.count), "{}: the count of {name:?} has to be above 0", path.display());
        }
        Ok(mix)
    }

    /// The total number of unexpected failures.
    #[must_use]
    pub fn failures(&self) -> f64 {
        // `sum` gives -0.0 without causes, and the time between failures would be -inf.
        self.cause.iter().map(|cause| cause.count).fold(0.0, |sum, count| sum + count)
    }

    /// The number of failures with this symptom.
    #[must_use]
    pub fn count(&self, shows: Shows) -> f64 {
        self.cause
            .iter()
            .filter(|cause| cause.shows == shows)
            .map(|cause| cause.count)
            .fold(0.0, |sum, count| sum + count)
    }

    /// Mean time between unexpected failures of a run on `gpus` GPUs, in seconds. The failure rate per device does not depend on the size
    /// of the run.
    #[must_use]
    pub fn between_failures(&self, gpus: u32) -> f64 {
        self.days * SECONDS_PER_DAY * self.gpus / (self.failures() * f64::from(gpus))
    }

    /// Mean time between planned interruptions, in seconds; like failures, they are counted per machine.
    #[must_use]
    pub fn between_planned(&self, gpus: u32) -> f64 {
        self.days * SECONDS_PER_DAY * self.gpus / (self.planned * f64::from(gpus))
    }

    /// Selects a cause by a random number from 0 to 1.
    #[must_use]
    pub fn pick(&self, number: f64) -> Shows {
        let mut left = number * self.failures();
        for cause in &self.cause {
            if left < cause.count {
                return cause.shows;
            }
            left -= cause.count;
        }
        self.cause.last().map_or(Shows::Crash, |cause| cause.shows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paper_counts_419() {
        let mix = Mix::paper();
        assert_eq!(mix.failures(), 419.0);
        assert_eq!(mix.cause.len(), 18);
        let counts = [Shows::Crash, Shows::Hang, Shows::Silent, Shows::Slow].map(|shows| mix.count(shows));
        assert_eq!(counts, [358.0, 49.0, 6.0, 6.0]);
        // The paper has one failure per 3.1 h; the rate is proportional to the number of GPUs.
        let hours = |gpus| mix.between_failures(gpus) / 3600.0;
        assert!((hours(16_384) - 3.093).abs() < 0.001 && (hours(8) - 6334.6).abs() < 0.5, "{}", hours(8));
    }

    #[test]
    fn causes_are_picked_by_their_counts() {
        let mix = Mix::paper();
        let n = 41_900;
        let picked = |shows| (0..n).filter(|i| mix.pick((f64::from(*i) + 0.5) / f64::from(n)) == shows).count();
        assert_eq!((picked(Shows::Crash), picked(Shows::Hang)), (35_800, 4_900));
    }

    #[test]
    fn mistakes_in_a_file_are_sentences() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("mix.toml");
        let head = "gpus = 512\ndays = 30\nplanned = 4\n";
        let write = |text: &str| std::fs::write(&file, text).unwrap();
        write(&format!("{head}[[cause]]\nname = \"GPU\"\ncount = 7\nshows = \"crash\"\n"));
        assert!((Mix::read(&file).unwrap().failures() - 7.0).abs() < 1e-9);
        for (text, sentence) in [
            (format!("{head}[[cause]]\nname = \"GPU\"\ncount = 7\nshows = \"loud\"\n"), "unknown variant `loud`"),
            (format!("{head}[[cause]]\nname = \"GPU\"\ncount = 0\nshows = \"hang\"\n"), "the count of \"GPU\" has to"),
            ("gpus = 0\ndays = 30\nplanned = 4\ncause = []\n".into(), "mix.toml: gpus has to be above 0"),
            (format!("{head}causes = []\n"), "unknown field `causes`"),
        ] {
            write(&text);
            let error = format!("{:#}", Mix::read(&file).unwrap_err());
            assert!(error.contains(sentence), "{error}");
        }
    }
}
