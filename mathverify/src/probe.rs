#[test]
fn probe() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/mathverify/");
    let _ = dir;
    for f in ["latex2sympy2_ext.jsonl"] {
        let text = std::fs::read_to_string(format!("/work/shared/data/mathverify/{f}")).unwrap();
        let mut ok = 0;
        for line in text.lines() {
            let v: serde_json::Value = serde_json::from_str(line).unwrap();
            for k in ["pred", "gold"] {
                let s = v[k].as_str().unwrap();
                match crate::parse::readings(s) { Ok(_) => ok += 1, Err(e) => println!("{k} {s:?}: {e}") }
            }
        }
        println!("{f} ok {ok}");
    }
}
