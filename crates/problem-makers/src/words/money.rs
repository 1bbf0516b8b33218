//! Money: prices, change, wages, savings, profit.

use super::math;
use crate::draw::Draw;
use crate::family::{Difficulty, Draft, Family, Topic};

use Difficulty::{Easy, Hard, Medium};

pub(super) const FAMILIES: [Family; 8] = [
    Family::new(Topic::Words, "shopping", &[Easy, Medium, Hard], shopping),
    Family::new(Topic::Words, "change", &[Easy, Medium], change),
    Family::new(Topic::Words, "saving", &[Easy, Medium], saving).held_out(),
    Family::new(Topic::Words, "wages", &[Easy, Medium, Hard], wages),
    Family::new(Topic::Words, "tickets", &[Medium, Hard], tickets).held_out(),
    Family::new(Topic::Words, "profit", &[Medium, Hard], profit),
    Family::new(Topic::Words, "coins", &[Easy, Medium], coins),
    Family::new(Topic::Words, "unit-price", &[Medium], unit_price),
];

fn two_goods(d: &mut Draw) -> Option<(&'static str, &'static str)> {
    let (a, b) = (d.good(), d.good());
    let takes_an_s = |good: &str| !good.contains(" of ") && !good.ends_with("ch") && !good.ends_with("sh");
    (a != b && takes_an_s(a) && takes_an_s(b)).then_some((a, b))
}

fn shopping(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (a, b) = two_goods(d)?;
    let name = d.person().name;
    let (n, m) = (d.number(2..=9), d.number(2..=9));
    let (price_a, price_b) = (d.number(2..=difficulty.of(10, 20, 30)), d.number(2..=difficulty.of(10, 20, 30)));
    let (cost_a, cost_b) = (n * price_a, m * price_b);
    let total = cost_a + cost_b;
    let mut steps = vec![
        format!("The {a}s cost {n} * {price_a} = {cost_a} dollars."),
        format!("The {b}s cost {m} * {price_b} = {cost_b} dollars."),
        format!("Together that is {cost_a} + {cost_b} = {total} dollars."),
    ];
    let opening = d.phrase(&[
        format!("{name} buys {n} {a}s for ${price_a} each and {m} {b}s for ${price_b} each."),
        format!("A {a} costs ${price_a} and a {b} costs ${price_b}. {name} buys {n} {a}s and {m} {b}s."),
    ]);
    if difficulty == Easy {
        return math(format!("{opening} How many dollars does {name} spend?"), steps, total);
    }
    let paid = d.multiple(50, 1..=12);
    if paid <= total || paid - total >= 100 {
        return None;
    }
    let rest = paid - total;
    steps.push(format!("From ${paid} there remain {paid} - {total} = {rest} dollars."));
    if difficulty == Medium {
        return math(format!("{opening} {name} had ${paid}. How many dollars are left?"), steps, rest);
    }
    let price = d.number(2..=9);
    let bought = rest / price;
    if bought == 0 || rest % price == 0 {
        return None;
    }
    steps.push(format!(
        "For that {name} can buy {bought} more, because {bought} * {price} = {} and one more would cost {} dollars.",
        bought * price,
        (bought + 1) * price
    ));
    let question = format!(
        "{opening} {name} had ${paid} and spends what is left on pens for ${price} each, as many as possible. How \
         many pens does {name} buy?"
    );
    math(question, steps, bought)
}

fn change(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (name, good) = (d.person().name, d.good());
    let (n, price) = (d.number(1..=difficulty.of(3, 8, 8)), d.number(2..=15));
    let paid = d.structure(&[10, 20, 50, 100]);
    let cost = n * price;
    if cost >= paid || good.contains(" of ") || good.ends_with("sh") || good.ends_with("ch") || n == 1 {
        return None;
    }
    let mut steps = vec![format!("{n} {good}s cost {n} * {price} = {cost} dollars.")];
    if difficulty == Easy {
        let question = d.phrase(&[
            format!(
                "{name} buys {n} {good}s for ${price} each and pays with a ${paid} note. How many dollars of \
             change does {name} get?"
            ),
            format!(
                "A {good} costs ${price}. {name} takes {n} of them and gives the cashier ${paid}. How much \
             change, in dollars, is there?"
            ),
        ]);
        steps.push(format!("The change is {paid} - {cost} = {} dollars.", paid - cost));
        return math(question, steps, paid - cost);
    }
    let coupon = d.number(1..=9);
    if coupon >= cost {
        return None;
    }
    let after = cost - coupon;
    steps.push(format!("With the coupon that is {cost} - {coupon} = {after} dollars."));
    steps.push(format!("The change is {paid} - {after} = {} dollars.", paid - after));
    let question = format!(
        "{name} buys {n} {good}s for ${price} each, has a coupon for ${coupon} off the whole purchase, and pays with \
         a ${paid} note. How many dollars of change does {name} get?"
    );
    math(question, steps, paid - after)
}

fn saving(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let who = d.person();
    let (name, they) = (who.name, who.they);
    let (weekly, weeks) = (d.number(2..=15), d.number(3..=12));
    let start = d.number(5..=60);
    let saved = weekly * weeks;
    let total = start + saved;
    let mut steps = vec![
        format!("In {weeks} weeks {they} saves {weekly} * {weeks} = {saved} dollars."),
        format!("Then {they} has {start} + {saved} = {total} dollars."),
    ];
    let opening = format!("{name} has ${start} and saves ${weekly} every week.");
    if difficulty == Easy {
        return math(format!("{opening} How many dollars does {they} have after {weeks} weeks?"), steps, total);
    }
    let price = total + d.number(3..=80);
    steps.push(format!("{they} still needs {price} - {total} = {} dollars.", price - total));
    math(
        format!(
            "{opening} After {weeks} weeks, how many more dollars does {they} need for a bicycle that costs ${price}?"
        ),
        steps,
        price - total,
    )
}

fn wages(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let who = d.person();
    let (name, they) = (who.name, who.they);
    let job =
        d.phrase(&["in a bakery", "at a petrol station", "as a gardener", "in a library", "as a painter", "on a farm"]);
    let (wage, hours) = (d.number(8..=30), d.number(3..=9));
    let pay = wage * hours;
    let mut steps = vec![format!("A day brings {wage} * {hours} = {pay} dollars.")];
    let opening = d.phrase(&[
        format!("{name} works {job} for ${wage} an hour, {hours} hours a day."),
        format!("{name} works {hours} hours a day {job} and earns ${wage} an hour."),
    ]);
    let days = d.number(2..=6);
    let week = pay * days;
    steps.push(format!("{days} days bring {pay} * {days} = {week} dollars."));
    if difficulty == Easy {
        return math(format!("{opening} How many dollars does {they} earn in {days} days?"), steps, week);
    }
    let (extra, bonus) = (d.number(2..=8), d.number(2..=12));
    let overtime = extra * (wage + bonus);
    steps.push(format!(
        "An hour of overtime brings {wage} + {bonus} = {} dollars, {extra} hours {extra} * {} = {overtime} dollars.",
        wage + bonus,
        wage + bonus
    ));
    let total = week + overtime;
    steps.push(format!("Together that is {week} + {overtime} = {total} dollars."));
    let opening = format!(
        "{opening} Overtime is paid ${bonus} more an hour. This week {they} works {days} days and {extra} hours of \
         overtime."
    );
    if difficulty == Medium {
        return math(format!("{opening} How many dollars does {they} earn this week?"), steps, total);
    }
    let tax = d.structure(&[10, 20, 25]);
    if total * tax % 100 != 0 {
        return None;
    }
    let paid = total * tax / 100;
    steps.push(format!("The tax is {total} * {tax} / 100 = {paid} dollars."));
    steps.push(format!("That leaves {total} - {paid} = {} dollars.", total - paid));
    math(format!("{opening} {tax}% of it goes to tax. How many dollars are left?"), steps, total - paid)
}

fn tickets(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let event = d.phrase(&["a zoo", "a museum", "a fair", "a swimming pool", "a puppet show"]);
    let (adult, child) = (d.number(6..=20), d.number(2..=9));
    if child >= adult {
        return None;
    }
    let (adults, children) = (d.number(2..=30), d.number(2..=50));
    let (a, c) = (adult * adults, child * children);
    let mut steps = vec![
        format!("The adults pay {adult} * {adults} = {a} dollars."),
        format!("The children pay {child} * {children} = {c} dollars."),
        format!("Together they pay {a} + {c} = {} dollars.", a + c),
    ];
    let opening = format!("Tickets for {event} cost ${adult} for adults and ${child} for children.");
    if difficulty == Medium {
        return math(
            format!("{opening} How many dollars do {adults} adults and {children} children pay?"),
            steps,
            a + c,
        );
    }
    // Backwards: the number of children from the sum.
    steps = vec![
        format!("The adults pay {adult} * {adults} = {a} dollars."),
        format!("The children pay the rest: {} - {a} = {c} dollars.", a + c),
        format!("So there are {c} / {child} = {children} children."),
    ];
    math(
        format!("{opening} A group with {adults} adults pays ${} in all. How many children are in the group?", a + c),
        steps,
        children,
    )
}

fn profit(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (name, things) = (d.person().name, d.things());
    let (n, cost, price) = (d.number(10..=60), d.number(2..=9), d.number(4..=20));
    if price <= cost {
        return None;
    }
    let unsold = d.number(1..=n / 3);
    let (spent, sold) = (n * cost, n - unsold);
    let earned = sold * price;
    if earned <= spent {
        return None;
    }
    let mut steps = vec![
        format!("{name} spends {n} * {cost} = {spent} dollars."),
        format!("{n} - {unsold} = {sold} are sold."),
        format!("They bring in {sold} * {price} = {earned} dollars."),
        format!("The profit is {earned} - {spent} = {} dollars.", earned - spent),
    ];
    let opening =
        format!("{name} buys {n} {things} for ${cost} each and sells all but {unsold} of them for ${price} each.");
    if difficulty == Medium {
        return math(format!("{opening} What is the profit in dollars?"), steps, earned - spent);
    }
    let partners = d.number(2..=4);
    let gain = earned - spent;
    if gain % partners != 0 {
        return None;
    }
    steps.push(format!("Each of {partners} gets {gain} / {partners} = {} dollars.", gain / partners));
    math(
        format!("{opening} The profit is shared equally among {partners} partners. How many dollars does each get?"),
        steps,
        gain / partners,
    )
}

fn coins(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let name = d.person().name;
    let kinds = [("nickels", 5), ("dimes", 10), ("quarters", 25)];
    let ((a, cents_a), (b, cents_b)) = (d.structure(&kinds), d.structure(&kinds));
    if a == b {
        return None;
    }
    let (n, m) = (d.number(2..=difficulty.of(9, 20, 20)), d.number(2..=difficulty.of(9, 20, 20)));
    let (sum_a, sum_b) = (n * cents_a, m * cents_b);
    let total = sum_a + sum_b;
    let mut steps = vec![
        format!("The {a} are worth {n} * {cents_a} = {sum_a} cents."),
        format!("The {b} are worth {m} * {cents_b} = {sum_b} cents."),
        format!("Together that is {sum_a} + {sum_b} = {total} cents."),
    ];
    let opening = d.phrase(&[
        format!("{name} has {n} {a} and {m} {b}."),
        format!("In {name}'s piggy bank there are {n} {a} and {m} {b}."),
    ]);
    if difficulty == Easy {
        return math(
            format!("{opening} How many cents is that? (A nickel is 5 cents, a dime 10, a quarter 25.)"),
            steps,
            total,
        );
    }
    let price = d.number(5..=60);
    if total / price == 0 || total % price == 0 {
        return None;
    }
    let rest = total % price;
    steps.push(format!("{} sweets cost {} * {price} = {} cents.", total / price, total / price, total - rest));
    steps.push(format!("That leaves {total} - {} = {rest} cents.", total - rest));
    math(
        format!(
            "{opening} (A nickel is 5 cents, a dime 10, a quarter 25.) {name} buys as many sweets for {price} cents \
             each as possible. How many cents are left?"
        ),
        steps,
        rest,
    )
}

fn unit_price(d: &mut Draw, _: Difficulty) -> Option<Draft> {
    let things = d.things();
    let (n, each, m) = (d.number(3..=12), d.number(2..=12), d.number(3..=20));
    if n == m {
        return None;
    }
    let cost = n * each;
    let steps = vec![
        format!("One costs {cost} / {n} = {each} dollars."),
        format!("{m} cost {m} * {each} = {} dollars.", m * each),
    ];
    let question = d.phrase(&[
        format!("{n} {things} cost ${cost}. How many dollars do {m} {things} cost at the same price?"),
        format!("If a shop sells {n} {things} for ${cost}, what is the price of {m} {things} in dollars?"),
    ]);
    math(question, steps, m * each)
}
