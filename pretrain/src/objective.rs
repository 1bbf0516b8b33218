//! The loss of pretraining: cross-entropy of each token given those before it in its document.

use std::f64::consts::LN_2;
use std::sync::Arc;

use llama::attention::Layout;
use llama::{Head, Llama};
use pretrain_stream::plan::{Plan, Row};
use pretrain_stream::reader::{Reader, Tokens};
use tch::{Device, Kind, Tensor};
use trainer::context::Share;
use trainer::{Ahead, Evaluation, Extent, Input, Loss, Metric, Objective, World, evaluate, placed};

use crate::held_out::HeldOut;

/// The names of a source's figures. They live as long as the process, which executes one run.
pub(crate) struct Names {
    loss: &'static str,
    epoch: &'static str,
}

impl Names {
    pub fn of(source: &str) -> Self {
        Self { loss: format!("loss/{source}").leak(), epoch: format!("epoch/{source}").leak() }
    }
}

/// Rows of a step, concatenated into one packed row of documents.
pub struct Batch {
    input_ids: Tensor,
    documents: Vec<Vec<i64>>,
    /// For a share of a row, the position of each token.
    positions: Option<Vec<Vec<i64>>>,
    parts: Vec<Part>,
    /// Names of the rows: the shard and the first token.
    rows: Vec<String>,
    tokens: u64,
    /// Epochs of each training source.
    epochs: Vec<f64>,
}

/// The trained tokens of one source.
struct Part {
    source: usize,
    /// Whether the tokens mark starts and ends of documents, which are not text.
    special: bool,
    targets: Tensor,
    labels: Tensor,
    count: u64,
}

/// A source and whether its tokens are special ones; the indices of labels in the batch; the labels.
type Labels = ((usize, bool), Vec<i64>, Vec<i64>);

/// Gathers rows into a [`Batch`].
#[derive(Default)]
pub(crate) struct Gathering {
    ids: Vec<i64>,
    documents: Vec<i64>,
    parts: Vec<Labels>,
    rows: Vec<String>,
}

impl Gathering {
    /// Adds a span of a source. `special` lists the tokens that are not text; they are distinguished if text is measured in bytes.
    pub fn add(&mut self, source: usize, tokens: &Tokens, cross_documents: bool, special: &[u32]) {
        let whole = [tokens.ids.len() as u64];
        let documents = if cross_documents { &whole[..] } else { &tokens.documents };
        let mut place = 0;
        for length in documents {
            let end = place + *length as usize;
            for at in place..end {
                let last = at + 1 == end;
                // The last token of a piece predicts the next one if that belongs to the same document.
                let label = match tokens.ids.get(at + 1) {
                    Some(label) if !last => *label,
                    None => match tokens.next {
                        Some(label) => label,
                        None => continue,
                    },
                    _ => continue,
                };
                let key = (source, special.contains(&label));
                let part = match self.parts.iter().position(|(other, ..)| *other == key) {
                    Some(part) => part,
                    None => {
                        self.parts.push((key, Vec::new(), Vec::new()));
                        self.parts.len() - 1
                    }
                };
                self.parts[part].1.push((self.ids.len() + at) as i64);
                self.parts[part].2.push(i64::from(label));
            }
            self.documents.push(*length as i64);
            place = end;
        }
        self.ids.extend(tokens.ids.iter().map(|id| i64::from(*id)));
    }

    pub fn name(&mut self, row: String) {
        self.rows.push(row);
    }

    pub fn batch(mut self, device: Device, epochs: Vec<f64>) -> Batch {
        self.parts.sort_by_key(|(key, ..)| *key);
        let part = |((source, special), targets, labels): ((usize, bool), Vec<i64>, Vec<i64>)| Part {
            source,
            special,
            count: labels.len() as u64,
            targets: placed(Tensor::from_slice(&targets), device),
            labels: placed(Tensor::from_slice(&labels), device),
        };
        Batch {
            tokens: self.ids.len() as u64,
            input_ids: placed(Tensor::from_slice(&self.ids).unsqueeze(0), device),
            documents: vec![self.documents],
            positions: None,
            parts: self.parts.into_iter().map(part).collect(),
            rows: self.rows,
            epochs,
        }
    }
}

/// The training data of a run, and its loss.
pub struct PretrainObjective {
    /// `None` if models are only evaluated.
    pub(crate) windows: Option<Arc<Windows>>,
    pub(crate) names: Vec<Names>,
    pub(crate) held_out: Option<HeldOut>,
    pub(crate) z_loss: f64,
}

/// The windows of the sources on which each step trains.
pub(crate) struct Windows {
    pub plan: Plan,
    pub reader: Reader,
    pub micro_batch_tokens: u64,
    pub cross_documents: bool,
    pub device: Device,
}

impl Windows {
    /// The micro-batches of a step.
    fn load(&self, step: u64) -> anyhow::Result<Vec<Batch>> {
        let epochs = self.plan.epochs(step + 1);
        let rows: Vec<Row> = self.plan.rows(step).collect();
        let length = rows.first().map_or(1, |row| row.windows * self.plan.course().window());
        let most = (self.micro_batch_tokens / length).max(1) as usize;
        let batch = |rows: &[Row]| -> anyhow::Result<Batch> {
            let mut gathering = Gathering::default();
            rows.iter().try_for_each(|row| self.add(&mut gathering, *row))?;
            Ok(gathering.batch(self.device, epochs.clone()))
        };
        rows.chunks(most).map(batch).collect()
    }

    fn add(&self, gathering: &mut Gathering, row: Row) -> anyhow::Result<()> {
        let source = &self.reader.sources()[row.source];
        for (first, number) in self.plan.windows(row) {
            for span in source.spans(first, number) {
                let tokens = self.reader.read(row.source, span)?;
                gathering.name(format!("{}@{}", source.shards[span.shard].path.display(), span.start));
                gathering.add(row.source, &tokens, self.cross_documents, &[]);
            }
        }
        Ok(())
    }
}

impl PretrainObjective {
    /// The names of the figures for a batch: of training sources, or of held-out ones.
    fn names(&self, batch: &Batch) -> &[Names] {
        match &self.held_out {
            Some(held_out) if batch.epochs.is_empty() => &held_out.names,
            _ => &self.names,
        }
    }

    /// `Σ nll` of a part, and the z-loss if it is used.
    fn part(&self, hidden: &Tensor, head: Head, part: &Part) -> anyhow::Result<(Tensor, Option<Tensor>)> {
        let picked = hidden.index_select(0, &part.targets);
        if self.z_loss == 0.0 {
            return Ok((head.cross_entropy_sum(&picked, &part.labels, None)?, None));
        }
        let logits = picked.f_matmul(&head.weight.tr())?.f_to_kind(Kind::Float)?;
        let denominator = logits.f_logsumexp(&[-1][..], false)?;
        let chosen = logits.f_gather(-1, &part.labels.unsqueeze(-1), false)?.squeeze_dim(-1);
        let nll = (&denominator - chosen).sum(Kind::Float);
        Ok((nll, Some(denominator.square().sum(Kind::Float) * self.z_loss)))
    }
}

impl Objective for PretrainObjective {
    type Batch = Batch;

    fn steps(&self) -> u64 {
        self.windows.as_ref().map_or(0, |windows| windows.plan.steps())
    }

    /// The epoch of the source that is furthest.
    fn epoch(&self, steps: u64) -> f64 {
        let epochs = self.windows.as_ref().map(|windows| windows.plan.epochs(steps));
        epochs.into_iter().flatten().fold(0.0, f64::max)
    }

    fn batches(&self, step: u64) -> Vec<Batch> {
        self.load(step).unwrap_or_default()
    }

    fn load(&self, step: u64) -> anyhow::Result<Vec<Batch>> {
        self.windows.as_ref().map_or(Ok(Vec::new()), |windows| windows.load(step))
    }

    fn ahead(&self, from: u64) -> anyhow::Result<Option<Ahead<Batch>>> {
        let Some(windows) = self.windows.clone() else { return Ok(None) };
        Ahead::start(from..self.steps(), move |step| windows.load(step)).map(Some)
    }

    fn normaliser(&self, batch: &Batch) -> f64 {
        batch.parts.iter().map(|part| part.count as f64).sum()
    }

    fn tokens(&self, batch: &Batch) -> (u64, u64) {
        (batch.tokens, batch.parts.iter().map(|part| part.count).sum())
    }

    fn extent(&self) -> Option<Extent> {
        let Windows { plan, micro_batch_tokens, .. } = self.windows.as_deref()?;
        let ramps = || plan.course().ramps.iter();
        let in_one = |length: u64| (micro_batch_tokens / length).max(1) * length;
        let tokens = ramps().map(|ramp| in_one(ramp.length)).max()?;
        Some(Extent {
            tokens,
            targets: tokens,
            several: ramps().any(|ramp| ramp.batch_tokens > in_one(ramp.length)),
            heads: self.names.len() as u64,
            whole_logits: self.z_loss > 0.0,
            models: 0,
        })
    }

    fn example_ids<'a>(&self, batch: &'a Batch) -> &'a [String] {
        &batch.rows
    }

    fn input<'a>(&self, batch: &'a Batch) -> Input<'a> {
        let layout = match &batch.positions {
            Some(positions) => Layout::PackedAt { documents: &batch.documents, positions },
            None => Layout::Packed(&batch.documents),
        };
        Input { input_ids: &batch.input_ids, layout }
    }

    fn share(&self, batch: &Batch, share: &Share) -> anyhow::Result<Batch> {
        let positions: Vec<i64> = batch.documents[0].iter().flat_map(|&length| 0..length).collect();
        let part = |part: &Part| {
            let (numbers, targets) = share.places(&part.targets);
            Part {
                source: part.source,
                special: part.special,
                labels: part.labels.index_select(0, &numbers),
                count: targets.numel() as u64,
                targets,
            }
        };
        Ok(Batch {
            input_ids: share.ids(&batch.input_ids),
            documents: batch.documents.clone(),
            positions: Some(vec![share.list(&positions)]),
            parts: batch.parts.iter().map(part).collect(),
            rows: batch.rows.clone(),
            tokens: batch.tokens,
            epochs: batch.epochs.clone(),
        })
    }

    fn loss(&self, hidden: &Tensor, head: Head, batch: &Batch) -> anyhow::Result<Loss> {
        let hidden = hidden.squeeze_dim(0);
        let names = self.names(batch);
        let mut metrics = Vec::new();
        let mut sum = Tensor::zeros([], (Kind::Float, hidden.device()));
        for part in &batch.parts {
            let (nll, more) = self.part(&hidden, head, part)?;
            let held_out = self.held_out.as_ref().filter(|_| batch.epochs.is_empty());
            let bytes = held_out.and_then(|held_out| held_out.bytes_per_token[part.source]).filter(|_| !part.special);
            if names.len() > 1 {
                let sum = nll.detach().into();
                metrics.push(Metric { name: names[part.source].loss, sum, weight: part.count as f64 });
            }
            if let Some(bytes) = bytes {
                // This is held-out text, which is read batch by batch.
                let (sum, weight) = (f64::try_from(nll.detach())? / LN_2, part.count as f64 * bytes);
                metrics.push(Metric { name: "bits_per_byte", sum: sum.into(), weight });
            }
            sum = match more {
                // The z-loss is not part of the held-out loss.
                Some(more) if held_out.is_none() => {
                    let weight = part.count as f64;
                    metrics.push(Metric { name: "z_loss", sum: more.detach().into(), weight });
                    sum + nll + more
                }
                _ => sum + nll,
            };
        }
        for (source, epoch) in batch.epochs.iter().enumerate() {
            metrics.push(Metric { name: names[source].epoch, sum: (*epoch).into(), weight: 1.0 });
        }
        Ok(Loss { sum, metrics })
    }

    fn evaluate(&self, model: &Llama, world: &World) -> anyhow::Result<Option<Evaluation>> {
        let Some(held_out) = &self.held_out else { return Ok(None) };
        let mut failure = None;
        let Some(windows) = &self.windows else { return Ok(None) };
        let batches = held_out.batches(windows.micro_batch_tokens, windows.cross_documents, windows.device);
        let batches = batches.map_while(|batch| batch.map_err(|error| failure = Some(error)).ok());
        let evaluation = evaluate(self, model, world, batches)?;
        match failure {
            Some(error) => Err(error.context("the held-out data")),
            None => Ok(evaluation),
        }
    }
}
