//! Pages that try to exhaust the stack, the memory or the time, and random pages. A test that hangs or aborts has
//! failed.

use std::time::{Duration, Instant};

use html_text::{Options, decode, extract};
use proptest::prelude::*;

/// Far above the time for a page of 10 MB, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

fn within_limit(name: &str, html: &str) -> usize {
    let start = Instant::now();
    let page = extract(html, &Options::default());
    assert!(start.elapsed() < LIMIT, "{name}: {:?} for {} bytes", start.elapsed(), html.len());
    page.text.len()
}

#[test]
fn deep_nesting() {
    for tag in
        ["div", "b", "table", "ul><li", "span", "font color=1", "math", "blockquote", "object", "select", "template"]
    {
        let html = format!("{}the end", format!("<{tag}>").repeat(2_000_000 / tag.len()));
        within_limit(tag, &html);
    }
    let html = format!("{}<p>the end</p>{}", "<div>".repeat(100_000), "</div>".repeat(100_000));
    assert_eq!(extract(&html, &Options::default()).text, "the end");
}

#[test]
fn what_follows_a_deep_part_is_read() {
    let html = format!("{}deep{}<p>after", "<i>".repeat(5_000), "</i>".repeat(5_000));
    assert_eq!(extract(&html, &Options::default()).text, "deep\n\nafter");
}

#[test]
fn many_of_everything() {
    let fonts: String = (0..50_000).map(|n| format!("<div><font color={n}></div><p>x")).collect();
    within_limit("formatting elements that stay open", &fonts);
    let attributes: String = (0..500_000).map(|n| format!(" a{n}='<>'")).collect();
    within_limit("attributes", &format!("<p{attributes}>x"));
    let bodies: String = (0..100_000).map(|n| format!("<body a{n}=1 class=c{n}>")).collect();
    within_limit("body tags", &bodies);
    within_limit("open comments", &"<!--".repeat(1_000_000));
    within_limit("open scripts", &"<script>".repeat(200_000));
    within_limit("open drawings", &"<svg>".repeat(20_000));
    within_limit("entities", &"&ampamp&#x41;&nosuch;".repeat(300_000));
    within_limit("links", &"<a href=x>y</a>".repeat(300_000));
    within_limit("cells", &format!("<table>{}", "<tr><td>1<td>2".repeat(200_000)));
    within_limit("nested tables", &"<table><tr><td>x".repeat(50_000));
    within_limit("headings", &"<div><h2>Related</h2>".repeat(100_000));
}

#[test]
fn ten_megabytes_of_text() {
    let html = format!(
        "<body>{}",
        "<p>A sentence, which is long enough to be kept by all of the rules that there are, I think.</p>"
            .repeat(100_000)
    );
    assert!(within_limit("paragraphs", &html) > 8_000_000);
    assert!(within_limit("one line", &"words and words, ".repeat(600_000)) > 10_000_000);
}

/// Pieces from which a random page is made.
fn piece() -> impl Strategy<Value = String> {
    let tags = "a,b,body,br,code,div,dl,dd,fieldset,figure,font,form,frameset,h1,h2,head,html,i,iframe,img,input,li,math,annotation,mi,mfrac,\
                noscript,ol,option,p,plaintext,pre,script,section,select,span,style,sup,svg,table,tbody,td,template,textarea,th,title,tr,ul,\
                image,isindex,ruby,rt,nobr,marquee,object,foreignObject,annotation-xml,caption,col,colgroup,button,summary";
    let tags: Vec<&'static str> = tags.split(',').map(str::trim).collect();
    prop_oneof![
        3 => prop::sample::select(tags.clone()).prop_map(|tag| format!("<{tag}>")),
        2 => prop::sample::select(tags.clone()).prop_map(|tag| format!("</{tag}>")),
        1 => (prop::sample::select(tags), "[ -~]{0,20}").prop_map(|(tag, rest)| format!("<{tag} {rest}>")),
        1 => prop::sample::select(vec![
            "<!--", "-->", "<![CDATA[", "]]>", "<", ">", "&", "&lt;", "&#0;", "\0", "\r", "\"", "<!doctype html>", " class=comment ", "</", "<a href='",
            "<script type='math/tex'>", "<img alt='\\frac{a}{b}'>", "<span class=katex>", "<table class=highlight>", "<math alttext='x'>", "\u{feff}",
        ]).prop_map(str::to_owned),
        2 => "[ -~äß漢。\u{300}\u{1F600}]{0,30}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_pages_do_not_panic(pieces in prop::collection::vec(piece(), 0..60)) {
        let page = extract(&pieces.concat(), &Options::default());
        for span in &page.spans {
            prop_assert!(page.text.get(span.range.clone()).is_some_and(|text| !text.is_empty()));
        }
        // The first line may be code, with its spaces.
        prop_assert_eq!(page.text.trim_start_matches('\n').trim_end(), page.text.as_str());
    }

    #[test]
    fn random_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), charset in "[ -~]{0,12}") {
        let text = decode(&bytes, Some(&format!("text/html; charset={charset}")));
        let _ = extract(&text, &Options::default());
    }
}
