//! Questions about scenes. First the answer is drawn, from a cycle over all answers of its task, then the words of the question, then a
//! scene in which the answer is right. So all answers of a task are equally frequent, and the words of the question reveal nothing: a
//! model that ignores the picture is at chance.

use std::collections::BTreeMap;

use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::scenes::further::APART;
use crate::scenes::{Colour, HELD_OUT, SIDE, Shape, Thing};

/// The kinds of questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// How many shapes there are: 1 to 5.
    Count,
    /// The colour of the left or the right one of two shapes.
    Colour,
    /// The shape of the left or the right one of two.
    Shape,
    /// Colour and shape of the left or the right one of two.
    Name,
    /// The position of one of two shapes relative to the other: left, right, above, below.
    Relation,
    /// Whether a shape of a given colour is present, with others of that colour and of that shape around it.
    There,
    /// The colour of the largest shape.
    Largest,
    /// The colour of the highest bar of a chart.
    Bars,
    /// How many shapes there are in one picture of a collage of four: 1 to 5.
    Collage,
}

/// The colours of bars. Bars are made of squares, so colours whose square is held out are excluded.
fn bar_colours() -> impl Iterator<Item = Colour> {
    Colour::ALL.into_iter().filter(|&colour| !HELD_OUT.contains(&(colour, Shape::Square)))
}

/// The kind of scenes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Training scenes, without the held-out pairs of colour and shape.
    Train,
    /// New scenes with the same pairs.
    Test,
    /// Scenes in which the question is about a held-out pair.
    Composition,
}

impl Split {
    /// The word in records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
            Self::Composition => "composition",
        }
    }
}

/// A question with its scene and its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    /// The task.
    pub task: Task,
    /// The question.
    pub question: String,
    /// The answer: one word, or two for [`Task::Name`].
    pub answer: String,
    /// The scene, in the order in which it is drawn.
    pub scene: Vec<Thing>,
}

const COUNTS: [&str; 5] = ["one", "two", "three", "four", "five"];
/// The pictures of a collage, in rows.
const TILES: [&str; 4] = ["top left", "top right", "bottom left", "bottom right"];
const PLACES: [&str; 4] = ["left", "right", "above", "below"];

impl Task {
    /// All answers, which are equally frequent. In compositions, names are those of the held-out pairs.
    #[must_use]
    pub fn answers(self, split: Split) -> Vec<String> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        match self {
            Self::Count | Self::Collage => words(&COUNTS),
            Self::Relation => words(&PLACES),
            Self::There => words(&["yes", "no"]),
            // The held-out pairs do not have all colours.
            Self::Colour if split == Split::Composition => {
                HELD_OUT.iter().map(|(colour, _)| colour.name().to_owned()).collect()
            }
            Self::Colour | Self::Largest => Colour::ALL.iter().map(|colour| colour.name().to_owned()).collect(),
            Self::Bars => bar_colours().map(|colour| colour.name().to_owned()).collect(),
            Self::Shape => Shape::ALL.iter().map(|shape| shape.name().to_owned()).collect(),
            Self::Name => {
                let all = Colour::ALL.iter().flat_map(|&colour| Shape::ALL.map(|shape| (colour, shape)));
                let own = all.filter(|pair| HELD_OUT.contains(pair) == (split == Split::Composition));
                own.map(|(colour, shape)| format!("{} {}", colour.name(), shape.name())).collect()
            }
        }
    }

    /// The question about the shape on the left or on the right.
    pub(super) fn of_side(self, side: &str) -> String {
        match self {
            Self::Colour => format!("What colour is the shape on the {side}?"),
            Self::Shape => format!("What shape is on the {side}?"),
            _ => format!("What is on the {side}?"),
        }
    }

    /// Whether the scene is a collage of four pictures.
    #[must_use]
    pub fn tiles(self) -> bool {
        self == Self::Collage
    }

    /// Whether the task has questions about held-out pairs.
    #[must_use]
    pub fn composes(self) -> bool {
        matches!(self, Self::Colour | Self::Shape | Self::Name)
    }
}

/// Makes questions of one split.
pub struct Maker {
    random: ChaCha8Rng,
    split: Split,
    /// The remaining answers of each task in its cycle.
    cycles: BTreeMap<Task, Vec<String>>,
}

impl Maker {
    /// Makes a generator whose choices depend on the seed and the split.
    #[must_use]
    pub fn new(seed: u64, split: Split) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(split as u64);
        Self { random, split, cycles: BTreeMap::new() }
    }

    /// The next question of this task.
    pub fn next(&mut self, task: Task) -> Made {
        let answer = self.answer(task);
        // A scene that does not fit is redrawn completely with the same answer, so that rejection does not disturb the balance.
        loop {
            if let Some((question, scene)) = self.try_scene(task, &answer) {
                return Made { task, question, answer, scene };
            }
        }
    }

    fn answer(&mut self, task: Task) -> String {
        let cycle = self.cycles.entry(task).or_default();
        if cycle.is_empty() {
            *cycle = task.answers(self.split);
            cycle.shuffle(&mut self.random);
        }
        cycle.pop().unwrap_or_default()
    }

    fn try_scene(&mut self, task: Task, answer: &str) -> Option<(String, Vec<Thing>)> {
        let (question, scene) = match task {
            Task::Count => {
                let count = COUNTS.iter().position(|word| *word == answer)? + 1;
                let pairs: Vec<_> = (0..count).map(|_| self.pair(None, None)).collect();
                ("How many shapes are there?".to_owned(), self.place(&pairs)?)
            }
            Task::Colour | Task::Shape | Task::Name => self.side(answer, |side| task.of_side(side))?,
            Task::Relation => self.relation(answer)?,
            Task::There => self.there(answer == "yes")?,
            Task::Largest => self.largest(answer)?,
            Task::Bars => self.bars(answer)?,
            Task::Collage => self.collage(answer)?,
        };
        Some((question, scene))
    }

    /// Draws the colour or the shape that is not given; never a held-out pair.
    fn pair(&mut self, colour: Option<Colour>, shape: Option<Shape>) -> (Colour, Shape) {
        loop {
            let one = |random: &mut ChaCha8Rng| Colour::ALL[random.random_range(0..Colour::ALL.len())];
            let colour = colour.unwrap_or_else(|| one(&mut self.random));
            let shape = shape.unwrap_or_else(|| Shape::ALL[self.random.random_range(0..Shape::ALL.len())]);
            if !HELD_OUT.contains(&(colour, shape)) {
                return (colour, shape);
            }
        }
    }

    /// The pair in question; its colour, its shape or both are the answer.
    fn asked(&mut self, answer: &str) -> Option<(Colour, Shape)> {
        let says = |(colour, shape): (Colour, Shape)| {
            answer == colour.name() || answer == shape.name() || answer == format!("{} {}", colour.name(), shape.name())
        };
        let all = Colour::ALL.iter().flat_map(|&colour| Shape::ALL.map(|shape| (colour, shape)));
        let held_out = self.split == Split::Composition;
        let own: Vec<_> = all.filter(|&pair| HELD_OUT.contains(&pair) == held_out && says(pair)).collect();
        own.choose(&mut self.random).copied()
    }

    /// Two shapes, one on the left and one on the right, and a question about one of them.
    fn side(&mut self, answer: &str, question: impl Fn(&str) -> String) -> Option<(String, Vec<Thing>)> {
        let asked = self.asked(answer)?;
        let other = self.pair(None, None);
        let left = self.random.random::<bool>();
        let pairs = if left { [asked, other] } else { [other, asked] };
        let scene = self.place(&pairs)?;
        // The shapes must be clearly left and right of each other.
        let apart = scene[1].x - scene[0].x > APART;
        apart.then(|| (question(if left { "left" } else { "right" }), scene))
    }

    fn relation(&mut self, answer: &str) -> Option<(String, Vec<Thing>)> {
        let (first, second) = (self.pair(None, None), self.pair(None, None));
        let scene = self.place(&[first, second])?;
        let (dx, dy) = (scene[0].x - scene[1].x, scene[0].y - scene[1].y);
        let found = match (dx.abs() > 2.0 * dy.abs(), dy.abs() > 2.0 * dx.abs()) {
            (true, _) => {
                if dx < 0.0 {
                    "left"
                } else {
                    "right"
                }
            }
            (_, true) => {
                if dy < 0.0 {
                    "above"
                } else {
                    "below"
                }
            }
            _ => return None,
        };
        let named = |(colour, shape): (Colour, Shape)| format!("the {} {}", colour.name(), shape.name());
        let question = format!("Where is {}, seen from {}: left, right, above or below?", named(first), named(second));
        (found == answer && first != second).then_some((question, scene))
    }

    fn there(&mut self, is_there: bool) -> Option<(String, Vec<Thing>)> {
        let (colour, shape) = self.pair(None, None);
        let asked = (colour, shape);
        let mut pairs = vec![self.pair(Some(colour), None), self.pair(None, Some(shape)), self.pair(None, None)];
        if pairs.contains(&asked) {
            return None;
        }
        if is_there {
            // The asked pair replaces an unrelated one, so that the number of shapes reveals nothing.
            pairs[2] = asked;
        }
        pairs.shuffle(&mut self.random);
        Some((format!("Is there a {} {}?", colour.name(), shape.name()), self.place(&pairs)?))
    }

    fn largest(&mut self, answer: &str) -> Option<(String, Vec<Thing>)> {
        let colour = Colour::ALL.into_iter().find(|colour| colour.name() == answer)?;
        let mut pairs = vec![self.pair(Some(colour), None)];
        for _ in 0..self.random.random_range(1..=3) {
            let other = self.pair(None, None);
            if other.0 == colour {
                return None;
            }
            pairs.push(other);
        }
        let mut scene = self.place(&pairs)?;
        for thing in &mut scene[1..] {
            thing.radius *= 0.6;
        }
        scene[0].radius = scene[0].radius.max(26.0);
        let fits =
            |thing: &Thing| (thing.x - scene[0].x).hypot(thing.y - scene[0].y) > thing.radius + scene[0].radius + 4.0;
        if !scene[1..].iter().all(fits) || scene[1..].iter().any(|thing| thing.radius * 1.35 > scene[0].radius) {
            return None;
        }
        scene.shuffle(&mut self.random);
        Some(("What colour is the largest shape?".to_owned(), scene))
    }

    /// A bar chart; each bar is a stack of squares without gaps.
    fn bars(&mut self, answer: &str) -> Option<(String, Vec<Thing>)> {
        let highest = Colour::ALL.into_iter().find(|colour| colour.name() == answer)?;
        let mut colours: Vec<Colour> = bar_colours().filter(|colour| *colour != highest).collect();
        colours.shuffle(&mut self.random);
        colours.truncate(self.random.random_range(2..=4));
        colours.push(highest);
        colours.shuffle(&mut self.random);
        let top = self.random.random_range(7..=11);
        let width = SIDE as f32 / colours.len() as f32;
        let mut scene = Vec::new();
        for (i, &colour) in colours.iter().enumerate() {
            let height = if colour == highest { top } else { self.random.random_range(2..top - 1) };
            scene.extend((0..height).map(|step| Thing {
                shape: Shape::Square,
                colour,
                x: width * (i as f32 + 0.5),
                y: SIDE as f32 - 12.0 - 17.0 * step as f32,
                radius: 10.0,
            }));
        }
        Some(("What colour is the highest bar?".to_owned(), scene))
    }

    /// Four pictures of one to five shapes each, in half size. The numbers of shapes are drawn independently, so the other pictures
    /// reveal nothing.
    fn collage(&mut self, answer: &str) -> Option<(String, Vec<Thing>)> {
        let count = COUNTS.iter().position(|word| *word == answer)? + 1;
        let asked = self.random.random_range(0..TILES.len());
        let mut scene = Vec::new();
        for tile in 0..TILES.len() {
            let count = if tile == asked { count } else { self.random.random_range(1..=COUNTS.len()) };
            let pairs: Vec<_> = (0..count).map(|_| self.pair(None, None)).collect();
            let half = SIDE as f32 / 2.0;
            let (left, top) = (half * (tile % 2) as f32, half * (tile / 2) as f32);
            let smaller = |thing: Thing| Thing {
                x: left + thing.x / 2.0,
                y: top + thing.y / 2.0,
                radius: thing.radius / 2.0,
                ..thing
            };
            scene.extend(self.place(&pairs)?.into_iter().map(smaller));
        }
        Some((format!("How many shapes are in the picture at the {}?", TILES[asked]), scene))
    }

    /// Places shapes without contact, in order; `None` if the scene gets too full.
    fn place(&mut self, pairs: &[(Colour, Shape)]) -> Option<Vec<Thing>> {
        let mut scene: Vec<Thing> = Vec::with_capacity(pairs.len());
        for &(colour, shape) in pairs {
            let mut tries = 0..60;
            let thing = tries.find_map(|_| {
                let radius = self.random.random_range(16.0..34.0_f32);
                let within = radius + 4.0..SIDE as f32 - radius - 4.0;
                let (x, y) = (self.random.random_range(within.clone()), self.random.random_range(within));
                let thing = Thing { shape, colour, x, y, radius };
                let apart = |other: &Thing| (other.x - x).hypot(other.y - y) > 1.2 * (other.radius + radius) + 4.0;
                scene.iter().all(apart).then_some(thing)
            })?;
            scene.push(thing);
        }
        Some(scene)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
