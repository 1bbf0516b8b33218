//! Ages, heights and dates.

use super::math;
use crate::draw::{Draw, count};
use crate::family::{Difficulty, Draft, Family, Topic};

use Difficulty::{Easy, Hard, Medium};

pub(super) const FAMILIES: [Family; 4] = [
    Family::new(Topic::Words, "ages", &[Easy, Medium, Hard], ages),
    Family::new(Topic::Words, "age-backwards", &[Medium, Hard], age_backwards).held_out(),
    Family::new(Topic::Words, "growing", &[Easy, Medium], growing),
    Family::new(Topic::Words, "clock", &[Easy, Medium], clock),
];

fn ages(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (a, b) = d.two_people();
    let (age, diff) = (d.number(4..=20), d.number(2..=15));
    let older = age + diff;
    let opening = d.phrase(&[
        format!("{} is {age} years old. {} is {diff} years older.", a.name, b.name),
        format!("{} is {diff} years older than {}, who is {age}.", b.name, a.name),
    ]);
    let mut steps = vec![format!("{} is {age} + {diff} = {older}.", b.name)];
    if difficulty == Easy {
        let years = d.number(2..=12);
        steps.push(format!("In {years} years {} will be {older} + {years} = {}.", b.name, older + years));
        return math(format!("{opening} How old will {} be in {years} years?", b.name), steps, older + years);
    }
    let years = d.number(2..=15);
    let (then_a, then_b) = (age + years, older + years);
    steps.push(format!("In {years} years they will be {age} + {years} = {then_a} and {older} + {years} = {then_b}."));
    let sum = then_a + then_b;
    steps.push(format!("The sum is {then_a} + {then_b} = {sum}."));
    if difficulty == Medium {
        return math(format!("{opening} What will be the sum of their ages in {years} years?"), steps, sum);
    }
    let times = d.number(2..=3);
    steps.push(format!("The grandmother will be {sum} * {times} = {}.", sum * times));
    let now = sum * times - years;
    if now > 105 {
        return None;
    }
    steps.push(format!("Now she is {} - {years} = {now}.", sum * times));
    math(
        format!(
            "{opening} In {years} years their grandmother's age will be {times} times the sum of their ages then. How \
             old is she now?"
        ),
        steps,
        now,
    )
}

fn age_backwards(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (a, b) = d.two_people();
    let (small, times) = (d.number(2..=15), d.number(2..=5));
    let sum = small * (times + 1);
    let mut steps = vec![
        format!("Together their ages are {times} + 1 = {} parts.", times + 1),
        format!("One part is {sum} / {} = {small}, the age of {}.", times + 1, a.name),
    ];
    let opening = format!("{} is {times} times as old as {}. Together they are {sum}.", b.name, a.name);
    if difficulty == Medium {
        return math(format!("{opening} How old is {}?", a.name), steps, small);
    }
    let years = d.number(2..=20);
    let old = small * times;
    steps.push(format!("{} is {small} * {times} = {old}.", b.name));
    steps.push(format!("In {years} years that will be {old} + {years} = {}.", old + years));
    math(format!("{opening} How old will {} be in {}?", b.name, count(years, "year")), steps, old + years)
}

fn growing(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let plant = d.phrase(&["sunflower", "bean plant", "young tree", "bamboo", "vine"]);
    let (start, rate, weeks) = (d.number(5..=60), d.number(2..=15), d.number(2..=10));
    let grown = rate * weeks;
    let end = start + grown;
    let mut steps = vec![
        format!("In {weeks} weeks it grows {rate} * {weeks} = {grown} cm."),
        format!("Then it is {start} + {grown} = {end} cm tall."),
    ];
    let opening = d.phrase(&[
        format!("A {plant} is {start} cm tall and grows {rate} cm every week."),
        format!("Every week a {plant} grows {rate} cm. Today it is {start} cm tall."),
    ]);
    if difficulty == Easy {
        return math(format!("{opening} How tall is it after {weeks} weeks, in cm?"), steps, end);
    }
    let (cut, more) = (d.number(5..=40), d.number(2..=8));
    if cut >= end {
        return None;
    }
    steps.push(format!("After the cut it is {end} - {cut} = {} cm tall.", end - cut));
    steps.push(format!(
        "{more} weeks later it is {} + {rate} * {more} = {} cm tall.",
        end - cut,
        end - cut + rate * more
    ));
    math(
        format!(
            "{opening} After {weeks} weeks {cut} cm are cut off, and it grows on at the same rate. How tall is it \
             {more} weeks after that, in cm?"
        ),
        steps,
        end - cut + rate * more,
    )
}

fn clock(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (name, things) = (d.person().name, d.phrase(&["lessons", "rounds", "songs", "exercises", "episodes", "laps"]));
    let (n, each, pause) = (d.number(3..=8), d.number(5..=45), d.number(2..=15));
    let work = n * each;
    let mut steps = vec![format!("The {things} take {n} * {each} = {work} minutes.")];
    if difficulty == Easy {
        let before = d.number(5..=30);
        steps.push(format!("With the preparation that is {work} + {before} = {} minutes.", work + before));
        return math(
            format!(
                "{name} prepares for {before} minutes and then does {n} {things} of {each} minutes each. How many \
                 minutes does that take in all?"
            ),
            steps,
            work + before,
        );
    }
    let pauses = n - 1;
    steps.push(format!(
        "Between them there are {n} - 1 = {pauses} breaks of {pauses} * {pause} = {} minutes.",
        pauses * pause
    ));
    steps.push(format!("Altogether that is {work} + {} = {} minutes.", pauses * pause, work + pauses * pause));
    math(
        format!(
            "{name} does {n} {things} of {each} minutes each, with a break of {pause} minutes between every two of \
             them. How many minutes does that take in all?"
        ),
        steps,
        work + pauses * pause,
    )
}
