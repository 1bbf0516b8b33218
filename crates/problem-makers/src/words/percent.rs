//! Percentages, fractions and interest, with numbers whose answers are integers.

use super::math;
use crate::draw::Draw;
use crate::family::{Difficulty, Draft, Family, Topic};

use Difficulty::{Easy, Hard, Medium};

pub(super) const FAMILIES: [Family; 6] = [
    Family::new(Topic::Words, "discount", &[Medium, Hard], discount),
    Family::new(Topic::Words, "fraction-of", &[Easy, Medium, Hard], fraction_of),
    Family::new(Topic::Words, "percent-of-group", &[Medium, Hard], percent_of_group).held_out(),
    Family::new(Topic::Words, "interest", &[Hard], interest),
    Family::new(Topic::Words, "increase-then-decrease", &[Hard], increase_then_decrease),
    Family::new(Topic::Words, "solution-mixture", &[Hard], solution_mixture).held_out(),
];

const PERCENTS: [i64; 8] = [5, 10, 15, 20, 25, 30, 40, 50];

fn discount(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (name, good) = (d.person().name, d.good());
    let (price, percent) = (d.multiple(4, 3..=60), d.structure(&PERCENTS));
    if price * percent % 100 != 0 {
        return None;
    }
    let off = price * percent / 100;
    let pays = price - off;
    let mut steps = vec![
        format!("The discount is {price} * {percent} / 100 = {off} dollars."),
        format!("The price becomes {price} - {off} = {pays} dollars."),
    ];
    let opening = d.phrase(&[
        format!("A {good} costs ${price}. In a sale it is {percent}% off."),
        format!("The usual price of a {good} is ${price}, and today there is a discount of {percent}%."),
    ]);
    if difficulty == Medium {
        return math(format!("{opening} How many dollars does {name} pay for it?"), steps, pays);
    }
    let (n, shipping) = (d.number(2..=6), d.number(3..=15));
    let total = pays * n + shipping;
    steps.push(format!("{n} of them cost {pays} * {n} = {} dollars.", pays * n));
    steps.push(format!("With shipping that is {} + {shipping} = {total} dollars.", pays * n));
    math(
        format!(
            "{opening} {name} orders {n} at that price, and shipping is ${shipping} for the order. How many dollars \
             is that in all?"
        ),
        steps,
        total,
    )
}

fn fraction_of(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (name, things) = (d.person().name, d.things());
    let (den, part) = (d.number(2..=difficulty.of(5, 8, 8)), d.number(2..=12));
    let total = den * part * difficulty.of(1, 1, 2);
    let num = if difficulty == Easy { 1 } else { d.number(1..=den - 1) };
    let used = total / den * num;
    let rest = total - used;
    let mut steps = vec![
        format!("{num}/{den} of {total} is {total} / {den} * {num} = {used}."),
        format!("That leaves {total} - {used} = {rest}."),
    ];
    let opening = d.phrase(&[
        format!("{name} has {total} {things} and gives {num}/{den} of them away."),
        format!("Of {total} {things}, {name} uses {num}/{den}."),
    ]);
    if difficulty != Hard {
        return math(format!("{opening} How many {things} are left?"), steps, rest);
    }
    let den2 = d.number(2..=5);
    if rest % den2 != 0 || rest == den2 {
        return None;
    }
    let end = rest - rest / den2;
    steps.push(format!("1/{den2} of the rest is {rest} / {den2} = {}.", rest / den2));
    steps.push(format!("Then {rest} - {} = {end} are left.", rest / den2));
    math(
        format!("{opening} Then 1/{den2} of the remaining {things} are lost. How many {things} are left in the end?"),
        steps,
        end,
    )
}

fn percent_of_group(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (group, habit, rest_habit) = d.phrase(&[
        ("pupils of a school", "walk to school", "come by bus"),
        ("members of a club", "play chess", "play cards"),
        ("visitors of a park", "come on foot", "come by bicycle"),
        ("workers of a factory", "work at night", "work by day"),
    ]);
    let (total, percent) = (d.multiple(20, 3..=40), d.structure(&PERCENTS));
    if total * percent % 100 != 0 {
        return None;
    }
    let some = total * percent / 100;
    let others = total - some;
    let mut steps = vec![
        format!("{percent}% of {total} is {total} * {percent} / 100 = {some}."),
        format!("The others are {total} - {some} = {others}."),
    ];
    let opening = format!("There are {total} {group}. {percent}% of them {habit}, and the others {rest_habit}.");
    if difficulty == Medium {
        return math(format!("{opening} How many {rest_habit}?"), steps, others);
    }
    if others <= some {
        return None;
    }
    steps.push(format!("The difference is {others} - {some} = {}.", others - some));
    math(format!("{opening} How many more {rest_habit} than {habit}?"), steps, others - some)
}

fn interest(d: &mut Draw, _: Difficulty) -> Option<Draft> {
    let name = d.person().name;
    let (sum, percent, years) = (d.multiple(100, 2..=40), d.number(2..=12), d.number(2..=6));
    let yearly = sum * percent / 100;
    let all = yearly * years;
    let steps = vec![
        format!("A year brings {sum} * {percent} / 100 = {yearly} dollars."),
        format!("{years} years bring {yearly} * {years} = {all} dollars."),
        format!("Then there are {sum} + {all} = {} dollars.", sum + all),
    ];
    let question = d.phrase(&[
        format!(
            "{name} puts ${sum} in a bank that pays {percent}% simple interest a year. How many dollars are there \
         after {years} years?"
        ),
        format!(
            "A loan of ${sum} costs {percent}% simple interest each year. {name} pays everything back after \
         {years} years. How many dollars is that?"
        ),
    ]);
    math(question, steps, sum + all)
}

fn increase_then_decrease(d: &mut Draw, _: Difficulty) -> Option<Draft> {
    let good = d.good();
    let (price, up, down) = (d.multiple(20, 2..=40), d.structure(&PERCENTS), d.structure(&PERCENTS));
    if price * up % 100 != 0 {
        return None;
    }
    let raised = price + price * up / 100;
    if raised * down % 100 != 0 {
        return None;
    }
    let end = raised - raised * down / 100;
    let steps = vec![
        format!(
            "The rise is {price} * {up} / 100 = {} dollars, so the price is {price} + {} = {raised} dollars.",
            price * up / 100,
            price * up / 100
        ),
        format!("The fall is {raised} * {down} / 100 = {} dollars.", raised * down / 100),
        format!("The price is then {raised} - {} = {end} dollars.", raised * down / 100),
    ];
    math(
        format!(
            "A {good} costs ${price}. Its price rises by {up}% and later falls by {down}% of the new price. What is \
             the price in dollars then?"
        ),
        steps,
        end,
    )
}

fn solution_mixture(d: &mut Draw, _: Difficulty) -> Option<Draft> {
    let (a, b) = (d.number(2..=20), d.number(2..=20));
    let (pa, pb) = (d.multiple(10, 1..=9), d.multiple(10, 1..=9));
    let amount = a * pa + b * pb;
    if pa == pb || amount % (a + b) != 0 {
        return None;
    }
    let what = d.phrase(&["juice", "alcohol", "vinegar", "syrup"]);
    let steps = vec![
        format!(
            "The first has {a} * {pa} / 100 = {} litres of {what}, the second {b} * {pb} / 100 = {} litres.",
            decimal(a * pa),
            decimal(b * pb)
        ),
        format!(
            "Together that is {} + {} = {} litres of {what} in {a} + {b} = {} litres.",
            decimal(a * pa),
            decimal(b * pb),
            decimal(amount),
            a + b
        ),
        format!("The share is {} / {} * 100 = {} percent.", decimal(amount), a + b, amount / (a + b)),
    ];
    math(
        format!(
            "{a} litres of a drink with {pa}% {what} are mixed with {b} litres of a drink with {pb}% {what}. What \
             percentage of the mixture is {what}?"
        ),
        steps,
        amount / (a + b),
    )
}

/// Hundredths as a decimal number: 150 is 1.5.
fn decimal(hundredths: i64) -> String {
    let text = format!("{}.{:02}", hundredths / 100, hundredths % 100);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
