//! Counting: groups of equal size, rows, legs, pages, comparisons.

use super::math;
use crate::draw::{Draw, count, singular};
use crate::family::{Difficulty, Draft, Family, Topic};

use Difficulty::{Easy, Hard, Medium};

pub(super) const FAMILIES: [Family; 8] = [
    Family::new(Topic::Words, "containers", &[Easy, Medium], containers),
    Family::new(Topic::Words, "compare-more", &[Easy, Medium], compare_more),
    Family::new(Topic::Words, "compare-times", &[Easy, Medium], compare_times).held_out(),
    Family::new(Topic::Words, "pages", &[Easy, Medium, Hard], pages),
    Family::new(Topic::Words, "seats", &[Easy, Medium], seats),
    Family::new(Topic::Words, "legs", &[Easy, Medium], legs).held_out(),
    Family::new(Topic::Words, "average", &[Medium, Hard], average),
    Family::new(Topic::Words, "population", &[Medium, Hard], population),
];

fn containers(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (who, things, containers) = (d.person(), d.things(), d.containers());
    let one = singular(containers);
    let (k, each, extra) = (d.number(2..=9), d.number(3..=difficulty.of(12, 30, 60)), d.number(2..=20));
    let total = k * each;
    let name = who.name;
    let mut steps = vec![format!("The {containers} hold {k} * {each} = {total} {things}.")];
    if difficulty == Easy {
        let question = d.phrase(&[
            format!(
                "{name} has {k} {containers} with {each} {things} in each {one}, and {extra} more {things} on the \
             table. How many {things} are there altogether?"
            ),
            format!(
                "Each of {k} {containers} holds {each} {things}. {name} also has {extra} loose {things}. How many \
             {things} does {name} have in all?"
            ),
        ]);
        steps.push(format!("With the others there are {total} + {extra} = {}.", total + extra));
        return math(question, steps, total + extra);
    }
    let given = d.number(2..=5);
    let gone = given * extra;
    if gone >= total {
        return None;
    }
    let question = d.phrase(&[
        format!(
            "{name} packs {each} {things} into each of {k} {containers}. Then {name} takes out {extra} {things} \
         for each of {given} friends. How many {things} are left in the {containers}?"
        ),
        format!(
            "There are {k} {containers} with {each} {things} each. {given} children take {extra} {things} each. \
         How many {things} remain?"
        ),
    ]);
    steps.push(format!("The others take {given} * {extra} = {gone}."));
    steps.push(format!("That leaves {total} - {gone} = {}.", total - gone));
    math(question, steps, total - gone)
}

fn compare_more(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let ((a, b), things) = (d.two_people(), d.things());
    let (first, diff) = (d.number(5..=difficulty.of(30, 80, 80)), d.number(2..=25));
    let more = d.structure(&[true, false]);
    let second = if more { first + diff } else { first - diff };
    if second <= 0 {
        return None;
    }
    let (word, sign) = if more { ("more", '+') } else { ("fewer", '-') };
    let opening = d.phrase(&[
        format!("{} has {first} {things}. {} has {diff} {word} than {}.", a.name, b.name, a.name),
        format!("{} collected {first} {things}, and {} collected {diff} {word}.", a.name, b.name),
    ]);
    let mut steps = vec![format!("{} has {first} {sign} {diff} = {second}.", b.name)];
    let total = first + second;
    steps.push(format!("Together they have {first} + {second} = {total}."));
    if difficulty == Easy {
        return math(format!("{opening} How many {things} do they have together?"), steps, total);
    }
    let people = d.number(2..=6);
    if total % people != 0 {
        return None;
    }
    steps.push(format!("Each child gets {total} / {people} = {}.", total / people));
    let question = format!(
        "{opening} They put their {things} together and share them equally among {people} children. How many does \
         each child get?"
    );
    math(question, steps, total / people)
}

fn compare_times(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let ((a, b), things) = (d.two_people(), d.things());
    let (first, times) = (d.number(3..=difficulty.of(15, 40, 40)), d.number(2..=6));
    let second = first * times;
    let opening = format!("{} has {first} {things}. {} has {times} times as many.", a.name, b.name);
    let mut steps = vec![format!("{} has {first} * {times} = {second}.", b.name)];
    if difficulty == Easy {
        steps.push(format!("Together that is {first} + {second} = {}.", first + second));
        return math(format!("{opening} How many {things} do they have altogether?"), steps, first + second);
    }
    let lost = d.number(2..=20);
    if second - lost <= first {
        return None;
    }
    steps.push(format!("Then {} has {second} - {lost} = {} left.", b.name, second - lost));
    steps.push(format!("The difference is {} - {first} = {}.", second - lost, second - lost - first));
    let question = format!(
        "{opening} Then {} gives away {lost}. How many more {things} than {} does {} have now?",
        b.name, a.name, b.name
    );
    math(question, steps, second - lost - first)
}

fn pages(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let who = d.person();
    let (name, they) = (who.name, who.they);
    let (per_day, days) = (d.number(5..=difficulty.of(20, 40, 60)), d.number(2..=9));
    let read = per_day * days;
    let total = read + d.number(10..=120);
    let mut steps = vec![format!("In {days} days {they} reads {per_day} * {days} = {read} pages.")];
    let opening = d.phrase(&[
        format!("{name} is reading a book of {total} pages. {name} reads {per_day} pages a day."),
        format!("A book has {total} pages, and {name} reads {per_day} of them every day."),
    ]);
    let left = total - read;
    steps.push(format!("That leaves {total} - {read} = {left} pages."));
    if difficulty == Easy {
        return math(format!("{opening} How many pages are left after {days} days?"), steps, left);
    }
    let faster = d.number(2..=30);
    let rate = per_day + faster;
    if left % rate != 0 {
        return None;
    }
    steps.push(format!("Now {they} reads {per_day} + {faster} = {rate} pages a day."));
    steps.push(format!("The rest takes {left} / {rate} = {} days.", left / rate));
    let mut question = format!("{opening} After {days} days {they} reads {faster} pages more each day than before.");
    if difficulty == Medium {
        question.push_str(" How many more days does the rest of the book take?");
        return math(question, steps, left / rate);
    }
    let all = days + left / rate;
    steps.push(format!("Altogether it takes {days} + {} = {all} days.", left / rate));
    question.push_str(" How many days does the whole book take?");
    math(question, steps, all)
}

fn seats(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let place = d.phrase(&["theatre", "cinema", "bus", "concert hall", "circus tent", "lecture room"]);
    let (rows, each) = (d.number(4..=15), d.number(4..=difficulty.of(12, 25, 25)));
    let total = rows * each;
    let empty = d.number(3..=40);
    if empty >= total {
        return None;
    }
    let taken = total - empty;
    let mut steps = vec![format!("There are {rows} * {each} = {total} seats.")];
    steps.push(format!("{total} - {empty} = {taken} of them are taken."));
    let opening = d.phrase(&[
        format!("A {place} has {rows} rows of {each} seats, and {empty} seats are empty."),
        format!("In a {place} there are {rows} rows with {each} seats in each row. {empty} of the seats are empty."),
    ]);
    if difficulty == Easy {
        return math(format!("{opening} How many seats are taken?"), steps, taken);
    }
    let price = d.number(2..=15);
    steps.push(format!("The tickets bring in {taken} * {price} = {} dollars.", taken * price));
    math(
        format!("{opening} Everybody there paid ${price} for a ticket. How many dollars did the tickets bring in?"),
        steps,
        taken * price,
    )
}

fn legs(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let kinds = [("chickens", 2), ("cows", 4), ("beetles", 6), ("spiders", 8), ("goats", 4), ("ducks", 2), ("ants", 6)];
    let ((a, legs_a), (b, legs_b)) = (d.structure(&kinds), d.structure(&kinds));
    if a == b {
        return None;
    }
    let (n, m) = (d.number(2..=difficulty.of(9, 25, 25)), d.number(2..=difficulty.of(9, 25, 25)));
    let (sum_a, sum_b) = (n * legs_a, m * legs_b);
    let mut steps = vec![
        format!("The {a} have {n} * {legs_a} = {sum_a} legs."),
        format!("The {b} have {m} * {legs_b} = {sum_b} legs."),
        format!("Together they have {sum_a} + {sum_b} = {} legs.", sum_a + sum_b),
    ];
    if difficulty == Easy {
        return math(
            format!("On a farm there are {n} {a} and {m} {b}. How many legs do they have altogether?"),
            steps,
            sum_a + sum_b,
        );
    }
    let gone = d.number(1..=n - 1);
    steps.push(format!("{gone} {a} take {gone} * {legs_a} = {} legs away.", gone * legs_a));
    let rest = sum_a + sum_b - gone * legs_a;
    steps.push(format!("That leaves {} - {} = {rest} legs.", sum_a + sum_b, gone * legs_a));
    math(
        format!("{n} {a} and {m} {b} live on a farm. {gone} of the {a} run away. How many legs are left on the farm?"),
        steps,
        rest,
    )
}

fn average(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let who = d.person();
    let n = d.number(3..=difficulty.of(3, 4, 5));
    let scores = d.numbers(n as usize, 4..=100);
    let sum: i64 = scores.iter().sum();
    let list = scores.iter().map(i64::to_string).collect::<Vec<_>>();
    let what = d.phrase(&["points in a quiz", "minutes of practice", "metres in a jump training", "steps in a game"]);
    if difficulty == Medium {
        if sum % n != 0 {
            return None;
        }
        let steps = vec![
            format!("The sum is {} = {sum}.", list.join(" + ")),
            format!("The average is {sum} / {n} = {}.", sum / n),
        ];
        let question = format!("On {n} days {} had {} {what}. What is the average?", who.name, list.join(", "));
        return math(question, steps, sum / n);
    }
    let target = d.number(20..=100);
    let need = target * (n + 1) - sum;
    if !(1..=150).contains(&need) {
        return None;
    }
    let steps = vec![
        format!("So far the sum is {} = {sum}.", list.join(" + ")),
        format!("An average of {target} over {} days needs {target} * {} = {}.", n + 1, n + 1, target * (n + 1)),
        format!("So the last day needs {} - {sum} = {need}.", target * (n + 1)),
    ];
    let question = format!(
        "On {n} days {} had {} {what}. How many are needed on the next day for an average of exactly {target} over \
         all {} days?",
        who.name,
        list.join(", "),
        n + 1
    );
    math(question, steps, need)
}

fn population(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (place, who) = d.phrase(&[
        ("village", "people"),
        ("lake", "fish"),
        ("forest", "deer"),
        ("school", "pupils"),
        ("colony", "penguins"),
    ]);
    let start = d.multiple(10, 10..=90);
    let (up, down, years) = (d.number(5..=40), d.number(2..=30), d.number(2..=6));
    let net = up - down;
    if net == 0 || start + net * years <= 0 {
        return None;
    }
    let change = net * years;
    let end = start + change;
    let mut steps = vec![
        format!("Each year the number changes by {up} - {down} = {net}."),
        format!("In {} it changes by {net} * {years} = {change}.", count(years, "year")),
        format!("Then there are {start} + {change} = {end} {who}.").replace("+ -", "- "),
    ];
    let opening = format!("A {place} has {start} {who}. Every year {up} arrive and {down} leave.");
    if difficulty == Medium {
        return math(format!("{opening} How many {who} are there after {years} years?"), steps, end);
    }
    let share = d.structure(&[2, 4, 5]);
    if end % share != 0 {
        return None;
    }
    steps.push(format!("One of every {share} of them is {end} / {share} = {}.", end / share));
    math(
        format!("{opening} After {years} years, one of every {share} {who} moves to a new {place}. How many move?"),
        steps,
        end / share,
    )
}
