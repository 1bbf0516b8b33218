use super::*;

/// Kind and text of each finding.
fn found(text: &str) -> Vec<(&'static str, &str)> {
    let all = Pii::default().find(text);
    all.iter().map(|finding| (finding.kind().name(), &text[finding.start..finding.end])).collect()
}

#[test]
fn what_is_found() {
    for (text, kind, data) in [
        ("write to jo.miller+x@mail.example.co.uk.", "email", "jo.miller+x@mail.example.co.uk"),
        ("<mailto:jo@example.com>", "email", "jo@example.com"),
        ("jos\u{E9}@m\u{FC}ller.de schrieb", "email", "jos\u{E9}@m\u{FC}ller.de"),
        ("\u{90AE}\u{7BB1}jo@163.com\u{3002}", "email", "jo@163.com"),
        ("jo (at) example (dot) org", "email", "jo (at) example (dot) org"),
        ("call +49 30 901820 today", "phone", "+49 30 901820"),
        ("+44 (0)20 7946 0018", "phone", "+44 (0)20 7946 0018"),
        ("(212) 555-0142", "phone", "(212) 555-0142"),
        ("at 212.555.0142x123, or", "phone", "212.555.0142x123"),
        ("T\u{E9}l. 01 23 45 67 89", "phone", "01 23 45 67 89"),
        ("Telefon 0301234567", "phone", "0301234567"),
        ("\u{624B}\u{673A}13812345678", "phone", "13812345678"),
        ("GB29 NWBK 6016 1331 9268 19,", "iban", "GB29 NWBK 6016 1331 9268 19"),
        ("DE89370400440532013000", "iban", "DE89370400440532013000"),
        ("born 1980, 078-05-1121", "ssn", "078-05-1121"),
        ("SSN: 219099998", "ssn", "219099998"),
        ("from 93.184.216.34:443", "ip", "93.184.216.34"),
        ("host 2606:2800:220:1:248:1893:25c8:1946.", "ip", "2606:2800:220:1:248:1893:25c8:1946"),
        ("131052-308T", "id", "131052-308T"),
        ("DNI 12345678Z", "id", "12345678Z"),
        ("RSSMRA85T10A562S", "id", "RSSMRA85T10A562S"),
        ("CPF 529.982.247-25", "id", "529.982.247-25"),
        ("756.9217.0769.85", "id", "756.9217.0769.85"),
        ("steuer-id 86095742719", "id", "86095742719"),
        ("pesel 44051401359", "id", "44051401359"),
        ("NINO is QQ 12 34 56 A? no: AB 12 34 56 C.", "id", "AB 12 34 56 C"),
        ("postgres://app:s3cr3t-9x@db/x", "secret", "s3cr3t-9x"),
    ] {
        assert_eq!(found(text), [(kind, data)], "{text}");
    }
}

#[test]
fn what_is_not_found() {
    for text in [
        "git@github.com:user/project.git and ssh://git@example.org/x",
        "lodash@4.17.21, icon@2x.png, @app.route, a@b, x = a @ b.T",
        "order 212-555-0142, ISBN 978-3-16-148410-0, ISBN 0-306-40615-2",
        "2024-01-31 12:30:59, 31.01.2024, 20240131, 1700000000000",
        "1,234,567.89 and 3.14159265358979 and 1e100 and 0x1234567890",
        "123e4567-e89b-12d3-a456-426614174000",
        "commit 2fd4e1c67a2d28fced849ee1bb76e7391b93eb12",
        "version 2.14.3.21, v1.22.33.44, foo==21.4.5.6",
        "10.0.0.1 192.168.1.20 127.0.0.1 0.0.0.0 255.255.255.0 172.20.1.1 169.254.7.7 8.8.8.8 93.184.216.0/24",
        "fe80::1 and std::vec and ab::cd and ::1 and 12:34:56 and 00:1B:44:11:3A:B7 and 2001:db8::1",
        "1.3.6.1.4.1.311.21.20",
        "000-12-3456 666-12-3456 900-12-3456 123-00-4567 123-45-0000",
        "GB29 NWBK 6016 1331 9268 18",
        "4111 1111 1111 1112",
        "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20",
        "1200 3400 5600 7800 9000 1200",
        "5+12345678901=12345678906 and 2*(3+1234567890)",
        "the years 1990 2001 2024 and 1914-1918",
        "https://example.org/2024/01/12345678 and /tmp/123456789",
        "The phones cost 2400 / 200 = <<2400/200=12>>12 each, a phone 1000/200",
        "INTRODUCTORY A1 B52 H2O CO2",
        "AKIAIOSFODNN7EXAMPLE and sk_test_xxxxxxxxxxxxxxxxxxxxxxxx",
        "coordinates 51.507351, -0.127758 and 40.712776 -74.005974",
        "lat=37.7749&lon=-122.4194",
    ] {
        assert_eq!(found(text), [], "{text}");
    }
}

#[test]
fn kinds_and_scores_select() {
    let text = "jo@example.org, +49 30 901820, tel 5551234";
    let kinds = |pii: Pii| pii.find(text).iter().map(|f| f.rule.name).collect::<Vec<_>>();
    assert_eq!(kinds(Pii::new(&[Kind::Email])), ["email"]);
    assert_eq!(kinds(Pii::default()), ["email", "phone-international", "phone-context"]);
    assert_eq!(kinds(Pii::default().min_score(0.75)), ["email", "phone-international"]);
}

#[test]
fn overlaps_go_to_the_stronger_kind() {
    assert_eq!(found("5551234567@example.com"), [("email", "5551234567@example.com")]);
    // Data of an excluded kind is not reported as another kind.
    assert!(Pii::new(&[Kind::Phone]).find("phone card 4111 1111 1111 1111").is_empty());
}

#[test]
fn redaction_keeps_offsets_and_is_idempotent() {
    let pii = Pii::default();
    let text = "Größe: jo@example.org – 日本 +81 3 1234 5678, card 4111-1111-1111-1111 ✓";
    let redacted = pii.redact(text);
    assert_eq!(redacted.text, "Größe: <EMAIL> – 日本 <PHONE>, card <CARD> ✓");
    let parts: Vec<&str> = redacted.findings.iter().map(|finding| &text[finding.start..finding.end]).collect();
    assert_eq!(parts, ["jo@example.org", "+81 3 1234 5678", "4111-1111-1111-1111"]);
    assert_eq!(pii.redact(&redacted.text).text, redacted.text);
    let marked = pii.redact_with(text, |kind| format!("[{}]", kind.name()));
    assert!(marked.text.contains("[email] –"));
}
