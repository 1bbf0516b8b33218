//! Check digits. All functions take digit values (0 to 9).

/// Luhn check (ISO/IEC 7812-1): every second digit from the right is doubled; the digit sum must be divisible by 10.
pub(super) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits.iter().rev().enumerate().map(|(at, &digit)| luhn_part(at % 2 == 1, digit)).sum();
    sum.is_multiple_of(10)
}

fn luhn_part(doubled: bool, digit: u8) -> u32 {
    let value = u32::from(digit) << u32::from(doubled);
    if value > 9 { value - 9 } else { value }
}

/// The sum of digits times weights, over the length of the shorter list.
pub(super) fn weighted(digits: &[u8], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(&digit, &weight)| u32::from(digit) * weight).sum()
}

/// The digits as one number; at most 19 digits.
pub(super) fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |number, &digit| number * 10 + u64::from(digit))
}

/// Verhoeff check over the dihedral group D5 (J. Verhoeff, Error Detecting Decimal Codes, 1969).
pub(super) fn verhoeff(digits: &[u8]) -> bool {
    const PERMUTATION: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let mut check = 0u8;
    for (at, &digit) in digits.iter().rev().enumerate() {
        let mut value = digit;
        for _ in 0..at % 8 {
            value = PERMUTATION[value as usize];
        }
        check = dihedral(check, value);
    }
    check == 0
}

/// The product in D5: 0 to 4 are rotations, 5 to 9 reflections.
fn dihedral(a: u8, b: u8) -> u8 {
    match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => 5 + (a + b - 5) % 5,
        (false, true) => 5 + (a - 5 + 5 - b) % 5,
        (false, false) => (a + 5 - b) % 5,
    }
}

/// Check of ISO 7064 MOD 11,10 (used by the German tax number).
pub(super) fn mod_11_10(digits: &[u8]) -> bool {
    let Some((&check, rest)) = digits.split_last() else { return false };
    let mut product = 10u32;
    for &digit in rest {
        let sum = (u32::from(digit) + product) % 10;
        product = (if sum == 0 { 10 } else { sum } * 2) % 11;
    }
    (11 - product) % 10 == u32::from(check)
}

/// The remainder modulo 97 of digits and letters, where letters count 10 to 35 (ISO 13616, ISO 7064 MOD 97-10).
pub(super) fn mod_97(text: impl Iterator<Item = u8>) -> u32 {
    text.fold(0, |rest, byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        _ => (rest * 100 + u32::from(byte.to_ascii_uppercase().wrapping_sub(b'A')) + 10) % 97,
    })
}

/// Check of EAN-13: weights 1 and 3 from the left.
pub(super) fn ean_13(digits: &[u8]) -> bool {
    digits.len() == 13 && weighted(digits, &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1]).is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digits(text: &str) -> Vec<u8> {
        text.bytes().filter(u8::is_ascii_digit).map(|byte| byte - b'0').collect()
    }

    /// Examples from the standards and from documents of the authorities.
    #[test]
    fn published_examples() {
        assert!(luhn(&digits("79927398713")) && !luhn(&digits("79927398710")));
        assert!(verhoeff(&digits("2363")) && !verhoeff(&digits("2364")));
        assert!(mod_11_10(&digits("86095742719")) && !mod_11_10(&digits("86095742710")));
        assert_eq!(mod_97("WEST12345698765432GB82".bytes()), 1);
        assert!(ean_13(&digits("4006381333931")) && !ean_13(&digits("4006381333930")));
    }

    /// Every wrong digit is detected, and every swap of neighbouring digits, except 09 and 90 with Luhn.
    #[test]
    fn single_errors_are_noticed() {
        let right = digits("236364782190");
        let right: Vec<u8> = (0..10).map(|check| [&right[..], &[check]].concat()).find(|all| verhoeff(all)).unwrap();
        for at in 0..right.len() {
            for digit in (0..10).filter(|&digit| digit != right[at]) {
                let mut wrong = right.clone();
                wrong[at] = digit;
                assert!(!verhoeff(&wrong));
            }
            let mut wrong = right.clone();
            wrong.swap(at, (at + 1) % right.len());
            assert!(at + 1 == right.len() || wrong == right || !verhoeff(&wrong), "{at}");
        }
    }
}
