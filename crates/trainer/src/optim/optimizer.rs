//! AdamW with float32 master weights and named moments.

use std::collections::HashMap;

use anyhow::Context;
use tch::{Kind, Tensor};
use torch_ext::{AdamW, OpError, catch, fused_adamw, take_grad};

use crate::optim::schedule::Schedule;
use crate::persist::state::Named;

/// Hyper-parameters of AdamW.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OptimizerSettings {
    /// Decay rate of the first moment.
    pub beta1: f64,
    /// Decay rate of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Whether norms and biases (parameters of one dimension) decay too; by custom they do not.
    pub decay_norms_and_biases: bool,
    /// Largest norm of the gradient of all parameters together; longer ones are shortened to it.
    pub max_grad_norm: Option<f64>,
}

/// A trained tensor and what the optimizer keeps of it, all of one shape.
pub struct Parameter {
    /// Its name in a checkpoint of the model or adapter.
    pub name: String,
    /// What the model computes with: a leaf that gathers gradients.
    compute: Tensor,
    /// The weight in float32; the compute tensor itself if that is float32.
    master: Tensor,
    /// Whether the compute tensor is of a narrower type than float32.
    narrow: bool,
    /// The sum of the micro-batches' gradients in float32; none before the first.
    gathered: Option<Tensor>,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
}

impl Parameter {
    fn new(name: String, compute: Tensor, exact: Option<Tensor>) -> Result<Self, OpError> {
        let compute = compute.set_requires_grad(true);
        let narrow = compute.kind() != Kind::Float;
        let master = match exact {
            Some(exact) if narrow => exact.to_device(compute.device()).to_kind(Kind::Float),
            _ if narrow => compute.detach().to_kind(Kind::Float),
            _ => compute.detach(),
        };
        if master.size() != compute.size() {
            let sizes = format!("{:?}, the model's {:?}", master.size(), compute.size());
            return Err(OpError::of(format!("the exact weight {name} has shape {sizes}")));
        }
        let zeros = || master.zeros_like();
        Ok(Self { name, narrow, gathered: None, exp_avg: zeros(), exp_avg_sq: zeros(), compute, master })
    }

    fn decays(&self) -> bool {
        self.master.dim() > 1
    }
}

/// What an optimizer step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// Norm of the gradient of all parameters together, before clipping.
    pub grad_norm: f64,
    /// The learning rate used.
    pub learning_rate: f64,
}

/// Why an optimizer step or a state is refused.
#[derive(Debug, thiserror::Error)]
pub enum OptimizerError {
    /// The gradient is not a number or infinite: its first such parameter.
    #[error("the gradient of {0} is not finite")]
    NonFinite(String),
    /// No gradient reached a parameter.
    #[error("no gradient reached {0}: the loss does not depend on it")]
    NoGradient(String),
    /// A saved state is of other parameters.
    #[error("the saved optimizer state {0}")]
    State(String),
    /// libtorch refused.
    #[error(transparent)]
    Op(#[from] OpError),
}

impl From<tch::TchError> for OptimizerError {
    fn from(error: tch::TchError) -> Self {
        Self::Op(error.into())
    }
}

/// AdamW over the trained tensors of a model.
pub struct Optimizer {
    parameters: Vec<Parameter>,
    settings: OptimizerSettings,
    schedule: Schedule,
    step: u64,
}

impl Optimizer {
    /// Takes the tensors to train under their names; they become leaves that gather gradients. `exact(name)` has the numbers
    /// of a weight that the model computes with in a narrower type, as in the model's files: its master begins there. The
    /// masters of others begin at what the model computes with.
    ///
    /// # Errors
    /// When there is no memory for masters and moments, with their size; those of `exact`.
    pub fn new(
        named: Named,
        exact: &dyn Fn(&str) -> anyhow::Result<Option<Tensor>>,
        settings: OptimizerSettings,
        schedule: Schedule,
    ) -> anyhow::Result<Self> {
        let _no_grad = tch::no_grad_guard();
        let weights: usize = named.iter().map(|(_, tensor)| tensor.numel()).sum();
        let bytes = |tensor: &Tensor| tensor.numel() * if tensor.kind() == Kind::Float { 8 } else { 12 };
        let gigabytes = named.iter().map(|(_, tensor)| bytes(tensor)).sum::<usize>() as f64 / 1e9;
        let make = |(name, compute): (String, Tensor)| -> anyhow::Result<Parameter> {
            let exact = if compute.kind() == Kind::Float { None } else { exact(&name)? };
            Ok(Parameter::new(name, compute, exact)?)
        };
        let parameters = catch(|| named.into_iter().map(make).collect::<anyhow::Result<Vec<_>>>());
        let parameters = parameters
            .with_context(|| format!("the optimizer's state of {weights} trained weights, {gigabytes:.1} GB"))?;
        Ok(Self { parameters, settings, schedule, step: 0 })
    }

    /// Steps taken.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// Number of trained weights.
    #[must_use]
    pub fn weights(&self) -> u64 {
        self.parameters.iter().map(|p| p.master.numel() as u64).sum()
    }

    /// The float32 weights under their names; the tensors are the optimizer's own.
    #[must_use]
    pub fn masters(&self) -> Vec<(String, Tensor)> {
        self.parameters.iter().map(|p| (p.name.clone(), p.master.shallow_clone())).collect()
    }

    /// To be called after each micro-batch's backward pass: adds its gradients to the step's in float32.
    ///
    /// # Errors
    /// What libtorch refuses.
    pub fn gather(&mut self) -> Result<(), OptimizerError> {
        let _no_grad = tch::no_grad_guard();
        for parameter in &mut self.parameters {
            let Some(grad) = take_grad(&parameter.compute)? else { continue };
            match &mut parameter.gathered {
                Some(sum) => drop(sum.f_add_(&grad)?),
                None => parameter.gathered = Some(grad.f_to_kind(Kind::Float)?),
            }
        }
        Ok(())
    }

    /// Does `work` while the model computes with other values of the trained weights that `others` names: those of an
    /// average. Afterwards everything is as it was, bit for bit.
    ///
    /// # Errors
    /// Those of `work`, and what libtorch refuses.
    pub fn with_weights<T>(&mut self, others: Named, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let mut others: HashMap<String, Tensor> = others.into_iter().collect();
        // float32 weights are the masters themselves: they change places with the others, which needs no more memory than
        // one of them.
        let mut exchange = |parameters: &mut [Parameter], back: bool| {
            let _no_grad = tch::no_grad_guard();
            catch(|| {
                for parameter in parameters {
                    let Some(other) = others.get_mut(&parameter.name) else { continue };
                    if parameter.narrow {
                        parameter.compute.copy_(if back { &parameter.master } else { &*other });
                    } else {
                        let kept = parameter.master.copy();
                        parameter.master.copy_(other);
                        other.copy_(&kept);
                    }
                }
                anyhow::Ok(())
            })
        };
        exchange(&mut self.parameters, false)?;
        let done = work();
        exchange(&mut self.parameters, true)?;
        done
    }

    /// Norm of the gradient of all parameters together.
    ///
    /// # Errors
    /// [`OptimizerError::NonFinite`] and [`OptimizerError::NoGradient`].
    pub fn grad_norm(&self) -> Result<f64, OptimizerError> {
        let _no_grad = tch::no_grad_guard();
        let mut norms = Vec::with_capacity(self.parameters.len());
        for parameter in &self.parameters {
            let Some(gradient) = &parameter.gathered else {
                return Err(OptimizerError::NoGradient(parameter.name.clone()));
            };
            norms.push(gradient.norm());
        }
        let norms = Tensor::stack(&norms, 0).to_kind(Kind::Double);
        let total = f64::try_from(norms.square().sum(Kind::Double))?.sqrt();
        if total.is_finite() {
            return Ok(total);
        }
        let norms = Vec::<f64>::try_from(norms)?;
        let first = norms.iter().position(|norm| !norm.is_finite()).unwrap_or_default();
        Err(OptimizerError::NonFinite(self.parameters[first].name.clone()))
    }

    /// Clips the gathered gradient, takes one AdamW step and clears the gradient.
    ///
    /// # Errors
    /// As [`Optimizer::grad_norm`]; the weights are then as they were.
    pub fn step(&mut self) -> Result<StepReport, OptimizerError> {
        let _no_grad = tch::no_grad_guard();
        let grad_norm = self.grad_norm()?;
        let learning_rate = self.schedule.learning_rate(self.step);
        if let Some(max) = self.settings.max_grad_norm {
            // As torch.nn.utils.clip_grad_norm_.
            let factor = max / (grad_norm + 1e-6);
            if factor < 1.0 {
                for gradient in self.parameters.iter_mut().filter_map(|p| p.gathered.as_mut()) {
                    let _ = gradient.g_mul_scalar_(factor);
                }
            }
        }
        let s = self.settings;
        self.step += 1;
        // A step of length 0 leaves every weight as it is, a negative zero too.
        let still: Vec<Tensor> =
            if learning_rate == 0.0 { self.parameters.iter().map(|p| p.master.copy()).collect() } else { Vec::new() };
        for decays in [true, false] {
            let group: Vec<&Parameter> = self.parameters.iter().filter(|p| p.decays() == decays).collect();
            let weight_decay = if decays || s.decay_norms_and_biases { s.weight_decay } else { 0.0 };
            fused_adamw(
                &group.iter().map(|p| &p.master).collect::<Vec<_>>(),
                &group.iter().filter_map(|p| p.gathered.as_ref()).collect::<Vec<_>>(),
                &group.iter().map(|p| &p.exp_avg).collect::<Vec<_>>(),
                &group.iter().map(|p| &p.exp_avg_sq).collect::<Vec<_>>(),
                self.step,
                &AdamW { lr: learning_rate, beta1: s.beta1, beta2: s.beta2, eps: s.eps, weight_decay },
            )?;
        }
        for (parameter, still) in self.parameters.iter_mut().zip(&still) {
            parameter.master.copy_(still);
        }
        for parameter in &mut self.parameters {
            parameter.gathered = None;
        }
        self.publish();
        Ok(StepReport { grad_norm, learning_rate })
    }

    /// Passes a step over: clears the gradient, and leaves weights and moments as they are.
    pub fn skip(&mut self, grad_norm: f64) -> StepReport {
        let learning_rate = self.schedule.learning_rate(self.step);
        self.step += 1;
        for parameter in &mut self.parameters {
            parameter.gathered = None;
        }
        StepReport { grad_norm, learning_rate }
    }

    /// Rounds the float32 weights into the tensors that the model computes with.
    fn publish(&mut self) {
        let _no_grad = tch::no_grad_guard();
        for parameter in &mut self.parameters {
            if parameter.narrow {
                parameter.compute.copy_(&parameter.master);
            }
        }
    }

    /// Both moments of every parameter, as `exp_avg.NAME` and `exp_avg_sq.NAME`; the tensors are the optimizer's own.
    #[must_use]
    pub fn moments(&self) -> Vec<(String, Tensor)> {
        let both = |p: &Parameter| {
            [
                (format!("exp_avg.{}", p.name), p.exp_avg.shallow_clone()),
                (format!("exp_avg_sq.{}", p.name), p.exp_avg_sq.shallow_clone()),
            ]
        };
        self.parameters.iter().flat_map(both).collect()
    }

    /// Takes over saved weights and moments, by name, after `steps` steps.
    ///
    /// # Errors
    /// [`OptimizerError::State`] when a tensor is missing, left over or of another shape.
    pub fn restore(
        &mut self,
        steps: u64,
        masters: Vec<(String, Tensor)>,
        moments: Vec<(String, Tensor)>,
    ) -> Result<(), OptimizerError> {
        let _no_grad = tch::no_grad_guard();
        for (what, saved, mut own) in [("weights", masters, self.masters()), ("moments", moments, self.moments())] {
            let mut saved: HashMap<String, Tensor> = saved.into_iter().collect();
            for (name, tensor) in &mut own {
                let found = saved
                    .remove(name.as_str())
                    .ok_or_else(|| OptimizerError::State(format!("has no {what} {name}")))?;
                if found.size() != tensor.size() {
                    let sizes = format!("{:?}, not {:?}", found.size(), tensor.size());
                    return Err(OptimizerError::State(format!("has {what} {name} of shape {sizes}")));
                }
                tensor.copy_(&found);
            }
            if let Some(name) = saved.keys().min() {
                return Err(OptimizerError::State(format!("has {what} {name}, which this run does not train")));
            }
        }
        self.step = steps;
        self.publish();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ScheduleKind;
    use tch::Device;

    fn optimizer() -> Optimizer {
        torch_ext::init();
        let ones = |shape: &[i64]| Tensor::ones(shape, (Kind::Float, Device::Cpu));
        let named = vec![("matrix".to_owned(), ones(&[2, 3])), ("gain".to_owned(), ones(&[3]))];
        let settings = OptimizerSettings {
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-8,
            weight_decay: 0.5,
            decay_norms_and_biases: false,
            max_grad_norm: None,
        };
        let (kind, peak) = (ScheduleKind::Constant, 0.1);
        let schedule = Schedule { kind, peak, warmup_steps: 0, total_steps: 9, final_ratio: 0.0, decay_steps: 0 };
        Optimizer::new(named, &|_| Ok(None), settings, schedule).unwrap()
    }

    fn backward(optimizer: &mut Optimizer, factor: f64) {
        let loss = optimizer.parameters.iter().map(|p| p.compute.sum(Kind::Float) * factor).sum::<Tensor>();
        loss.backward();
        optimizer.gather().unwrap();
    }

    fn first(optimizer: &Optimizer) -> [f64; 2] {
        [0, 1].map(|index| optimizer.parameters[index].master.flatten(0, -1).double_value(&[0]))
    }

    #[test]
    fn norms_and_biases_do_not_decay() {
        let mut optimizer = optimizer();
        backward(&mut optimizer, 0.0);
        optimizer.step().unwrap();
        let [matrix, gain] = first(&optimizer);
        assert!((matrix - (1.0 - 0.1 * 0.5)).abs() < 1e-6 && gain == 1.0, "{matrix} {gain}");
    }

    #[test]
    fn masters_begin_at_the_exact_numbers_and_a_step_of_length_0_keeps_them() {
        torch_ext::init();
        let exact = [0.1_f32, -0.0, 1e-30, 3.000_000_2];
        let narrow = Tensor::from_slice(&exact).to_kind(Kind::BFloat16);
        let settings = optimizer().settings;
        let (kind, peak) = (ScheduleKind::Constant, 0.0);
        let schedule = Schedule { kind, peak, warmup_steps: 0, total_steps: 9, final_ratio: 0.0, decay_steps: 0 };
        let named = vec![("w".to_owned(), narrow.shallow_clone())];
        let look_up = |name: &str| Ok((name == "w").then(|| Tensor::from_slice(&exact)));
        let mut optimizer = Optimizer::new(named, &look_up, settings, schedule).unwrap();
        backward(&mut optimizer, 1.0);
        optimizer.step().unwrap();
        let bits =
            |tensor: &Tensor| Vec::<f32>::try_from(tensor).unwrap().into_iter().map(f32::to_bits).collect::<Vec<_>>();
        assert_eq!(bits(&optimizer.masters()[0].1), exact.map(f32::to_bits));
        assert_eq!(
            bits(&narrow.to_kind(Kind::Float)),
            bits(&Tensor::from_slice(&exact).to_kind(Kind::BFloat16).to_kind(Kind::Float))
        );
    }

    #[test]
    fn other_weights_are_lent_and_come_back() {
        for kind in [Kind::Float, Kind::BFloat16] {
            torch_ext::init();
            let compute = Tensor::from_slice(&[1.0_f32, 2.0]).to_kind(kind);
            let named = vec![("w".to_owned(), compute.shallow_clone())];
            let own = optimizer();
            let mut optimizer = Optimizer::new(
                named,
                &|_| Ok(Some(Tensor::from_slice(&[1.001_f32, 2.001]))),
                own.settings,
                own.schedule,
            )
            .unwrap();
            let before = Vec::<f32>::try_from(&optimizer.masters()[0].1).unwrap();
            let lent = Tensor::from_slice(&[5.0_f32, 6.0]);
            let read = || Ok(Vec::<f32>::try_from(compute.detach().to_kind(Kind::Float))?);
            let seen = optimizer.with_weights(vec![("w".to_owned(), lent.shallow_clone())], read).unwrap();
            assert_eq!(seen, [5.0, 6.0]);
            assert_eq!(read().unwrap(), [1.0, 2.0]);
            assert_eq!(Vec::<f32>::try_from(&optimizer.masters()[0].1).unwrap(), before);
            assert_eq!(Vec::<f32>::try_from(&lent).unwrap(), [5.0, 6.0]);
        }
    }

    #[test]
    fn a_lack_of_memory_says_what_for_and_how_much() {
        torch_ext::init();
        let huge = Tensor::ones([1], (Kind::BFloat16, Device::Cpu)).expand([1 << 44], true);
        let own = optimizer();
        let named = vec![("w".to_owned(), huge)];
        let error = Optimizer::new(named, &|_| Ok(None), own.settings, own.schedule).err().unwrap();
        assert_eq!(
            format!("{error:#}"),
            "the optimizer's state of 17592186044416 trained weights, 211106.2 GB: out of memory: the system did not give \
             70368.7 GB"
        );
    }

    #[test]
    fn a_gradient_that_is_not_finite_or_missing_changes_nothing() {
        let mut optimizer = optimizer();
        let error = optimizer.step().unwrap_err().to_string();
        assert_eq!(error, "no gradient reached matrix: the loss does not depend on it");
        backward(&mut optimizer, f64::INFINITY);
        let error = optimizer.step().unwrap_err().to_string();
        assert_eq!(error, "the gradient of matrix is not finite");
        assert_eq!((first(&optimizer), optimizer.steps()), ([1.0, 1.0], 0));
    }
}
