//! Decoding with own kernels of a GPU as one function of tensors that stay where they are, so that a step can be recorded once
//! and repeated (CUDA graphs). There is one set of tensors for each bucket: numbers of rows and of keys, rounded up to powers of
//! two.

use std::collections::BTreeMap;
use std::sync::Arc;

use tch::{Kind, Tensor};
use torch_ext::decoder::{PAGE, Segment};
use torch_ext::{CudaGraphs, OpError, PageTable, Recorded, Recorder, catch};

use crate::kv_cache::{InPlace, PagedCache};
use crate::model::Llama;
use crate::pass::Pass;

/// Keys of the smallest bucket: those of one part of the kernel of attention.
const FEWEST_KEYS: usize = 256;

/// How the engine repeats decoding steps on a GPU.
#[derive(Debug, Clone, Default)]
pub enum Graphs {
    /// As CUDA graphs. Where a step cannot be recorded, its kernels are launched one by one, and one line says why.
    #[default]
    On,
    /// One kernel at a time.
    Off,
    /// By this recorder.
    By(Arc<dyn Recorder>),
}

/// A step of a bucket: the model, the cache, and the tensors that it reads and writes.
struct Fixed {
    model: Llama,
    cache: PagedCache,
    /// `[4, rows]` int64: token, position, place in the flattened pages, number of keys.
    numbers: Tensor,
    /// `[rows, pages]` int32
    table: Tensor,
    /// `[rows, vocab]`, written
    logits: Tensor,
}

impl Fixed {
    fn shallow_clone(&self) -> Self {
        let [numbers, table, logits] = [&self.numbers, &self.table, &self.logits].map(Tensor::shallow_clone);
        Self { model: self.model.shallow_clone(), cache: self.cache.shallow_clone(), numbers, table, logits }
    }

    fn compute(&self) -> Result<(), OpError> {
        let _no_grad = tch::no_grad_guard();
        catch(|| {
            let [ids, positions, places, keys] = [0, 1, 2, 3].map(|number| self.numbers.get(number));
            let pages = PageTable::over(self.table.shallow_clone(), keys.to_kind(Kind::Int), self.cache.idle_page())?;
            let mut attend = InPlace::new(&self.cache, places, pages);
            let (ids, positions) = (ids.unsqueeze(1), positions.unsqueeze(1));
            let hidden = self.model.hidden_states(&ids, &positions, &mut attend, Pass::fused())?;
            self.logits.shallow_clone().f_copy_(&self.model.logits(&hidden)?.squeeze_dim(1))?;
            Ok(())
        })
    }
}

struct Bucket {
    step: Fixed,
    /// What [`Fixed::table`] holds.
    pages: Vec<i32>,
    /// Whether the step was computed before: only then is it worth recording.
    used: bool,
    recorded: Option<Box<dyn Recorded>>,
}

/// The steps of an engine.
pub(crate) struct FixedSteps {
    recorder: Option<Arc<dyn Recorder>>,
    slots: usize,
    /// By rows and keys.
    buckets: BTreeMap<(usize, usize), Bucket>,
    /// The logits of each number of rows.
    logits: BTreeMap<usize, Tensor>,
}

impl FixedSteps {
    pub fn new(model: &Llama, graphs: Graphs, slots: usize) -> Self {
        let recorder = match graphs {
            Graphs::On => Some(Arc::new(CudaGraphs) as Arc<dyn Recorder>),
            Graphs::Off => None,
            Graphs::By(recorder) => Some(recorder),
        };
        let recorder = recorder.filter(|recorder| recorder.fits(model.device()));
        Self { recorder, slots, buckets: BTreeMap::new(), logits: BTreeMap::new() }
    }

    /// Forgets all steps. Called before the cache moves: they know its addresses, and keep its memory.
    pub fn forget(&mut self) {
        self.buckets.clear();
    }

    /// Computes the next token of each sequence: its logits, `[sequences, vocab]`, which are overwritten by the next step.
    pub fn compute(&mut self, model: &Llama, cache: &PagedCache, batch: &[&Segment]) -> Result<Tensor, OpError> {
        let key = bucket(batch, self.slots);
        let mut bucket = match self.buckets.remove(&key) {
            Some(bucket) => bucket,
            None => self.empty(model, cache, key)?,
        };
        bucket.fill(cache, batch, key)?;
        if bucket.used
            && bucket.recorded.is_none()
            && let Some(recorder) = self.recorder.clone()
        {
            let step = bucket.step.shallow_clone();
            let beside = self.buckets.values().find_map(|bucket| bucket.recorded.as_deref());
            match recorder.record(Box::new(move || step.compute()), &bucket.step.numbers, beside) {
                Ok(recorded) => bucket.recorded = Some(recorded),
                Err(error) => {
                    eprintln!("decoding launches its kernels one by one, since a step cannot be recorded: {error}");
                    self.recorder = None;
                }
            }
        }
        match &bucket.recorded {
            Some(recorded) => recorded.replay()?,
            None => bucket.step.compute()?,
        }
        bucket.used = true;
        let logits = bucket.step.logits.f_narrow(0, 0, batch.len() as i64);
        self.buckets.insert(key, bucket);
        Ok(logits?)
    }

    fn empty(&mut self, model: &Llama, cache: &PagedCache, (rows, keys): (usize, usize)) -> Result<Bucket, OpError> {
        let device = model.device();
        let vocab = model.config().vocab_size;
        let logits = match self.logits.get(&rows) {
            Some(logits) => logits.shallow_clone(),
            None => Tensor::f_zeros([rows as i64, vocab], (model.kind(), device))?,
        };
        self.logits.insert(rows, logits.shallow_clone());
        let step = Fixed {
            model: model.shallow_clone(),
            cache: cache.shallow_clone(),
            numbers: Tensor::f_zeros([4, rows as i64], (Kind::Int64, device))?,
            table: Tensor::f_zeros([rows as i64, (keys / PAGE) as i64], (Kind::Int, device))?,
            logits,
        };
        Ok(Bucket { step, pages: vec![0; rows * keys / PAGE], used: false, recorded: None })
    }
}

/// The bucket of a batch: rows, at most `slots` if the batch is no larger, and keys of the longest sequence.
fn bucket(batch: &[&Segment], slots: usize) -> (usize, usize) {
    let keys = batch.iter().map(|segment| segment.start + 1).max().unwrap_or(1);
    let rows = batch.len().next_power_of_two().min(slots.max(batch.len()));
    (rows, keys.next_power_of_two().max(FEWEST_KEYS))
}

impl Bucket {
    /// Copies a batch into the step's tensors. The table is copied only where sequences came or went.
    fn fill(&mut self, cache: &PagedCache, batch: &[&Segment], (rows, keys): (usize, usize)) -> Result<(), OpError> {
        let idle = Segment { ids: &[0], start: 0, pages: &[], logits: 0 };
        let all = || batch.iter().copied().chain(std::iter::repeat(&idle)).take(rows);
        let mut numbers: Vec<i64> = all().map(|segment| segment.ids[0]).collect();
        numbers.extend(all().map(|segment| segment.start as i64));
        numbers.extend(all().map(|segment| cache.place(segment.pages, segment.start)));
        numbers.extend(all().map(|segment| if segment.pages.is_empty() { 0 } else { segment.start as i64 + 1 }));
        self.step.numbers.f_copy_(&Tensor::f_from_slice(&numbers)?.f_reshape([4, rows as i64])?)?;
        let pages_each = keys / PAGE;
        let row = |segment: &Segment| {
            let pages = segment.pages.iter().take(pages_each).map(|&page| page as i32);
            pages.chain(std::iter::repeat(0)).take(pages_each).collect::<Vec<i32>>()
        };
        let pages: Vec<i32> = all().flat_map(row).collect();
        if pages != self.pages {
            self.step.table.f_copy_(&Tensor::f_from_slice(&pages)?.f_reshape([rows as i64, pages_each as i64])?)?;
            self.pages = pages;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_powers_of_two_up_to_the_slots() {
        let of = |count: usize, start: usize, slots| {
            let segment = Segment { ids: &[1], start, pages: &[0], logits: 1 };
            bucket(&vec![&segment; count], slots)
        };
        assert_eq!(of(1, 0, 64), (1, 256));
        assert_eq!(of(3, 255, 64), (4, 256));
        assert_eq!(of(3, 256, 3), (3, 512));
        assert_eq!(of(33, 1000, 48), (48, 1024));
    }
}
