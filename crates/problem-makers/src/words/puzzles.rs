//! Reasoning backwards and with two unknowns.

use super::math;
use crate::draw::Draw;
use crate::family::{Difficulty, Draft, Family, Topic};

use Difficulty::{Easy, Hard, Medium};

pub(super) const FAMILIES: [Family; 6] = [
    Family::new(Topic::Words, "backwards", &[Medium, Hard], backwards),
    Family::new(Topic::Words, "think-of-a-number", &[Easy, Medium], think_of_a_number),
    Family::new(Topic::Words, "heads-and-legs", &[Hard], heads_and_legs).held_out(),
    Family::new(Topic::Words, "sum-and-difference", &[Medium, Hard], sum_and_difference),
    Family::new(Topic::Words, "consecutive", &[Hard], consecutive),
    Family::new(Topic::Words, "fence-posts", &[Easy, Medium], fence_posts).held_out(),
];

fn backwards(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let who = d.person();
    let (name, they) = (who.name, who.they);
    let (left, spent) = (d.number(3..=40), d.number(2..=30));
    let before = left + spent;
    let mut steps = vec![format!("Before spending ${spent}, {they} had {left} + {spent} = {before} dollars.")];
    let start = before * 2;
    steps.push(format!("That was half, so at first there were {before} * 2 = {start} dollars."));
    if difficulty == Medium {
        let question = d.phrase(&[
            format!(
                "{name} spends half of {their} money on food, then ${spent} on a ticket, and has ${left} left. \
             How many dollars did {they} have at first?",
                their = who.their
            ),
            format!(
                "After giving half of {their} money to charity and paying ${spent} for a book, {name} has \
             ${left}. How many dollars did {they} start with?",
                their = who.their
            ),
        ]);
        return math(question, steps, start);
    }
    let gift = d.number(5..=50);
    if start <= gift {
        return None;
    }
    steps.push(format!("Without the gift {they} had {start} - {gift} = {} dollars.", start - gift));
    math(
        format!(
            "{name} gets ${gift} as a gift, then spends half of all {their} money, then ${spent} more, and has \
             ${left} left. How many dollars did {they} have before the gift?",
            their = who.their
        ),
        steps,
        start - gift,
    )
}

fn think_of_a_number(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let name = d.person().name;
    let (x, times, add) = (d.number(2..=difficulty.of(12, 40, 40)), d.number(2..=9), d.number(2..=30));
    let result = x * times + add;
    let mut steps = vec![
        format!("Before adding {add} it was {result} - {add} = {}.", result - add),
        format!("So the number is {} / {times} = {x}.", result - add),
    ];
    if difficulty == Easy {
        return math(
            format!(
                "{name} thinks of a number, multiplies it by {times}, adds {add} and gets {result}. What is the number?"
            ),
            steps,
            x,
        );
    }
    let by = d.number(2..=5);
    if result % by != 0 {
        return None;
    }
    let end = result / by;
    steps.insert(0, format!("Before dividing by {by} it was {end} * {by} = {result}."));
    math(
        format!(
            "{name} thinks of a number, multiplies it by {times}, adds {add}, divides the result by {by} and gets \
             {end}. What is the number?"
        ),
        steps,
        x,
    )
}

fn heads_and_legs(d: &mut Draw, _: Difficulty) -> Option<Draft> {
    let (two, four) =
        d.phrase(&[("hens", "rabbits"), ("ostriches", "zebras"), ("ducks", "sheep"), ("bicycles", "cars")]);
    let (n, m) = (d.number(2..=40), d.number(2..=40));
    let (heads, legs) = (n + m, 2 * n + 4 * m);
    let part = if two == "bicycles" { ("vehicles", "wheels") } else { ("animals", "legs") };
    let steps = vec![
        format!("If all were {two}, there would be {heads} * 2 = {} {}.", heads * 2, part.1),
        format!("There are {legs} - {} = {} more.", heads * 2, legs - heads * 2),
        format!("Each of the {four} has 4 - 2 = 2 more, so there are {} / 2 = {m} {four}.", legs - heads * 2),
    ];
    math(
        format!(
            "There are {two} and {four}: {heads} {} with {legs} {} in all. How many {four} are there?",
            part.0, part.1
        ),
        steps,
        m,
    )
}

fn sum_and_difference(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let ((a, b), things) = (d.two_people(), d.things());
    let (small, diff) = (d.number(3..=60), d.number(2..=30));
    let (sum, large) = (2 * small + diff, small + diff);
    let mut steps = vec![
        format!("Without the difference they would have {sum} - {diff} = {}.", sum - diff),
        format!("So {} has {} / 2 = {small}.", a.name, sum - diff),
        format!("And {} has {small} + {diff} = {large}.", b.name),
    ];
    let opening =
        format!("{} and {} have {sum} {things} together. {} has {diff} more than {}.", a.name, b.name, b.name, a.name);
    if difficulty == Medium {
        return math(format!("{opening} How many {things} does {} have?", b.name), steps, large);
    }
    let times = d.number(2..=5);
    steps.push(format!("{times} times as many as {} is {small} * {times} = {}.", a.name, small * times));
    steps.push(format!("Together the three have {sum} + {} = {}.", small * times, sum + small * times));
    math(
        format!(
            "{opening} A third child has {times} times as many as {}. How many {things} do the three have together?",
            a.name
        ),
        steps,
        sum + small * times,
    )
}

fn consecutive(d: &mut Draw, _: Difficulty) -> Option<Draft> {
    let (n, step) = (d.structure(&[3, 5]), d.structure(&[1, 2]));
    let middle = d.number(5..=80);
    if step == 2 && middle % 2 != 0 {
        return None;
    }
    let (sum, reach) = (middle * n, n / 2 * step);
    let kind = if step == 1 { "consecutive whole numbers" } else { "consecutive even numbers" };
    let largest = d.structure(&[true, false]);
    let (word, sign, answer) =
        if largest { ("largest", '+', middle + reach) } else { ("smallest", '-', middle - reach) };
    if answer < 0 {
        return None;
    }
    let steps = vec![
        format!("The one in the middle is the average: {sum} / {n} = {middle}."),
        format!("The {word} is {middle} {sign} {reach} = {answer}."),
    ];
    math(format!("The sum of {n} {kind} is {sum}. What is the {word} of them?"), steps, answer)
}

fn fence_posts(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (gap, gaps) = (d.number(2..=10), d.number(4..=30));
    let length = gap * gaps;
    let things = d.phrase(&["trees", "lamp posts", "flags", "fence posts"]);
    let mut steps = vec![
        format!("There are {length} / {gap} = {gaps} gaps."),
        format!("With one at each end that makes {gaps} + 1 = {} {things}.", gaps + 1),
    ];
    let opening = format!(
        "Along one side of a straight path of {length} m there are {things}, one every {gap} m, with one at each end."
    );
    if difficulty == Easy {
        return math(format!("{opening} How many {things} are there?"), steps, gaps + 1);
    }
    let price = d.number(3..=25);
    steps.push(format!("They cost {} * {price} = {} dollars.", gaps + 1, (gaps + 1) * price));
    math(format!("{opening} Each cost ${price}. How many dollars did all of them cost?"), steps, (gaps + 1) * price)
}
