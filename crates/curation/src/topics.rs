//! Topics by keywords, if no judge labels them.

/// Coarse topics with their keywords.
const TOPICS: [(&str, &[&str]); 9] = [
    (
        "mathematics",
        &[
            "equation",
            "solve",
            "sum",
            "fraction",
            "integral",
            "theorem",
            "percent",
            "geometry",
            "algebra",
            "probability",
        ],
    ),
    (
        "programming",
        &["python", "function", "code", "program", "bug", "javascript", "rust", "sql", "compile", "algorithm"],
    ),
    (
        "science",
        &["atom", "energy", "cell", "planet", "gravity", "chemical", "species", "physics", "biology", "experiment"],
    ),
    ("history", &["war", "century", "empire", "king", "revolution", "ancient", "historical", "treaty"]),
    (
        "writing",
        &["poem", "story", "essay", "paragraph", "rewrite", "summarize", "translate", "grammar", "letter", "email"],
    ),
    ("health", &["doctor", "disease", "symptom", "diet", "medicine", "pain", "sleep", "exercise", "vitamin"]),
    ("law", &["law", "legal", "contract", "court", "rights", "lawyer", "police", "illegal"]),
    ("business", &["market", "company", "customer", "price", "profit", "invest", "budget", "salary", "tax"]),
    ("daily life", &["recipe", "cook", "travel", "trip", "clean", "garden", "gift", "birthday", "weekend"]),
];

/// The topic with the most keywords (whole words) in a text; `other` if there are none, and the first topic in case
/// of a tie.
#[must_use]
pub fn by_keywords(text: &str) -> &'static str {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).collect();
    let hits = |keywords: &[&str]| {
        let is_hit = |word: &&&str| keywords.iter().any(|key| **word == *key || word.strip_suffix('s') == Some(key));
        words.iter().filter(is_hit).count()
    };
    let mut best = ("other", 0);
    for (topic, keywords) in TOPICS {
        let count = hits(keywords);
        if count > best.1 {
            best = (topic, count);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::by_keywords;

    #[test]
    fn the_most_keywords_win() {
        for (text, topic) in [
            ("Write a Python function that sorts a list.", "programming"),
            ("What was the war of the empires about?", "history"),
            ("Solve the equations and sum the fractions.", "mathematics"),
            ("warning: codes", "programming"),
            ("Hello there", "other"),
        ] {
            assert_eq!(by_keywords(text), topic, "{text}");
        }
    }
}
