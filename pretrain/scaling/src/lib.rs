//! Scaling laws: the best size, number of tokens and data mix for a compute budget.
//!
//! | module | law | source |
//! |---|---|---|
//! | [`isoflop`] | parabolas over runs of one budget; their minima as power laws `N*(C)`, `D*(C)` | Llama 3 paper, section 3.2.1; Hoffmann et al. 2022, approach 2 |
//! | [`parametric`] | `L = E + A / N^alpha + B / D^beta` | Hoffmann et al. 2022, approach 3; Besiroglu et al. 2024 |
//! | [`downstream`] | log-likelihood of the right answer against compute, then accuracy | Llama 3 paper, section 3.2.1 |
//! | [`mix`] | loss against the shares of sources, `c + exp(k + t . r)`, and the best mix | Ye et al. 2024; RegMix (Liu et al. 2024) |
//!
//! All computation is in float64 on `ndarray`, with random numbers from one seed. Compute is in floating-point operations (FLOP), losses
//! in nats per token, sizes in parameters.

pub mod bootstrap;
pub mod command;
pub mod downstream;
pub mod isoflop;
pub mod ladder;
mod linear;
pub mod mix;
pub mod optimise;
pub mod parametric;
pub mod power_law;
mod report;
pub mod simplex;
pub mod table;
