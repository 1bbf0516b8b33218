//! The plan of a run: the rows of a step, and the windows of a row.

use crate::mixing::Mixing;
use crate::permutation::{Permutation, key};

/// Batch size and sequence length from a number of tokens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ramp {
    /// Number of tokens after which this applies.
    pub at: u64,
    /// Number of tokens of a step.
    pub batch_tokens: u64,
    /// Number of tokens of a row.
    pub length: u64,
}

/// Source weights from a number of tokens on.
#[derive(Debug, Clone, PartialEq)]
pub struct Reweight {
    /// Number of tokens after which this applies.
    pub at: u64,
    /// The weight of each source.
    pub weights: Vec<f64>,
}

/// The specification of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// The seed of the order of all windows.
    pub seed: u64,
    /// Number of tokens of the whole run; the last step may exceed it.
    pub tokens: u64,
    /// Batch size and length from the beginning (`at` 0), and their later changes.
    pub ramps: Vec<Ramp>,
    /// Weights from the beginning (`at` 0), and their later changes.
    pub weights: Vec<Reweight>,
}

impl Course {
    /// The shortest sequence: the length of a window.
    #[must_use]
    pub fn window(&self) -> u64 {
        self.ramps.iter().map(|ramp| ramp.length).min().unwrap_or(1)
    }

    /// The longest sequence.
    #[must_use]
    pub fn longest(&self) -> u64 {
        self.ramps.iter().map(|ramp| ramp.length).max().unwrap_or(1)
    }

    /// Checks that ramps and weights do not contradict each other.
    ///
    /// # Errors
    /// When they contradict each other; the error is one sentence.
    pub fn check(&self) -> Result<(), String> {
        if self.tokens == 0 {
            return Err("the run has 0 tokens: say how many it is to see".into());
        }
        if self.ramps.is_empty() || self.weights.is_empty() {
            return Err("a run needs a batch size, a sequence length and weights".into());
        }
        for pair in self.ramps.windows(2) {
            if pair[1].at <= pair[0].at {
                return Err(format!(
                    "a ramp at {} tokens comes after one at {}: write ramps in ascending order",
                    pair[1].at, pair[0].at
                ));
            }
        }
        for pair in self.weights.windows(2) {
            if pair[1].at <= pair[0].at {
                return Err(format!(
                    "weights at {} tokens come after weights at {}: write them in ascending order",
                    pair[1].at, pair[0].at
                ));
            }
        }
        let late = self
            .ramps
            .iter()
            .map(|ramp| ("ramp", ramp.at))
            .chain(self.weights.iter().map(|change| ("change of weights", change.at)));
        if let Some((what, at)) = late.into_iter().find(|(_, at)| *at >= self.tokens) {
            return Err(format!("a {what} at {at} tokens never comes: the run has {} tokens", self.tokens));
        }
        let window = self.window();
        for ramp in &self.ramps {
            let Ramp { at, batch_tokens, length } = *ramp;
            if length < 2 {
                return Err(format!("the sequence length at {at} tokens is {length}; it must be at least 2"));
            }
            if batch_tokens < length || !batch_tokens.is_multiple_of(length) {
                return Err(format!(
                    "the batch at {at} tokens is {batch_tokens}, which is no multiple of the sequence length {length}: take {}",
                    length * batch_tokens.div_ceil(length).max(1)
                ));
            }
            if !length.is_multiple_of(window) {
                return Err(format!(
                    "the sequence length {length} at {at} tokens is no multiple of the shortest, {window}: windows could not be joined"
                ));
            }
            if !self.longest().is_multiple_of(length) {
                return Err(format!(
                    "the longest sequence, {}, is no multiple of the length {length} at {at} tokens: windows could not be joined",
                    self.longest()
                ));
            }
        }
        let sources = self.weights[0].weights.len();
        if let Some(change) = self.weights.iter().find(|change| change.weights.len() != sources) {
            return Err(format!(
                "the weights at {} tokens are {}, and there are {sources} sources: give one for each",
                change.at,
                change.weights.len()
            ));
        }
        if let Some(source) =
            (0..sources).find(|source| self.weights.iter().all(|change| change.weights[*source] == 0.0))
        {
            return Err(format!(
                "source {} has weight 0 from beginning to end: leave it out, or give it a weight",
                source + 1
            ));
        }
        Ok(())
    }
}

/// Consecutive steps with one batch size, length and mix.
#[derive(Debug, Clone)]
struct Stretch {
    first_step: u64,
    steps: u64,
    first_token: u64,
    rows: u64,
    /// Number of windows of a row.
    windows: u64,
    mixing: usize,
    /// Number of windows that each source has given before.
    given: Vec<u64>,
}

/// A row: a run of windows in the order of its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The source.
    pub source: usize,
    /// The first window, counted over all epochs from the beginning of the run.
    pub first: u64,
    /// Number of windows.
    pub windows: u64,
}

/// The plan.
#[derive(Debug, Clone)]
pub struct Plan {
    course: Course,
    /// Number of windows of each source.
    sizes: Vec<u64>,
    mixings: Vec<Mixing>,
    stretches: Vec<Stretch>,
}

impl Plan {
    /// Makes the plan for sources with these numbers of windows.
    ///
    /// # Errors
    /// The errors of [`Course::check`]; also when a source has a weight but no window.
    pub fn new(course: Course, sizes: Vec<u64>) -> Result<Self, String> {
        course.check()?;
        if sizes.len() != course.weights[0].weights.len() {
            return Err(format!("{} sources have {} weights", sizes.len(), course.weights[0].weights.len()));
        }
        for change in &course.weights {
            if let Some(source) = (0..sizes.len()).find(|source| change.weights[*source] > 0.0 && sizes[*source] == 0) {
                return Err(format!(
                    "source {} has weight {} but not one window of {} tokens",
                    source + 1,
                    change.weights[source],
                    course.window()
                ));
            }
        }
        let mixings =
            course.weights.iter().map(|change| Mixing::new(&change.weights)).collect::<Result<Vec<_>, _>>()?;
        let mut stretches: Vec<Stretch> = Vec::new();
        let (mut step, mut tokens, mut given) = (0, 0, vec![0_u64; sizes.len()]);
        let mut borders: Vec<u64> =
            course.ramps.iter().map(|ramp| ramp.at).chain(course.weights.iter().map(|change| change.at)).collect();
        borders.push(course.tokens);
        borders.sort_unstable();
        borders.dedup();
        for end in borders.into_iter().skip(1) {
            // A change inside a step takes effect in the next step, which may skip a whole stretch.
            if end <= tokens {
                continue;
            }
            let ramp = course.ramps.iter().rev().find(|ramp| ramp.at <= tokens).ok_or("no ramp from the beginning")?;
            let mixing =
                course.weights.iter().rposition(|change| change.at <= tokens).ok_or("no weights from the beginning")?;
            let steps = (end - tokens).div_ceil(ramp.batch_tokens);
            let (rows, windows) = (ramp.batch_tokens / ramp.length, ramp.length / course.window());
            stretches.push(Stretch {
                first_step: step,
                steps,
                first_token: tokens,
                rows,
                windows,
                mixing,
                given: given.clone(),
            });
            for (given, count) in given.iter_mut().zip(mixings[mixing].counts(rows * steps)) {
                *given += count * windows;
            }
            step += steps;
            tokens += steps * ramp.batch_tokens;
        }
        Ok(Self { course, sizes, mixings, stretches })
    }

    /// Number of steps of the run.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.stretches.last().map_or(0, |stretch| stretch.first_step + stretch.steps)
    }

    /// Number of tokens of the first `steps` steps.
    #[must_use]
    pub fn tokens(&self, steps: u64) -> u64 {
        let Some(stretch) = self.stretches.iter().rev().find(|stretch| stretch.first_step <= steps) else { return 0 };
        stretch.first_token + (steps - stretch.first_step) * stretch.rows * stretch.windows * self.course.window()
    }

    /// The specification of the plan.
    #[must_use]
    pub fn course(&self) -> &Course {
        &self.course
    }

    /// The mixing for each of the course's weights.
    #[must_use]
    pub fn mixings(&self) -> &[Mixing] {
        &self.mixings
    }

    /// The rows of a step; none after the last step.
    pub fn rows(&self, step: u64) -> impl ExactSizeIterator<Item = Row> + '_ {
        let stretch = self.stretch(step);
        let rows = stretch.map_or(0, |stretch| stretch.rows) as usize;
        (0..rows).map(move |row| {
            // `rows` is 0 if there is no stretch.
            let stretch = stretch.unwrap_or(&self.stretches[0]);
            let number = (step - stretch.first_step) * stretch.rows + row as u64;
            let (source, before) = self.mixings[stretch.mixing].at(number);
            Row { source, first: stretch.given[source] + before * stretch.windows, windows: stretch.windows }
        })
    }

    /// The rows of a step for rank `rank` of `world` processes: every `world`-th row.
    pub fn rows_of(&self, step: u64, rank: usize, world: usize) -> impl Iterator<Item = Row> + '_ {
        self.rows(step).skip(rank).step_by(world.max(1))
    }

    /// The windows of a row as runs of neighbours, by their index in the source: (first, number).
    #[must_use]
    pub fn windows(&self, row: Row) -> Vec<(u64, u64)> {
        let mut runs: Vec<(u64, u64)> = Vec::new();
        let (mut position, end) = (row.first, row.first + row.windows);
        while position < end {
            let (window, most) = self.run(row.source, position);
            let number = most.min(end - position);
            match runs.last_mut() {
                Some((first, before)) if *first + *before == window => *before += number,
                _ => runs.push((window, number)),
            }
            position += number;
        }
        runs
    }

    /// The window at a position of a source's order, which continues over the epochs, and the minimum number of neighbouring windows from
    /// there on. Each epoch has its own starting window; from there, blocks of the longest sequence are cut and permuted, and the
    /// remainder comes last.
    fn run(&self, source: usize, position: u64) -> (u64, u64) {
        let size = self.sizes[source];
        let (epoch, place) = (position / size, position % size);
        let block = self.course.longest() / self.course.window();
        let blocks = size / block;
        let keys = |purpose: u64| key(&[self.course.seed, source as u64, epoch, purpose]);
        let (moved, number) = if place / block < blocks {
            let permuted = Permutation::new(blocks, keys(1)).at(place / block);
            (permuted * block + place % block, block - place % block)
        } else {
            (place, size - place)
        };
        let window = (keys(0) % size + moved) % size;
        (window, number.min(size - window))
    }

    /// Number of epochs of each source after `steps` steps.
    #[must_use]
    pub fn epochs(&self, steps: u64) -> Vec<f64> {
        let Some(stretch) = self.stretches.iter().rev().find(|stretch| stretch.first_step <= steps) else {
            return vec![0.0; self.sizes.len()];
        };
        let rows = (steps - stretch.first_step).min(stretch.steps) * stretch.rows;
        let more = self.mixings[stretch.mixing].counts(rows);
        let windows = stretch.given.iter().zip(more).map(|(given, more)| given + more * stretch.windows);
        windows.zip(&self.sizes).map(|(windows, size)| windows as f64 / (*size).max(1) as f64).collect()
    }

    /// Describes the plan, one line for each stretch.
    #[must_use]
    pub fn describe(&self, names: &[String]) -> String {
        let mut text = String::new();
        for stretch in &self.stretches {
            let length = stretch.windows * self.course.window();
            let shares = self.mixings[stretch.mixing].shares();
            let mix: Vec<String> = names.iter().zip(&shares).map(|(name, share)| format!("{name} {share}")).collect();
            text += &format!(
                "  steps {} to {}, from {} tokens: {} rows of {length} = {} tokens a step; {}\n",
                stretch.first_step + 1,
                stretch.first_step + stretch.steps,
                stretch.first_token,
                stretch.rows,
                stretch.rows * length,
                mix.join(", ")
            );
        }
        text
    }

    fn stretch(&self, step: u64) -> Option<&Stretch> {
        self.stretches.iter().rev().find(|stretch| stretch.first_step <= step).filter(|s| step < s.first_step + s.steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course() -> Course {
        Course {
            seed: 5,
            tokens: 100_000,
            ramps: vec![
                Ramp { at: 0, batch_tokens: 512, length: 16 },
                Ramp { at: 20_000, batch_tokens: 1024, length: 32 },
                Ramp { at: 60_000, batch_tokens: 2048, length: 64 },
            ],
            weights: vec![
                Reweight { at: 0, weights: vec![0.7, 0.3, 0.0] },
                Reweight { at: 40_000, weights: vec![0.5, 0.2, 0.3] },
            ],
        }
    }

    fn plan() -> Plan {
        Plan::new(course(), vec![900, 333, 1000]).unwrap()
    }

    #[test]
    fn each_epoch_has_every_window_once() {
        let plan = plan();
        let mut seen: Vec<Vec<u64>> = vec![Vec::new(); 3];
        for step in 0..plan.steps() {
            for row in plan.rows(step) {
                for (first, number) in plan.windows(row) {
                    seen[row.source].extend(first..first + number);
                }
            }
        }
        for (source, size) in [900, 333, 1000].into_iter().enumerate() {
            for epoch in seen[source].chunks(size) {
                let mut sorted = epoch.to_vec();
                sorted.sort_unstable();
                sorted.dedup();
                assert_eq!(sorted.len(), epoch.len(), "source {source}: a window twice in an epoch");
            }
        }
        assert!(seen[0].len() > 900 && seen[1].len() > 2 * 333, "{:?}", seen.iter().map(Vec::len).collect::<Vec<_>>());
        assert_ne!(seen[1][..50], seen[1][333..383], "another order in each epoch");
        let epochs = plan.epochs(plan.steps());
        let counted: Vec<f64> = seen.iter().zip([900.0, 333.0, 1000.0]).map(|(s, n)| s.len() as f64 / n).collect();
        assert_eq!(epochs, counted);
    }

    #[test]
    fn changes_come_at_their_tokens() {
        let plan = plan();
        let at = |step: u64| {
            let rows: Vec<Row> = plan.rows(step).collect();
            (rows.len(), rows[0].windows, plan.tokens(step))
        };
        // Step 40 passes 20,000 tokens (40 x 512 = 20,480), step 60 passes 40,000, step 79 passes 60,000.
        assert_eq!(at(39), (32, 1, 19_968));
        assert_eq!(at(40), (32, 2, 20_480));
        assert_eq!(at(79), (32, 4, 60_416));
        assert_eq!(plan.tokens(plan.steps()), 60_416 + 20 * 2048);
        let third = |step| plan.rows(step).filter(|row| row.source == 2).count();
        assert!(third(59) == 0 && (9..=10).contains(&third(60)));
        assert_eq!(plan.rows(plan.steps()).len(), 0);
    }

    #[test]
    fn ranks_share_the_rows_of_a_step() {
        let plan = plan();
        let all: Vec<Row> = plan.rows(70).collect();
        for world in [1, 2, 3, 8] {
            let mut of: Vec<Row> = (0..world).flat_map(|rank| plan.rows_of(70, rank, world)).collect();
            of.sort_by_key(|row| all.iter().position(|other| other == row));
            assert_eq!(of, all);
        }
    }

    #[test]
    fn the_seed_decides() {
        let other = Plan::new(Course { seed: 6, ..course() }, vec![900, 333, 1000]).unwrap();
        let order = |plan: &Plan| (0..50).map(|at| plan.run(0, at).0).collect::<Vec<_>>();
        assert_eq!(order(&plan()), order(&plan()));
        assert_ne!(order(&plan()), order(&other));
    }

    #[test]
    fn contradictions_are_sentences() {
        type Change = fn(&mut Course);
        let wrong: [(Change, &str); 9] = [
            (|c| c.ramps[2].at = 20_000, "a ramp at 20000 tokens comes after one at 20000"),
            (|c| c.ramps[2].at = 200_000, "a ramp at 200000 tokens never comes: the run has 100000 tokens"),
            (|c| c.weights[1].at = 100_000, "a change of weights at 100000 tokens never comes"),
            (
                |c| c.ramps[1].batch_tokens = 1000,
                "the batch at 20000 tokens is 1000, which is no multiple of the sequence length 32: take 1024",
            ),
            (
                |c| (c.ramps[1].length, c.ramps[1].batch_tokens) = (24, 960),
                "the sequence length 24 at 20000 tokens is no multiple of the shortest, 16",
            ),
            (
                |c| (c.ramps[1].length, c.ramps[1].batch_tokens) = (48, 960),
                "the longest sequence, 64, is no multiple of the length 48",
            ),
            (|c| c.weights[1].weights = vec![1.0], "the weights at 40000 tokens are 1, and there are 3 sources"),
            (|c| c.weights[1].weights[2] = 0.0, "source 3 has weight 0 from beginning to end"),
            (|c| c.tokens = 0, "the run has 0 tokens"),
        ];
        for (change, sentence) in wrong {
            let mut course = course();
            change(&mut course);
            let error = Plan::new(course, vec![900, 333, 1000]).unwrap_err();
            assert!(error.contains(sentence), "{error}");
        }
        let error = Plan::new(course(), vec![900, 0, 1000]).unwrap_err();
        assert_eq!(error, "source 2 has weight 0.3 but not one window of 16 tokens");
    }
}
