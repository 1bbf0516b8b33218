//! The table of units: symbols, names, factors to the base units, dimensions.
//!
//! Sources of the factors: SI Brochure (BIPM, 9th edition, tables 2, 4, 7, 8) for SI units, prefixes and units accepted
//! for use with them; NIST Special Publication 811 (2008), appendix B.8, for the others. All factors are exact by
//! definition. Gallons, quarts, pints, cups and fluid ounces are those of the United States; a calorie is the
//! thermochemical calorie.

/// The base units: the SI base units, radian, bit, month and currencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Base {
    Metre,
    Kilogram,
    Second,
    Ampere,
    Kelvin,
    Mole,
    Candela,
    Radian,
    Bit,
    /// A month. It has no fixed length in days; a year is 12 months.
    Month,
    Dollar,
    Euro,
    Pound,
    Rupee,
    Yuan,
    Yen,
}

/// A unit: its symbols, its names in lower case (singular; an `s` may follow), its factor to base units as (numerator,
/// denominator) and its dimension as exponents of base units.
pub(super) struct Row {
    pub symbols: &'static [&'static str],
    pub names: &'static [&'static str],
    pub factor: (i64, i64),
    pub dimension: &'static [(Base, i8)],
    /// Whether the unit can have SI prefixes.
    pub prefixed: bool,
}

const fn row(
    symbols: &'static [&'static str],
    names: &'static [&'static str],
    factor: (i64, i64),
    dimension: &'static [(Base, i8)],
    prefixed: bool,
) -> Row {
    Row { symbols, names, factor, dimension, prefixed }
}

use Base::{
    Ampere as A, Bit, Candela as Cd, Dollar, Euro, Kelvin as K, Kilogram as Kg, Metre as M, Mole, Month, Pound, Radian,
    Rupee, Second as S, Yen, Yuan,
};

const LENGTH: &[(Base, i8)] = &[(M, 1)];
const AREA: &[(Base, i8)] = &[(M, 2)];
const VOLUME: &[(Base, i8)] = &[(M, 3)];
const MASS: &[(Base, i8)] = &[(Kg, 1)];
const TIME: &[(Base, i8)] = &[(S, 1)];
const SPEED: &[(Base, i8)] = &[(M, 1), (S, -1)];
const ENERGY: &[(Base, i8)] = &[(M, 2), (Kg, 1), (S, -2)];
const POWER: &[(Base, i8)] = &[(M, 2), (Kg, 1), (S, -3)];
const PRESSURE: &[(Base, i8)] = &[(M, -1), (Kg, 1), (S, -2)];
const FORCE: &[(Base, i8)] = &[(M, 1), (Kg, 1), (S, -2)];

/// All units.
pub(super) const ROWS: &[Row] = &[
    row(&["m"], &["meter", "metre", "metro", "mètre", "米"], (1, 1), LENGTH, true),
    row(&["公里"], &["千米"], (1000, 1), LENGTH, false),
    row(&["厘米"], &[], (1, 100), LENGTH, false),
    row(&["毫米"], &[], (1, 1000), LENGTH, false),
    row(&["in", "″"], &["inch", "inche"], (254, 10_000), LENGTH, false),
    row(&["ft"], &["foot", "feet"], (3048, 10_000), LENGTH, false),
    row(&["yd"], &["yard"], (9144, 10_000), LENGTH, false),
    row(&["mi"], &["mile"], (1_609_344, 1000), LENGTH, false),
    row(&["nmi"], &["nautical mile"], (1852, 1), LENGTH, false),
    row(&["au", "AU"], &["astronomical unit"], (149_597_870_700, 1), LENGTH, false),
    row(&["Å"], &["angstrom", "ångström"], (1, 10_000_000_000), LENGTH, false),
    row(&["ha"], &["hectare"], (10_000, 1), AREA, false),
    row(&["ac"], &["acre"], (40_468_564_224, 10_000_000), AREA, false),
    row(&["L", "l", "ℓ"], &["liter", "litre", "litro", "升"], (1, 1000), VOLUME, true),
    row(&["毫升"], &[], (1, 1_000_000), VOLUME, false),
    row(&["cc"], &[], (1, 1_000_000), VOLUME, false),
    row(&["gal"], &["gallon"], (3_785_411_784, 1_000_000_000_000), VOLUME, false),
    row(&["qt"], &["quart"], (946_352_946, 1_000_000_000_000), VOLUME, false),
    row(&["pt"], &["pint"], (473_176_473, 1_000_000_000_000), VOLUME, false),
    row(&[], &["cup"], (2_365_882_365, 10_000_000_000_000), VOLUME, false),
    row(&[], &["fluid ounce"], (295_735_295_625, 10_000_000_000_000_000), VOLUME, false),
    row(&["g"], &["gram", "gramme", "gramm", "gramo", "克"], (1, 1000), MASS, true),
    row(&["公斤"], &["千克", "kilo"], (1, 1), MASS, false),
    row(&["t"], &["tonne", "metric ton", "吨"], (1000, 1), MASS, false),
    row(&["lb", "lbs"], &["pound"], (45_359_237, 100_000_000), MASS, false),
    row(&["oz"], &["ounce"], (45_359_237, 1_600_000_000), MASS, false),
    row(&["s", "sec", "secs"], &["second", "seconde", "sekunde", "segundo", "秒"], (1, 1), TIME, true),
    row(&["min", "mins"], &["minute", "minuto", "分钟"], (60, 1), TIME, false),
    row(&["h", "hr", "hrs"], &["hour", "heure", "hora", "stunde", "小时"], (3600, 1), TIME, false),
    row(&["d"], &["day", "jour", "tag", "天"], (86_400, 1), TIME, false),
    row(&["wk"], &["week"], (604_800, 1), TIME, false),
    row(&["mo"], &["month"], (1, 1), &[(Month, 1)], false),
    row(&["yr", "yrs"], &["year"], (12, 1), &[(Month, 1)], false),
    row(&["A"], &["ampere", "amp"], (1, 1), &[(A, 1)], true),
    row(&["K"], &["kelvin"], (1, 1), &[(K, 1)], true),
    row(&["mol"], &["mole"], (1, 1), &[(Mole, 1)], true),
    row(&["cd"], &["candela"], (1, 1), &[(Cd, 1)], true),
    row(&["rad"], &["radian"], (1, 1), &[(Radian, 1)], true),
    row(&["Hz"], &["hertz"], (1, 1), &[(S, -1)], true),
    row(&["N"], &["newton"], (1, 1), FORCE, true),
    row(&["dyn"], &["dyne"], (1, 100_000), FORCE, false),
    row(&["lbf"], &[], (44_482_216_152_605, 10_000_000_000_000), FORCE, false),
    row(&["Pa"], &["pascal"], (1, 1), PRESSURE, true),
    row(&["bar"], &["bar"], (100_000, 1), PRESSURE, true),
    row(&["atm"], &["atmosphere"], (101_325, 1), PRESSURE, false),
    row(&["Torr", "torr"], &[], (101_325, 760), PRESSURE, false),
    row(&["J"], &["joule"], (1, 1), ENERGY, true),
    row(&["Wh"], &["watt hour", "watt-hour"], (3600, 1), ENERGY, true),
    row(&["cal"], &["calorie"], (4184, 1000), ENERGY, true),
    row(&["erg"], &[], (1, 10_000_000), ENERGY, false),
    row(&["W"], &["watt"], (1, 1), POWER, true),
    row(&["C"], &["coulomb"], (1, 1), &[(A, 1), (S, 1)], true),
    row(&["V"], &["volt"], (1, 1), &[(M, 2), (Kg, 1), (S, -3), (A, -1)], true),
    row(&["F"], &["farad"], (1, 1), &[(M, -2), (Kg, -1), (S, 4), (A, 2)], true),
    row(&["Ω", "Ω"], &["ohm"], (1, 1), &[(M, 2), (Kg, 1), (S, -3), (A, -2)], true),
    row(&["S"], &["siemens"], (1, 1), &[(M, -2), (Kg, -1), (S, 3), (A, 2)], true),
    row(&["Wb"], &["weber"], (1, 1), &[(M, 2), (Kg, 1), (S, -2), (A, -1)], true),
    row(&["T"], &["tesla"], (1, 1), &[(Kg, 1), (S, -2), (A, -1)], true),
    row(&["H"], &["henry"], (1, 1), &[(M, 2), (Kg, 1), (S, -2), (A, -2)], true),
    row(&["bit"], &["bit"], (1, 1), &[(Bit, 1)], false),
    row(&["B"], &["byte"], (8, 1), &[(Bit, 1)], true),
    row(&["mph"], &[], (1_609_344, 3_600_000), SPEED, false),
    row(&["kph", "kmh", "km/h"], &[], (1000, 3600), SPEED, false),
    row(&["kn"], &["knot"], (1852, 3600), SPEED, false),
    row(&["$", "USD", "usd"], &["dollar", "buck"], (1, 1), &[(Dollar, 1)], false),
    row(&["¢"], &["cent"], (1, 100), &[(Dollar, 1)], false),
    row(&[], &["penny", "pennie"], (1, 100), &[(Dollar, 1)], false),
    row(&[], &["nickel"], (5, 100), &[(Dollar, 1)], false),
    row(&[], &["dime"], (10, 100), &[(Dollar, 1)], false),
    row(&["€", "EUR"], &["euro"], (1, 1), &[(Euro, 1)], false),
    row(&["£", "GBP"], &[], (1, 1), &[(Pound, 1)], false),
    row(&["₹", "INR", "Rs", "rs"], &["rupee"], (1, 1), &[(Rupee, 1)], false),
    row(&["元", "CNY", "RMB"], &["yuan"], (1, 1), &[(Yuan, 1)], false),
    row(&["¥", "￥", "JPY"], &["yen"], (1, 1), &[(Yen, 1)], false),
];

/// SI prefixes: symbol (empty for a second spelling of a name), name, power of ten.
pub(super) const PREFIXES: &[(&str, &str, i32)] = &[
    ("da", "deca", 1),
    ("", "deka", 1),
    ("T", "tera", 12),
    ("G", "giga", 9),
    ("M", "mega", 6),
    ("k", "kilo", 3),
    ("h", "hecto", 2),
    ("d", "deci", -1),
    ("c", "centi", -2),
    ("m", "milli", -3),
    ("µ", "micro", -6),
    ("n", "nano", -9),
    ("p", "pico", -12),
    ("f", "femto", -15),
];

/// Symbols in the wrong case whose meaning is clear, with the right symbol. `MG` and `mM` are not clear.
pub(super) const MISCASED: &[(&str, &str)] = &[
    ("KM", "km"),
    ("Km", "km"),
    ("CM", "cm"),
    ("Cm", "cm"),
    ("KG", "kg"),
    ("Kg", "kg"),
    ("ML", "mL"),
    ("Ml", "mL"),
    ("KW", "kW"),
    ("Kw", "kW"),
    ("kw", "kW"),
    ("kwh", "kWh"),
    ("Kwh", "kWh"),
    ("KWh", "kWh"),
    ("KWH", "kWh"),
    ("kWH", "kWh"),
    ("hz", "Hz"),
    ("khz", "kHz"),
    ("KHz", "kHz"),
    ("pa", "Pa"),
    ("kpa", "kPa"),
    ("KPa", "kPa"),
    ("Kj", "kJ"),
    ("KJ", "kJ"),
    ("kj", "kJ"),
    ("Ft", "ft"),
    ("FT", "ft"),
    ("In", "in"),
    ("Lb", "lb"),
    ("Lbs", "lb"),
    ("LBS", "lb"),
    ("Hr", "h"),
    ("Hrs", "h"),
    ("Min", "min"),
    ("Sec", "s"),
    ("MPH", "mph"),
    ("Mph", "mph"),
    ("KPH", "kph"),
    ("usd", "USD"),
];
