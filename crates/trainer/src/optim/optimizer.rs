//! AdamW with float32 master weights and named moments.

use std::collections::HashMap;

use anyhow::Context;
use distributed::World;
use tch::{Kind, Tensor};
use torch_ext::{AdamW, OpError, catch, fused_adamw, take_grad};

use crate::optim::average::UPDATE;
use crate::optim::schedule::Schedule;
use crate::optim::shard::{Layout, owners};
use crate::persist::state::Named;
use crate::share::{To, whole};

/// Hyper-parameters of AdamW.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OptimizerSettings {
    /// Decay rate of the first moment.
    pub beta1: f64,
    /// Decay rate of the second moment.
    pub beta2: f64,
    /// Added to the square root of the second moment.
    pub eps: f64,
    /// Coefficient of the decoupled weight decay.
    pub weight_decay: f64,
    /// Whether norms and biases (one-dimensional parameters) decay too; usually they do not.
    pub decay_norms_and_biases: bool,
    /// Maximal norm of the gradient of all parameters together; a larger gradient is scaled down to it. `None` for no limit.
    pub max_grad_norm: Option<f64>,
}

/// A trained tensor with its gradient and its optimizer state.
struct Parameter {
    /// Its name in a checkpoint of the model or adapter.
    name: String,
    /// The tensor that the model computes with: a leaf that requires gradients.
    compute: Tensor,
    /// Factor of the learning rate.
    rate: f64,
    /// Whether the compute tensor has a narrower type than float32.
    narrow: bool,
    /// Sum of the gradients of the micro-batches in float32; `None` before the first.
    gathered: Option<Tensor>,
    /// The optimizer state, in the process that owns this tensor; `None` in the others.
    state: Option<State>,
}

/// The optimizer state of a tensor: three float32 tensors of its shape.
struct State {
    /// The master weight; it is the compute tensor itself if that is float32.
    master: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
}

impl Parameter {
    fn new(name: String, compute: Tensor, exact: Option<Tensor>, own: bool) -> Result<Self, OpError> {
        let compute = compute.set_requires_grad(true);
        let narrow = compute.kind() != Kind::Float;
        if !own {
            return Ok(Self { name, rate: 1.0, narrow, gathered: None, compute, state: None });
        }
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
        let state = State { exp_avg: zeros(), exp_avg_sq: zeros(), master };
        Ok(Self { name, rate: 1.0, narrow, gathered: None, compute, state: Some(state) })
    }

    fn decays(&self) -> bool {
        self.compute.dim() > 1
    }

    /// Adds a gradient to the sum of the step.
    fn add(&mut self, grad: &Tensor) -> Result<(), OptimizerError> {
        match &mut self.gathered {
            Some(sum) => drop(sum.f_add_(grad)?),
            None => self.gathered = Some(grad.f_to_kind(Kind::Float)?),
        }
        Ok(())
    }
}

/// Prefixes of the names of the moments.
const MOMENTS: [&str; 2] = ["exp_avg.", "exp_avg_sq."];
/// Suffix of the name of a low-rank update's factor `A`, after the module's name.
const FIRST_FACTOR: &str = ".lora_A.weight";

/// Placeholders for the norm of a gradient: another process owns the tensor, or there is no gradient.
const UNKNOWN: f64 = -2.0;
const NONE: f64 = -1.0;

/// Result of an optimizer step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// Norm of the gradient of all parameters together, before clipping.
    pub grad_norm: f64,
    /// The learning rate used.
    pub learning_rate: f64,
}

/// Why an optimizer step failed or a saved state was refused.
#[derive(Debug, thiserror::Error)]
pub enum OptimizerError {
    /// The gradient of this parameter (the first such) contains a NaN or an infinite value.
    #[error("the gradient of {0} is not finite")]
    NonFinite(String),
    /// No gradient reached a parameter.
    #[error("no gradient reached {0}: the loss does not depend on it")]
    NoGradient(String),
    /// The saved state belongs to other parameters.
    #[error("the saved optimizer state {0}")]
    State(String),
    /// libtorch reported an error.
    #[error(transparent)]
    Op(#[from] OpError),
    /// Another process has ended or called a different operation.
    #[error(transparent)]
    World(#[from] distributed::Error),
}

impl From<tch::TchError> for OptimizerError {
    fn from(error: tch::TchError) -> Self {
        Self::Op(error.into())
    }
}

/// AdamW over the trained tensors of a model. With several processes, each keeps the optimizer state of its share of the
/// tensors; the methods that need all processes take the [`World`].
pub struct Optimizer {
    parameters: Vec<Parameter>,
    /// Buffer layouts of the collectives: for the tensors in the compute type, and in float32. `None` with one process.
    layouts: Option<[Layout; 2]>,
    settings: OptimizerSettings,
    schedule: Schedule,
    step: u64,
}

impl Optimizer {
    /// Takes the tensors to train, under their names; they become leaf tensors that require gradients. `exact(name)` returns
    /// the values of a weight as the model's files have them, if the model computes with it in a narrower type; the master
    /// weight starts from these values. Without exact values a master weight starts from the compute tensor.
    ///
    /// # Errors
    /// When there is not enough memory for masters and moments (the message names their size), and the errors of `exact`.
    pub fn new(
        named: Named,
        exact: &dyn Fn(&str) -> anyhow::Result<Option<Tensor>>,
        settings: OptimizerSettings,
        schedule: Schedule,
    ) -> anyhow::Result<Self> {
        Self::spread(named, exact, settings, schedule, &World::single())
    }

    /// Like [`Optimizer::new`], with the state sharded over the processes of `world`. All processes pass the same tensors.
    ///
    /// # Errors
    /// The same as [`Optimizer::new`].
    pub fn spread(
        named: Named,
        exact: &dyn Fn(&str) -> anyhow::Result<Option<Tensor>>,
        settings: OptimizerSettings,
        schedule: Schedule,
        world: &World,
    ) -> anyhow::Result<Self> {
        let _no_grad = tch::no_grad_guard();
        let sizes: Vec<(&str, u64)> =
            named.iter().map(|(name, tensor)| (name.as_str(), tensor.numel() as u64)).collect();
        let owners = owners(&sizes, world.size());
        let layout = |size: &dyn Fn(&Tensor) -> usize| {
            let bytes: Vec<i64> = named.iter().map(|(_, tensor)| (tensor.numel() * size(tensor)) as i64).collect();
            Layout::new(&owners, &bytes, world.size())
        };
        let layouts =
            (!world.is_alone()).then(|| [layout(&|tensor| tensor.kind().elt_size_in_bytes()), layout(&|_| 4)]);
        let own = |at: usize| owners[at] == world.rank();
        let mine = || named.iter().enumerate().filter(|(at, _)| own(*at)).map(|(_, (_, tensor))| tensor);
        let weights: usize = mine().map(Tensor::numel).sum();
        let bytes = |tensor: &Tensor| tensor.numel() * if tensor.kind() == Kind::Float { 8 } else { 12 };
        let gigabytes = mine().map(bytes).sum::<usize>() as f64 / 1e9;
        let make = |(at, (name, compute)): (usize, (String, Tensor))| -> anyhow::Result<Parameter> {
            let exact = if compute.kind() == Kind::Float || !own(at) { None } else { exact(&name)? };
            Ok(Parameter::new(name, compute, exact, own(at))?)
        };
        let parameters = catch(|| named.into_iter().enumerate().map(make).collect::<anyhow::Result<Vec<_>>>());
        let parameters = parameters
            .with_context(|| format!("the optimizer's state of {weights} trained weights, {gigabytes:.1} GB"))?;
        Ok(Self { parameters, layouts, settings, schedule, step: 0 })
    }

    /// Multiplies the learning rate of weights by a factor if their name contains a given text; the first matching text applies.
    pub fn set_rates(&mut self, rates: &[(String, f64)]) {
        for parameter in &mut self.parameters {
            let found = rates.iter().find(|(text, _)| parameter.name.contains(text.as_str()));
            parameter.rate = found.map_or(1.0, |(_, factor)| *factor);
        }
    }

    /// Number of steps taken.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// Number of trained weights.
    #[must_use]
    pub fn weights(&self) -> u64 {
        self.parameters.iter().map(|p| p.compute.numel() as u64).sum()
    }

    /// The float32 master weights of this process's share, under their names. The tensors share memory with the optimizer.
    #[must_use]
    pub fn masters(&self) -> Vec<(String, Tensor)> {
        let own = |p: &Parameter| Some((p.name.clone(), p.state.as_ref()?.master.shallow_clone()));
        self.parameters.iter().filter_map(own).collect()
    }

    /// The float32 master weights of all processes, on the first process.
    ///
    /// # Errors
    /// When another process has ended or called a different operation.
    pub(crate) fn whole_masters(&self, world: &World) -> anyhow::Result<Named> {
        if self.parameters.iter().all(|p| !p.narrow) {
            // All processes compute with the float32 weights themselves.
            return Ok(self.parameters.iter().map(|p| (p.name.clone(), p.compute.detach())).collect());
        }
        whole(world, self.masters(), &|name| self.place(name), To::First)
    }

    /// Sort key of a tensor by its name, in the order of the trained tensors: for a weight, one of its moments, or an average.
    pub(crate) fn place(&self, name: &str) -> usize {
        let (moment, of) = match (name.strip_prefix(MOMENTS[0]), name.strip_prefix(MOMENTS[1])) {
            (Some(of), _) => (0, of),
            (_, Some(of)) => (1, of),
            _ => (0, name),
        };
        let module = of.strip_suffix(UPDATE);
        let is = |p: &Parameter| {
            p.name == of
                || module.is_some_and(|module| p.name.strip_prefix(module).is_some_and(|rest| rest == FIRST_FACTOR))
        };
        2 * self.parameters.iter().position(is).unwrap_or(self.parameters.len()) + moment
    }

    /// Adds the gradients of a micro-batch to the sums of the step, in float32. Call it after each micro-batch's backward pass.
    ///
    /// # Errors
    /// When libtorch reports an error.
    pub fn gather(&mut self) -> Result<(), OptimizerError> {
        let _no_grad = tch::no_grad_guard();
        for parameter in &mut self.parameters {
            if let Some(grad) = take_grad(&parameter.compute)? {
                parameter.add(&grad)?;
            }
        }
        Ok(())
    }

    /// Replaces [`Optimizer::gather`] with several processes. All processes call it after each round of micro-batches, of which
    /// only the first `present` processes had one. The gradients go to the owners, which add them in the order of the
    /// processes.
    ///
    /// # Errors
    /// When another process has ended or called a different operation; when libtorch reports an error.
    pub fn gather_from(&mut self, world: &World, present: usize) -> Result<(), OptimizerError> {
        let Some([layout, _]) = &self.layouts else { return self.gather() };
        let _no_grad = tch::no_grad_guard();
        let flat = |p: &Parameter| transposed(take_grad(&p.compute)?.map(|grad| grad.f_reshape([-1])));
        let own = self.parameters.iter().map(flat).collect::<Result<Vec<_>, OptimizerError>>()?;
        let Some(device) = self.parameters.first().map(|p| p.compute.device()) else { return Ok(()) };
        let parameters = &mut self.parameters;
        layout.to_owners(world, device, present, own, |tensor, value| {
            let parameter = &mut parameters[tensor];
            // The view points into a buffer that will be overwritten.
            let value = value.f_reshape(parameter.compute.size())?;
            let value = if parameter.gathered.is_none() && value.kind() == Kind::Float { value.copy() } else { value };
            parameter.add(&value)
        })
    }

    /// Sums the gradients over the processes, at the owners, in the order of the communication library. For several processes
    /// that have each called [`Optimizer::gather`] on their own.
    ///
    /// # Errors
    /// The same as [`Optimizer::gather_from`].
    pub fn sum_over(&mut self, world: &World) -> Result<(), OptimizerError> {
        let Some([_, layout]) = &self.layouts else { return Ok(()) };
        let _no_grad = tch::no_grad_guard();
        let Some(device) = self.parameters.first().map(|p| p.compute.device()) else { return Ok(()) };
        // A gradient that no process has stays absent.
        let there: Vec<u8> = self.parameters.iter().map(|p| u8::from(p.gathered.is_some())).collect();
        let there = world.all_gather("gradients that there are", &Tensor::from_slice(&there))?.amax([0], false);
        let there = Vec::<u8>::try_from(there)?;
        let flat = |p: &mut Parameter| transposed(p.gathered.take().map(|grad| grad.f_reshape([-1])));
        let own = self.parameters.iter_mut().map(flat).collect::<Result<Vec<_>, OptimizerError>>()?;
        let parameters = &mut self.parameters;
        layout.summed(world, device, own, |tensor, value| {
            if there[tensor] == 1 {
                let size = parameters[tensor].compute.size();
                parameters[tensor].gathered = Some(value.f_reshape(size)?.copy());
            }
            Ok(())
        })
    }

    /// Runs `work` while the weights named in `others` have the values given there, such as those of an average. Afterwards all
    /// weights are restored bit for bit.
    ///
    /// # Errors
    /// The errors of `work`, and those of libtorch.
    pub fn with_weights<T>(&mut self, others: Named, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let mut others: HashMap<String, Tensor> = others.into_iter().collect();
        // A float32 weight is its own master. It is swapped with the other value, one tensor at a time, so the extra memory is
        // one tensor.
        let mut exchange = |parameters: &mut [Parameter], back: bool| {
            let _no_grad = tch::no_grad_guard();
            catch(|| {
                for parameter in parameters {
                    let Some(other) = others.get_mut(&parameter.name) else { continue };
                    match &parameter.state {
                        Some(state) if parameter.narrow => {
                            parameter.compute.copy_(if back { &state.master } else { &*other });
                        }
                        _ => {
                            let mut compute = parameter.compute.detach();
                            let kept = compute.copy();
                            compute.copy_(other);
                            // The value that is put back keeps its full precision.
                            *other = kept;
                        }
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
    pub fn grad_norm(&self, world: &World) -> Result<f64, OptimizerError> {
        let own = self.norms();
        let own = own.as_ref().map(crate::reading::numbers).transpose()?;
        self.grad_norm_of(own.unwrap_or_default(), world)
    }

    /// The norms of this process's gathered gradients, `[count]` float64, not yet read; `None` if there are no gradients.
    pub(crate) fn norms(&self) -> Option<Tensor> {
        let _no_grad = tch::no_grad_guard();
        let own: Vec<Tensor> = self.parameters.iter().filter_map(|p| Some(p.gathered.as_ref()?.norm())).collect();
        (!own.is_empty()).then(|| Tensor::stack(&own, 0).to_kind(Kind::Double))
    }

    /// Computes [`Optimizer::grad_norm`] from the values of [`Optimizer::norms`].
    ///
    /// # Errors
    /// The same as [`Optimizer::grad_norm`].
    pub(crate) fn grad_norm_of(&self, own: Vec<f64>, world: &World) -> Result<f64, OptimizerError> {
        let _no_grad = tch::no_grad_guard();
        let mut own = own.into_iter();
        let norm = |p: &Parameter| match (&p.gathered, &p.state) {
            (Some(_), _) => own.next().unwrap_or(NONE),
            (None, Some(_)) => NONE,
            (None, None) => UNKNOWN,
        };
        let mut norms: Vec<f64> = self.parameters.iter().map(norm).collect();
        if !world.is_alone() {
            let all = Vec::<f64>::try_from(world.all_gather("norms", &Tensor::from_slice(&norms))?.flatten(0, 1))?;
            for (at, norm) in norms.iter_mut().enumerate() {
                let mut known = all.iter().skip(at).step_by(self.parameters.len()).filter(|&&norm| norm != UNKNOWN);
                *norm = known.next().copied().unwrap_or(NONE);
            }
        }
        if let Some(none) = norms.iter().position(|&norm| norm == NONE) {
            return Err(OptimizerError::NoGradient(self.parameters[none].name.clone()));
        }
        let total = f64::try_from(Tensor::from_slice(&norms).square().sum(Kind::Double))?.sqrt();
        if total.is_finite() {
            return Ok(total);
        }
        let first = norms.iter().position(|norm| !norm.is_finite()).unwrap_or_default();
        Err(OptimizerError::NonFinite(self.parameters[first].name.clone()))
    }

    /// Clips the accumulated gradient, takes one AdamW step and clears the gradient.
    ///
    /// # Errors
    /// The same as [`Optimizer::grad_norm`]; the weights are unchanged then.
    pub fn step(&mut self) -> Result<StepReport, OptimizerError> {
        self.step_with(&World::single())
    }

    /// Like [`Optimizer::step`], by all processes, each for its share. Afterwards all processes have all weights.
    ///
    /// # Errors
    /// The same as [`Optimizer::grad_norm`].
    pub fn step_with(&mut self, world: &World) -> Result<StepReport, OptimizerError> {
        let grad_norm = self.grad_norm(world)?;
        self.apply(grad_norm, world)
    }

    /// Takes a step with a gradient whose norm ([`Optimizer::grad_norm`]) is already known.
    ///
    /// # Errors
    /// When another process has ended or called a different operation; when libtorch reports an error.
    pub fn apply(&mut self, grad_norm: f64, world: &World) -> Result<StepReport, OptimizerError> {
        let _no_grad = tch::no_grad_guard();
        let learning_rate = self.schedule.learning_rate(self.step);
        if let Some(max) = self.settings.max_grad_norm {
            // The same formula as `torch.nn.utils.clip_grad_norm_`.
            let factor = max / (grad_norm + 1e-6);
            if factor < 1.0 {
                for gradient in self.parameters.iter_mut().filter_map(|p| p.gathered.as_mut()) {
                    let _ = gradient.g_mul_scalar_(factor);
                }
            }
        }
        let s = self.settings;
        self.step += 1;
        // A step with learning rate 0 must leave every weight bit-equal, also a negative zero.
        let kept = |p: &Parameter| Some(p.state.as_ref()?.master.copy());
        let still: Vec<Option<Tensor>> =
            if learning_rate == 0.0 { self.parameters.iter().map(kept).collect() } else { Vec::new() };
        let mut groups: Vec<(bool, f64)> = Vec::new();
        for group in [true, false].into_iter().flat_map(|decays| self.parameters.iter().map(move |p| (decays, p.rate)))
        {
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        for (decays, rate) in groups {
            let group = self.parameters.iter().filter(|p| p.decays() == decays && p.rate == rate);
            let group: Vec<(&State, &Tensor)> =
                group.filter_map(|p| Some((p.state.as_ref()?, p.gathered.as_ref()?))).collect();
            let weight_decay = if decays || s.decay_norms_and_biases { s.weight_decay } else { 0.0 };
            fused_adamw(
                &group.iter().map(|(state, _)| &state.master).collect::<Vec<_>>(),
                &group.iter().map(|(_, gradient)| *gradient).collect::<Vec<_>>(),
                &group.iter().map(|(state, _)| &state.exp_avg).collect::<Vec<_>>(),
                &group.iter().map(|(state, _)| &state.exp_avg_sq).collect::<Vec<_>>(),
                self.step,
                &AdamW { lr: learning_rate * rate, beta1: s.beta1, beta2: s.beta2, eps: s.eps, weight_decay },
            )?;
        }
        for (parameter, still) in self.parameters.iter_mut().zip(&still) {
            if let (Some(state), Some(still)) = (&mut parameter.state, still) {
                state.master.copy_(still);
            }
        }
        self.clear();
        self.publish(world)?;
        Ok(StepReport { grad_norm, learning_rate })
    }

    /// Skips a step: clears the gradient and leaves weights and moments unchanged.
    pub fn skip(&mut self, grad_norm: f64) -> StepReport {
        let learning_rate = self.schedule.learning_rate(self.step);
        self.step += 1;
        self.clear();
        StepReport { grad_norm, learning_rate }
    }

    /// Clears the gradient.
    pub fn clear(&mut self) {
        for parameter in &mut self.parameters {
            parameter.gathered = None;
        }
    }

    /// The tensors that the model computes with, by name; their bits are equal in all processes.
    pub(crate) fn shared(&self) -> Named {
        self.parameters.iter().map(|p| (p.name.clone(), p.compute.detach())).collect()
    }

    /// The tensors that only this process has: masters of narrow weights, and moments. They share memory with the optimizer.
    pub(crate) fn own(&self) -> Named {
        let masters = self.parameters.iter().filter(|p| p.narrow).filter_map(|p| {
            let master = p.state.as_ref()?.master.shallow_clone();
            Some((p.name.clone(), master))
        });
        masters.chain(self.moments()).collect()
    }

    /// The gradients of a micro-batch that are not yet gathered; empty if there are none.
    pub(crate) fn waiting(&self) -> Vec<Tensor> {
        self.parameters.iter().map(|p| p.compute.grad()).filter(Tensor::defined).collect()
    }

    /// Drops the gradients that are not yet gathered.
    ///
    /// # Errors
    /// When libtorch reports an error.
    pub(crate) fn discard(&mut self) -> Result<(), OptimizerError> {
        for parameter in &self.parameters {
            take_grad(&parameter.compute)?;
        }
        Ok(())
    }

    /// Copies the master weights into the compute tensors (with rounding) on all processes.
    fn publish(&mut self, world: &World) -> Result<(), OptimizerError> {
        let _no_grad = tch::no_grad_guard();
        for parameter in self.parameters.iter_mut().filter(|p| p.narrow) {
            if let Some(state) = &parameter.state {
                parameter.compute.copy_(&state.master);
            }
        }
        if let Some([layout, _]) = &self.layouts {
            let tensors: Vec<Tensor> = self.parameters.iter().map(|p| p.compute.detach()).collect();
            layout.to_all(world, "weights", &tensors)?;
        }
        Ok(())
    }

    /// Both moments of every parameter of this process's share, as `exp_avg.NAME` and `exp_avg_sq.NAME`. The tensors share
    /// memory with the optimizer.
    #[must_use]
    pub fn moments(&self) -> Vec<(String, Tensor)> {
        let both = |p: &Parameter| {
            let state = p.state.as_ref()?;
            let [first, second] = MOMENTS.map(|prefix| format!("{prefix}{}", p.name));
            Some([(first, state.exp_avg.shallow_clone()), (second, state.exp_avg_sq.shallow_clone())])
        };
        self.parameters.iter().filter_map(both).flatten().collect()
    }

    /// Restores saved weights and moments, by name, as after `steps` steps. All processes pass all of them.
    ///
    /// # Errors
    /// [`OptimizerError::State`] when a tensor is missing, unknown or of another shape.
    pub fn restore(
        &mut self,
        steps: u64,
        masters: Vec<(String, Tensor)>,
        moments: Vec<(String, Tensor)>,
        world: &World,
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
            let elsewhere = |name: &&String| self.place(name) / 2 < self.parameters.len();
            if let Some(name) = saved.keys().filter(|name| !elsewhere(name)).min() {
                return Err(OptimizerError::State(format!("has {what} {name}, which this run does not train")));
            }
        }
        self.step = steps;
        self.publish(world)
    }
}

/// Turns an optional result into a result of an option.
fn transposed(found: Option<Result<Tensor, tch::TchError>>) -> Result<Option<Tensor>, OptimizerError> {
    Ok(found.transpose()?)
}

#[cfg(test)]
#[path = "optimizer_tests.rs"]
mod tests;
