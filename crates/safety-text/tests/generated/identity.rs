//! Generates identity numbers of countries. Check digits are found by trying all values with an independent implementation.

use super::{Random, fill, pick};
use rand::RngExt;

type Frames = &'static [&'static str];

/// The kind that was generated, sentences for it, and the number.
pub fn identity(random: &mut Random) -> (&'static str, Frames, String) {
    const ALONE: Frames = &["Her number is {}.", "{}", "ID: {}", "({}), born in Rome", "national id {}"];
    let day = format!("{:02}", random.random_range(1..29));
    let month = format!("{:02}", random.random_range(1..13));
    let year = format!("{:02}", random.random_range(40..100));
    match random.random_range(0..15) {
        0 => {
            let number = random.random_range(1_000_000..99_999_999u64);
            let letter = b"TRWAGMYFPDXBNJZSQVHLCKE"[(number % 23) as usize] as char;
            let dash = pick(random, &["", "-"]);
            ("es-dni", &["DNI {}", "DNI: {}", "Su DNI es {}."], format!("{number:08}{dash}{letter}"))
        }
        1 => {
            let first = random.random_range(0..3u64);
            let number = random.random_range(0..10_000_000u64);
            let letter = b"TRWAGMYFPDXBNJZSQVHLCKE"[((first * 10_000_000 + number) % 23) as usize] as char;
            ("es-nie", ALONE, format!("{}{number:07}{letter}", ["X", "Y", "Z"][first as usize]))
        }
        2 => {
            let letter = pick(random, &["A", "B", "C", "D", "E", "H", "L", "M", "P", "R", "S", "T"]);
            let body = fill(random, &format!("§§§§§§{year}{letter}{day}§###"));
            ("it-codice-fiscale", ALONE, format!("{body}{}", fiscal_letter(&body)))
        }
        3 => {
            let sex = pick(random, &["1", "2"]);
            let number = fill(random, &format!("{sex}{year}{month}¹#¹##¹##"));
            let key = 97 - number.parse::<u64>().unwrap() % 97;
            let (a, b, c, d, e, f) =
                (&number[..1], &number[1..3], &number[3..5], &number[5..7], &number[7..10], &number[10..]);
            let text = if random.random_bool(0.5) {
                format!("{a} {b} {c} {d} {e} {f} {key:02}")
            } else {
                format!("{number}{key:02}")
            };
            ("fr-nir", ALONE, text)
        }
        4 => {
            let body = loop {
                // One digit occurs twice or three times, the others at most once.
                let body = fill(random, "¹#########");
                let counts: Vec<usize> = ('0'..='9').map(|digit| body.matches(digit).count()).collect();
                if counts.iter().filter(|&&n| n > 1).count() == 1 && counts.iter().all(|&n| n < 4) {
                    break body;
                }
            };
            let number = complete(&body, |all| {
                // ISO 7064 MOD 11,10, by the recursion of the standard.
                let last = all.len() - 1;
                let product = all[..last].iter().fold(10, |p, &d| {
                    let s = (p + d) % 10;
                    (if s == 0 { 10 } else { s }) * 2 % 11
                });
                (product + all[last]) % 10 == 1
            });
            let text = if random.random_bool(0.4) { super::group(&number, &[2, 3, 3, 3], " ") } else { number };
            ("de-steuer-id", &["Steuer-ID: {}", "Steueridentifikationsnummer {}", "Die IdNr. ist {}."], text)
        }
        5 => {
            let number = loop {
                let body = fill(random, "¹########");
                let sum: i64 =
                    body.bytes().zip([9, 8, 7, 6, 5, 4, 3, 2, -1]).map(|(b, w)| i64::from(b - b'0') * w).sum();
                if sum % 11 == 0 {
                    break body;
                }
            };
            ("nl-bsn", &["BSN {}", "burgerservicenummer: {}", "Zijn BSN is {}."], number)
        }
        6 => {
            let body = fill(random, "#########");
            let digits: Vec<u64> = body.bytes().map(|b| u64::from(b - b'0')).collect();
            let check = |digits: &[u64]| {
                let n = digits.len() as u64;
                let sum: u64 = digits.iter().enumerate().map(|(i, d)| d * (n + 1 - i as u64)).sum();
                if sum % 11 < 2 { 0 } else { 11 - sum % 11 }
            };
            let first = check(&digits);
            let second = check(&[&digits[..], &[first]].concat());
            let text = format!("{}.{}.{}-{first}{second}", &body[..3], &body[3..6], &body[6..]);
            ("br-cpf", ALONE, text)
        }
        7 => {
            let number = complete(&format!("{year}{month}{day}{}", fill(random, "####")), |all| {
                all.iter().zip([1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1]).map(|(d, w)| d * w).sum::<u32>() % 10 == 0
            });
            ("pl-pesel", &["PESEL {}", "PESEL: {}", "Mój PESEL to {}."], number)
        }
        8 => {
            let body = fill(random, &format!("######19{year}{month}{day}###"));
            // The sum of the digits times powers of two, modulo 11.
            let sum: u64 =
                body.bytes().enumerate().map(|(at, b)| u64::from(b - b'0') * ((1u64 << (17 - at)) % 11)).sum();
            let check = (12 - sum % 11) % 11;
            (
                "cn-resident-id",
                &["身份证号{}", "{}", "ID {}"],
                format!("{body}{}", if check == 10 { "X".into() } else { check.to_string() }),
            )
        }
        9 => {
            let body = format!("{year}{month}{day}{}", fill(random, "###"));
            let number = (0..10)
                .map(|check| format!("{body}{check}"))
                .find(|all| super::entities::luhn_by_strings(all))
                .unwrap();
            ("se-personnummer", ALONE, format!("{}-{}", &number[..6], &number[6..]))
        }
        10 => {
            let serial = random.random_range(2..900);
            let number: u64 = format!("{day}{month}{year}{serial:03}").parse().unwrap();
            let check = "0123456789ABCDEFHJKLMNPRSTUVWXY".chars().nth((number % 31) as usize).unwrap();
            ("fi-hetu", ALONE, format!("{day}{month}{year}-{serial:03}{check}"))
        }
        11 => {
            let body = format!("756{}", fill(random, "#########"));
            let number = complete(&body, |all| {
                all.iter().enumerate().map(|(at, d)| d * (1 + at as u32 % 2 * 2)).sum::<u32>() % 10 == 0
            });
            ("ch-ahv", ALONE, super::group(&number, &[3, 4, 4, 2], "."))
        }
        12 => {
            let first = format!("{year}{month}{day}{}", fill(random, "###"));
            let key = 97 - first.parse::<u64>().unwrap() % 97;
            let text = format!("{year}.{month}.{day}-{}.{key:02}", &first[6..]);
            ("be-national-number", ALONE, text)
        }
        13 => {
            let (prefix, last) = (pick(random, &["AB", "CE", "JK", "PW", "SX"]), pick(random, &["A", "B", "C", "D"]));
            let text = fill(random, &format!("{prefix} ## ## ## {last}"));
            let text = if random.random_bool(0.5) { text.replace(' ', "") } else { text };
            ("gb-nino", &["National Insurance number {}", "NI number: {}", "NINO {}"], text)
        }
        _ => {
            let digits = fill(random, "#######");
            let sum: u32 = digits.bytes().zip([2, 7, 6, 5, 4, 3, 2]).map(|(b, w)| u32::from(b - b'0') * w).sum();
            let letter = "JZIHGFEDCBA".chars().nth((sum % 11) as usize).unwrap();
            ("sg-nric", &["NRIC {}", "national id {}", "{}"], format!("S{digits}{letter}"))
        }
    }
}

/// Adds the check digit that makes the body valid. If no digit does, tries another body with the same beginning.
fn complete(body: &str, fits: impl Fn(&[u32]) -> bool) -> String {
    let right = |body: &str| {
        (0..10)
            .map(|check| format!("{body}{check}"))
            .find(|all| fits(&all.chars().map(|c| c.to_digit(10).unwrap()).collect::<Vec<_>>()))
    };
    right(body).unwrap_or_else(|| panic!("no check digit fits {body}"))
}

/// The check letter from the two tables of the decree, written as pairs.
fn fiscal_letter(body: &str) -> char {
    let odd = |c: char| {
        let table = "0=1 1=0 2=5 3=7 4=9 5=13 6=15 7=17 8=19 9=21 A=1 B=0 C=5 D=7 E=9 F=13 G=15 H=17 I=19 J=21 K=2 L=4 M=18 N=20 \
                     O=11 P=3 Q=6 R=8 S=12 T=14 U=16 V=10 W=22 X=25 Y=24 Z=23";
        table.split(' ').find_map(|pair| pair.strip_prefix(c)?.strip_prefix('=')?.parse::<u32>().ok()).unwrap()
    };
    let even = |c: char| c.to_digit(10).unwrap_or_else(|| c as u32 - 'A' as u32);
    let sum: u32 = body.chars().enumerate().map(|(at, c)| if at % 2 == 0 { odd(c) } else { even(c) }).sum();
    char::from(b'A' + (sum % 26) as u8)
}
