//! Payment cards: issuer ranges and lengths, and the Luhn check.

use super::checksums::{ean_13, luhn, number};
use super::context::Topic;
use super::digits::{Cluster, Near, Sep};
use super::{Finding, Kind, Rule};

static ISSUER: Rule =
    Rule { name: "card-issuer", kind: Kind::Card, checks: "length and range of an issuer, Luhn", score: 0.8 };
static CONTEXT: Rule = Rule { name: "card-context", kind: Kind::Card, checks: "12 to 19 digits, Luhn", score: 0.4 };

/// Finds a card number at the start of the cluster.
pub(super) fn find<'a>(cluster: &Cluster, context: &impl Near<'a>) -> Option<Finding> {
    for count in (1..=cluster.count().min(5)).rev() {
        let digits = cluster.digits(count);
        if !(12..=19).contains(&digits.len()) || !cluster.ends(count) || !is_grouped(cluster, count) || !luhn(digits) {
            continue;
        }
        if digits.iter().all(|&digit| digit == digits[0]) {
            continue;
        }
        // The group belongs to neighbouring groups of the same length.
        if count > 1 && (count < 4 && cluster.has_same_behind(count) || cluster.has_same_before(count)) {
            continue;
        }
        // Four groups of four with further groups may be part of a table of numbers.
        if count > 1 && cluster.goes_on(count) && cluster.count() > count + 1 && cluster.has_lengths(&[4; 6]) {
            continue;
        }
        let (start, end) = (cluster.group(0).0, cluster.end(count));
        let near = context(end);
        let word = near.says(Topic::Card);
        let is_thing = near.is_thing(&[Topic::Card]);
        let is_issued = is_issued(digits) && !is_thing && !(digits.len() == 13 && ean_13(digits));
        let rule = match word {
            _ if is_issued => &ISSUER,
            Some(_) => &CONTEXT,
            None => continue,
        };
        return Some(Finding { start, end, rule, context: word });
    }
    None
}

/// Whether the digits are one group, or several groups of card-like lengths with the same separator.
fn is_grouped(cluster: &Cluster, count: usize) -> bool {
    let seps = cluster.seps(count);
    let same = seps.iter().all(|sep| *sep == seps[0] && matches!(sep, Sep::Space | Sep::Dash | Sep::Dot));
    let lengths: Vec<usize> = cluster.lengths(count).collect();
    count == 1 || same && (lengths[0] == 4 || lengths[0] == 6) && lengths.iter().all(|length| (1..=13).contains(length))
}

/// Whether an issuer has cards of this length in this range (ISO/IEC 7812). Former ranges of Diners Club, JCB and Maestro are
/// included, because older texts contain them.
fn is_issued(digits: &[u8]) -> bool {
    let first = |count: usize| number(&digits[..count]);
    let (two, three, four, six) = (first(2), first(3), first(4), first(6));
    let length = digits.len();
    match length {
        16 if (51..=55).contains(&two) || (2221..=2720).contains(&four) => true, // Mastercard
        13 | 16 | 19 if digits[0] == 4 => true,                                  // Visa
        15 if two == 34 || two == 37 => true,                                    // American Express
        14..=19 if (300..=305).contains(&three) || two == 36 || two == 38 || two == 39 => length == 14 || length >= 16,
        16..=19 if four == 6011 || (644..=649).contains(&three) || two == 65 => true, // Discover
        16..=19 if (622_126..=622_925).contains(&six) || two == 62 => true,           // UnionPay
        15 if four == 2131 || four == 1800 => true,                                   // JCB
        16..=19 if (3528..=3589).contains(&four) => true,
        16 if two == 35 => true,
        16 if (2200..=2204).contains(&four) => true, // Mir
        12..=19 if matches!(four, 5018 | 5020 | 5038 | 5893 | 6304 | 6759 | 6761..=6763 | 604 | 6390) => true, // Maestro
        12..=19 if (56..=58).contains(&two) => true,
        16 if two == 60 || two == 81 || two == 82 => matches!(three, 606..=608) || two > 80, // RuPay, Hipercard
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::pii::{Kind, Pii};

    #[test]
    fn ranges_lengths_and_words() {
        let finds = |text: &str| Pii::new(&[Kind::Card]).find(text).len();
        // Test numbers that the card networks publish.
        for card in
            ["4111 1111 1111 1111", "5555555555554444", "3782-822463-10005", "2223003122003222", "30569309025904"]
        {
            assert_eq!(finds(&format!("paid with {card} today")), 1, "{card}");
        }
        assert_eq!(finds("4111 1111 1111 1112"), 0, "Luhn");
        assert_eq!(finds("x.4111111111111111.5"), 0, "goes on");
        // The Luhn check fails for the whole number and holds for its last three groups.
        assert_eq!(finds("card 4000 4111 1111 1111"), 0, "a part of a number is none");
        assert_eq!(finds("order 4111111111111111"), 0, "an order");
        assert_eq!(finds("order 17, card 4111111111111111"), 1, "the card is nearer");
        // The Luhn check holds, but no issuer has the range.
        assert_eq!((finds("79927398713008"), finds("card: 9792 7398 7130 0005")), (0, 0));
        assert_eq!(finds("card: 9792 7398 7130 0006"), 1);
        assert_eq!(finds("ratio 0.4111111111111111"), 0);
    }
}
