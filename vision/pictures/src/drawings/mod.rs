//! Drawings with names: things by three artists (the emoji sets Noto, Fluent and Twemoji, as iconify packs them), and words in several
//! fonts.
//!
//! Some artists and fonts are for training and the others for the test, so that a test shows known things and words in new forms.
//! The sets and fonts are fetched from npm and pinned by digest; this repository contains nothing of them.

mod ask;
mod fonts;
mod sets;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde::Serialize;
use serde_json::Value;

pub use ask::{Asked, Asker, Drawing};
pub use fonts::{FONTS, Font};
pub use sets::{SETS, Set, fetch};
pub use words::WORDS;

use crate::decode::{Limits, Picture, decode};
use crate::scenes::SIDE;

/// An artist's drawings, or words in a font.
#[derive(Debug)]
struct Artist {
    /// The name of the set or the font.
    set: String,
    /// Whether training shows it.
    trains: bool,
    credit: Credit,
    drawings: BTreeMap<String, Icon>,
}

/// The author and the licence of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Credit {
    /// The set.
    pub set: String,
    /// Its author.
    pub author: String,
    /// The address of the set.
    pub url: String,
    /// The licence's SPDX name.
    pub licence: String,
    /// The address of the licence text.
    pub licence_url: String,
}

/// The elements of an SVG and the square that they are drawn in.
#[derive(Debug)]
struct Icon {
    body: String,
    width: f64,
    height: f64,
}

/// What drawings show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// Things.
    Things,
    /// Written words.
    Words,
}

impl Of {
    /// The tasks: a choice of four, and without a choice.
    fn tasks(self) -> [&'static str; 2] {
        match self {
            Self::Things => ["thing", "naming"],
            Self::Words => ["word", "reading"],
        }
    }

    /// The flag that asks for them.
    #[must_use]
    pub fn flag(self) -> &'static str {
        match self {
            Self::Things => "--things",
            Self::Words => "--written-words",
        }
    }

    /// What the names are.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::Things => "names of one word that all artists draw",
            Self::Words => "words",
        }
    }

    /// The question without a choice.
    fn question(self) -> &'static str {
        match self {
            Self::Things => "What is in the picture?",
            Self::Words => "What is written in the picture?",
        }
    }

    /// The random stream; those of scenes are numbered by split.
    fn stream(self) -> u64 {
        match self {
            Self::Things => 0x2_0000,
            Self::Words => 0x3_0000,
        }
    }
}

/// The drawings of all sets, and the names that all sets have.
#[derive(Debug)]
pub struct Drawings {
    of: Of,
    artists: Vec<Artist>,
    names: Vec<String>,
}

/// Categories of visible things. People, faces, flags and symbols are excluded.
const CATEGORIES: [&str; 5] = ["Animals & Nature", "Food & Drink", "Objects", "Travel & Places", "Activities"];

impl Drawings {
    /// Reads the sets of [`SETS`] below `folder`, each in a folder of its name with iconify's `icons.json`, `info.json` and
    /// `metadata.json`.
    ///
    /// # Errors
    /// When a file is missing or has another form.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let artists: Vec<Artist> =
            SETS.iter().map(|set| Artist::open(&folder.join(set.name), set)).collect::<anyhow::Result<_>>()?;
        let of = |artist: &Artist| artist.drawings.keys().cloned().collect::<BTreeSet<String>>();
        let mut names = of(&artists[0]);
        for artist in &artists[1..] {
            names = &names & &of(artist);
        }
        ensure!(
            names.len() >= 8,
            "{}: the sets have only {} names of one word in common",
            folder.display(),
            names.len()
        );
        Ok(Self { of: Of::Things, artists, names: names.into_iter().collect() })
    }

    /// Writes [`WORDS`] in the fonts of [`FONTS`], which are the files `NAME.ttf` in `folder`.
    ///
    /// # Errors
    /// When a file is missing, or when it is no font with the letters a to z.
    pub fn of_words(folder: &Path) -> anyhow::Result<Self> {
        let artists = FONTS.iter().map(|font| font.open(&folder.join(format!("{}.ttf", font.name))));
        let names = WORDS.iter().map(|word| (*word).to_owned()).collect();
        Ok(Self { of: Of::Words, artists: artists.collect::<anyhow::Result<_>>()?, names })
    }

    /// What the drawings show.
    #[must_use]
    pub fn of(&self) -> Of {
        self.of
    }

    /// The sets that training shows, or the others.
    fn sets(&self, trains: bool) -> impl Iterator<Item = &str> {
        self.artists.iter().filter(move |artist| artist.trains == trains).map(|artist| artist.set.as_str())
    }

    /// One-word names that all artists draw, in alphabetical order; or the words.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The credits of all sets.
    pub fn credits(&self) -> impl Iterator<Item = &Credit> {
        self.artists.iter().map(|artist| &artist.credit)
    }

    /// Draws a drawing on white at its place.
    ///
    /// # Errors
    /// When the set lacks the drawing, or when it cannot be rendered.
    pub fn picture(&self, drawing: &Drawing) -> anyhow::Result<Picture> {
        let artist = self.artists.iter().find(|artist| artist.set == drawing.set);
        let icon = artist.and_then(|artist| artist.drawings.get(&drawing.name));
        let icon = icon.with_context(|| format!("{} has no drawing of {}", drawing.set, drawing.name))?;
        let scale = f64::from(drawing.side) / icon.width.max(icon.height);
        let (x, y, body) = (drawing.left, drawing.top, &icon.body);
        let svg = format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="{SIDE}" height="{SIDE}" viewBox="0 0 {SIDE} {SIDE}"><g transform="translate({x} {y}) scale({scale})">{body}</g></svg>"#
        );
        let limits = Limits { svg_side: SIDE, ..Limits::default() };
        decode(svg.as_bytes(), &limits).with_context(|| format!("{} of {}", drawing.name, drawing.set))
    }
}

impl Artist {
    fn open(folder: &Path, set: &Set) -> anyhow::Result<Self> {
        let read = |name: &str| -> anyhow::Result<Value> {
            let path = folder.join(name);
            let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            serde_json::from_slice(&bytes).with_context(|| path.display().to_string())
        };
        let (icons, info, metadata) = (read("icons.json")?, read("info.json")?, read("metadata.json")?);
        let text = |pointer: &str| info.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let credit = Credit {
            set: text("/name"),
            author: text("/author/name"),
            url: text("/author/url"),
            licence: text("/license/spdx"),
            licence_url: text("/license/url"),
        };
        ensure!(!credit.licence.is_empty(), "{}: names no licence", folder.join("info.json").display());
        let listed = CATEGORIES.iter().filter_map(|category| metadata.get("categories")?.get(category)?.as_array());
        let wanted: BTreeSet<&str> = listed.flatten().filter_map(Value::as_str).collect();
        let size = |of: &Value, side: &str| of.get(side).and_then(Value::as_f64);
        let all = icons.get("icons").and_then(Value::as_object);
        let all = all.with_context(|| format!("{}: has no icons", folder.join("icons.json").display()))?;
        let drawings = all.iter().filter_map(|(name, icon)| {
            let is_word = name.bytes().all(|byte| byte.is_ascii_lowercase());
            let is_hidden = icon.get("hidden").is_some_and(|hidden| hidden == true);
            if !is_word || is_hidden || !wanted.contains(name.as_str()) {
                return None;
            }
            let side = |name: &str| size(icon, name).or_else(|| size(&icons, name)).unwrap_or(16.0);
            let body = icon.get("body")?.as_str()?.to_owned();
            Some((name.clone(), Icon { body, width: side("width"), height: side("height") }))
        });
        Ok(Self { set: set.name.to_owned(), trains: set.trains, credit, drawings: drawings.collect() })
    }
}

#[cfg(test)]
mod tests;
