//! Speed, work and flow.

use super::math;
use crate::draw::Draw;
use crate::family::{Difficulty, Draft, Family, Topic};

use Difficulty::{Easy, Hard, Medium};

pub(super) const FAMILIES: [Family; 7] = [
    Family::new(Topic::Words, "distance", &[Easy, Medium, Hard], distance),
    Family::new(Topic::Words, "meeting", &[Hard], meeting).held_out(),
    Family::new(Topic::Words, "machines", &[Easy, Medium, Hard], machines),
    Family::new(Topic::Words, "tank", &[Medium, Hard], tank),
    Family::new(Topic::Words, "workers", &[Medium, Hard], workers),
    Family::new(Topic::Words, "fuel", &[Medium, Hard], fuel).held_out(),
    Family::new(Topic::Words, "recipe", &[Easy, Medium], recipe),
];

fn distance(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let vehicle = d.phrase(&["train", "bus", "car", "ship", "cyclist", "truck"]);
    let (speed, hours) = (d.multiple(5, 2..=24), d.number(2..=8));
    let far = speed * hours;
    let mut steps = vec![format!("In {hours} hours it covers {speed} * {hours} = {far} km.")];
    if difficulty == Easy {
        let more = d.number(5..=60);
        steps.push(format!("Altogether that is {far} + {more} = {} km.", far + more));
        let question = d.phrase(&[
            format!(
                "A {vehicle} travels for {hours} hours at {speed} km an hour and then another {more} km. How many \
             km is that in all?"
            ),
            format!(
                "After {more} km a {vehicle} goes on for {hours} hours at {speed} km an hour. How far does it \
             travel in all, in km?"
            ),
        ]);
        return math(question, steps, far + more);
    }
    let (speed2, hours2) = (d.multiple(5, 2..=24), d.number(2..=6));
    let far2 = speed2 * hours2;
    if speed2 == speed {
        return None;
    }
    steps.push(format!("In {hours2} hours it covers {speed2} * {hours2} = {far2} km."));
    steps.push(format!("Altogether that is {far} + {far2} = {} km.", far + far2));
    let opening = format!(
        "A {vehicle} travels for {hours} hours at {speed} km an hour, then for {hours2} hours at {speed2} km an hour."
    );
    if difficulty == Medium {
        return math(format!("{opening} How many km does it travel?"), steps, far + far2);
    }
    let all = hours + hours2;
    if (far + far2) % all != 0 {
        return None;
    }
    steps.push(format!("It takes {hours} + {hours2} = {all} hours."));
    steps.push(format!("The average speed is {} / {all} = {} km an hour.", far + far2, (far + far2) / all));
    math(format!("{opening} What is its average speed over the whole way, in km an hour?"), steps, (far + far2) / all)
}

fn meeting(d: &mut Draw, _: Difficulty) -> Option<Draft> {
    let (a, b, hours) = (d.multiple(5, 2..=20), d.multiple(5, 2..=20), d.number(2..=6));
    let closing = a + b;
    let apart = closing * hours;
    let ask_time = d.structure(&[true, false]);
    let opening = format!(
        "Two trains start towards each other from towns {apart} km apart, one at {a} km an hour and the other at {b} \
         km an hour."
    );
    let mut steps = vec![
        format!("Together they cover {a} + {b} = {closing} km an hour."),
        format!("They meet after {apart} / {closing} = {hours} hours."),
    ];
    if ask_time {
        return math(format!("{opening} After how many hours do they meet?"), steps, hours);
    }
    steps.push(format!("The first has then covered {a} * {hours} = {} km.", a * hours));
    math(format!("{opening} How many km has the first train covered when they meet?"), steps, a * hours)
}

fn machines(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let things = d.things();
    let (machines, rate, hours) = (d.number(2..=8), d.number(3..=difficulty.of(15, 40, 40)), d.number(2..=9));
    let hourly = machines * rate;
    let made = hourly * hours;
    let mut steps = vec![
        format!("In an hour the machines make {machines} * {rate} = {hourly} {things}."),
        format!("In {hours} hours they make {hourly} * {hours} = {made}."),
    ];
    let opening = d.phrase(&[
        format!("A factory has {machines} machines, and each makes {rate} {things} an hour."),
        format!("Each of {machines} machines makes {rate} {things} in an hour."),
    ]);
    if difficulty == Easy {
        return math(format!("{opening} How many {things} do they make in {hours} hours?"), steps, made);
    }
    let bad = d.number(2..=made.min(60) - 1);
    steps.push(format!("{made} - {bad} = {} of them are good.", made - bad));
    let opening = format!("{opening} In {hours} hours {bad} of the {things} made turn out bad.");
    if difficulty == Medium {
        return math(format!("{opening} How many good ones are there?"), steps, made - bad);
    }
    let pack = d.number(4..=12);
    if (made - bad) % pack != 0 {
        return None;
    }
    steps.push(format!("They fill {} / {pack} = {} packs.", made - bad, (made - bad) / pack));
    math(format!("{opening} The good ones are packed by {pack}. How many packs are there?"), steps, (made - bad) / pack)
}

fn tank(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (fill, drain, minutes) = (d.number(5..=30), d.number(1..=15), d.number(3..=20));
    if drain >= fill {
        return None;
    }
    let net = fill - drain;
    let start = d.number(5..=100);
    let gain = net * minutes;
    let end = start + gain;
    let opening = format!(
        "A tank holds {start} litres. A tap adds {fill} litres a minute, and a leak loses {drain} litres a minute."
    );
    let mut steps = vec![format!("Each minute the tank gains {fill} - {drain} = {net} litres.")];
    if difficulty == Medium {
        steps.push(format!("In {minutes} minutes it gains {net} * {minutes} = {gain} litres."));
        steps.push(format!("Then it holds {start} + {gain} = {end} litres."));
        return math(format!("{opening} How many litres are in it after {minutes} minutes?"), steps, end);
    }
    steps.push(format!("It needs {end} - {start} = {gain} litres more."));
    steps.push(format!("That takes {gain} / {net} = {minutes} minutes."));
    math(format!("{opening} After how many minutes does it hold {end} litres?"), steps, minutes)
}

fn workers(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (workers, days) = (d.number(2..=12), d.number(2..=15));
    let work = workers * days;
    let others = d.number(2..=15);
    if work % others != 0 || others == workers {
        return None;
    }
    let job = d.phrase(&["paint a school", "build a wall", "repair a road", "harvest a field"]);
    let mut steps = vec![
        format!("The work takes {workers} * {days} = {work} days of one worker."),
        format!("{others} workers need {work} / {others} = {} days.", work / others),
    ];
    if difficulty == Medium {
        return math(
            format!(
                "{workers} workers {job} in {days} days. How many days do {others} workers take for the same work?"
            ),
            steps,
            work / others,
        );
    }
    let wage = d.multiple(10, 5..=20);
    steps.push(format!("Each earns {} * {wage} = {} dollars.", work / others, work / others * wage));
    math(
        format!(
            "{workers} workers {job} in {days} days. If {others} workers do the same work and each earns ${wage} a \
             day, how many dollars does each of them earn?"
        ),
        steps,
        work / others * wage,
    )
}

fn fuel(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (per_100, hundreds) = (d.number(4..=12), d.number(2..=9));
    let used = per_100 * hundreds;
    let mut steps = vec![format!("{} km take {hundreds} * {per_100} = {used} litres.", hundreds * 100)];
    let opening = format!("A car needs {per_100} litres of fuel for 100 km.");
    let price = d.number(1..=3);
    steps.push(format!("They cost {used} * {price} = {} dollars.", used * price));
    if difficulty == Medium {
        return math(
            format!("{opening} A litre costs ${price}. How many dollars does the fuel for {} km cost?", hundreds * 100),
            steps,
            used * price,
        );
    }
    let tank = used + d.number(1..=40);
    let steps = vec![steps[0].clone(), format!("That leaves {tank} - {used} = {} litres.", tank - used)];
    math(
        format!(
            "{opening} Its tank holds {tank} litres and is full. How many litres are left after {} km?",
            hundreds * 100
        ),
        steps,
        tank - used,
    )
}

fn recipe(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (dish, unit) = d.phrase(&[
        ("pancakes", "eggs"),
        ("soup", "carrots"),
        ("a cake", "spoons of sugar"),
        ("bread", "cups of flour"),
    ]);
    let (people, need, times) = (d.number(2..=6), d.number(2..=9), d.number(2..=5));
    let guests = people * times;
    let mut steps = vec![
        format!("{guests} people are {guests} / {people} = {times} times as many."),
        format!("So it takes {need} * {times} = {} {unit}.", need * times),
    ];
    let opening = format!("A recipe for {dish} for {people} people takes {need} {unit}.");
    if difficulty == Easy {
        return math(format!("{opening} How many {unit} does it take for {guests} people?"), steps, need * times);
    }
    let have = d.number(1..=need * times - 1);
    steps.push(format!("There are {} - {have} = {} missing.", need * times, need * times - have));
    math(
        format!("{opening} For {guests} people, with {have} {unit} at home, how many {unit} are missing?"),
        steps,
        need * times - have,
    )
}
