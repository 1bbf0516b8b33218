//! Sharing, packing, ratios.

use super::math;
use crate::draw::Draw;
use crate::family::{Difficulty, Draft, Family, Topic};

use Difficulty::{Easy, Hard, Medium};

pub(super) const FAMILIES: [Family; 4] = [
    Family::new(Topic::Words, "equal-shares", &[Easy, Medium], equal_shares),
    Family::new(Topic::Words, "buses", &[Easy, Medium, Hard], buses).held_out(),
    Family::new(Topic::Words, "ratio", &[Medium, Hard], ratio),
    Family::new(Topic::Words, "leftover", &[Easy, Medium, Hard], leftover),
];

fn equal_shares(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (name, things) = (d.person().name, d.things());
    let (people, share) = (d.number(2..=9), d.number(2..=difficulty.of(12, 20, 20)));
    let lost = d.number(1..=9);
    let total = people * share;
    if difficulty == Easy {
        let all = total + lost;
        let steps = vec![
            format!("{all} - {lost} = {total} {things} are shared."),
            format!("Each child gets {total} / {people} = {share}."),
        ];
        let question = d.phrase(&[
            format!(
                "{name} has {all} {things}, keeps {lost} and shares the rest equally among {people} children. How \
             many does each child get?"
            ),
            format!(
                "Of {all} {things}, {lost} are lost. {people} children share the others equally. How many \
             {things} does each child get?"
            ),
        ]);
        return math(question, steps, share);
    }
    let packs = d.number(2..=6);
    if total % packs != 0 || total / packs < 2 {
        return None;
    }
    let each = total / packs;
    let steps = vec![
        format!("There are {packs} * {each} = {total} {things}."),
        format!("Each child gets {total} / {people} = {share}."),
        format!("After eating or using {lost} of them, that is {share} - {lost} = {}.", share - lost),
    ];
    if share <= lost {
        return None;
    }
    math(
        format!(
            "{name} opens {packs} packs of {each} {things} and shares them equally among {people} children. Each \
             child gives {lost} of its {things} to the teacher. How many {things} does each child have then?"
        ),
        steps,
        share - lost,
    )
}

fn buses(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (vehicle, plural) = d.phrase(&[("bus", "buses"), ("boat", "boats"), ("van", "vans"), ("cabin", "cabins")]);
    let (seats, full) = (d.number(4..=50), d.number(2..=9));
    let rest = d.number(1..=seats - 1);
    let people = seats * full + rest;
    let mut steps = vec![
        format!("{full} {plural} carry {full} * {seats} = {} people.", seats * full),
        format!("{people} - {} = {rest} people need one more, so it takes {full} + 1 = {}.", seats * full, full + 1),
    ];
    let opening = format!("{people} people travel in {plural} with {seats} seats each.");
    if difficulty == Easy {
        return math(format!("{opening} How many {plural} do they need?"), steps, full + 1);
    }
    if difficulty == Medium {
        steps.push(format!("In the last {vehicle} {seats} - {rest} = {} seats stay empty.", seats - rest));
        return math(
            format!("{opening} They fill one {vehicle} after the other. How many seats stay empty in the last one?"),
            steps,
            seats - rest,
        );
    }
    let price = d.multiple(10, 5..=40);
    steps.push(format!("They cost {} * {price} = {} dollars.", full + 1, (full + 1) * price));
    math(
        format!("{opening} Each {vehicle} costs ${price}. How many dollars do the {plural} cost?"),
        steps,
        (full + 1) * price,
    )
}

fn ratio(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let ((a, b), things) = (d.two_people(), d.things());
    let (p, q, unit) = (d.number(1..=7), d.number(1..=7), d.number(2..=15));
    if p == q {
        return None;
    }
    let total = (p + q) * unit;
    let mut steps = vec![
        format!("There are {p} + {q} = {} parts.", p + q),
        format!("A part is {total} / {} = {unit}.", p + q),
        format!("{} gets {p} * {unit} = {}.", a.name, p * unit),
    ];
    let opening = format!("{} and {} share {total} {things} in the ratio {p}:{q}.", a.name, b.name);
    if difficulty == Medium {
        return math(format!("{opening} How many does {} get?", a.name), steps, p * unit);
    }
    steps.push(format!("{} gets {q} * {unit} = {}.", b.name, q * unit));
    let (large, small) = if p > q { (&a, &b) } else { (&b, &a) };
    let (most, least) = (p.max(q) * unit, p.min(q) * unit);
    let given = d.number(1..=most - least);
    steps.push(format!("Then {} has {most} - {given} = {}.", large.name, most - given));
    math(
        format!(
            "{opening} Then {} gives {given} to {}. How many does {} have then?",
            large.name, small.name, large.name
        ),
        steps,
        most - given,
    )
}

fn leftover(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (name, things, containers) = (d.person().name, d.things(), d.containers());
    let (each, full) = (d.number(3..=12), d.number(2..=difficulty.of(9, 20, 20)));
    let rest = d.number(1..=each - 1);
    let total = each * full + rest;
    let mut steps = vec![
        format!("{full} {containers} take {full} * {each} = {} {things}.", each * full),
        format!("That leaves {total} - {} = {rest}, too few for another.", each * full),
    ];
    let opening =
        format!("{name} packs {total} {things} into {containers}, {each} to each, and fills as many as possible.");
    match difficulty {
        Easy => math(format!("{opening} How many {things} are left over?"), steps, rest),
        Medium => {
            let price = d.number(2..=15);
            steps.push(format!("They sell for {full} * {price} = {} dollars.", full * price));
            math(
                format!(
                    "{opening} The full {containers} are sold for ${price} each. How many dollars do they bring in?"
                ),
                steps,
                full * price,
            )
        }
        Hard => {
            let (price, single) = (d.number(5..=25), d.number(1..=4));
            steps.push(format!(
                "The full ones bring {full} * {price} = {} dollars and the rest {rest} * {single} = {} dollars.",
                full * price,
                rest * single
            ));
            let all = full * price + rest * single;
            steps.push(format!("Together that is {} + {} = {all} dollars.", full * price, rest * single));
            math(
                format!(
                    "{opening} A full one sells for ${price}, and each of the {things} left over for ${single}. How \
                     many dollars is that in all?"
                ),
                steps,
                all,
            )
        }
    }
}
