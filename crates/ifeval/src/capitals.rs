//! Counts words in capital letters, with words as NLTK's `word_tokenize` splits them.

use std::sync::LazyLock;

use fancy_regex::Regex;

use crate::{punkt, python};

/// The substitutions of `NLTKWordTokenizer` (Penn Treebank's rules with later additions), in order.
const RULES: [(&str, &str); 32] = [
    // Opening quotes.
    (r"([«“‘„]|[`]+)", " ${1} "),
    (r#"^""#, "``"),
    (r"(``)", " ${1} "),
    (r#"([ \(\[{<])("|'{2})"#, "${1} `` "),
    (r"(?i)(?<!\w)(')(?!(?:re|ve|ll|m|t|s|d|n)\b)(?=\w)", "${1} "),
    // Punctuation.
    (r#"([^\.])(\.)([\]\)}>"'»”’ ]*+)\s*$"#, "${1} ${2} ${3} "),
    (r"([:,])([^\d])", " ${1} ${2}"),
    (r"([:,])$", " ${1} "),
    (r"\.{2,}", " ${0} "),
    (r"[;@#$%&]", " ${0} "),
    (r"[\u{2012}-\u{2015}]", " ${0} "),
    (r#"([^\.])(\.)([\]\)}>"']*)\s*$"#, "${1} ${2}${3} "),
    (r"[?!]", " ${0} "),
    (r"([^'])' ", "${1} ' "),
    (r"[*]", " ${0} "),
    // Brackets and dashes.
    (r"[\]\[\(\)\{\}<>]", " ${0} "),
    (r"--", " -- "),
    // A space at each end simplifies the following rules.
    (r"^", " "),
    (r"\z", " "),
    // Closing quotes.
    (r"([»”’])", " ${1} "),
    (r"''", " '' "),
    (r#"""#, " '' "),
    (r"\s+", " "),
    (r"([^' ])('[sS]|'[mM]|'[dD]|') ", "${1} ${2} "),
    (r"([^' ])('ll|'LL|'re|'RE|'ve|'VE|n't|N'T) ", "${1} ${2} "),
    // Contractions.
    (r"(?i)\b(can)(not)\b", " ${1} ${2} "),
    (r"(?i)\b(d)('ye)\b", " ${1} ${2} "),
    (r"(?i)\b(gim|lem)(me)\b", " ${1} ${2} "),
    (r"(?i)\b(gon)(na)\b|\b(got)(ta)\b", " ${1}${3} ${2}${4} "),
    (r"(?i)\b(more)('n)\b", " ${1} ${2} "),
    (r"(?i)\b(wan)(na)(?=\s)", " ${1} ${2} "),
    (r"(?i) ('t)(is|was)\b", " ${1} ${2} "),
];

/// Tokens of one sentence.
fn tokens(sentence: &str) -> Vec<String> {
    static COMPILED: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        let compile = |rule: &str| Regex::new(rule).unwrap_or_else(|why| panic!("ifeval: a built-in rule: {why}"));
        RULES.iter().map(|(rule, to)| (compile(rule), *to)).collect()
    });
    let mut text = sentence.to_owned();
    for (rule, to) in COMPILED.iter() {
        text = rule.replace_all(&text, *to).into_owned();
    }
    text.split(python::is_space).filter(|token| !token.is_empty()).map(str::to_owned).collect()
}

/// Number of tokens of a text that are in capital letters (`str.isupper`).
pub(crate) fn count(text: &str) -> usize {
    punkt::sentences(text).iter().flat_map(|sentence| tokens(sentence)).filter(|t| python::is_upper(t)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_compiles() {
        for (rule, _) in RULES {
            assert!(Regex::new(rule).is_ok(), "{rule}");
        }
    }

    /// NLTK 3.10's own docstring.
    #[test]
    fn tokens_of_nltks_example() {
        let text = "Good muffins cost $3.88 (roughly 3,36 euros)\nin New York.  Please buy me\ntwo of them.\nThanks.";
        let expected =
            "Good muffins cost $ 3.88 ( roughly 3,36 euros ) in New York. Please buy me two of them. Thanks .";
        assert_eq!(tokens(text).join(" "), expected);
        assert_eq!(tokens("I CAN'T say \"NO\", U.S. CANNOT").join(" "), "I CA N'T say `` NO '' , U.S. CAN NOT");
    }
}
