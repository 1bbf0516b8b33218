//! The logits of a step of an engine, and of a kept prompt.

use std::sync::Arc;

use tch::Tensor;

/// The logits of a step, `[rows, vocab]`.
#[derive(Default)]
pub(crate) struct Logits {
    /// On the model's device and in its type, if kernels on that device choose the tokens.
    pub device: Option<Tensor>,
    /// Otherwise: float32 in host memory. The buffer is reused from step to step.
    host: Vec<f32>,
}

impl From<Vec<f32>> for Logits {
    fn from(host: Vec<f32>) -> Self {
        Self { device: None, host }
    }
}

impl From<Tensor> for Logits {
    fn from(logits: Tensor) -> Self {
        Self { device: Some(logits), host: Vec::new() }
    }
}

impl Logits {
    /// The host buffer. Drops logits on the device.
    pub fn host(&mut self) -> &mut Vec<f32> {
        self.device = None;
        &mut self.host
    }

    /// A copy of one row.
    pub fn row(&self, row: usize, vocab: usize) -> Result<Row, tch::TchError> {
        Ok(match &self.device {
            None => Row::Host(Arc::new(self.host[row * vocab..(row + 1) * vocab].to_vec())),
            Some(logits) => {
                let row = logits.f_narrow(0, row as i64, 1)?;
                let mut own = row.f_empty_like()?;
                own.f_copy_(&row)?;
                Row::Device(own)
            }
        })
    }
}

/// The logits of one token, `[vocab]`, or `[1, vocab]` as a tensor.
pub(crate) enum Row {
    /// float32 in host memory.
    Host(Arc<Vec<f32>>),
    /// On the model's device and in its type.
    Device(Tensor),
}

impl Clone for Row {
    /// Shares the memory of the values.
    fn clone(&self) -> Self {
        match self {
            Self::Host(row) => Self::Host(row.clone()),
            Self::Device(row) => Self::Device(row.shallow_clone()),
        }
    }
}
