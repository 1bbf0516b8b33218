//! Decodes picture files safely, and implements the image processor of Llama 3.2 Vision. Needs no libtorch.
//!
//! - [`decode`] turns the bytes of a PNG, JPEG, GIF, WebP, BMP or SVG file into 8-bit RGB, within [`Limits`].
//! - [`Source`] is the location of a picture: a file, a data URI, bytes in a record. Nothing is fetched from the network.
//! - [`of_messages`] lists the pictures of a conversation.
//! - [`Processor`] cuts a picture into normalised tiles as transformers' `MllamaImageProcessor` does.
//!
//! ```no_run
//! use pictures::{Limits, Processor, Source, decode};
//!
//! let limits = Limits::default();
//! let source = Source::Path("cat.jpg".into());
//! let picture = decode(&source.read(&limits)?, &limits)?;
//! let tiles = Processor::default().tiles(&picture)?; // pixels: [tiles, 3, 560, 560]
//! # Ok::<(), pictures::Unusable>(())
//! ```

mod colour;
pub mod command;
mod decode;
pub mod drawings;
mod jpeg;
mod kind;
mod processor;
mod records;
mod resize;
pub mod scenes;
mod source;
mod svg;

pub use decode::{Limits, Notes, Picture, decode};
pub use kind::Kind;
pub use processor::{Processor, Tiles};
pub use records::{Placed, of_messages};
pub use resize::resize;
pub use source::Source;

/// The reason why a picture cannot be used, as one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(String);

impl Unusable {
    /// Makes a message of one line with at most 300 characters, because parsers' messages quote their input.
    pub(crate) fn new(what: impl AsRef<str>) -> Self {
        let words: Vec<&str> = what.as_ref().split_whitespace().collect();
        let sentence = words.join(" ");
        match sentence.char_indices().nth(300) {
            Some((end, _)) => Self(format!("{} ...", &sentence[..end])),
            None => Self(sentence),
        }
    }

    /// Prefixes the message with the picture's place.
    #[must_use]
    pub fn at(self, place: impl std::fmt::Display) -> Self {
        Self(format!("{place}: {}", self.0))
    }
}

/// A [`Result`](std::result::Result) of this crate.
pub type Result<T, E = Unusable> = std::result::Result<T, E>;
