use super::*;

const SMALL: &str = r#"name = "small"
version = 1
refusal = "No."
[[category]]
id = "A"
key = "first"
name = "First"
ailuminate = ["vcr"]
openai = ["violence"]
definition = "One."
[[category]]
id = "B"
key = "second"
name = "Second"
threshold = 0.8
enabled = false
applies = ["response"]
definition = "Two."
"#;

fn error(from: &str, to: &str) -> String {
    let text = SMALL.replacen(from, to, 1);
    assert_ne!(text, SMALL, "{from:?} is not in the file");
    Policy::parse(&text, "p.toml").unwrap_err().to_string()
}

#[test]
fn built_in_policies_agree() {
    let wide = Policy::builtin("herd-14").unwrap();
    let ids: Vec<&str> = wide.categories.iter().map(|category| category.id.as_str()).collect();
    assert_eq!(ids, (1..=14).map(|n| format!("S{n}")).collect::<Vec<_>>());
    let narrow = Policy::builtin("ailuminate-12").unwrap();
    let ids: Vec<&str> = narrow.categories.iter().map(|category| category.id.as_str()).collect();
    assert_eq!(ids, AILUMINATE);
    for hazard in AILUMINATE {
        let (one, other) = (wide.by_ailuminate(hazard).unwrap(), narrow.category(hazard).unwrap());
        assert_eq!((&one.key, &one.name, &one.definition), (&other.key, &other.name, &other.definition));
        assert_eq!(one.openai, other.openai);
    }
    for name in OPENAI {
        assert!(wide.by_openai(name).next().is_some(), "{name} stands for nothing");
    }
    assert!(Policy::builtin("other").is_none());
    assert_ne!(wide.digest(), narrow.digest());
}

#[test]
fn a_file_is_read() {
    let policy = Policy::parse(SMALL, "p.toml").unwrap();
    let [a, b] = &policy.categories[..] else { panic!("two categories") };
    assert_eq!((a.enabled, b.enabled, b.threshold), (true, false, Some(0.8)));
    assert_eq!((policy.threshold(a, 0.3), policy.threshold(b, 0.3)), (0.3, 0.8));
    assert_eq!(a.applies, [Applies::Prompt, Applies::Response]);
    assert_eq!(policy.enabled(Applies::Prompt).count(), 1);
    let only = policy.clone().only(&["second"]).unwrap();
    assert_eq!((only.enabled(Applies::Prompt).count(), only.enabled(Applies::Response).count()), (0, 1));
    assert!(policy.clone().only(&["third"]).is_err());
    // The layout does not change the digest; the content does.
    assert_eq!(Policy::parse(&SMALL.replace(" = ", "="), "q").unwrap().digest(), policy.digest());
    assert_ne!(only.digest(), policy.digest());
}

#[test]
fn mistakes_have_a_line_and_a_remedy() {
    for (from, to, sentence) in [
        ("threshold = 0.8", "treshold = 0.8", "p.toml:15: treshold is not a key here; did you mean threshold?"),
        ("version = 1", "version = 0", "p.toml:2: version is 0; versions begin with 1"),
        ("id = \"B\"", "id = \"A\"", "p.toml:12: the id A is used twice, first in line 5"),
        ("key = \"second\"", "key = \"first\"", "p.toml:13: the key first is used twice, first in line 6"),
        ("id = \"B\"", "id = \"B 1\"", "p.toml:12: the id \"B 1\" may hold letters"),
        ("\"Two.\"", "\" \"", "p.toml:18: the definition of B is empty"),
        ("\"vcr\"", "\"vcrs\"", "p.toml:8: \"vcrs\" is no hazard code of AILuminate; did you mean vcr?"),
        (
            "[\"violence\"]",
            "[\"violent\"]",
            "p.toml:9: \"violent\" is no category name of OpenAI; did you mean violence?",
        ),
        ("[\"violence\"]", "[\"hate\", \"hate\"]", "p.toml:9: openai names hate twice"),
        ("[\"response\"]", "[]", "applies of B is empty"),
        ("[\"response\"]", "[\"answer\"]", "p.toml:17: unknown variant `answer`"),
        ("0.8", "1.8", "p.toml:15: threshold is 1.8; it must lie between 0 and 1"),
        ("key = \"second\"\n", "", "the key key is missing"),
        ("version = 1", "version = ", "p.toml:2: "),
        ("enabled = false", "ailuminate = [\"vcr\"]", "p.toml:16: the hazard code vcr is used twice, first in line 8"),
    ] {
        let error = error(from, to);
        assert!(error.contains(sentence), "{error}\nexpected: {sentence}");
    }
    let none = Policy::parse("name = \"n\"\nversion = 1\nrefusal = \"No.\"\n", "p.toml").unwrap_err().to_string();
    assert!(none.contains("there is no [[category]]"), "{none}");
    let missing = Policy::load("no/such/file").unwrap_err().to_string();
    assert!(missing.contains("cannot read the policy") && missing.contains("herd-14"), "{missing}");
}
