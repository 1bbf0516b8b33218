//! Activation checkpointing (Chen et al. 2016): the forward pass keeps what enters each layer and nothing else; the
//! backward pass runs each layer once more and differentiates it alone. Feed-forward blocks, whose activations are the
//! widest, are computed for some thousand tokens at a time in both.

use tch::Tensor;
use torch_ext::{OpError, backward_from, catch};

use crate::attention::Attend;
use crate::model::{Layer, Llama};
use crate::pass::Pass;
use crate::rope::Rotation;

/// Tokens of a piece of a feed-forward block.
const PIECE: i64 = 4096;

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
            let next = forward(layer, &streams[streams.len() - 1], &rotation, attend, pass)?;
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
            backward(layer, &input, &gradient, &rotation, attend, self.pass)?;
            gradient = input.grad();
        }
        if self.embedded.requires_grad() {
            backward_from(&self.embedded, &gradient)?;
        }
        Ok(value.detach())
    }
}

/// Whether a layer's feed-forward block is computed in pieces. With dropout it is not: the masks are drawn in the order of
/// the whole layer.
fn in_pieces(layer: &Layer, x: &Tensor) -> Result<bool, OpError> {
    let (rows, seq, _) = x.size3()?;
    Ok(rows * seq > PIECE && !layer.drops())
}

/// The layer's output, without a graph.
fn forward(
    layer: &Layer,
    x: &Tensor,
    rotation: &Rotation,
    attend: &mut dyn Attend,
    pass: Pass,
) -> Result<Tensor, OpError> {
    if !in_pieces(layer, x)? {
        return layer.forward(x, rotation, attend, pass);
    }
    let computed = catch(|| {
        let middle = layer.attention(x, rotation, attend, (pass, None))?;
        for mut piece in middle.flatten(0, 1).split(PIECE, 0) {
            // The stream in between is not needed any more: its rows become the result's.
            piece.copy_(&layer.feed_forward(&piece.unsqueeze(0), (pass, None))?.squeeze_dim(0));
        }
        Ok(middle)
    });
    computed.map_err(|error: OpError| layer.named(error))
}

/// Adds the gradients of a layer's weights and of its input to the leaves' own, for the gradient of its output.
fn backward(
    layer: &Layer,
    input: &Tensor,
    gradient: &Tensor,
    rotation: &Rotation,
    attend: &mut dyn Attend,
    pass: Pass,
) -> Result<(), OpError> {
    if !in_pieces(layer, input)? {
        return backward_from(&layer.forward(input, rotation, attend, pass)?, gradient);
    }
    let computed = catch(|| {
        let middle = layer.attention(input, rotation, attend, (pass, None))?;
        let (flat, flat_gradient) = (middle.detach().flatten(0, 1), gradient.detach().flatten(0, 1));
        let through = flat_gradient.empty_like();
        let mut start = 0;
        for piece in flat.split(PIECE, 0) {
            let length = piece.size()[0];
            let leaf = piece.unsqueeze(0).detach().set_requires_grad(true);
            let output = layer.feed_forward(&leaf, (pass, None))?;
            backward_from(&output, &flat_gradient.narrow(0, start, length).unsqueeze(0))?;
            through.narrow(0, start, length).copy_(&leaf.grad().squeeze_dim(0));
            start += length;
        }
        backward_from(&middle, &through.view_as(&middle))
    });
    computed.map_err(|error: OpError| layer.named(error))
}
