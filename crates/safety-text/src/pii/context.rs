//! Words near a number that indicate its kind.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

/// The topic that a word indicates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Topic {
    Phone,
    Card,
    Ssn,
    Ip,
    /// Identity numbers of an unspecified country.
    Id,
    /// Identity numbers of a country.
    De,
    Nl,
    Br,
    Ca,
    In,
    Pl,
    Tr,
    Za,
    Au,
    Ie,
    Pt,
    Jp,
    Dk,
    Gb,
    Hk,
    /// Numbers of things: orders, parcels, books, parts.
    Thing,
    /// Versions of software.
    Version,
}

const TOPICS: usize = Topic::Version as usize + 1;

/// The words of each topic, in lower case.
const WORDS: &[(Topic, &[&str])] = &[
    (
        Topic::Phone,
        &[
            "phone",
            "phones",
            "telephone",
            "tel",
            "telefon",
            "telefoon",
            "teléfono",
            "telefono",
            "téléphone",
            "telephone number",
            "telefone",
            "cell",
            "cellphone",
            "cellulare",
            "celular",
            "mobile",
            "mobil",
            "móvil",
            "portable",
            "handy",
            "handynummer",
            "rufnummer",
            "call",
            "call me",
            "fax",
            "whatsapp",
            "signal",
            "sms",
            "text me",
            "dial",
            "hotline",
            "reach me",
            "reach us",
            "ring",
            "contact number",
            "numéro de téléphone",
            "mob",
            "ph",
            "appelez",
            "anrufen",
            "ligar",
            "llamar",
            "llame",
            "chiamare",
            "appeler",
            "rappelez",
            "bel",
            "bellen",
            "teléfonos",
            "telefonnummer",
            "电话",
            "電話",
            "手机",
            "手機",
            "携帯",
            "전화",
            "휴대폰",
            "फोन",
            "मोबाइल",
            "телефон",
            "тел",
            "voicemail",
            "pager",
            "landline",
        ],
    ),
    (
        Topic::Card,
        &[
            "card",
            "cards",
            "credit",
            "debit",
            "visa",
            "mastercard",
            "amex",
            "american express",
            "maestro",
            "discover",
            "diners",
            "jcb",
            "cc",
            "pan",
            "kreditkarte",
            "karte",
            "kartennummer",
            "carte",
            "carte bancaire",
            "tarjeta",
            "carta",
            "cartão",
            "cartao",
            "carta di credito",
            "creditcard",
            "kaart",
            "信用卡",
            "银行卡",
            "カード",
            "카드",
            "kaartnummer",
            "cardholder",
        ],
    ),
    (
        Topic::Ssn,
        &["ssn", "ss#", "social security", "social security number", "social-security", "social", "soc sec", "itin"],
    ),
    (
        Topic::Ip,
        &[
            "ip",
            "ips",
            "ipv4",
            "ipv6",
            "ip-address",
            "address",
            "addr",
            "host",
            "hostname",
            "server",
            "client",
            "login",
            "logged",
            "ping",
            "adresse",
            "dirección",
            "indirizzo",
            "endereço",
            "src",
            "dst",
            "remote",
            "connection",
            "visitor",
        ],
    ),
    (
        Topic::Id,
        &[
            "id number",
            "identity number",
            "identity card",
            "national id",
            "national identification",
            "identification number",
            "id card",
            "id no",
            "personal number",
            "personal id",
            "tax id",
            "tax number",
            "taxpayer",
            "tin",
            "citizen",
            "national insurance",
            "national number",
            "government id",
            "ausweisnummer",
            "personnummer",
            "fiscal code",
            "nid",
        ],
    ),
    (
        Topic::De,
        &[
            "steuer",
            "steuer-id",
            "steueridentifikationsnummer",
            "steuernummer",
            "idnr",
            "steuer-identifikationsnummer",
            "steuerid",
        ],
    ),
    (Topic::Nl, &["bsn", "burgerservicenummer", "sofinummer", "sofi", "burgerservice"]),
    (Topic::Br, &["cpf", "cadastro"]),
    (Topic::Ca, &["sin", "social insurance", "nas", "assurance sociale"]),
    (Topic::In, &["aadhaar", "aadhar", "uidai", "uid", "आधार", "pan", "pan number", "pan card", "permanent account"]),
    (Topic::Pl, &["pesel"]),
    (Topic::Tr, &["tckn", "tc kimlik", "kimlik", "t.c."]),
    (Topic::Za, &["rsa id", "sa id", "south african", "id"]),
    (Topic::Au, &["tfn", "tax file", "medicare"]),
    (Topic::Ie, &["pps", "ppsn", "pps number"]),
    (Topic::Pt, &["nif", "contribuinte", "número fiscal"]),
    (Topic::Jp, &["マイナンバー", "個人番号", "my number"]),
    (Topic::Dk, &["cpr", "cpr-nummer", "personnummer"]),
    (Topic::Gb, &["nino", "national insurance", "ni number", "ni no", "nhs", "nhs number"]),
    (Topic::Hk, &["hkid"]),
    (
        Topic::Thing,
        &[
            "order",
            "orders",
            "invoice",
            "tracking",
            "parcel",
            "shipment",
            "package",
            "isbn",
            "issn",
            "ean",
            "upc",
            "gtin",
            "asin",
            "imei",
            "sku",
            "serial",
            "part",
            "item",
            "model",
            "ticket",
            "case",
            "reference",
            "ref",
            "product",
            "barcode",
            "bestellung",
            "bestellnummer",
            "rechnung",
            "rechnungsnummer",
            "commande",
            "facture",
            "pedido",
            "factura",
            "ordine",
            "fattura",
            "fatura",
            "batch",
            "lot",
            "receipt",
            "transaction",
            "booking",
            "reservation",
            "policy",
            "claim",
            "doi",
            "pmid",
            "arxiv",
            "timestamp",
            "epoch",
            "unix time",
            "seed",
            "checksum",
            "hash",
            "commit",
            "uuid",
            "build",
            "revision",
            "flight",
            "coordinates",
            "oid",
            "artikelnummer",
            "sendungsnummer",
            "pid",
            "offset",
            "size",
            "bytes",
            "id=",
            "quote",
            "catalog",
            "catalogue",
            "patent",
            "docket",
            "meter",
            "vin",
            "container",
        ],
    ),
    (
        Topic::Version,
        &[
            "version",
            "versions",
            "v",
            "ver",
            "release",
            "released",
            "build",
            "firmware",
            "kernel",
            "driver",
            "update",
            "upgrade",
            "upgraded",
            "section",
            "chapter",
            "clause",
            "paragraph",
            "§",
            "figure",
            "table",
            "rev",
            "patch",
            "assembly",
        ],
    ),
];

struct Words {
    automaton: AhoCorasick,
    topics: Vec<Topic>,
    words: Vec<&'static str>,
}

static NEAR: LazyLock<Words> = LazyLock::new(|| {
    let mut topics = Vec::new();
    let mut words = Vec::new();
    for (topic, list) in WORDS {
        for word in *list {
            topics.push(*topic);
            words.push(*word);
        }
    }
    let automaton = AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .match_kind(MatchKind::Standard)
        .build(&words)
        .expect("the words are constants, and a test uses them");
    Words { automaton, topics, words }
});

/// Number of bytes that are searched before and after a number.
const BEFORE: usize = 48;
const AFTER: usize = 16;
/// Added to the distance of a word after the number, compared with a word before it.
const BEHIND: u16 = 16;
/// This many digits between a word and a number form another number, to which the word refers.
const ANOTHER: usize = 7;
const FAR: u16 = u16::MAX;

/// For each topic, the distance of its nearest word from a number in a text.
pub(super) struct Context {
    distance: [u16; TOPICS],
    word: [&'static str; TOPICS],
}

impl Context {
    /// Searches the surroundings of `start..end`. Ignores words in angle brackets (placeholders of redaction), and everything
    /// beyond an empty line, the end of a sentence or another number.
    pub fn around(text: &str, start: usize, end: usize) -> Self {
        let mut found = Self { distance: [FAR; TOPICS], word: [""; TOPICS] };
        let mut from = floor(text, start.saturating_sub(BEFORE));
        if let Some(blank) = text[from..start].rfind("\n\n") {
            from += blank + 2;
        }
        let digits = text[from..start].bytes().enumerate().rev().filter(|(_, byte)| byte.is_ascii_digit());
        if let Some((another, _)) = { digits }.nth(ANOTHER - 1) {
            from += another + 1;
        }
        found.before(text, from, start);
        let mut to = floor(text, (end + AFTER).min(text.len()));
        if let Some(line) = text[end..to].find(['\n', '.', ';', '!', '?']) {
            to = end + line;
        }
        if let Some(gap) = text[end..to].find("  ") {
            to = end + gap;
        }
        found.behind(text, end, to);
        found
    }

    /// Searches the words before the number.
    fn before(&mut self, text: &str, from: usize, start: usize) {
        for (topic, word, (_, word_end)) in hits(text, from, start) {
            let gap = &text[word_end..start];
            let is_over = ends_sentence(gap);
            // Words of these topics only refer to the first number after them in the same line.
            let is_tied = matches!(topic, Topic::Thing | Topic::Version);
            let is_other = is_tied && (gap.contains('\n') || holds_number(gap));
            if !is_over && !is_other {
                self.note(topic, word, (start - word_end) as u16);
            }
        }
    }

    /// Searches the words after the number. Words for things precede their numbers, and a word before another number refers to
    /// that.
    fn behind(&mut self, text: &str, end: usize, to: usize) {
        for (topic, word, (word_start, word_end)) in hits(text, end, to) {
            let next = text[word_end..].char_indices().nth(BEHIND as usize).map_or(text.len(), |at| word_end + at.0);
            let next = text[word_end..next].split(['\n', ';', '!', '?']).next().unwrap_or_default();
            // `1234567 (mobile), 7654321 (home)`
            let is_of_next = !next.starts_with(')') && next.bytes().any(|byte| byte.is_ascii_digit());
            if !matches!(topic, Topic::Thing | Topic::Version) && !is_of_next {
                self.note(topic, word, (word_start - end) as u16 + BEHIND);
            }
        }
    }

    fn note(&mut self, topic: Topic, word: &'static str, distance: u16) {
        if distance < self.distance[topic as usize] {
            self.distance[topic as usize] = distance;
            self.word[topic as usize] = word;
        }
    }

    /// Whether a word of a topic is near, and no word of the other topics is nearer.
    pub fn is_nearest(&self, topic: Topic, others: &[Topic]) -> bool {
        let distance = self.distance[topic as usize];
        distance < FAR && others.iter().all(|&other| self.distance[other as usize] >= distance)
    }

    /// The word of a topic, if one is near and no word of the topic [`Topic::Thing`] is nearer.
    pub fn says(&self, topic: Topic) -> Option<&'static str> {
        let distance = self.distance[topic as usize];
        let is_nearest = distance < FAR && distance <= self.distance[Topic::Thing as usize];
        is_nearest.then_some(self.word[topic as usize])
    }

    /// The word of the first of these topics for which [`Context::says`] returns one.
    pub fn says_any(&self, topics: &[Topic]) -> Option<&'static str> {
        topics.iter().find_map(|&topic| self.says(topic))
    }

    /// Whether a word of the topic [`Topic::Thing`] is near, and no word of these topics is as near.
    pub fn is_thing(&self, unless: &[Topic]) -> bool {
        self.distance[Topic::Thing as usize] < FAR && self.says_any(unless).is_none()
    }

    /// Whether a word of the topic [`Topic::Version`] is near, and nearer than words of the other topic.
    pub fn is_version(&self, unless: Topic) -> bool {
        let version = self.distance[Topic::Version as usize];
        version < FAR && self.distance[unless as usize] > version
    }
}

/// Whole words in a part of a text: topic, word, start and end in bytes.
fn hits(text: &str, from: usize, to: usize) -> impl Iterator<Item = (Topic, &'static str, (usize, usize))> {
    let words = &*NEAR;
    let bytes = text.as_bytes();
    let letter =
        |at: usize| bytes.get(at).is_some_and(|byte| byte.is_ascii_alphabetic() || (0xC3..=0xCF).contains(byte));
    words.automaton.find_overlapping_iter(&bytes[from..to]).filter_map(move |found| {
        let (start, end) = (from + found.start(), from + found.end());
        // Words of scripts without spaces may occur inside of other text.
        let is_latin = bytes[start].is_ascii_alphabetic();
        let before = start > 0 && (letter(start - 1) || bytes[start - 1] == b'<');
        if is_latin && (before || letter(end) && bytes[end - 1].is_ascii_alphabetic()) {
            return None;
        }
        let which = found.pattern().as_usize();
        Some((words.topics[which], words.words[which], (start, end)))
    })
}

/// Whether the text between a word and a number contains another number: digits that are followed by a letter, a comma, a
/// semicolon or two spaces. The groups of one number have single separators.
fn holds_number(gap: &str) -> bool {
    let Some(last) = gap.rfind(|c: char| c.is_ascii_digit()) else { return false };
    let behind = &gap[last + 1..];
    behind.contains(|c: char| c.is_alphabetic() || c == ',' || c == ';') || behind.contains("  ")
}

/// Abbreviations before numbers; the dot after them does not end a sentence.
const ABBREVIATIONS: [&str; 18] = [
    "no", "nos", "nr", "num", "núm", "nro", "n", "tel", "tél", "ph", "mob", "ext", "art", "dr", "mr", "mrs", "ms", "st",
];

/// Whether a sentence ends between a word and a number. The dot of the word itself (`Tel. 030`) and dots of abbreviations
/// (`Social Security No. 1`) do not end a sentence.
fn ends_sentence(gap: &str) -> bool {
    let rest = gap.strip_prefix('.').unwrap_or(gap);
    if rest.contains(['。', '！', '？']) {
        return true;
    }
    let bytes = rest.as_bytes();
    (0..bytes.len().saturating_sub(1)).filter(|&at| bytes[at + 1].is_ascii_whitespace()).any(|at| match bytes[at] {
        b'!' | b'?' => true,
        b'.' => {
            let before = &rest[..at];
            let word = before.rsplit(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
            !ABBREVIATIONS.iter().any(|known| word.to_lowercase() == *known)
        }
        _ => false,
    })
}

/// The largest character boundary at or below `at`.
fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(text: &str, topic: Topic) -> Option<&'static str> {
        let at = text.find('#').unwrap();
        Context::around(text, at, at + 1).says(topic)
    }

    #[test]
    fn whole_words_that_are_nearest_count() {
        assert_eq!(says("Call me: #", Topic::Phone), Some("call me"));
        assert_eq!(says("(# is my mobile)", Topic::Phone), Some("mobile"));
        assert_eq!(says("recall #, telling", Topic::Phone), None);
        assert_eq!(says("Phone order #", Topic::Phone), None);
        assert_eq!(says("Order by phone #", Topic::Phone), Some("phone"));
        assert_eq!(says("我的电话是#", Topic::Phone), Some("电话"));
        assert_eq!(says("Téléphone : #", Topic::Phone), Some("téléphone"));
        assert_eq!(says("<PHONE> #", Topic::Phone), None);
        assert_eq!(says("phone\n\n#", Topic::Phone), None);
        assert_eq!(says("phone\n#", Topic::Phone), Some("phone"));
        assert_eq!(says("by phone or in person. #", Topic::Phone), None);
        assert_eq!(says("Tel. #", Topic::Phone), Some("tel"));
        assert_eq!(says("Telephone No. #", Topic::Phone), Some("telephone"));
        assert_eq!(says("My phone is new! #", Topic::Phone), None);
        assert_eq!(says("phone 030 123 45 67, #", Topic::Phone), None);
        assert_eq!(says("# Call me at 030 1234567", Topic::Phone), None);
        assert_eq!(says("# (mobile), or 030 1234567", Topic::Phone), Some("mobile"));
        assert_eq!(says("release 9.9.79-rc1  #", Topic::Version), None);
        assert_eq!(says("order 94 1000 #", Topic::Thing), Some("order"));
        assert_eq!(says("order 17\nphone #", Topic::Phone), Some("phone"));
    }
}
