use std::collections::{BTreeMap, HashMap};

use super::*;
use crate::scenes::picture;

const ALL: [Task; 9] = [
    Task::Count,
    Task::Colour,
    Task::Shape,
    Task::Name,
    Task::Relation,
    Task::There,
    Task::Largest,
    Task::Bars,
    Task::Collage,
];

fn made(split: Split, task: Task, count: usize) -> Vec<Made> {
    let mut maker = Maker::new(3, split);
    (0..count).map(|_| maker.next(task)).collect()
}

fn pair(name: &str) -> (&str, &str) {
    name.split_once(' ').unwrap()
}

/// Derives the answer in another way: from the scene and the words of the question.
fn derived(made: &Made) -> String {
    let scene = &made.scene;
    let colour = |thing: &Thing| thing.colour.name();
    let shape = |thing: &Thing| thing.shape.name();
    let end = |left: bool| {
        let by_x = |a: &&Thing, b: &&Thing| a.x.total_cmp(&b.x);
        if left { scene.iter().min_by(by_x) } else { scene.iter().max_by(by_x) }.unwrap()
    };
    let words: Vec<&str> = made.question.trim_end_matches('?').split(' ').collect();
    match made.task {
        Task::Count => COUNTS[scene.len() - 1].to_owned(),
        Task::Colour => colour(end(words.ends_with(&["left"]))).to_owned(),
        Task::Shape => shape(end(words.ends_with(&["left"]))).to_owned(),
        Task::Name => {
            let thing = end(words.ends_with(&["left"]));
            format!("{} {}", colour(thing), shape(thing))
        }
        Task::There => {
            let there = scene.iter().any(|thing| (colour(thing), shape(thing)) == (words[3], words[4]));
            if there { "yes" } else { "no" }.to_owned()
        }
        Task::Relation => {
            let (_, rest) = made.question.split_once("Where is the ").unwrap();
            let (first, rest) = rest.split_once(", seen from the ").unwrap();
            let (second, _) = rest.split_once(':').unwrap();
            let find = |name: &str| scene.iter().find(|thing| (colour(thing), shape(thing)) == pair(name)).unwrap();
            let (dx, dy) = (find(first).x - find(second).x, find(first).y - find(second).y);
            match (dx.abs() > dy.abs(), dx > 0.0, dy > 0.0) {
                (true, true, _) => "right",
                (true, false, _) => "left",
                (false, _, true) => "below",
                (false, _, false) => "above",
            }
            .to_owned()
        }
        Task::Collage => {
            let half = SIDE as f32 / 2.0;
            let (right, bottom) = (words.ends_with(&["right"]), words.contains(&"bottom"));
            let there = scene.iter().filter(|thing| (thing.x > half, thing.y > half) == (right, bottom)).count();
            COUNTS[there - 1].to_owned()
        }
        Task::Largest => colour(scene.iter().max_by(|a, b| a.radius.total_cmp(&b.radius)).unwrap()).to_owned(),
        Task::Bars => {
            let mut heights: HashMap<&str, usize> = HashMap::new();
            scene.iter().for_each(|thing| *heights.entry(colour(thing)).or_default() += 1);
            heights.into_iter().max_by_key(|(_, height)| *height).unwrap().0.to_owned()
        }
    }
}

#[test]
fn answers_follow_from_the_scenes() {
    for task in ALL {
        for made in made(Split::Train, task, 200) {
            assert_eq!(made.answer, derived(&made), "{made:?}");
        }
    }
    for task in ALL.into_iter().filter(|task| task.composes()) {
        for made in made(Split::Composition, task, 100) {
            assert_eq!(made.answer, derived(&made), "{made:?}");
        }
    }
}

#[test]
fn answers_are_balanced_whatever_the_question_says() {
    for task in ALL {
        for split in [Split::Train, Split::Test] {
            let answers = task.answers(split);
            let made = made(split, task, answers.len() * 20);
            let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
            made.iter().for_each(|made| *counts.entry(&made.answer).or_default() += 1);
            assert_eq!(counts.len(), answers.len());
            assert!(counts.values().all(|count| *count == 20), "{task:?}: {counts:?}");
        }
    }
    // Yes and no are asked of the same pairs, so no word of the question reveals the answer.
    let made = made(Split::Train, Task::There, 4000);
    for (word, names) in [(3, Colour::ALL.map(Colour::name).to_vec()), (4, Shape::ALL.map(Shape::name).to_vec())] {
        for name in names {
            let of_name =
                made.iter().filter(|made| made.question.trim_end_matches('?').split(' ').nth(word) == Some(name));
            let (yes, all) =
                of_name.fold((0, 0), |(yes, all), made| (yes + usize::from(made.answer == "yes"), all + 1));
            let share = yes as f64 / all as f64;
            // Four standard deviations.
            assert!((share - 0.5).abs() < 2.0 / (all as f64).sqrt(), "{name}: {share} of {all}");
        }
    }
}

#[test]
fn training_shows_no_pair_that_is_held_out() {
    for task in ALL {
        for split in [Split::Train, Split::Test] {
            assert!(made(split, task, 300).iter().all(|made| !made.scene.iter().any(Thing::is_held_out)), "{task:?}");
        }
    }
    for task in ALL.into_iter().filter(|task| task.composes()) {
        let made = made(Split::Composition, task, 100);
        assert!(made.iter().all(|made| made.scene.iter().filter(|thing| thing.is_held_out()).count() == 1), "{task:?}");
    }
}

#[test]
fn the_picture_shows_the_scene() {
    for made in made(Split::Train, Task::Count, 50) {
        let picture = picture(&made.scene, false).unwrap();
        let at = |x: usize, y: usize| &picture.rgb[3 * (y * picture.width as usize + x)..][..3];
        for thing in &made.scene {
            assert_eq!(at(thing.x as usize, thing.y as usize), thing.colour.rgb(), "{thing:?}");
        }
        // There are as many connected non-white areas as shapes.
        let (width, height) = (picture.width as usize, picture.height as usize);
        let mut seen: Vec<bool> = (0..width * height).map(|i| picture.rgb[3 * i..3 * i + 3] == [255; 3]).collect();
        let mut areas = 0;
        for start in 0..width * height {
            if seen[start] {
                continue;
            }
            let (mut open, mut pixels) = (vec![start], 0);
            while let Some(i) = open.pop() {
                if std::mem::replace(&mut seen[i], true) {
                    continue;
                }
                pixels += 1;
                let (x, y) = (i % width, i / width);
                for ny in y.saturating_sub(1)..(y + 2).min(height) {
                    open.extend((x.saturating_sub(1)..(x + 2).min(width)).map(|nx| ny * width + nx));
                }
            }
            // The tip of a star may be separated by a pixel.
            areas += usize::from(pixels > 20);
        }
        assert_eq!(areas, made.scene.len(), "{made:?}");
    }
}

#[test]
fn the_seed_and_the_split_decide() {
    assert_eq!(made(Split::Train, Task::Name, 20), made(Split::Train, Task::Name, 20));
    assert_ne!(made(Split::Train, Task::Name, 20), made(Split::Test, Task::Name, 20));
}
