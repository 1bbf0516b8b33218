use std::fs;

use dataset::Role;

use super::*;

/// Reads a set from a file in its own form; the rows are made here.
fn probes(name: &str, file: &str, text: &str) -> anyhow::Result<Vec<Probe>> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(file);
    fs::write(&path, text).unwrap();
    read(&locate(&format!("{name}={}", path.display()), || unreachable!("the file is given"))?, None)
}

#[test]
fn every_form_has_its_columns() {
    let xstest = "id,prompt,type,label,focus,note\nv2-1,How do I kill time?,homonyms,safe,,\nv2-2,A bad one,contrast_homonyms,unsafe,,\n";
    let of = probes("xstest", "x.csv", xstest).unwrap();
    assert_eq!((of[0].id.as_str(), of[0].expect, of[1].expect), ("xstest/v2-1", Expect::Answer, Expect::Refuse));
    assert_eq!((of[1].category.as_str(), of[1].request()), ("contrast_homonyms", "A bad one"));
    let unlabelled = "id,prompt,type\n1,a,homonyms\n2,b,contrast_homonyms\n";
    let of = probes("xstest", "x.csv", unlabelled).unwrap();
    assert_eq!((of[0].expect, of[1].expect), (Expect::Answer, Expect::Refuse));

    let harmbench = "Behavior,FunctionalCategory,SemanticCategory,Tags,ContextString,BehaviorID\n\
        Do it,contextual,illegal,,The context,do_it\nDo that,standard,illegal,,,do_that\n";
    let of = probes("harmbench", "h.csv", harmbench).unwrap();
    assert_eq!((of[0].id.as_str(), of[0].request()), ("harmbench/do_it", "The context\n\n---\n\nDo it"));
    assert_eq!((of[1].request(), of[1].category.as_str()), ("Do that", "illegal"));

    let of = probes("advbench", "a.csv", "goal,target\nDo it,Sure\n").unwrap();
    assert_eq!((of[0].id.as_str(), of[0].request(), of[0].expect), ("advbench/0", "Do it", Expect::Refuse));
    let of = probes("strongreject", "s.csv", "category,source,forbidden_prompt\nFraud,own,Do it\n").unwrap();
    assert_eq!((of[0].category.as_str(), of[0].attack.as_str()), ("Fraud", "none"));

    let injection = r#"[{"prompt_id": 5, "test_case_prompt": "Keep the key.", "user_input": "Say it", "judge_question": "?",
        "injection_variant": "few_shot", "injection_type": "direct", "risk_category": "logic", "speaking_language": "German"}]"#;
    let of = probes("injections", "i.json", injection).unwrap();
    assert_eq!((of[0].id.as_str(), of[0].attack.as_str(), of[0].language.as_str()), ("injections/5", "few_shot", "de"));
    assert_eq!(of[0].messages[0].role, Role::System);

    let frr = r#"[{"mutated_prompt": "a", "is_malicious": false, "prompt_id": 1, "speaking_language": "Thai"},
        {"mutated_prompt": "b", "is_malicious": false, "prompt_id": 1, "speaking_language": "Hindi"}]"#;
    let of = probes("mitre-frr-multilingual", "f.json", frr).unwrap();
    assert_eq!((of[0].id.as_str(), of[1].id.as_str()), ("mitre-frr-multilingual/1-th", "mitre-frr-multilingual/1-hi"));
    assert_eq!(of[0].expect, Expect::Answer);
    let of = probes("orbench-toxic", "o.csv", "prompt,category\na,hate\n").unwrap();
    assert_eq!((of[0].expect, of[0].category.as_str()), (Expect::Refuse, "hate"));

    let labelled = r#"{"id": "c1", "messages": [{"role": "user", "content": "a"}], "label": "unsafe", "categories": ["S2"], "source": "contrast", "language": "en"}"#;
    let of = probes("labelled", "l.jsonl", labelled).unwrap();
    assert_eq!((of[0].id.as_str(), of[0].category.as_str(), of[0].expect), ("contrast/c1", "S2", Expect::Refuse));
    let problem = r#"{"id": "p", "kind": "safety", "prompt": "a", "meta": {"expect": "answer", "attack": "base64", "language": "fr"}}"#;
    let of = probes("probes", "mine.jsonl", problem).unwrap();
    assert_eq!((of[0].id.as_str(), of[0].attack.as_str(), of[0].language.as_str()), ("mine/p", "base64", "fr"));
}

#[test]
fn mistakes_are_named_without_the_text() {
    for (name, file, text, what) in [
        ("xstest", "x.csv", "id,prompt,type,label\n1,a secret,t,unsure\n", "label is neither safe nor unsafe"),
        ("harmbench", "h.csv", "prompt\na secret\n", "Behavior or goal is missing"),
        (
            "probes",
            "p.jsonl",
            r#"{"id": "p", "prompt": "a secret", "meta": {"expect": "secret"}}"#,
            "meta.expect is neither",
        ),
        ("probes", "p.jsonl", r#"{"id": "p", "prompt": "a secret"}"#, "meta is missing"),
        (
            "labelled",
            "l.jsonl",
            r#"{"messages": ["a secret"], "label": "safe", "source": "s"}"#,
            "messages holds something",
        ),
        ("orbench", "o.csv", "prompt,category\n  ,secret\n", "the request has no text"),
    ] {
        let error = format!("{:#}", probes(name, file, text).unwrap_err());
        assert!(error.contains(what) && error.contains("record 1") && !error.contains("secret"), "{error}");
    }
    let error = locate("xstests", || unreachable!("the name is wrong")).unwrap_err().to_string();
    assert!(error.contains("no set \"xstests\"; there are xstest, harmbench"), "{error}");
    let dir = tempfile::tempdir().unwrap();
    let error = locate("xstest", || Ok(dir.path().to_owned())).unwrap_err().to_string();
    assert!(error.contains("--sets-dir"), "{error}");
    assert!(locate("probes", || unreachable!("needs a file")).is_err());
}

#[test]
fn a_limit_takes_rows_at_equal_distances() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.csv");
    let rows: String = (0..100).map(|n| format!("c{},own,request {n}\n", n / 10)).collect();
    fs::write(&path, format!("category,source,forbidden_prompt\n{rows}")).unwrap();
    let set = Named { name: "strongreject".into(), path };
    let some = read(&set, Some(10)).unwrap();
    let categories: HashSet<&str> = some.iter().map(|probe| probe.category.as_str()).collect();
    assert_eq!((some.len(), categories.len(), some[3].id.as_str()), (10, 10, "strongreject/30"));
    assert!(unique(&some).is_ok());
    assert!(unique(&[some[0].clone(), some[0].clone()]).unwrap_err().to_string().contains("strongreject/0"));
}

#[test]
fn published_sets_are_read() {
    let Some(folder) = test_support::shared("data") else { return };
    let counts = [
        ("xstest", 250, 200),
        ("harmbench", 0, 400),
        ("advbench", 0, 520),
        ("strongreject", 0, 313),
        ("injections", 0, 251),
        ("injections-multilingual", 0, 1004),
        ("mitre-frr", 750, 0),
        ("mitre-frr-multilingual", 700, 0),
    ];
    for (name, answer, refuse) in counts {
        let probes = read(&locate(name, || Ok(folder.clone())).unwrap(), None).unwrap();
        let count = |expect| probes.iter().filter(|probe| probe.expect == expect).count();
        assert_eq!((count(Expect::Answer), count(Expect::Refuse)), (answer, refuse), "{name}");
        unique(&probes).unwrap();
    }
}
