//! Generates personal data within sentences.

use super::{Piece, Random, fill, group, identity, pick};
use rand::RngExt;

/// Sentences with `{}` in place of the data.
fn frame(random: &mut Random, frames: &[&str]) -> (String, String) {
    let frame = pick(random, frames);
    let (before, after) = frame.split_once("{}").unwrap();
    (before.to_owned(), after.to_owned())
}

pub fn piece(random: &mut Random) -> Piece {
    let (frames, kind, made, text): (&[&str], _, _, _) = match random.random_range(0..20) {
        0..4 => (&EMAIL, "email", "email", email(random)),
        4..8 => {
            let (made, text) = phone(random);
            // Digits in one piece are not evidence by themselves, so they need a sentence with a word for them.
            let bare = text.bytes().all(|byte| byte.is_ascii_digit());
            (if bare || random.random_bool(0.6) { &PHONE[..] } else { &PLAIN[..] }, "phone", made, text)
        }
        8..11 => {
            let (made, text) = card(random);
            (if random.random_bool(0.7) { &CARD[..] } else { &PLAIN[..] }, "card", made, text)
        }
        11..13 => (&IBAN, "iban", "iban", iban(random)),
        13..15 => {
            let (text, bare) = ssn(random);
            (if bare || random.random_bool(0.6) { &SSN[..] } else { &PLAIN[..] }, "ssn", "ssn", text)
        }
        15..17 => {
            let (made, frames, text) = identity::identity(random);
            (frames, "id", made, text)
        }
        17..19 => {
            let text = ip(random);
            // In an address with a port, IPv6 is in brackets.
            (if text.contains(':') { &IPV6[..] } else { &IP[..] }, "ip", "ip", text)
        }
        _ => {
            let (made, text) = secret(random);
            (&SECRET, "secret", made, text)
        }
    };
    let (before, after) = frame(random, frames);
    Piece { before, data: Some((kind, made, text)), after }
}

const PLAIN: [&str; 6] =
    ["That is {}, she said.", "({})", "{}", "He left this note: {}.", "Name: Kim Lee; {}; Berlin", "→ {} ←"];
const EMAIL: [&str; 8] = [
    "Write to {}.",
    "E-Mail: {}",
    "<{}>",
    "Bitte an {} schicken, danke!",
    "联系我：{}。",
    "mailto:{}?subject=Hello",
    "{\"user\": \"{}\"}",
    "From: Kim Lee <{}>, Monday",
];
const PHONE: [&str; 12] = [
    "Call me at {} after six.",
    "Phone: {}",
    "Tel. {}",
    "Telefon {}, bitte nach 18 Uhr.",
    "Mon portable: {}",
    "Mi teléfono es {}.",
    "Cellulare {}",
    "Telefone: {}.",
    "电话：{}",
    "携帯 {}",
    "You can reach me on my mobile, {}, any time.",
    "Fax {}",
];
const CARD: [&str; 6] = [
    "My card number is {}.",
    "Paid by Visa {}, thank you",
    "Kreditkarte {}",
    "credit card: {} exp 04/27",
    "Carte bancaire {}",
    "tarjeta {}",
];
const IBAN: [&str; 5] = ["IBAN {}", "Please transfer it to {}.", "Konto: {}, danke", "{}", "账号 {}。"];
const SSN: [&str; 4] = ["SSN: {}", "Her social security number is {}.", "ssn {}", "Social Security No. {}"];
const IP: [&str; 7] = [
    "Login from {} failed.",
    "client {} - - GET /",
    "The address {} was blocked.",
    "ping {}",
    "{}:443",
    "http://{}/index.html",
    "IP: {}",
];
const IPV6: [&str; 6] = [
    "Login from {} failed.",
    "client {} - - GET /",
    "The address {} was blocked.",
    "[{}]:443",
    "http://[{}]/index.html",
    "IP: {}",
];
const SECRET: [&str; 5] = ["key = \"{}\"", "export TOKEN={}", "Authorization: Bearer {}", "token: {}", "use {} here"];

const FIRST: [&str; 12] =
    ["anna", "jo", "li", "miguel", "priya", "tom", "zoë", "jean-luc", "o.neil", "kim", "x", "maria"];
const LAST: [&str; 10] = ["smith", "garcia", "wang", "müller", "ivanov", "khan", "de-vries", "rossi", "sato", "silva"];
const HOSTS: [&str; 16] = [
    "gmail.com",
    "example.org",
    "mail.example.co.uk",
    "uni-bonn.de",
    "163.com",
    "company.io",
    "post.at",
    "müller.de",
    "a.b.c.example.net",
    "xn--mller-kva.de",
    "hotmail.fr",
    "acme.technology",
    "gov.br",
    "icloud.com",
    "web.de",
    "x.ai",
];

fn email(random: &mut Random) -> String {
    let (first, last, host) = (pick(random, &FIRST), pick(random, &LAST), pick(random, &HOSTS));
    let local = match random.random_range(0..6) {
        0 => format!("{first}.{last}"),
        1 => format!("{first}_{last}"),
        2 => fill(random, &format!("{last}##")),
        3 => format!("{first}+news"),
        4 => fill(random, "user-####"),
        _ => first.to_uppercase(),
    };
    let host = if random.random_bool(0.1) { host.to_uppercase() } else { host.to_owned() };
    format!("{local}@{host}")
}

/// Forms of telephone numbers by country, for [`fill`].
const PHONES: [(&str, &[&str]); 21] = [
    (
        "us",
        &["(²1#) ²##-####", "²0#-²##-####", "²1#.²##.####", "+1-²1#-²##-####", "1-²0#-²##-####", "+1 (²1#) ²##-####"],
    ),
    ("us-extension", &["²1#-²##-####x###", "(²0#)²##-#### ext. ##", "001-²1#-²##-####x#####"]),
    ("us-bare", &["²1#²2#####", "²0#²3#####"]),
    (
        "gb",
        &[
            "+44 20 7### ####",
            "020 7### ####",
            "+44(0)1632 960 ###",
            "(0116) 496 0###",
            "07### ######",
            "+447#########",
            "0161 496 0###",
        ],
    ),
    (
        "de",
        &[
            "+49 30 #######",
            "030/#######",
            "+49 (0)171 #######",
            "0171-#######",
            "(089) ########",
            "+4989########",
            "0049 221 #######",
            "040 ### ## ##",
        ],
    ),
    ("de-bare", &["030#######", "0171########"]),
    (
        "fr",
        &[
            "01 ¹# ## ## ##",
            "+33 6 ¹# ## ## ##",
            "06.¹#.##.##.##",
            "+33 (0)1 ¹# ## ## ##",
            "+336########",
            "0033 1 ¹# ## ## ##",
        ],
    ),
    ("es", &["+34 6## ### ###", "+34 91# ## ## ##", "+346########"]),
    ("it", &["+39 06 ########", "+39 3## #######", "+39 02 ### ####", "06-########"]),
    ("br", &["(11) 9####-####", "+55 (011) ####-####", "+55 11 9####-####", "(21) ####-####", "0800 ### ####"]),
    ("nl", &["+31 6 ########", "06-########", "020 ### ####", "+31 (0)20 ### ####"]),
    ("jp", &["03-####-####", "090-####-####", "+81 3 #### ####", "+81-90-####-####"]),
    ("in", &["+91 98### #####", "+91-9#########", "022-########"]),
    ("in-bare", &["98########"]),
    ("cn", &["+86 138 #### ####", "+86 10 #### ####", "010-########"]),
    ("cn-bare", &["138########", "159########"]),
    ("au", &["+61 2 #### ####", "(02) #### ####", "04## ### ###"]),
    ("pl", &["+48 6## ### ###", "+48 22 ### ## ##"]),
    ("se", &["+46 70 ### ## ##", "08-### ### ##", "070-### ## ##"]),
    ("ch", &["+41 44 ### ## ##", "044 ### ## ##", "079 ### ## ##"]),
    ("kr", &["+82 10 #### ####", "010-####-####", "02-####-####"]),
];

fn phone(random: &mut Random) -> (&'static str, String) {
    let (made, forms) = PHONES[random.random_range(0..PHONES.len())];
    let form = pick(random, forms);
    let mut text = fill(random, form);
    if random.random_bool(0.05) {
        text = text.replace(' ', "\u{A0}");
    }
    (made, text)
}

/// Prefixes and lengths of card numbers.
const CARDS: [(&str, &[&str], usize); 11] = [
    ("visa", &["4"], 16),
    ("visa-19", &["4"], 19),
    ("mastercard", &["51", "52", "53", "54", "55"], 16),
    ("mastercard-2", &["2221", "2300", "2550", "2720"], 16),
    ("amex", &["34", "37"], 15),
    ("discover", &["6011", "644", "649", "65"], 16),
    ("jcb", &["3528", "3589", "3540"], 16),
    ("diners", &["300", "305", "36", "38"], 14),
    ("maestro", &["5018", "5020", "6304", "6759", "6761"], 16),
    ("maestro-12", &["5018", "6304", "6762"], 12),
    ("unionpay", &["622126", "622500", "62"], 16),
];

fn card(random: &mut Random) -> (&'static str, String) {
    let (made, beginnings, length) = CARDS[random.random_range(0..CARDS.len())];
    let mut body = pick(random, beginnings).to_owned();
    while body.len() < length - 1 {
        body.push(char::from(b'0' + random.random_range(0..10)));
    }
    let card = (0..10).map(|check| format!("{body}{check}")).find(|card| luhn_by_strings(card)).unwrap();
    let separator = pick(random, &["", " ", "-", " "]);
    let text = match (separator, length) {
        ("", _) => card,
        (_, 15) => group(&card, &[4, 6, 5], separator),
        (_, 14) => group(&card, &[4, 6, 4], separator),
        _ => group(&card, &[4, 4, 4, 4, 3], separator),
    };
    (made, text)
}

/// The Luhn check as described in its inventor's patent: digit sums of the doubled digits.
pub fn luhn_by_strings(number: &str) -> bool {
    let digits = number.chars().rev().enumerate();
    let written: String = digits.map(|(at, c)| (c.to_digit(10).unwrap() * (1 + at as u32 % 2)).to_string()).collect();
    written.chars().map(|c| c.to_digit(10).unwrap()).sum::<u32>() % 10 == 0
}

/// Structure of account numbers by country, as in the IBAN registry.
const ACCOUNTS: [(&str, &str); 24] = [
    ("DE", "##################"),
    ("GB", "§§§§##############"),
    ("FR", "#######################"),
    ("ES", "####################"),
    ("IT", "§######################"),
    ("NL", "§§§§##########"),
    ("BE", "############"),
    ("AT", "################"),
    ("CH", "#################"),
    ("PL", "########################"),
    ("PT", "#####################"),
    ("IE", "§§§§##############"),
    ("DK", "##############"),
    ("SE", "####################"),
    ("NO", "###########"),
    ("FI", "##############"),
    ("CZ", "####################"),
    ("HU", "########################"),
    ("GR", "#######################"),
    ("RO", "§§§§################"),
    ("TR", "######################"),
    ("SA", "####################"),
    ("BR", "#######################§#"),
    ("MT", "§§§§#######################"),
];

fn iban(random: &mut Random) -> String {
    let (country, form) = ACCOUNTS[random.random_range(0..ACCOUNTS.len())];
    let account = fill(random, form);
    // Long division of the written number.
    let written: String =
        format!("{account}{country}00").chars().map(|c| c.to_digit(36).unwrap().to_string()).collect();
    let rest = written.chars().fold(0, |rest, c| (rest * 10 + c.to_digit(10).unwrap()) % 97);
    let iban = format!("{country}{:02}{account}", 98 - rest);
    match random.random_range(0..5) {
        0..2 => group(&iban, &[4; 9], " "),
        2 => group(&iban, &[4; 9], "-"),
        _ => iban,
    }
}

fn ssn(random: &mut Random) -> (String, bool) {
    let area = loop {
        let area = random.random_range(1..900);
        if area != 666 {
            break area;
        }
    };
    let (group, serial) = (random.random_range(1..100), random.random_range(1..10_000));
    if random.random_bool(0.75) {
        (format!("{area:03}-{group:02}-{serial:04}"), false)
    } else {
        (format!("{area:03}{group:02}{serial:04}"), true)
    }
}

fn ip(random: &mut Random) -> String {
    if random.random_bool(0.3) {
        let groups: Vec<String> = (0..7).map(|_| format!("{:x}", random.random_range(0x10..0x10000))).collect();
        let first = pick(random, &["2001:4860", "2a02:8109", "2600:1700", "2404:6800", "2c0f:fb50"]);
        return match random.random_range(0..3) {
            0 => format!("{first}:{}", groups[..6].join(":")),
            1 => format!("{first}::{}", groups[0]),
            _ => format!("{first}:{}::{}", groups[0], groups[1]),
        };
    }
    loop {
        let [a, b, c, d]: [u8; 4] = std::array::from_fn(|_| random.random_range(1..255));
        let private =
            a == 10 || a == 127 || a == 172 && b / 16 == 1 || a == 192 || a == 169 || a == 198 || a == 100 || a == 203;
        if a < 224 && !private {
            return format!("{a}.{b}.{c}.{d}");
        }
    }
}

/// For each service: the prefix of its keys, their alphabet, and the number of further characters.
const KEYS: [(&str, &str, &str, usize); 16] = [
    ("aws", "AKIA", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16),
    ("github", "ghp_", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", 36),
    ("gitlab", "glpat-", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", 20),
    ("slack", "xoxb-", "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", 50),
    ("stripe", "sk_live_", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", 24),
    ("google", "AIza", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", 35),
    ("huggingface", "hf_", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", 34),
    ("npm", "npm_", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", 36),
    ("openai", "sk-", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", 48),
    ("anthropic", "sk-ant-api03-", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", 93),
    ("digitalocean", "dop_v1_", "0123456789abcdef", 64),
    ("pypi", "pypi-AgEIcHlwaS5vcmc", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", 120),
    ("shopify", "shpat_", "0123456789abcdef", 32),
    ("twilio", "SK", "0123456789abcdef", 32),
    ("databricks", "dapi", "0123456789abcdef", 32),
    ("groq", "gsk_", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", 52),
];

fn secret(random: &mut Random) -> (&'static str, String) {
    let mut from = |alphabet: &str, length: usize| -> String {
        (0..length).map(|_| char::from(alphabet.as_bytes()[random.random_range(0..alphabet.len())])).collect()
    };
    const URL: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    let which = from("0123456789", 2).parse::<usize>().unwrap();
    if which < 10 {
        return ("jwt", format!("eyJ{}.eyJ{}.{}", from(URL, 33), from(URL, 70), from(URL, 43)));
    }
    if which < 14 {
        let body: Vec<String> = (0..4).map(|_| from(URL, 64).replace('_', "/")).collect();
        let text = format!("-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----", body.join("\n"));
        return ("private-key", text);
    }
    let (made, prefix, alphabet, length) = KEYS[which % KEYS.len()];
    // The last character is a letter, because a key does not end with a punctuation mark.
    (made, format!("{prefix}{}{}", from(alphabet, length - 1), if alphabet.starts_with('A') { "Q" } else { "d" }))
}
