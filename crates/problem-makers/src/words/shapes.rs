//! Lengths, areas and volumes.

use super::math;
use crate::draw::Draw;
use crate::family::{Difficulty, Draft, Family, Topic};

use Difficulty::{Easy, Hard, Medium};

pub(super) const FAMILIES: [Family; 4] = [
    Family::new(Topic::Words, "perimeter", &[Easy, Medium], perimeter),
    Family::new(Topic::Words, "area", &[Easy, Medium, Hard], area),
    Family::new(Topic::Words, "aquarium", &[Medium, Hard], aquarium).held_out(),
    Family::new(Topic::Words, "rope", &[Easy, Medium], rope),
];

fn perimeter(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (place, name) = (d.phrase(&["garden", "field", "playground", "yard", "meadow"]), d.person().name);
    let (a, b) = (d.number(4..=40), d.number(3..=30));
    let around = 2 * (a + b);
    let mut steps = vec![
        format!("Two sides measure {a} + {b} = {} m.", a + b),
        format!("The way around is 2 * {} = {around} m.", a + b),
    ];
    let opening = d.phrase(&[
        format!("A rectangular {place} is {a} m long and {b} m wide."),
        format!("{name}'s {place} is a rectangle of {a} m by {b} m."),
    ]);
    if difficulty == Easy {
        return math(format!("{opening} How many metres of fence go around it?"), steps, around);
    }
    let (gate, price) = (d.number(1..=4), d.number(3..=20));
    steps.push(format!("Without the gate the fence measures {around} - {gate} = {} m.", around - gate));
    steps.push(format!("It costs {} * {price} = {} dollars.", around - gate, (around - gate) * price));
    math(
        format!(
            "{opening} A fence goes around it, but for a gate of {gate} m. A metre of fence costs ${price}. How many \
             dollars does the fence cost?"
        ),
        steps,
        (around - gate) * price,
    )
}

fn area(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let place = d.phrase(&["floor", "wall", "lawn", "courtyard"]);
    let (a, b) = (d.number(3..=20), d.number(3..=20));
    let size = a * b;
    let mut steps = vec![format!("The {place} measures {a} * {b} = {size} square metres.")];
    let opening = format!("A rectangular {place} is {a} m by {b} m.");
    if difficulty == Easy {
        let price = d.number(2..=9);
        steps.push(format!("That costs {size} * {price} = {} dollars.", size * price));
        return math(
            format!(
                "{opening} Covering a square metre costs ${price}. How many dollars does it cost to cover all of it?"
            ),
            steps,
            size * price,
        );
    }
    let (c, e) = (d.number(1..=a - 1), d.number(1..=b - 1));
    let rest = size - c * e;
    steps.push(format!("The part left out measures {c} * {e} = {} square metres.", c * e));
    steps.push(format!("That leaves {size} - {} = {rest} square metres.", c * e));
    let opening = format!("{opening} A part of {c} m by {e} m of it is left out, and the rest is covered.");
    if difficulty == Medium {
        return math(format!("{opening} How many square metres are covered?"), steps, rest);
    }
    let tiles = d.structure(&[4, 9, 16, 25]);
    steps.push(format!("That takes {rest} * {tiles} = {} tiles.", rest * tiles));
    math(format!("{opening} {tiles} tiles cover a square metre. How many tiles does it take?"), steps, rest * tiles)
}

fn aquarium(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (a, b, c) = (d.number(2..=9), d.number(2..=9), d.number(2..=9));
    let volume = a * b * c;
    let mut steps = vec![format!("It holds {a} * {b} * {c} = {volume} litres.")];
    let opening = format!("An aquarium is {a} dm long, {b} dm wide and {c} dm high (a cubic decimetre is a litre).");
    let bucket = d.number(2..=8);
    if volume % bucket != 0 || volume == bucket {
        return None;
    }
    let buckets = volume / bucket;
    steps.push(format!("That is {volume} / {bucket} = {buckets} buckets."));
    if difficulty == Medium {
        return math(format!("{opening} How many buckets of {bucket} litres fill it?"), steps, buckets);
    }
    let minutes = d.number(2..=5);
    steps.push(format!("They take {buckets} * {minutes} = {} minutes.", buckets * minutes));
    math(
        format!(
            "{opening} It is filled with a bucket of {bucket} litres, {minutes} minutes for each bucket. How many \
             minutes does that take?"
        ),
        steps,
        buckets * minutes,
    )
}

fn rope(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (name, what) = (d.person().name, d.phrase(&["rope", "ribbon", "cable", "plank", "hose"]));
    let (pieces, each, left) = (d.number(2..=9), d.number(3..=25), d.number(1..=20));
    let used = pieces * each;
    let total = used + left;
    let mut steps = vec![format!("The pieces measure {pieces} * {each} = {used} cm.")];
    if difficulty == Easy {
        steps.push(format!("That leaves {total} - {used} = {left} cm."));
        let question = d.phrase(&[
            format!("{name} cuts {pieces} pieces of {each} cm from a {what} of {total} cm. How many cm are left?"),
            format!(
                "From a {what} that is {total} cm long, {name} cuts off {pieces} pieces, each {each} cm long. How \
             long is the rest, in cm?"
            ),
        ]);
        return math(question, steps, left);
    }
    steps.push(format!("With the rest the {what} measured {used} + {left} = {total} cm."));
    let others = d.number(2..=6);
    steps.push(format!("{others} of them measured {total} * {others} = {} cm.", total * others));
    math(
        format!(
            "{name} has {others} equally long pieces of {what}. From one of them {name} cuts {pieces} parts of {each} \
             cm, and {left} cm of it are left. How many cm of {what} were there in all at first?"
        ),
        steps,
        total * others,
    )
}
