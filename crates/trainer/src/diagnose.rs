//! Finds the first non-finite value of a forward pass.

use llama::{Llama, Operators, Pass};
use tch::Tensor;
use torch_ext::OpError;

use crate::objective::{Input, Objective};

/// Describes the first tensor, in the order of the forward pass, that contains a non-finite value.
pub fn first_non_finite<O: Objective>(objective: &O, model: &Llama, batch: &O::Batch) -> String {
    torch_ext::catch(|| search(objective, model, batch)).unwrap_or_else(|error: OpError| format!("not found ({error})"))
}

fn search<O: Objective>(objective: &O, model: &Llama, batch: &O::Batch) -> Result<String, OpError> {
    let _no_grad = tch::no_grad_guard();
    let broken = |tensor: &Tensor| !bool::try_from(tensor.isfinite().all()).unwrap_or(false);
    if let Some((name, _)) = model.named_parameters().iter().find(|(_, tensor)| broken(tensor)) {
        return Ok(format!("the weight {name}"));
    }
    let Input { input_ids, mut layout } = objective.input(batch);
    let positions = layout.positions(input_ids.size()[1]).to_device(model.device());
    let rotation = model.rotation(&positions)?;
    let mut stream = model.embed(input_ids)?;
    if broken(&stream) {
        return Ok("the embeddings".into());
    }
    for (index, layer) in model.layers().iter().enumerate() {
        stream = layer.forward(&stream, &rotation, &mut layout, Pass::fused())?;
        if broken(&stream) {
            return Ok(format!("the output of layer {index}"));
        }
    }
    if broken(&model.final_norm().forward((Operators::Fused, model.gpu_kernels()), &stream)?) {
        return Ok("the output of the final norm".into());
    }
    Ok("no activation of the forward pass: the loss itself, or a gradient".into())
}

/// Formats names for a message: the first eight, and the number of the others.
pub fn names(ids: &[String]) -> String {
    let shown: Vec<&str> = ids.iter().take(8).map(String::as_str).collect();
    let rest = ids.len().saturating_sub(shown.len());
    if rest == 0 { shown.join(", ") } else { format!("{} and {rest} more", shown.join(", ")) }
}
