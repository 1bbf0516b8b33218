//! Safety of texts without a model and without libtorch.
//!
//! - [`policy`]: the file of categories that training, serving, evaluation and reports read.
//! - [`pii`]: personal data and keys in texts: found with byte offsets, redacted.
//! - [`domains`]: lists of hosts, with `allow` before all.
//! - [`words`], [`toxicity`]: listed words, and a linear model of toxic comments.
//! - [`filter`]: the filters together, as a pipeline calls them and as `herd safety filter`.
//! - [`refusal`]: whether an answer refuses, by a linear model that is embedded.
//! - [`code`]: insecure code, by regular expressions and by queries on syntax trees.
//! - [`contrast`]: pairs of a harmless and a harmful request: `herd safety make contrast`.
//! - [`lbfgs`]: the minimiser behind the linear models of this crate and of the guard.
//!
//! Every filter is built once, can be shared between threads, and is a pure function of the text.

pub mod code;
pub mod command;
pub mod contrast;
pub mod domains;
pub mod filter;
pub mod lbfgs;
pub mod pii;
pub mod policy;
pub mod refusal;
pub mod toxicity;
pub mod words;
