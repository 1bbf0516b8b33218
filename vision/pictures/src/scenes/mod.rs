//! Scenes of coloured shapes on white, with questions whose answers are computed from the scene.

mod draw;
mod further;
mod tasks;

pub use draw::picture;
pub use further::{Turn, further};
pub use tasks::{Made, Maker, Split, Task};

use serde::Serialize;

/// Side of a scene in pixels.
pub const SIDE: u32 = 224;

/// The shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// A disc.
    Circle,
    /// An upright square.
    Square,
    /// A triangle that stands on a side.
    Triangle,
    /// A star of five points.
    Star,
    /// A plus sign.
    Cross,
}

/// The colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Colour {
    Red,
    Green,
    Blue,
    Yellow,
    Orange,
    Purple,
    Black,
    Grey,
}

impl Shape {
    /// All shapes.
    pub const ALL: [Self; 5] = [Self::Circle, Self::Square, Self::Triangle, Self::Star, Self::Cross];

    /// The word for the shape.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Circle => "circle",
            Self::Square => "square",
            Self::Triangle => "triangle",
            Self::Star => "star",
            Self::Cross => "cross",
        }
    }
}

impl Colour {
    /// All colours.
    pub const ALL: [Self; 8] =
        [Self::Red, Self::Green, Self::Blue, Self::Yellow, Self::Orange, Self::Purple, Self::Black, Self::Grey];

    /// The word for the colour.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::Green => "green",
            Self::Blue => "blue",
            Self::Yellow => "yellow",
            Self::Orange => "orange",
            Self::Purple => "purple",
            Self::Black => "black",
            Self::Grey => "grey",
        }
    }

    /// The RGB values.
    #[must_use]
    pub fn rgb(self) -> [u8; 3] {
        match self {
            Self::Red => [214, 30, 35],
            Self::Green => [30, 150, 50],
            Self::Blue => [35, 70, 210],
            Self::Yellow => [245, 215, 30],
            Self::Orange => [245, 135, 25],
            Self::Purple => [130, 40, 160],
            Self::Black => [15, 15, 15],
            Self::Grey => [140, 140, 140],
        }
    }
}

/// Pairs of a colour and a shape that no training scene shows.
pub const HELD_OUT: [(Colour, Shape); 5] = [
    (Colour::Green, Shape::Triangle),
    (Colour::Red, Shape::Cross),
    (Colour::Blue, Shape::Star),
    (Colour::Yellow, Shape::Circle),
    (Colour::Purple, Shape::Square),
];

/// A shape in a scene.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Thing {
    /// Its shape.
    pub shape: Shape,
    /// Its colour.
    pub colour: Colour,
    /// The x coordinate of the centre, in pixels from the left.
    pub x: f32,
    /// The y coordinate of the centre, in pixels from the top.
    pub y: f32,
    /// Half of the width in pixels.
    pub radius: f32,
}

impl Thing {
    /// Whether this pair of colour and shape is held out from training.
    #[must_use]
    pub fn is_held_out(&self) -> bool {
        HELD_OUT.contains(&(self.colour, self.shape))
    }
}
