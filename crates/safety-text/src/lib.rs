//! Safety filters for texts that need neither a language model nor libtorch.
//!
//! - [`policy`]: the file of content categories that training, serving, evaluation and reports use.
//! - [`pii`]: finds personal data and keys in texts with byte offsets, and redacts them.
//! - [`domains`]: lists of blocked hosts, with an `allow` list that takes precedence.
//! - [`words`], [`toxicity`]: lists of words, and a linear model of toxic comments.
//! - [`filter`]: all filters combined, for pipelines and for `herd safety filter`.
//! - [`refusal`]: detects answers that refuse, with an embedded linear model.
//! - [`code`]: finds insecure code, with regular expressions and queries on syntax trees.
//! - [`contrast`]: pairs of a harmless and a harmful request, for `herd safety make contrast`.
//! - [`lbfgs`]: the minimiser that trains the linear models of this crate and of the guard.
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
