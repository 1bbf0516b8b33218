//! Pairs in the order of a plan, with their loss: the objective for the training loop.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use llama::{Head, Llama};
use tch::{Device, Tensor};
use trainer::stage::sources::Examples;
use trainer::{
    Ahead, Evaluation, Extent, Input, Loss, Metric, Objective, Plan, RunFolder, World, best_fit_decreasing, evaluate,
    placed,
};

use crate::batch::{PairBatch, row_tokens};
use crate::config::{FormattingTokens, SharePrompt};
use crate::losses;
use crate::measure::measure;
use crate::pairs::Pair;
use crate::reference::{self, Identity, ReferenceLogProbs};
use crate::watch::Watch;

/// The source of the reference's log-probs.
pub enum Reference {
    /// The loss has no reference.
    None,
    /// Computed once, by the model in `folder` or by the model that training starts from, and stored in `cache`.
    Cached {
        /// The reference's folder; `None` for the model that training starts from.
        folder: Option<PathBuf>,
        /// The folder of the cache.
        cache: PathBuf,
        /// The identity of the cached values.
        identity: Identity,
    },
    /// Computed in every step.
    Live {
        /// The reference's folder; `None` for the model that training starts from.
        folder: Option<PathBuf>,
    },
}

/// The state of the reference after training has started.
enum Ready {
    None,
    Cached(Arc<ReferenceLogProbs>),
    Live(Box<Llama>),
}

/// Pairs, their order, and the loss.
pub struct DpoObjective {
    data: Arc<Data>,
    loss: losses::Loss,
    reference: Reference,
    /// Whether low-rank updates are trained, whose base model stays as it is.
    adapter: bool,
    ready: Ready,
    watch: RefCell<Watch>,
}

/// The pairs of a run in rows.
struct Data {
    /// All pairs.
    pairs: Vec<Pair>,
    /// The indices of each source's pairs.
    sources: Vec<Vec<usize>>,
    /// The indices of the held-out pairs.
    held_out: Vec<usize>,
    plan: Plan,
    layout: RowLayout,
}

impl Data {
    /// A batch for each row of the given pairs, with the reference's log-probs if they are `known`.
    fn batches_of<'a>(
        &'a self,
        numbers: &[usize],
        known: Option<&'a ReferenceLogProbs>,
    ) -> impl Iterator<Item = PairBatch> + 'a {
        self.layout.pack(&self.pairs, numbers).into_iter().map(move |bin| {
            let mut batch = self.layout.batch(&self.pairs, &bin);
            batch.reference = known.map(|log_probs| placed(log_probs.of(&bin), self.layout.device));
            batch
        })
    }

    fn numbers(&self, picks: &[(usize, usize)]) -> Vec<usize> {
        picks.iter().map(|&(source, pair)| self.sources[source][pair]).collect()
    }

    /// The batches of a step.
    fn batches(&self, step: u64, known: Option<&ReferenceLogProbs>) -> Vec<PairBatch> {
        self.batches_of(&self.numbers(&self.plan.steps[step as usize]), known).collect()
    }
}

/// The layout of pairs in rows.
#[derive(Debug, Clone, Copy)]
pub struct RowLayout {
    /// Whether formatting tokens count in the preference loss.
    pub formatting: FormattingTokens,
    /// When a pair shares its prompt.
    pub share: SharePrompt,
    /// Tokens that pass through the model at a time.
    pub micro_batch_tokens: usize,
    /// The device of the computation.
    pub device: Device,
}

impl RowLayout {
    /// Packs the pairs with these indices into rows of at most `micro_batch_tokens` tokens.
    fn pack(&self, pairs: &[Pair], numbers: &[usize]) -> Vec<Vec<usize>> {
        let lengths: Vec<usize> = numbers.iter().map(|&number| row_tokens(&pairs[number], self.share)).collect();
        let bins = best_fit_decreasing(&lengths, self.micro_batch_tokens);
        bins.into_iter().map(|bin| bin.into_iter().map(|place| numbers[place]).collect()).collect()
    }

    fn batch(&self, pairs: &[Pair], numbers: &[usize]) -> PairBatch {
        let row: Vec<&Pair> = numbers.iter().map(|&number| &pairs[number]).collect();
        PairBatch::new(&row, self.formatting, self.share, self.device)
    }
}

impl DpoObjective {
    /// The objective for the pairs of a run; `adapter` if low-rank updates are trained.
    #[must_use]
    pub fn new(
        examples: Examples<Pair>,
        loss: losses::Loss,
        layout: RowLayout,
        reference: Reference,
        adapter: bool,
    ) -> Self {
        let mut pairs = Vec::new();
        let mut take = |some: Vec<Pair>| {
            let start = pairs.len();
            pairs.extend(some);
            (start..pairs.len()).collect::<Vec<_>>()
        };
        let sources = examples.train.into_iter().map(&mut take).collect();
        let held_out = take(examples.held_out);
        let plan = examples.plan;
        let data = Arc::new(Data { pairs, sources, held_out, plan, layout });
        Self { data, loss, reference, adapter, ready: Ready::None, watch: RefCell::default() }
    }

    /// The reference's log-probs, if they are cached.
    fn known(&self) -> Option<&Arc<ReferenceLogProbs>> {
        match &self.ready {
            Ready::Cached(known) => Some(known),
            _ => None,
        }
    }

    fn complete(
        &self,
        known: &mut ReferenceLogProbs,
        model: &Llama,
        world: &World,
        keep: impl Fn(&ReferenceLogProbs) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let Data { pairs, layout, .. } = self.data.as_ref();
        let bins = layout.pack(pairs, &(0..pairs.len()).collect::<Vec<_>>());
        known.complete(model, world, &bins, |bin| layout.batch(pairs, bin), keep)
    }
}

impl Objective for DpoObjective {
    type Batch = PairBatch;

    fn steps(&self) -> u64 {
        self.data.plan.steps.len() as u64
    }

    fn epoch(&self, steps: u64) -> f64 {
        self.data.plan.epoch_at(steps as usize)
    }

    fn batches(&self, step: u64) -> Vec<PairBatch> {
        self.data.batches(step, self.known().map(Arc::as_ref))
    }

    fn ahead(&self, from: u64) -> anyhow::Result<Option<Ahead<PairBatch>>> {
        let (data, known) = (self.data.clone(), self.known().cloned());
        Ahead::start(from..self.steps(), move |step| Ok(data.batches(step, known.as_deref()))).map(Some)
    }

    fn normaliser(&self, batch: &PairBatch) -> f64 {
        batch.pairs() as f64
    }

    fn tokens(&self, batch: &PairBatch) -> (u64, u64) {
        (batch.tokens as u64, batch.predicted() as u64)
    }

    fn extent(&self) -> Option<Extent> {
        let Data { pairs, plan, layout, .. } = self.data.as_ref();
        let tokens = |number: &usize| row_tokens(&pairs[*number], layout.share);
        let targets = |number: &usize| {
            let pair = &pairs[*number];
            pair.chosen.response().count() + pair.rejected.response().count()
        };
        let step = |picks: &Vec<(usize, usize)>| {
            let bins = layout.pack(pairs, &self.data.numbers(picks)).into_iter();
            bins.map(|bin| (bin.iter().map(tokens).sum(), bin.iter().map(targets).sum())).collect()
        };
        let models = match &self.reference {
            Reference::Live { folder } => u64::from(folder.is_some() || !self.adapter),
            Reference::None | Reference::Cached { .. } => 0,
        };
        Some(Extent { models, ..Extent::of(plan.steps.iter().map(step)) })
    }

    fn example_ids<'a>(&self, batch: &'a PairBatch) -> &'a [String] {
        &batch.ids
    }

    fn input<'a>(&self, batch: &'a PairBatch) -> Input<'a> {
        Input { input_ids: &batch.input_ids, layout: batch.layout() }
    }

    /// Reads the reference's log-probs, or computes and stores them. A reference model from another folder is freed
    /// before training starts, unless it is live.
    fn begin(&mut self, model: &Llama, _: &RunFolder, world: &World) -> anyhow::Result<()> {
        let load = |folder: &PathBuf| {
            Llama::load(folder, Some(model.kind()), model.device())
                .with_context(|| format!("the reference model {}", folder.display()))
        };
        self.ready = match &self.reference {
            Reference::None => Ready::None,
            Reference::Live { folder: Some(folder) } => Ready::Live(Box::new(load(folder)?)),
            // With an adapter, the base model stays available; without one, its weights are about to change.
            Reference::Live { folder: None } if model.has_adapter() => Ready::Live(Box::new(model.without_adapter())),
            Reference::Live { folder: None } => Ready::Live(Box::new(model.copy()?)),
            Reference::Cached { folder, cache, identity } => {
                let saved =
                    if world.is_first() { ReferenceLogProbs::load(cache, identity, &self.data.pairs)? } else { None };
                let mut known = saved.unwrap_or_else(|| ReferenceLogProbs::unknown(&self.data.pairs));
                known.share(world)?;
                let (count, all) = (known.known(), self.data.pairs.len());
                if count > 0 && world.is_first() {
                    let of = if count < all { format!(" of {all}") } else { String::new() };
                    eprintln!("reference log-probs of {count}{of} pairs from {}", cache.display());
                }
                if count < all {
                    let keep = |known: &ReferenceLogProbs| match world.is_first() {
                        true => known.save(cache, identity),
                        false => Ok(()),
                    };
                    match folder {
                        Some(folder) => self.complete(&mut known, &load(folder)?, world, keep)?,
                        None => self.complete(&mut known, &model.without_adapter(), world, keep)?,
                    }
                }
                Ready::Cached(Arc::new(known))
            }
        };
        Ok(())
    }

    fn loss(&self, hidden: &Tensor, head: Head, batch: &PairBatch) -> anyhow::Result<Loss> {
        let log_probs = batch.log_probs(hidden, head)?;
        let live = match &self.ready {
            Ready::Live(model) => Some(reference::log_probs(model, batch)?),
            _ => None,
        };
        Ok(measure(&self.loss, batch, &log_probs, live.as_ref().or(batch.reference.as_ref())))
    }

    fn seen(&self, metrics: &[Metric]) {
        if let Some(warning) = self.watch.borrow_mut().see(metrics) {
            eprintln!("warning: {warning}");
        }
    }

    fn evaluate(&self, model: &Llama, world: &World) -> anyhow::Result<Option<Evaluation>> {
        let known = self.known().map(Arc::as_ref);
        evaluate(self, model, world, self.data.batches_of(&self.data.held_out, known))
    }
}
