//! Dropout on the input of low-rank updates (Hu et al. 2021, as PEFT has it), while a [`Dropout`] is held.

use std::cell::Cell;

use tch::Tensor;

thread_local! {
    /// The seed of the pass that is going on.
    static SEED: Cell<Option<i64>> = const { Cell::new(None) };
}

/// Has the updates drop inputs on this thread until it goes. The masks of a layer are drawn from libtorch's generator,
/// seeded by the seed and the layer's number: running a layer again, as activation checkpointing does, draws them again.
#[must_use = "dropout ends when this goes"]
pub struct Dropout(());

impl Dropout {
    /// Drops by masks that `seed` decides.
    pub fn on(seed: i64) -> Self {
        SEED.set(Some(seed));
        Self(())
    }
}

impl Drop for Dropout {
    fn drop(&mut self) {
        SEED.set(None);
    }
}

/// Whether inputs are dropped now.
pub(crate) fn is_on() -> bool {
    SEED.get().is_some()
}

/// Seeds the masks of a layer, if inputs are dropped now.
pub(crate) fn seed_layer(layer: usize) {
    if let Some(seed) = SEED.get() {
        tch::manual_seed(seed.wrapping_add(layer as i64));
    }
}

/// Zeroes a share `rate` of the entries and scales the rest up to the same mean.
pub(crate) fn drop_inputs(x: &Tensor, rate: f64) -> Tensor {
    x.dropout(rate, true)
}
