//! Losses, metrics and gradient norms stay on their device until the end of a step, and are read together. The host thus waits for a GPU
//! only once a step. On a processor the numbers are bit-equal to single reads.

use std::cell::Cell;

use tch::{Kind, Tensor};

use crate::objective::{Metric, Sum};

thread_local! {
    static READS: Cell<u64> = const { Cell::new(0) };
}

/// The number of times that this thread has read losses, metrics and gradient norms.
#[must_use]
pub fn reads() -> u64 {
    READS.get()
}

/// The results of a micro-batch that have not been read yet.
pub(crate) struct Pending {
    /// The loss (a sum) divided by `normaliser`, a scalar.
    pub mean: Tensor,
    /// The divisor of the loss.
    pub normaliser: f64,
    /// Metrics of the stage.
    pub metrics: Vec<Metric>,
}

/// The losses (sums) and metrics of micro-batches, and further numbers.
pub(crate) type Numbers = (Vec<(f64, Vec<Metric>)>, Vec<f64>);

/// Copies losses (sums) and metrics of micro-batches to the host in one read, together with the numbers `more` `[count]`.
///
/// # Errors
/// When libtorch reports an error; an error of an earlier GPU operation appears here.
pub(crate) fn read(pending: Vec<Pending>, more: Option<&Tensor>) -> anyhow::Result<Numbers> {
    let _no_grad = tch::no_grad_guard();
    let scalars = pending.iter().flat_map(|one| {
        let metric = |metric: &'static str, sum: &Sum| match sum {
            Sum::Scalar(scalar) => Some((metric, scalar.shallow_clone())),
            Sum::Number(_) => None,
        };
        let metrics = one.metrics.iter().filter_map(move |of| metric(of.name, &of.sum));
        std::iter::once(("loss", one.mean.shallow_clone())).chain(metrics)
    });
    let mut all = Vec::new();
    let place = pending.first().map(|one| one.mean.device()).or(more.map(Tensor::device));
    for (name, scalar) in scalars {
        anyhow::ensure!(scalar.numel() == 1, "{name} is a tensor of shape {:?}, not one number", scalar.size());
        // Widening does not change the values.
        all.push(scalar.detach().to_kind(Kind::Double).to_device(place.unwrap_or(scalar.device())).reshape([1]));
    }
    all.extend(more.map(|more| more.to_kind(Kind::Double).flatten(0, -1)));
    let numbers = if all.is_empty() { Vec::new() } else { numbers(&Tensor::cat(&all, 0))? };
    let mut numbers = numbers.into_iter();
    let mut next = || numbers.next().unwrap_or(f64::NAN);
    let mut found = Vec::with_capacity(pending.len());
    for Pending { normaliser, metrics, .. } in pending {
        let loss = next() * normaliser;
        let read = |Metric { name, sum, weight }| Metric {
            name,
            sum: match sum {
                Sum::Scalar(_) => Sum::Number(next()),
                number @ Sum::Number(_) => number,
            },
            weight,
        };
        let metrics = metrics.into_iter().map(read).collect();
        found.push((loss, metrics));
    }
    Ok((found, numbers.collect()))
}

/// The numbers of a float64 tensor of one dimension, in one read.
pub(crate) fn numbers(tensor: &Tensor) -> Result<Vec<f64>, tch::TchError> {
    READS.set(READS.get() + 1);
    Vec::<f64>::try_from(tensor)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn scalar(x: f32) -> Tensor {
        torch_ext::init();
        Tensor::from(x)
    }

    #[test]
    fn everything_comes_in_one_read_and_in_its_place() {
        let metric = |name, sum: Sum, weight| Metric { name, sum, weight };
        let pending = vec![
            Pending {
                mean: scalar(0.1),
                normaliser: 3.0,
                metrics: vec![metric("a", scalar(0.2).into(), 2.0), metric("b", 7.5.into(), 1.0)],
            },
            Pending { mean: scalar(f32::NAN), normaliser: 2.0, metrics: vec![metric("a", scalar(0.3).into(), 4.0)] },
        ];
        let norms = Tensor::from_slice(&[0.1_f64, 1e300]);
        let before = reads();
        let (found, more) = read(pending, Some(&norms)).unwrap();
        assert_eq!(reads() - before, 1);
        assert_eq!(found[0].0.to_bits(), (f64::from(0.1_f32) * 3.0).to_bits());
        assert!(found[1].0.is_nan());
        let sums = |at: usize| found[at].1.iter().map(|m| (m.name, m.sum.number(), m.weight)).collect::<Vec<_>>();
        assert_eq!(sums(0), [("a", f64::from(0.2_f32), 2.0), ("b", 7.5, 1.0)]);
        assert_eq!(sums(1), [("a", f64::from(0.3_f32), 4.0)]);
        assert_eq!(more, [0.1, 1e300]);
        assert!(read(Vec::new(), None).unwrap().0.is_empty());
        assert_eq!(reads() - before, 1);
    }

    #[test]
    fn a_loss_is_one_number() {
        let pending = Pending { mean: scalar(1.0).reshape([1]).repeat([2]), normaliser: 1.0, metrics: Vec::new() };
        let error = read(vec![pending], None).err().unwrap().to_string();
        assert_eq!(error, "loss is a tensor of shape [2], not one number");
        assert_eq!(Tensor::zeros([2], (Kind::Float, Device::Cpu)).numel(), 2);
    }
}
