//! Decode steps on a GPU with herd's own kernels. A step reads and writes tensors at fixed addresses, so it can be recorded once
//! (as a CUDA graph) and replayed. Each bucket has its own tensors. A bucket is a number of rows and a number of keys, both
//! rounded up to powers of two.

use std::collections::BTreeMap;
use std::sync::Arc;

use tch::{Kind, Tensor};
use torch_ext::decoder::{PAGE, Segment};
use torch_ext::{CudaGraphs, OpError, PageTable, Recorded, Recorder, catch};

use crate::kv_cache::{InPlace, PagedCache};
use crate::model::Llama;
use crate::pass::Pass;

/// Keys of the smallest bucket: the size of one split of the attention kernel.
const FEWEST_KEYS: usize = 256;

/// How the engine runs decode steps on a GPU.
#[derive(Debug, Clone, Default)]
pub enum Graphs {
    /// As CUDA graphs. If a step cannot be recorded, one line on stderr says why, and kernels are launched one by one from then
    /// on.
    #[default]
    On,
    /// Launches the kernels of each step one by one.
    Off,
    /// With this recorder in place of CUDA graphs.
    By(Arc<dyn Recorder>),
}

/// The decode step of a bucket: the model, the cache, and the tensors that the step reads and writes.
struct Fixed {
    model: Llama,
    cache: PagedCache,
    /// `[4, rows]` int64: token id, position, index in the flattened pages, number of keys.
    numbers: Tensor,
    /// Page table, `[rows, pages]` int32.
    table: Tensor,
    /// Output, `[rows, vocab]`. Buckets with the same number of rows share it.
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
    /// Host copy of [`Fixed::table`], to skip copies of an unchanged table.
    pages: Vec<i32>,
    /// Whether the step has run before. It is recorded before its second run.
    used: bool,
    recorded: Option<Box<dyn Recorded>>,
}

/// The decode steps of an engine, one per bucket.
pub(crate) struct FixedSteps {
    recorder: Option<Arc<dyn Recorder>>,
    slots: usize,
    /// By (rows, keys).
    buckets: BTreeMap<(usize, usize), Bucket>,
    /// [`Fixed::logits`] by the number of rows.
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

    /// Drops all steps. Call it before the cache moves: the steps hold its old addresses and keep its memory alive.
    pub fn forget(&mut self) {
        self.buckets.clear();
    }

    /// Runs the model on one more token of each sequence. Returns the logits `[sequences, vocab]`; the next step overwrites them.
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

/// The bucket (rows, keys) of a batch: the number of sequences and the keys of the longest one, rounded up to powers of two. Rows
/// are at most `slots` (or the batch, if it is larger), keys at least [`FEWEST_KEYS`].
fn bucket(batch: &[&Segment], slots: usize) -> (usize, usize) {
    let keys = batch.iter().map(|segment| segment.start + 1).max().unwrap_or(1);
    let rows = batch.len().next_power_of_two().min(slots.max(batch.len()));
    (rows, keys.next_power_of_two().max(FEWEST_KEYS))
}

impl Bucket {
    /// Copies a batch into the step's tensors. The page table is copied only if it changed.
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
