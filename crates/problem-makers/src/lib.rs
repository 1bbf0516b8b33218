//! Problems without downloads: seeded generators of word problems, arithmetic and algebra drills, and small programming
//! tasks with tests, each with its answer and a worked solution.
//!
//! A [`Family`] is a template with structure: it draws numbers, people, things and phrasings. What makes two problems
//! the same instance is the *key*, the family with its numbers and structural choices; names and phrasings do not count.
//! Training and held-out problems share no key, by construction ([`Split`]): some families are held out altogether, and
//! of the others the digest of the key decides.
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
