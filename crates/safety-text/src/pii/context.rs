//! Words near a number that say what it is.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

/// What a word speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Topic {
    Phone,
    Card,
    Ssn,
    Ip,
    /// An identity number of no stated country.
    Id,
    /// A country's identity number.
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

/// The words, in lower case.
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

/// Bytes that are looked at before and after a number.
const BEFORE: usize = 48;
const AFTER: usize = 20;
/// How much farther a word behind a number counts than one before it.
const BEHIND: u16 = 16;
const FAR: u16 = u16::MAX;

/// How near words of each topic are to a place in a text.
pub(super) struct Context {
    distance: [u16; TOPICS],
    word: [&'static str; TOPICS],
}

impl Context {
    /// Looks around `start..end`. Words in angle brackets, as redaction leaves them, do not count, nor does what stands
    /// beyond an empty line.
    pub fn around(text: &str, start: usize, end: usize) -> Self {
        let mut found = Self { distance: [FAR; TOPICS], word: [""; TOPICS] };
        let mut from = floor(text, start.saturating_sub(BEFORE));
        if let Some(blank) = text[from..start].rfind("\n\n") {
            from += blank + 2;
        }
        found.scan(text, from, start, |_, word_end| (start - word_end) as u16);
        let mut to = floor(text, (end + AFTER).min(text.len()));
        if let Some(line) = text[end..to].find('\n') {
            to = end + line;
        }
        found.scan(text, end, to, |word_start, _| (word_start - end) as u16 + BEHIND);
        found
    }

    fn scan(&mut self, text: &str, from: usize, to: usize, distance: impl Fn(usize, usize) -> u16) {
        let words = &*NEAR;
        let bytes = text.as_bytes();
        let letter =
            |at: usize| bytes.get(at).is_some_and(|byte| byte.is_ascii_alphabetic() || *byte >= 0xC3 && *byte <= 0xCF);
        for found in words.automaton.find_overlapping_iter(&bytes[from..to]) {
            let (start, end) = (from + found.start(), from + found.end());
            let is_latin = bytes[start].is_ascii_alphabetic();
            // Whole words; those of scripts without spaces count anywhere.
            let before = start > 0 && (letter(start - 1) || bytes[start - 1] == b'<');
            if is_latin && (before || letter(end) && bytes[end - 1].is_ascii_alphabetic()) {
                continue;
            }
            let topic = words.topics[found.pattern().as_usize()] as usize;
            let distance = distance(start, end);
            if distance < self.distance[topic] {
                self.distance[topic] = distance;
                self.word[topic] = words.words[found.pattern().as_usize()];
            }
        }
    }

    /// The word of a topic, where one is near and no word for numbers of things is nearer.
    pub fn says(&self, topic: Topic) -> Option<&'static str> {
        let distance = self.distance[topic as usize];
        let is_nearest = distance < FAR && distance <= self.distance[Topic::Thing as usize];
        is_nearest.then_some(self.word[topic as usize])
    }

    /// The word of the first of these topics that [`Context::says`].
    pub fn says_any(&self, topics: &[Topic]) -> Option<&'static str> {
        topics.iter().find_map(|&topic| self.says(topic))
    }

    /// Whether a word for numbers of things is near, and none of these topics is nearer.
    pub fn is_thing(&self, unless: &[Topic]) -> bool {
        self.distance[Topic::Thing as usize] < FAR && self.says_any(unless).is_none()
    }

    /// Whether a word for versions is near, and none of these topics is nearer.
    pub fn is_version(&self, unless: Topic) -> bool {
        let version = self.distance[Topic::Version as usize];
        version < FAR && self.distance[unless as usize] > version
    }
}

/// The largest boundary of a character at or below `at`.
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
    }
}
