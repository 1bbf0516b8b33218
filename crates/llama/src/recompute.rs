//! Activation checkpointing (Chen et al. 2016): the forward pass keeps what enters each layer and nothing else; the
//! backward pass runs each layer once more and differentiates it alone.

use tch::{Kind, Tensor};
use torch_ext::{OpError, catch};

use crate::attention::Attend;
use crate::model::Llama;
use crate::pass::Pass;

/// A forward pass that kept only the residual stream between layers.
pub struct Recompute<'a> {
    model: &'a Llama,
    position_ids: &'a Tensor,
    pass: Pass,
    /// The embeddings, part of the graph that made them.
    embedded: Tensor,
    /// What entered each layer, and last what entered the final norm; cut off from any graph.
    streams: Vec<Tensor>,
}

impl<'a> Recompute<'a> {
    /// Runs the layers on embeddings `[rows, seq, hidden]` at `position_ids`, `[rows, seq]` int64.
    ///
    /// # Errors
    /// As [`Llama::hidden_states`].
    pub fn forward(
        model: &'a Llama,
        embedded: Tensor,
        position_ids: &'a Tensor,
        attend: &mut dyn Attend,
        pass: Pass,
    ) -> Result<Self, OpError> {
        let _no_grad = tch::no_grad_guard();
        let rotation = model.rotation(position_ids)?;
        let mut streams = vec![embedded.detach()];
        for layer in model.layers() {
            let next = layer.forward(&streams[streams.len() - 1], &rotation, attend, pass)?;
            streams.push(next);
        }
        Ok(Self { model, position_ids, pass, embedded, streams })
    }

    /// Computes `loss` of the final hidden states and gathers all gradients, in the leaves that ask for one, of the loss.
    /// `attend` must do what it did in the forward pass. Returns the loss.
    ///
    /// # Errors
    /// Those of `loss`, and as [`Llama::hidden_states`].
    pub fn backward<E: From<OpError>>(
        self,
        attend: &mut dyn Attend,
        loss: impl FnOnce(&Tensor) -> Result<Tensor, E>,
    ) -> Result<Tensor, E> {
        catch(|| self.differentiate(attend, loss))
    }

    fn differentiate<E: From<OpError>>(
        mut self,
        attend: &mut dyn Attend,
        loss: impl FnOnce(&Tensor) -> Result<Tensor, E>,
    ) -> Result<Tensor, E> {
        let rotation = self.model.rotation(self.position_ids)?;
        let last = self.streams.pop().unwrap_or_else(|| self.embedded.detach()).set_requires_grad(true);
        let value = loss(&self.model.final_norm().forward(self.pass.operators, &last)?)?;
        value.backward();
        let mut gradient = last.grad();
        drop(last);
        for layer in self.model.layers().iter().rev() {
            let Some(input) = self.streams.pop() else { break };
            let input = input.set_requires_grad(true);
            against(&layer.forward(&input, &rotation, attend, self.pass)?, &gradient).backward();
            gradient = input.grad();
        }
        if self.embedded.requires_grad() {
            against(&self.embedded, &gradient).backward();
        }
        Ok(value.detach())
    }
}

/// A scalar whose gradient with respect to `output` is `gradient`, exactly.
fn against(output: &Tensor, gradient: &Tensor) -> Tensor {
    (output * gradient.detach()).sum(Kind::Float)
}
