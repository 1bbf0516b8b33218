//! Unit words in plain text: the parser asks which words are units, and the step checker converts between them. Final
//! answers use `quantity`, which is case-sensitive and knows composed units.

use crate::rational::{Rat, ratio};

/// The units that can be converted: names, dimension, and the factor to the base unit of the dimension (meter, gram,
/// second, month, liter, dollar, m/s, ...) as (numerator, denominator).
const UNITS: &[(&[&str], &str, (i64, i64))] = &[
    (&["m", "meter", "meters", "metre", "metres"], "length", (1, 1)),
    (&["cm", "centimeter", "centimeters", "centimetre", "centimetres"], "length", (1, 100)),
    (&["mm", "millimeter", "millimeters", "millimetre", "millimetres"], "length", (1, 1000)),
    (&["dm", "decimeter", "decimeters"], "length", (1, 10)),
    (&["km", "kilometer", "kilometers", "kilometre", "kilometres"], "length", (1000, 1)),
    (&["in", "inch", "inches"], "length", (254, 10_000)),
    (&["ft", "foot", "feet"], "length", (3048, 10_000)),
    (&["yd", "yard", "yards"], "length", (9144, 10_000)),
    (&["mi", "mile", "miles"], "length", (1_609_344, 1000)),
    (&["g", "gram", "grams"], "mass", (1, 1)),
    (&["kg", "kilogram", "kilograms", "kilo", "kilos"], "mass", (1000, 1)),
    (&["mg", "milligram", "milligrams"], "mass", (1, 1000)),
    (&["lb", "lbs", "pound", "pounds"], "mass", (45_359_237, 100_000)),
    (&["oz", "ounce", "ounces"], "mass", (45_359_237, 1_600_000)),
    (&["s", "sec", "secs", "second", "seconds"], "time", (1, 1)),
    (&["min", "mins", "minute", "minutes"], "time", (60, 1)),
    (&["h", "hr", "hrs", "hour", "hours"], "time", (3600, 1)),
    (&["day", "days"], "time", (86_400, 1)),
    (&["week", "weeks"], "time", (604_800, 1)),
    (&["month", "months"], "months", (1, 1)),
    (&["year", "years", "yr", "yrs"], "months", (12, 1)),
    (&["l", "liter", "liters", "litre", "litres"], "volume", (1, 1)),
    (&["ml", "milliliter", "milliliters", "millilitre", "millilitres"], "volume", (1, 1000)),
    (&["$", "dollar", "dollars", "usd", "bucks"], "dollars", (1, 1)),
    (&["¢", "cent", "cents"], "dollars", (1, 100)),
    (&["€", "euro", "euros", "eur"], "euros", (1, 1)),
    (&["£"], "pounds sterling", (1, 1)),
    (&["km/h", "kph", "kilometers per hour", "kilometres per hour", "km per hour"], "speed", (1000, 3600)),
    (&["m/s", "meters per second", "metres per second"], "speed", (1, 1)),
    (&["mph", "miles per hour", "miles/hour", "mi/h"], "speed", (1_609_344, 3_600_000)),
    (&["rad", "radian", "radians"], "angle", (1, 1)),
];

/// Other short words that count as units after a number. They are not converted.
const SHORT: &[&str] = &[
    "pm", "am", "rpm", "hz", "mol", "bit", "cal", "ton", "cup", "cwt", "gal", "pt", "qt", "kw", "pcs", "rs", "th",
    "chf", "cad", "aud", "nzd", "sek", "nok", "dkk", "pln", "czk", "huf", "inr", "jpy", "cny", "rub", "brl", "mxn",
    "krw", "gbp", "zar", "rmb",
];

/// A unit with its exponent: `square meters` and `m^2` are both (length, 1, 2). `factor` includes the exponent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Unit {
    pub dimension: &'static str,
    pub factor: Rat,
    pub exponent: u32,
}

/// Whether a word is a unit, or the ending of an ordinal number (`st`, `nd`, `rd`, `th`). Ignores case.
pub(crate) fn is_unit(word: &str) -> bool {
    let lower = word.to_lowercase();
    UNITS.iter().any(|(names, ..)| names.contains(&&*lower))
        || SHORT.contains(&&*lower)
        || lower == "st"
        || lower == "nd"
        || lower == "rd"
}

/// Reads a unit of [`UNITS`] with an exponent from 1 to 3: `cm`, `m^2`, `square feet`. `None` for any other text.
pub(crate) fn unit(text: &str) -> Option<Unit> {
    let lower = text.to_lowercase().replace(['.', '\\'], "");
    let lower = lower.trim().replace(" / ", "/").replace(" ^", "^").replace(['{', '}'], "");
    let (name, exponent) = if let Some((name, exponent)) = lower.split_once('^') {
        (name.trim().to_owned(), exponent.trim().parse().ok().filter(|e| (1..=3).contains(e))?)
    } else if let Some(name) = lower.strip_prefix("square ").or_else(|| lower.strip_prefix("sq ")) {
        (name.to_owned(), 2)
    } else if let Some(name) = lower.strip_prefix("cubic ") {
        (name.to_owned(), 3)
    } else {
        (lower, 1)
    };
    let (_, dimension, (n, d)) = UNITS.iter().find(|(names, ..)| names.contains(&&*name))?;
    let mut factor = ratio(*n, *d);
    for _ in 1..exponent {
        factor *= ratio(*n, *d);
    }
    Some(Unit { dimension, factor, exponent })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_and_names_agree() {
        assert_eq!(unit("square meters"), unit("m ^2"));
        assert_eq!(unit("cm").map(|u| u.factor), Some(ratio(1, 100)));
        assert_ne!(unit("m"), unit("m^2"));
        assert_eq!(unit("workers"), None);
    }
}
