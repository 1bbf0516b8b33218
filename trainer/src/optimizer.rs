//! AdamW with float32 master weights and named moments.

use std::collections::HashMap;

use tch::{Kind, Tensor};
use torch_ext::{AdamW, OpError, fused_adamw};

use crate::schedule::Schedule;

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
    /// The sum of the micro-batches' gradients in float32; none if the compute tensor's own gradient is that.
    accumulated: Option<Tensor>,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
}

impl Parameter {
    fn new(name: String, compute: Tensor) -> Self {
        let compute = compute.set_requires_grad(true);
        let narrow = compute.kind() != Kind::Float;
        let master = if narrow { compute.detach().to_kind(Kind::Float) } else { compute.detach() };
        let zeros = || master.zeros_like();
        Self { name, accumulated: narrow.then(zeros), exp_avg: zeros(), exp_avg_sq: zeros(), compute, master }
    }

    fn gradient(&self) -> Tensor {
        match &self.accumulated {
            Some(sum) => sum.shallow_clone(),
            None => self.compute.grad(),
        }
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
    /// libtorch refused.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
}

/// AdamW over the trained tensors of a model.
pub struct Optimizer {
    parameters: Vec<Parameter>,
    settings: OptimizerSettings,
    schedule: Schedule,
    step: u64,
}

impl Optimizer {
    /// Takes the tensors to train under their names; they become leaves that gather gradients.
    #[must_use]
    pub fn new(named: Vec<(String, Tensor)>, settings: OptimizerSettings, schedule: Schedule) -> Self {
        let parameters = named.into_iter().map(|(name, tensor)| Parameter::new(name, tensor)).collect();
        Self { parameters, settings, schedule, step: 0 }
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
    pub fn gather(&mut self) {
        let _no_grad = tch::no_grad_guard();
        for parameter in &mut self.parameters {
            if let Some(sum) = &mut parameter.accumulated {
                let mut grad = parameter.compute.grad();
                if grad.defined() {
                    let _ = sum.g_add_(&grad);
                    let _ = grad.zero_();
                }
            }
        }
    }

    /// Norm of the gradient of all parameters together.
    ///
    /// # Errors
    /// [`OptimizerError::NonFinite`] and [`OptimizerError::NoGradient`].
    pub fn grad_norm(&self) -> Result<f64, OptimizerError> {
        let _no_grad = tch::no_grad_guard();
        let mut norms = Vec::with_capacity(self.parameters.len());
        for parameter in &self.parameters {
            let gradient = parameter.gradient();
            if !gradient.defined() {
                return Err(OptimizerError::NoGradient(parameter.name.clone()));
            }
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
                for parameter in &self.parameters {
                    let _ = parameter.gradient().g_mul_scalar_(factor);
                }
            }
        }
        let s = self.settings;
        self.step += 1;
        for decays in [true, false] {
            let group: Vec<&Parameter> = self.parameters.iter().filter(|p| p.decays() == decays).collect();
            let gradients: Vec<Tensor> = group.iter().map(|p| p.gradient()).collect();
            let weight_decay = if decays || s.decay_norms_and_biases { s.weight_decay } else { 0.0 };
            fused_adamw(
                &group.iter().map(|p| &p.master).collect::<Vec<_>>(),
                &gradients.iter().collect::<Vec<_>>(),
                &group.iter().map(|p| &p.exp_avg).collect::<Vec<_>>(),
                &group.iter().map(|p| &p.exp_avg_sq).collect::<Vec<_>>(),
                self.step,
                &AdamW { lr: learning_rate, beta1: s.beta1, beta2: s.beta2, eps: s.eps, weight_decay },
            )?;
        }
        for parameter in &mut self.parameters {
            let _ = parameter.gradient().zero_();
        }
        self.publish();
        Ok(StepReport { grad_norm, learning_rate })
    }

    /// Rounds the float32 weights into the tensors that the model computes with.
    fn publish(&mut self) {
        let _no_grad = tch::no_grad_guard();
        for parameter in &mut self.parameters {
            if parameter.accumulated.is_some() {
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
