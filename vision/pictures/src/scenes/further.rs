//! Further questions about a scene that was made for one question. No answer follows from earlier turns: each colour and each shape is
//! asked for once.

use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;

use crate::scenes::{Made, Task, Thing};

/// A further question with its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// The task.
    pub task: Task,
    /// The question.
    pub question: String,
    /// The answer.
    pub answer: String,
}

/// Minimum horizontal distance, in pixels, at which one of two shapes is unambiguously the left one.
pub(super) const APART: f32 = 60.0;

/// At most `limit` further questions of these tasks, in random order: the colour and the shape of a single thing, or of each of two
/// things side by side, unless the scene's own question and answer already tell them.
#[must_use]
pub fn further(made: &Made, tasks: &[Task], limit: usize, random: &mut ChaCha8Rng) -> Vec<Turn> {
    let mut turns = Vec::new();
    let mut ask = |task: Task, thing: &Thing, question: String| {
        let answer = if task == Task::Colour { thing.colour.name() } else { thing.shape.name() };
        if tasks.contains(&task) {
            turns.push(Turn { task, question, answer: answer.to_owned() });
        }
    };
    let told = |task: Task, side: &str| {
        (made.task == task || made.task == Task::Name) && made.question.ends_with(&format!("{side}?"))
    };
    match (made.task, made.scene.as_slice()) {
        (Task::Count, [thing]) => {
            ask(Task::Colour, thing, "What colour is the shape?".to_owned());
            ask(Task::Shape, thing, "What shape is it?".to_owned());
        }
        (Task::Count | Task::Colour | Task::Shape | Task::Name, [a, b]) if (a.x - b.x).abs() > APART => {
            let (left, right) = if a.x < b.x { (a, b) } else { (b, a) };
            for (thing, side) in [(left, "left"), (right, "right")] {
                for task in [Task::Colour, Task::Shape].into_iter().filter(|task| !told(*task, side)) {
                    ask(task, thing, task.of_side(side));
                }
            }
        }
        // The question of another task already tells the content of the scene.
        _ => {}
    }
    turns.shuffle(random);
    turns.truncate(limit);
    turns
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::SeedableRng as _;

    use super::*;
    use crate::scenes::{Maker, Split};

    const ASKED: [Task; 5] = [Task::Count, Task::Colour, Task::Shape, Task::Name, Task::Relation];

    fn scenes(task: Task, count: usize) -> Vec<Made> {
        let mut maker = Maker::new(5, Split::Train);
        (0..count).map(|_| maker.next(task)).collect()
    }

    #[test]
    fn answers_follow_from_the_scene_and_from_no_turn_before() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut asked: BTreeMap<Task, usize> = BTreeMap::new();
        for task in ASKED {
            for made in scenes(task, 200) {
                let turns = further(&made, &ASKED, 9, &mut random);
                let mut things: Vec<&Thing> = made.scene.iter().collect();
                things.sort_by(|a, b| a.x.total_cmp(&b.x));
                let mut questions = vec![made.question.clone()];
                for turn in &turns {
                    let thing = if turn.question.contains("right") { things.last() } else { things.first() }.unwrap();
                    let word = if turn.question.contains("colour") { thing.colour.name() } else { thing.shape.name() };
                    assert_eq!(turn.answer, word, "{made:?}");
                    questions.push(turn.question.clone());
                    *asked.entry(made.task).or_default() += 1;
                }
                let whole = questions.len();
                questions.sort();
                questions.dedup();
                assert_eq!(questions.len(), whole, "a question comes twice: {questions:?}");
                if made.task == Task::Name {
                    assert_eq!(turns.len(), 2, "colour and shape of the other side: {made:?}");
                    let side = if made.question.contains("left") { "left" } else { "right" };
                    assert!(turns.iter().all(|turn| !turn.question.contains(side)), "{made:?} {turns:?}");
                }
            }
        }
        assert_eq!(asked.get(&Task::Relation), None, "its question names what is in the scene");
        assert!(asked[&Task::Count] > 100 && asked[&Task::Colour] == 600 && asked[&Task::Shape] == 600, "{asked:?}");
    }

    #[test]
    fn only_tasks_that_are_wanted_and_not_more() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for made in scenes(Task::Colour, 50) {
            assert!(further(&made, &[Task::Colour], 9, &mut random).iter().all(|turn| turn.task == Task::Colour));
            assert_eq!(further(&made, &ASKED, 2, &mut random).len(), 2);
        }
    }
}
