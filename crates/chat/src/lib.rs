//! Tokenizer, chat template, and one function from a conversation to token ids with a loss mask.
//!
//! The Jinja template of the model folder is the only source of the format, in training, sampling and serving. The
//! mask is built turn by turn while the conversation is rendered. The template needs no generation markers, and a
//! template that rewrites earlier turns is detected.

mod added;
mod continued;
mod encode;
mod error;
mod locate;
mod messages;
mod python;
pub mod show;
mod special;
mod stop;
mod template;
mod thinking;
mod tojson;
mod tokenizer;
mod variables;

pub use continued::{encode_continued, render_continued};
pub use encode::{
    EncodeOptions, Encoded, SpecialTokens, Train, Turn, encode_conversation, encode_each_turn, encode_prompt,
    encode_rendered,
};
pub use error::ChatError;
pub use locate::locate_tokenizer;
pub use messages::is_trained;
pub use stop::stop_token_ids;
pub use template::{ChatTemplate, RenderOptions};
pub use tokenizer::{DecodeStream, Tokenizer};
pub use variables::{NOW, template_variables};
