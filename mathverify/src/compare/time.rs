//! Times of day: `6:30 PM` equals `18:30`.

use std::sync::LazyLock;

use regex::Regex;

use crate::pattern::pattern;
use crate::verdict::{Outcome, Tier};

/// A time of day.
struct Time {
    /// Minutes from midnight.
    minutes: u32,
    /// Whether the half of the day is known: stated as am or pm, or the hour is 0 or above 12.
    half: bool,
    /// Whether words show that the text is a time: `13:30` alone may be a ratio.
    said: bool,
}

/// Reads a text that is a time of day; `None` for any other text.
fn read(text: &str) -> Option<Time> {
    static TIME: LazyLock<Regex> = LazyLock::new(|| {
        pattern(r"(?i)^(?:at\s+)?(\d{1,2})(?:\s*[:h]\s*([0-5]\d))?(?:\s*(?:([ap])\.?\s?m\.?|(o'clock|uhr|hrs|h)))?$")
    });
    if text.len() > 60 || !text.bytes().any(|b| b.is_ascii_digit()) {
        return match text.trim().to_lowercase().as_str() {
            "noon" | "midday" => Some(Time { minutes: 720, half: true, said: true }),
            "midnight" => Some(Time { minutes: 0, half: true, said: true }),
            _ => None,
        };
    }
    let plain = text.replace(['$', '{', '}'], "").replace("\\text", "").replace("\\mathrm", "").replace("\\ ", " ");
    let plain = plain.replace("\\,", " ").replace("\\:", "").replace('~', " ");
    let plain = plain.trim().trim_end_matches('。').trim();
    let found = TIME.captures(plain)?;
    let hours: u32 = found[1].parse().ok()?;
    let minutes: Option<u32> = found.get(2).and_then(|m| m.as_str().parse().ok());
    let half = found.get(3).map(|m| m.as_str().eq_ignore_ascii_case("p"));
    match half {
        Some(afternoon) if (1..=12).contains(&hours) => {
            let hours = hours % 12 + if afternoon { 12 } else { 0 };
            Some(Time { minutes: hours * 60 + minutes.unwrap_or(0), half: true, said: true })
        }
        // `18:30 pm` and a number alone are not read as times.
        None if hours < 24 => {
            Some(Time { minutes: hours * 60 + minutes?, half: hours == 0 || hours > 12, said: found.get(4).is_some() })
        }
        _ => None,
    }
}

/// Compares two times of day; `None` if a side is no time of day, if a side's half of the day is not known, or if both
/// sides may be ratios.
pub(super) fn compare(pred: &str, gold: &str) -> Option<Outcome> {
    let (p, g) = (read(pred)?, read(gold)?);
    if !p.half || !g.half || !(p.said || g.said) {
        return None;
    }
    Some(if p.minutes == g.minutes {
        Outcome::equal(Tier::Structure, "the same time of day")
    } else {
        Outcome::different(Tier::Structure, "different times of day")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_of_the_day() {
        let equal = |a, b| compare(a, b).map(|o| o.is_equal());
        for (a, b) in [
            ("6:30 PM", "18:30"),
            ("6 pm", "18:00"),
            ("12:05 a.m.", "0:05"),
            ("6 \\text{ pm}", "6:00 p.m."),
            ("12 pm", "noon"),
        ] {
            assert_eq!(equal(a, b), Some(true), "{a} = {b}");
        }
        for (a, b) in [("6 am", "6 pm"), ("6:30 PM", "16:30"), ("12 am", "noon"), ("at 6 am", "at 6 pm")] {
            assert_eq!(equal(a, b), Some(false), "{a} = {b}");
        }
        // `3:00` may be in either half of the day, and `15:20` may be a ratio.
        for (a, b) in [("3:00", "3:00 pm"), ("6", "6 pm"), ("4:15", "4:15"), ("15:20", "18:24")] {
            assert_eq!(equal(a, b), None, "{a} = {b}");
        }
    }
}
