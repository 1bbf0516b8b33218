//! Where a number stopped being one.

use llama::Llama;
use tch::Tensor;

use crate::objective::{Input, Objective};

/// The first place, in the order of the forward pass, that holds a value that is not finite.
pub fn first_non_finite<O: Objective>(objective: &O, model: &Llama, batch: &O::Batch) -> String {
    let _no_grad = tch::no_grad_guard();
    let broken = |tensor: &Tensor| !bool::try_from(tensor.isfinite().all()).unwrap_or(false);
    if let Some((name, _)) = model.named_parameters().iter().find(|(_, tensor)| broken(tensor)) {
        return format!("the weight {name}");
    }
    let Input { input_ids, mut layout } = objective.input(batch);
    let positions = layout.positions(input_ids.size()[1]).to_device(model.device());
    let rotation = model.rotation(&positions);
    let mut stream = model.embed(input_ids);
    if broken(&stream) {
        return "the embeddings".into();
    }
    for (index, layer) in model.layers().iter().enumerate() {
        stream = layer.forward(&stream, &rotation, &mut layout);
        if broken(&stream) {
            return format!("the output of layer {index}");
        }
    }
    if broken(&model.final_norm().forward(&stream)) {
        return "the output of the final norm".into();
    }
    "no activation of the forward pass: the loss itself, or a gradient".into()
}

/// Names for a message: the first few, and how many more.
pub fn names(ids: &[String]) -> String {
    let shown: Vec<&str> = ids.iter().take(8).map(String::as_str).collect();
    let rest = ids.len().saturating_sub(shown.len());
    if rest == 0 { shown.join(", ") } else { format!("{} and {rest} more", shown.join(", ")) }
}
