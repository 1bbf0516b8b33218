//! Keys and tokens of services, by their documented prefixes and lengths; private keys; passwords in addresses.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::{Finding, Kind, Rule};

/// The allowed characters of a key after its prefix.
#[derive(Clone, Copy)]
enum Set {
    /// Letters and digits.
    Alnum,
    /// Letters, digits, `-` and `_`.
    Url,
    /// Letters, digits, `-`, `_` and `.`.
    Dotted,
    /// Capital letters and digits.
    Upper,
    /// Lower-case hexadecimal digits.
    Hex,
    /// Letters, digits, `+`, `/`, `=`.
    Base64,
}

impl Set {
    fn has(self, byte: u8) -> bool {
        match self {
            Self::Alnum => byte.is_ascii_alphanumeric(),
            Self::Url => byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_',
            Self::Dotted => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'),
            Self::Upper => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Self::Hex => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
            Self::Base64 => byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='),
        }
    }
}

/// The form of the keys of a service.
struct Form {
    prefix: &'static str,
    set: Set,
    /// Minimal and maximal number of characters after the prefix.
    least: usize,
    most: usize,
    rule: Rule,
}

const CHECKS: &str = "prefix, characters and length of the service's keys";

const fn form(name: &'static str, prefix: &'static str, set: Set, least: usize, most: usize) -> Form {
    Form { prefix, set, least, most, rule: Rule { name, kind: Kind::Secret, checks: CHECKS, score: 0.9 } }
}

static FORMS: [Form; 60] = [
    form("aws-access-key", "AKIA", Set::Upper, 16, 16),
    form("aws-access-key", "ASIA", Set::Upper, 16, 16),
    form("github-token", "ghp_", Set::Alnum, 36, 255),
    form("github-token", "gho_", Set::Alnum, 36, 255),
    form("github-token", "ghu_", Set::Alnum, 36, 255),
    form("github-token", "ghs_", Set::Alnum, 36, 255),
    form("github-token", "ghr_", Set::Alnum, 36, 255),
    form("github-token", "github_pat_", Set::Url, 82, 82),
    form("gitlab-token", "glpat-", Set::Dotted, 20, 300),
    form("gitlab-token", "gldt-", Set::Url, 20, 64),
    form("gitlab-token", "glrt-", Set::Url, 20, 64),
    form("slack-token", "xoxb-", Set::Url, 20, 255),
    form("slack-token", "xoxp-", Set::Url, 20, 255),
    form("slack-token", "xoxa-", Set::Url, 20, 255),
    form("slack-token", "xoxr-", Set::Url, 20, 255),
    form("slack-token", "xoxs-", Set::Url, 20, 255),
    form("slack-token", "xapp-", Set::Url, 20, 255),
    form("slack-webhook", "https://hooks.slack.com/services/T", Set::Base64, 30, 80),
    form("stripe-key", "sk_live_", Set::Alnum, 16, 255),
    form("stripe-key", "sk_test_", Set::Alnum, 16, 255),
    form("stripe-key", "rk_live_", Set::Alnum, 16, 255),
    form("stripe-key", "rk_test_", Set::Alnum, 16, 255),
    form("stripe-secret", "whsec_", Set::Base64, 24, 255),
    form("openai-key", "sk-proj-", Set::Url, 40, 255),
    form("openai-key", "sk-svcacct-", Set::Url, 40, 255),
    form("anthropic-key", "sk-ant-", Set::Url, 40, 255),
    form("openrouter-key", "sk-or-v1-", Set::Hex, 64, 64),
    form("openai-key", "sk-", Set::Alnum, 40, 64),
    form("google-api-key", "AIza", Set::Url, 35, 35),
    form("google-oauth-token", "ya29.", Set::Dotted, 30, 1024),
    form("google-client-secret", "GOCSPX-", Set::Url, 28, 28),
    form("huggingface-token", "hf_", Set::Alnum, 34, 40),
    form("npm-token", "npm_", Set::Alnum, 36, 36),
    form("pypi-token", "pypi-AgE", Set::Url, 50, 1024),
    form("crates-io-token", "cio", Set::Alnum, 32, 32),
    form("rubygems-token", "rubygems_", Set::Hex, 48, 48),
    form("digitalocean-token", "dop_v1_", Set::Hex, 64, 64),
    form("digitalocean-token", "doo_v1_", Set::Hex, 64, 64),
    form("sendgrid-key", "SG.", Set::Dotted, 66, 66),
    form("mailgun-key", "key-", Set::Hex, 32, 32),
    form("twilio-key", "SK", Set::Hex, 32, 32),
    form("twilio-account", "AC", Set::Hex, 32, 32),
    form("shopify-token", "shpat_", Set::Alnum, 32, 32),
    form("shopify-token", "shpss_", Set::Alnum, 32, 32),
    form("square-token", "sq0atp-", Set::Url, 22, 22),
    form("square-token", "sq0csp-", Set::Url, 43, 43),
    form("databricks-token", "dapi", Set::Hex, 32, 34),
    form("linear-key", "lin_api_", Set::Alnum, 40, 40),
    form("new-relic-key", "NRAK-", Set::Upper, 27, 27),
    form("replicate-token", "r8_", Set::Alnum, 37, 37),
    form("groq-key", "gsk_", Set::Alnum, 52, 52),
    form("xai-key", "xai-", Set::Alnum, 80, 80),
    form("perplexity-key", "pplx-", Set::Alnum, 40, 64),
    form("vault-token", "hvs.", Set::Url, 24, 255),
    form("postman-key", "PMAK-", Set::Url, 59, 59),
    form("doppler-token", "dp.pt.", Set::Alnum, 43, 43),
    form("atlassian-token", "ATATT3", Set::Base64, 60, 255),
    form("figma-token", "figd_", Set::Url, 40, 60),
    form("age-key", "AGE-SECRET-KEY-1", Set::Upper, 58, 58),
    form("azure-storage-key", "AccountKey=", Set::Base64, 86, 90),
];

static JWT: Rule =
    Rule { name: "json-web-token", kind: Kind::Secret, checks: "header, payload and signature in Base64", score: 0.8 };
static PRIVATE_KEY: Rule =
    Rule { name: "private-key", kind: Kind::Secret, checks: "PEM block of a private key", score: 0.9 };
static URL_PASSWORD: Rule =
    Rule { name: "url-password", kind: Kind::Secret, checks: "user and password in an address", score: 0.6 };
static TELEGRAM: Rule = Rule {
    name: "telegram-bot-token",
    kind: Kind::Secret,
    checks: "8 to 10 digits, colon, AA, 33 characters",
    score: 0.8,
};
static AWS_SECRET: Rule = Rule {
    name: "aws-secret-key",
    kind: Kind::Secret,
    checks: "40 characters behind the name of the setting",
    score: 0.8,
};

/// Prefixes of secrets that need their own code; their indices follow those of [`FORMS`].
const OTHERS: [&str; 6] = ["eyJ", "-----BEGIN ", "://", ":AA", "aws_secret_access_key", "AWS_SECRET_ACCESS_KEY"];

static PREFIXES: LazyLock<AhoCorasick> = LazyLock::new(|| {
    let prefixes = FORMS.iter().map(|form| form.prefix).chain(OTHERS);
    AhoCorasick::new(prefixes).expect("the prefixes are constants, and a test uses them")
});

pub(super) fn find(text: &str, out: &mut Vec<Finding>) {
    let bytes = text.as_bytes();
    let mut from = 0;
    for hit in PREFIXES.find_overlapping_iter(bytes) {
        let (start, end, which) = (hit.start(), hit.end(), hit.pattern().as_usize());
        if start < from {
            continue;
        }
        let found = match which.checked_sub(FORMS.len()) {
            None => key(bytes, start, &FORMS[which]),
            Some(0) => json_web_token(bytes, start),
            Some(1) => private_key(text, start),
            Some(2) => url_password(bytes, end),
            Some(3) => telegram(bytes, start),
            Some(_) => aws_secret(bytes, end),
        };
        if let Some(finding) = found {
            from = finding.end;
            out.push(finding);
        }
    }
}

fn run(bytes: &[u8], start: usize, set: Set) -> usize {
    bytes[start..].iter().take_while(|&&byte| set.has(byte)).count()
}

fn is_word(bytes: &[u8], at: Option<usize>) -> bool {
    at.and_then(|at| bytes.get(at)).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// Finds a key of a form. Placeholders are excluded: few different characters, `EXAMPLE`, `xxxx`.
fn key(bytes: &[u8], start: usize, form: &'static Form) -> Option<Finding> {
    let from = start + form.prefix.len();
    let mut length = run(bytes, from, form.set);
    // A sentence may end after the key.
    while length > 0 && matches!(bytes[from + length - 1], b'.' | b'-') {
        length -= 1;
    }
    let bounded = !is_word(bytes, start.checked_sub(1)) && !is_word(bytes, Some(from + length));
    let part = &bytes[from..from + length];
    let fits = bounded && (form.least..=form.most).contains(&length) && is_random(part);
    fits.then(|| Finding { start, end: from + length, rule: &form.rule, context: None })
}

/// Whether a text can be a key: many different characters of more than one class, and no mark of an example.
fn is_random(part: &[u8]) -> bool {
    let mut seen = [false; 256];
    part.iter().for_each(|&byte| seen[byte as usize] = true);
    let different = seen.iter().filter(|&&seen| seen).count();
    let digits = part.iter().filter(|byte| byte.is_ascii_digit()).count();
    let upper = part.to_ascii_uppercase();
    let marked = [&b"EXAMPLE"[..], b"XXXX", b"YOUR", b"PLACEHOLDER", b"REDACTED"]
        .iter()
        .any(|mark| upper.windows(mark.len()).any(|window| window == *mark));
    // Keys of capital letters and digits may contain no digit.
    let capitals = part.iter().all(u8::is_ascii_uppercase) && different >= 9;
    let mixed =
        digits > 0 || capitals || part.iter().any(u8::is_ascii_uppercase) && part.iter().any(u8::is_ascii_lowercase);
    different >= 8.min(part.len() / 2) && mixed && !marked
}

fn json_web_token(bytes: &[u8], start: usize) -> Option<Finding> {
    if is_word(bytes, start.checked_sub(1)) {
        return None;
    }
    let mut at = start;
    for part in 0..3 {
        let length = run(bytes, at, Set::Url);
        let starts = part == 2 || bytes[at..].starts_with(b"eyJ");
        if length < 10 || !starts {
            return None;
        }
        at += length;
        if part < 2 {
            if bytes.get(at) != Some(&b'.') {
                return None;
            }
            at += 1;
        }
    }
    Some(Finding { start, end: at, rule: &JWT, context: None })
}

/// Finds a private key: from `-----BEGIN ... PRIVATE KEY-----` to the end of the block, or to the first character that cannot
/// belong to it.
fn private_key(text: &str, start: usize) -> Option<Finding> {
    let rest = &text[start..];
    let line = &rest[..rest.find('\n').unwrap_or(rest.len()).min(rest.len())];
    let head = line.find("PRIVATE KEY")?;
    let body = head + line[head..].find("-----")? + 5;
    let is_body = |c: char| c.is_ascii_alphanumeric() || "+/= \r\n\\-:,".contains(c);
    let end = match rest[body..].find("-----END ") {
        Some(end) if rest[body..body + end].chars().all(is_body) => {
            let close = body + end + 9;
            close + rest[close..].find("-----").map_or(0, |end| end + 5)
        }
        _ => body + rest[body..].find(|c: char| !is_body(c)).unwrap_or(rest.len() - body),
    };
    let has_body = rest[body..end].bytes().filter(u8::is_ascii_alphanumeric).count() >= 32;
    has_body.then(|| Finding { start, end: start + rest[..end].trim_end().len(), rule: &PRIVATE_KEY, context: None })
}

/// Finds the password in `scheme://user:password@host`; `end` is the offset after `://`.
fn url_password(bytes: &[u8], end: usize) -> Option<Finding> {
    let user = bytes[end..]
        .iter()
        .take(64)
        .take_while(|&&byte| byte.is_ascii_alphanumeric() || b"._-%+".contains(&byte))
        .count();
    if user == 0 || bytes.get(end + user) != Some(&b':') {
        return None;
    }
    let start = end + user + 1;
    let length = bytes[start..]
        .iter()
        .take(128)
        .take_while(|&&byte| byte > b' ' && !b"@/:\"'<>".contains(&byte) && byte < 0x7f)
        .count();
    let password = &bytes[start..start + length];
    let marked = [&b"password"[..], b"pass", b"passwd", b"pwd", b"secret", b"token", b"x-oauth-basic"];
    let is_variable = password.iter().any(|byte| b"${}[]%*".contains(byte));
    let fits = length >= 4
        && bytes.get(start + length) == Some(&b'@')
        && !is_variable
        && !marked.iter().any(|mark| password.eq_ignore_ascii_case(mark));
    fits.then(|| Finding { start, end: start + length, rule: &URL_PASSWORD, context: None })
}

/// Finds a Telegram token `123456789:AA...`; `colon` is the offset of the colon.
fn telegram(bytes: &[u8], colon: usize) -> Option<Finding> {
    let digits = bytes[..colon].iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let length = run(bytes, colon + 1, Set::Url);
    let start = colon - digits;
    let fits = (8..=10).contains(&digits) && length == 35 && !is_word(bytes, start.checked_sub(1));
    fits.then(|| Finding { start, end: colon + 1 + length, rule: &TELEGRAM, context: None })
}

/// Finds the value of `aws_secret_access_key = ...`; `end` is the offset after the name.
fn aws_secret(bytes: &[u8], end: usize) -> Option<Finding> {
    let gap = bytes[end..].iter().take(8).take_while(|&&byte| b" =:\"'>".contains(&byte)).count();
    let start = end + gap;
    let length = run(bytes, start, Set::Base64);
    let fits = gap > 0 && length == 40 && is_random(&bytes[start..start + length]);
    fits.then(|| Finding { start, end: start + length, rule: &AWS_SECRET, context: None })
}
