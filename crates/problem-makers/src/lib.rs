//! Seeded generators of problems: word problems, arithmetic and algebra drills, and small programming tasks with
//! tests, each with its answer and a worked solution. Nothing is downloaded.
//!
//! A [`Family`] is a template with structure: it draws numbers, people, objects and phrasings. Two problems are the
//! same instance if they have the same *key*: the family with its numbers and structural choices; names and phrasings
//! are not part of it. Training and held-out problems never share a key ([`Split`]): some families are held out as a
//! whole, and for the others the digest of the key decides.
//!
//! ```
//! use problem_makers::{Difficulty, Maker, Split, Topic};
//!
//! let mut maker = Maker::new(7, Split::Train);
//! let problem = maker.next(&[Topic::Words], &[Difficulty::Easy])?;
//! assert!(problem.record().answer.is_some());
//! assert_eq!(Maker::new(7, Split::Train).next(&[Topic::Words], &[Difficulty::Easy])?.record(), problem.record());
//! # Ok::<(), anyhow::Error>(())
//! ```

mod code;
pub mod command;
mod draw;
mod drills;
mod family;
mod maker;
mod words;

pub use family::{Difficulty, Draft, Family, Topic, families};
pub use maker::{Made, Maker, Split};
