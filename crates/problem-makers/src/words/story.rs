//! Stories made of events: somebody has a number of objects, and then gets, gives, finds, doubles or shares some. The
//! number and the kinds of the events are the structure.

use super::math;
use crate::draw::{Draw, Person, singular};
use crate::family::{Difficulty, Draft, Family, Topic};

use Difficulty::{Easy, Hard, Medium};

pub(super) const FAMILIES: [Family; 2] = [
    Family::new(Topic::Words, "story", &[Easy, Medium, Hard], one_person),
    Family::new(Topic::Words, "story-of-two", &[Easy, Medium, Hard], two_people).held_out(),
];

/// An event that changes a number of objects.
#[derive(Clone, Copy)]
enum Event {
    Gain,
    Lose,
    GiveHalf,
    Double,
    FillContainers,
    ShareOut,
}

impl Event {
    /// The events of a difficulty.
    fn of(difficulty: Difficulty) -> &'static [Event] {
        difficulty.of(
            &[Event::Gain, Event::Lose, Event::FillContainers][..],
            &[Event::Gain, Event::Lose, Event::FillContainers, Event::Double, Event::GiveHalf],
            &[Event::Gain, Event::Lose, Event::FillContainers, Event::Double, Event::GiveHalf, Event::ShareOut],
        )
    }
}

/// A sentence of the story, the step that computes it, and the number of objects after it.
fn happen(d: &mut Draw, event: Event, who: &Person, things: &str, now: i64) -> Option<(String, String, i64)> {
    let Person { name, they, their } = *who;
    let they_up = if they == "he" { "He" } else { "She" };
    Some(match event {
        Event::Gain => {
            let n = d.number(2..=20);
            let sentence = d.phrase(&[
                format!("Then {name} buys {n} more."),
                format!("{they_up} finds {n} more {things}."),
                format!("A friend gives {name} {n} more {things}."),
                format!("For {their} birthday {they} gets another {n}."),
            ]);
            (sentence, format!("{n} more: {now} + {n} = {}.", now + n), now + n)
        }
        Event::Lose => {
            let n = d.number(2..=15);
            if n >= now {
                return None;
            }
            let sentence = d.phrase(&[
                format!("{they_up} gives {n} of them to {their} cousin."),
                format!("{name} loses {n} on the way home."),
                format!("{n} of them get damaged, and {they} throws those away."),
                format!("{they_up} sells {n} {things}."),
            ]);
            (sentence, format!("{n} fewer: {now} - {n} = {}.", now - n), now - n)
        }
        Event::GiveHalf => {
            if now % 2 != 0 || now < 4 {
                return None;
            }
            let sentence = d.phrase(&[
                format!("{they_up} gives half of {their} {things} to a neighbour."),
                format!("Half of the {things} are left at school."),
            ]);
            (sentence, format!("Half of them remain: {now} / 2 = {}.", now / 2), now / 2)
        }
        Event::Double => {
            if now > 60 {
                return None;
            }
            let sentence = d.phrase(&[
                format!("Then {their} grandmother doubles the number of {things} {they} has."),
                format!("By the end of the month {name} has twice as many."),
            ]);
            (sentence, format!("Twice as many: {now} * 2 = {}.", now * 2), now * 2)
        }
        Event::FillContainers => {
            let (k, each) = (d.number(2..=6), d.number(2..=9));
            let containers = d.containers();
            let one = singular(containers);
            let sentence = d.phrase(&[
                format!("{they_up} buys {k} {containers} with {each} {things} in each {one}."),
                format!(
                    "{their_up} uncle brings {k} {containers}, each holding {each} {things}.",
                    their_up = if they == "he" { "His" } else { "Her" }
                ),
            ]);
            let new = k * each;
            (
                sentence,
                format!("The {containers} hold {k} * {each} = {new}, so {now} + {new} = {}.", now + new),
                now + new,
            )
        }
        Event::ShareOut => {
            let friends = d.number(2..=6);
            if now % (friends + 1) != 0 || now / (friends + 1) < 2 {
                return None;
            }
            let share = now / (friends + 1);
            let sentence =
                format!("{name} shares all of the {things} equally with {friends} friends, keeping an equal part.");
            let people = friends + 1;
            (sentence, format!("{people} people share them: {now} / {people} = {share}."), share)
        }
    })
}

fn one_person(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let who = d.person();
    let things = d.things();
    let mut now = d.number(difficulty.of(4..=30, 6..=50, 10..=80));
    let opening = d.phrase(&[
        format!("{} has {now} {things}.", who.name),
        format!("There are {now} {things} in {}'s collection.", who.name),
        format!("{} starts the week with {now} {things}.", who.name),
    ]);
    let (mut sentences, mut steps) = (vec![opening], vec![format!("{} starts with {now} {things}.", who.name)]);
    let events = d.number(difficulty.of(1..=2, 3..=3, 4..=5));
    for _ in 0..events {
        let event = d.structure(Event::of(difficulty));
        let (sentence, step, then) = happen(d, event, &who, things, now)?;
        sentences.push(sentence);
        steps.push(step);
        now = then;
    }
    sentences.push(d.phrase(&[
        format!("How many {things} does {} have now?", who.name),
        format!("How many {things} does {} have in the end?", who.name),
        format!("What is the number of {things} that {} has now?", who.name),
    ]));
    math(sentences.join(" "), steps, now)
}

fn two_people(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (a, b) = d.two_people();
    let things = d.things();
    let range = difficulty.of(5..=25, 10..=60, 20..=120);
    let (mut has_a, mut has_b) = (d.number(range.clone()), d.number(range));
    let mut sentences = vec![format!("{} has {has_a} {things} and {} has {has_b}.", a.name, b.name)];
    let mut steps = Vec::new();
    for _ in 0..difficulty.of(1, 2, 3) {
        let n = d.number(2..=12);
        let from_a = d.structure(&[true, false]);
        let (giver, taker) = if from_a { (&a, &b) } else { (&b, &a) };
        let (giving, taking) = if from_a { (&mut has_a, &mut has_b) } else { (&mut has_b, &mut has_a) };
        if *giving <= n {
            return None;
        }
        sentences.push(d.phrase(&[
            format!("{} gives {n} {things} to {}.", giver.name, taker.name),
            format!("{} wins {n} {things} from {}.", taker.name, giver.name),
        ]));
        steps.push(format!(
            "{} has {giving} - {n} = {} and {} has {taking} + {n} = {}.",
            giver.name,
            *giving - n,
            taker.name,
            *taking + n
        ));
        *giving -= n;
        *taking += n;
    }
    let more = d.structure(&[true, false]);
    if more && has_a > has_b {
        sentences.push(format!("How many more {things} does {} have than {} now?", a.name, b.name));
        steps.push(format!("The difference is {has_a} - {has_b} = {}.", has_a - has_b));
        return math(sentences.join(" "), steps, has_a - has_b);
    }
    sentences.push(format!("How many {things} does {} have now?", b.name));
    steps.push(format!("So {} has {has_b}.", b.name));
    math(sentences.join(" "), steps, has_b)
}
