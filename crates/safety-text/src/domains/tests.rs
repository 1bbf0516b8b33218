use super::*;

fn with(list: &str, allow: &str) -> Domains {
    let mut domains = Domains::new();
    domains.add("list", list.as_bytes(), "list.txt").unwrap();
    if !allow.is_empty() {
        domains.allow(allow.as_bytes(), "allow.txt").unwrap();
    }
    domains
}

#[test]
fn labels_are_walked_up_to_the_registrable_domain() {
    let domains = with("bad.example.com\nexample.org\nco.uk\ngithub.io\none.github.io\n10.1.2.3\n", "");
    for (address, entry) in [
        ("bad.example.com", Some("bad.example.com")),
        ("http://a.b.bad.example.com/x", Some("bad.example.com")),
        ("https://EXAMPLE.org.:443", Some("example.org")),
        ("x.y.z.example.org/?q=a.b", Some("example.org")),
        ("example.com", None),
        ("notbad.example.com", None),
        ("badexample.org", None),
        ("example.org.evil.net", None),
        // A public suffix in a list does not include the sites below it.
        ("other.co.uk", None),
        ("co.uk", Some("co.uk")),
        ("two.github.io", None),
        ("one.github.io", Some("one.github.io")),
        ("a.one.github.io", Some("one.github.io")),
        ("http://10.1.2.3:80/", Some("10.1.2.3")),
        ("http://9.10.1.2.3/", None),
        ("user:secret@example.org", None),
        ("https://user:secret@example.org/", Some("example.org")),
        ("https://evil.net/example.org", None),
        ("https://evil.net#@example.org/", None),
    ] {
        assert_eq!(domains.find(address).map(|hit| hit.entry), entry.map(str::to_owned), "{address}");
    }
}

#[test]
fn one_label_means_the_whole_top_level_domain() {
    let domains = with("xxx\nexample.com\n", "good.xxx\n");
    assert_eq!(domains.find("a.b.xxx").unwrap().entry, "xxx");
    assert!(domains.find("good.xxx").is_none() && domains.find("xxx.example.net").is_none());
    assert!(domains.find("a.good.xxx").is_none());
}

#[test]
fn allowed_hosts_beat_every_list() {
    let mut domains = with("example.com\n", "help.example.com\nexample.com/about\n");
    domains.add("second", &b"help.example.com\nthird.net\n"[..], "second.txt").unwrap();
    assert!(domains.find("help.example.com").is_none() && domains.is_allowed("a.help.example.com"));
    assert!(domains.find("http://example.com/about/us").is_none());
    assert_eq!(domains.find("http://example.com/aboutus").unwrap().list, "list");
    assert_eq!(domains.find("third.net").unwrap(), Hit { list: "second", entry: "third.net".into() });
    let error = domains.allow(&b"a.b\n"[..], "again.txt").unwrap_err().to_string();
    assert!(error.contains("again.txt: there is an allowed list already"), "{error}");
}

#[test]
fn entries_with_a_path_match_what_lies_below() {
    let domains = with("example.com/a/b/\nhttp://www.site.net/x?id=3\n", "");
    for (address, found) in [
        ("https://example.com/a/b", true),
        ("example.com/a/b/c.html#top", true),
        ("www.example.com/a/b", true),
        ("example.com/a", false),
        ("example.com/a/bc", false),
        ("example.com", false),
        ("www.site.net/x", true),
        ("site.net/x", false),
    ] {
        assert_eq!(domains.find(address).is_some(), found, "{address}");
    }
}

#[test]
fn lines_are_read_in_four_forms_and_counted() {
    let text = "\u{FEFF}# comment\n! comment\n\nA.example\n0.0.0.0 b.example # note\n||c.example^$third-party\nd.example/p\n\
                a.example\nnot a host\nmail@e.example\n\u{FC}ber.example\n";
    let mut domains = Domains::new();
    let counts = domains.add("l", text.as_bytes(), "l.txt").unwrap();
    assert_eq!(counts, Counts { hosts: 5, paths: 1, doubles: 1, bad: 2, first_bad: 9 });
    for host in ["a.example", "b.example", "c.example", "über.example", "xn--ber-goa.example"] {
        assert!(domains.find(host).is_some(), "{host}");
    }
    let error = domains.add("empty", &b"# nothing\n"[..], "e.txt").unwrap_err().to_string();
    assert!(error.contains("e.txt: the list empty holds no host"), "{error}");
}

#[test]
fn folders_of_lists() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("adult")).unwrap();
    std::fs::write(dir.path().join("adult/domains"), "one.example").unwrap();
    std::fs::write(dir.path().join("adult/urls"), "two.example/x\n").unwrap();
    std::fs::write(dir.path().join("ads.txt"), "three.example\n").unwrap();
    std::fs::write(dir.path().join("README"), "four.example\n").unwrap();
    let mut domains = Domains::new();
    domains.add_folder(dir.path()).unwrap();
    assert_eq!(domains.lists().map(|list| list.0).collect::<Vec<_>>(), ["ads", "adult"]);
    assert_eq!(domains.find("two.example/x/y").unwrap().list, "adult");
    assert_eq!(domains.find("one.example").unwrap().list, "adult");
    assert!(domains.find("four.example").is_none());
    let empty = tempfile::tempdir().unwrap();
    assert!(Domains::new().add_folder(empty.path()).unwrap_err().to_string().contains("holds no list"));
}

/// Compares the set with a plain set of strings.
#[test]
fn a_large_list_has_what_it_was_given_and_nothing_else() {
    let name = |n: u64| format!("{:x}.site-{}.example", n.wrapping_mul(0x9E37_79B9_7F4A_7C15), n % 977);
    let text: String = (0..100_000).map(|n| name(n) + "\n").collect();
    let domains = with(&text, "");
    assert_eq!(domains.lists().next().unwrap().1, Counts { hosts: 100_000, ..Counts::default() });
    assert!((0..100_000).all(|n| domains.find(&name(n)).is_some()));
    assert_eq!((100_000..300_000).filter(|&n| domains.find(&name(n)).is_some()).count(), 0);
}
