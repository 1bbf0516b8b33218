//! Activation checkpointing (Chen et al. 2016). For the first layers (some or all) the forward pass keeps only the input of
//! each layer. The backward pass runs each of these layers once more and differentiates it on its own. The later layers are
//! differentiated as usual, which frees their activations before the first layers need memory.
//!
//! All sums are the same whether activations are kept or recomputed, so the gradients are bit-equal.

use tch::Tensor;
use torch_ext::{OpError, backward_from, catch};

use crate::attention::Attend;
use crate::model::{Layer, Llama, PIECE};
use crate::pass::Pass;
use crate::rope::Rotation;

/// A forward pass that kept only the layer inputs of its first layers.
pub struct Recompute<'a> {
    model: &'a Llama,
    position_ids: &'a Tensor,
    pass: Pass,
    /// The embeddings, with their autograd graph.
    embedded: Tensor,
    /// The input of each of the first layers, detached from any graph.
    streams: Vec<Tensor>,
    /// The output of the first layers: a leaf that requires a gradient.
    border: Tensor,
    /// The output of the last layer, with a graph down to `border`.
    last: Tensor,
}

impl<'a> Recompute<'a> {
    /// Runs the layers on embeddings `[rows, seq, hidden]` at `position_ids`, `[rows, seq]` int64. All layers will be
    /// recomputed.
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
        Self::forward_first(model.layers().len(), model, embedded, position_ids, attend, pass)
    }

    /// As [`Recompute::forward`], but only the first `layers` layers (or all, if there are fewer) will be recomputed.
    ///
    /// # Errors
    /// As [`Llama::hidden_states`].
    pub fn forward_first(
        layers: usize,
        model: &'a Llama,
        embedded: Tensor,
        position_ids: &'a Tensor,
        attend: &mut dyn Attend,
        pass: Pass,
    ) -> Result<Self, OpError> {
        let (first, others) = model.layers().split_at(layers.min(model.layers().len()));
        let rotation = model.rotation(position_ids)?;
        let (mut streams, mut border) = (Vec::with_capacity(first.len()), embedded.detach());
        {
            let _no_grad = tch::no_grad_guard();
            for layer in first {
                let next = forward(layer, &border, &rotation, attend, pass)?;
                streams.push(std::mem::replace(&mut border, next));
            }
        }
        let border = border.set_requires_grad(true);
        let last = others
            .iter()
            .try_fold(border.shallow_clone(), |stream, layer| layer.forward(&stream, &rotation, attend, pass))?;
        Ok(Self { model, position_ids, pass, embedded, streams, border, last })
    }

    /// Computes `loss` from the final hidden states, and accumulates its gradients in all leaves that require one. `attend`
    /// must behave as in the forward pass. Returns the loss.
    ///
    /// # Errors
    /// The errors of `loss`, and as [`Llama::hidden_states`].
    pub fn backward<E: From<OpError>>(
        self,
        attend: &mut dyn Attend,
        loss: impl FnOnce(&Tensor) -> Result<Tensor, E>,
    ) -> Result<Tensor, E> {
        catch(|| self.differentiate(attend, loss))
    }

    fn differentiate<E: From<OpError>>(
        self,
        attend: &mut dyn Attend,
        loss: impl FnOnce(&Tensor) -> Result<Tensor, E>,
    ) -> Result<Tensor, E> {
        let Self { model, position_ids, pass, embedded, mut streams, border, last } = self;
        let hidden = model.final_norm().forward((pass.operators, model.gpu_kernels()), &last)?;
        drop(last);
        let value = loss(&hidden)?;
        drop(hidden);
        value.backward();
        let value = value.detach();
        let mut gradient = border.grad();
        drop(border);
        if !streams.is_empty() {
            let rotation = model.rotation(position_ids)?;
            for layer in model.layers()[..streams.len()].iter().rev() {
                let Some(input) = streams.pop() else { break };
                let input = input.set_requires_grad(true);
                backward(layer, &input, &gradient, &rotation, attend, pass)?;
                gradient = input.grad();
            }
        }
        if embedded.requires_grad() {
            backward_from(&embedded, &gradient)?;
        }
        Ok(value)
    }
}

/// The output of the layer, without an autograd graph.
fn forward(
    layer: &Layer,
    x: &Tensor,
    rotation: &Rotation,
    attend: &mut dyn Attend,
    pass: Pass,
) -> Result<Tensor, OpError> {
    if !layer.in_pieces(x, pass)? {
        return layer.forward(x, rotation, attend, pass);
    }
    let computed = catch(|| {
        let middle = layer.attention(x, rotation, attend, (pass, None))?;
        for mut piece in middle.flatten(0, 1).split(PIECE, 0) {
            // This part of the residual stream is not needed any more. Its memory is reused for the result.
            piece.copy_(&layer.feed_forward(&piece.unsqueeze(0), (pass, None))?.squeeze_dim(0));
        }
        Ok(middle)
    });
    computed.map_err(|error: OpError| layer.named(error))
}

/// Recomputes a layer. Given the gradient of its output, accumulates the gradients of its weights and of `input`.
fn backward(
    layer: &Layer,
    input: &Tensor,
    gradient: &Tensor,
    rotation: &Rotation,
    attend: &mut dyn Attend,
    pass: Pass,
) -> Result<(), OpError> {
    if !layer.in_pieces(input, pass)? {
        return backward_from(&layer.forward(input, rotation, attend, pass)?, gradient);
    }
    let computed = catch(|| {
        let middle = layer.attention(input, rotation, attend, (pass, None))?;
        let (flat, flat_gradient) = (middle.detach().flatten(0, 1), gradient.detach().flatten(0, 1));
        let through = flat_gradient.empty_like();
        let mut end = flat.size()[0];
        // From last to first, as libtorch processes the pieces of a layer whose activations were kept.
        for piece in flat.split(PIECE, 0).into_iter().rev() {
            let length = piece.size()[0];
            end -= length;
            let leaf = piece.unsqueeze(0).detach().set_requires_grad(true);
            let output = layer.feed_forward(&leaf, (pass, None))?;
            backward_from(&output, &flat_gradient.narrow(0, end, length).unsqueeze(0))?;
            through.narrow(0, end, length).copy_(&leaf.grad().squeeze_dim(0));
        }
        backward_from(&middle, &through.view_as(&middle))
    });
    computed.map_err(|error: OpError| layer.named(error))
}
