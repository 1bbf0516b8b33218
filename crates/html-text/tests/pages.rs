//! Pages written for these tests, of the kinds that occur on the web, with the expected text.

use html_text::{Alt, Kind, Options, Page, extract};

const LOREM: &str = "The river rose for three days before anybody in the valley noticed, and by then the lower fields were lost. \
                     Farmers moved their animals to the hills, where neighbours, who had been warned by the priest, let them in.";

fn page(body: &str) -> Page {
    extract(
        &format!("<!DOCTYPE html><html lang=en-GB><head><title>A title</title></head><body>{body}</body></html>"),
        &Options::default(),
    )
}

fn code(page: &Page) -> Vec<&str> {
    of(page, Kind::Code)
}

fn of(page: &Page, kind: Kind) -> Vec<&str> {
    page.spans.iter().filter(|span| span.kind == kind).map(|span| &page.text[span.range.clone()]).collect()
}

#[test]
fn an_article_without_its_frame() {
    let found = page(&format!(
        "<header><a href=/>Home</a></header><nav><ul><li><a href=/a>News</a><li><a href=/b>Sport</a></ul></nav>
         <div class=wrapper><article><h1>A title</h1><p class=byline>By A. Writer</p>
         <p>{LOREM}</p><figure><img src=x alt='The river'><figcaption>The river on Monday</figcaption></figure>
         <p>{LOREM} First.</p><h2>What came next</h2><p>{LOREM} Second.</p>
         <div class=share-buttons><a href=/t>Tweet</a></div>
         <section class=related><h3>Related articles</h3><ul><li><a href=/1>Another flood in the north of the country</a></ul></section>
         </article><aside><h3>Popular</h3><p>{LOREM} Aside.</p></aside></div><footer><p>Copyright 2026 by the paper</p></footer>"
    ));
    assert_eq!(found.text, format!("{LOREM}\n\n{LOREM} First.\n\nWhat came next\n\n{LOREM} Second."));
    assert_eq!((found.title.as_deref(), found.language.as_deref()), (Some("A title"), Some("en")));
}

#[test]
fn all_posts_of_a_thread() {
    let posts: String = (1..5)
        .map(|n| format!("<div class=post id=p{n}><div class=user><a href=/u{n}>user{n}</a></div><div class=text>{LOREM} Post {n}.</div></div>"))
        .collect();
    let found = page(&format!(
        "<nav><a href=/>Forum</a></nav><div class=thread>{posts}</div><div id=footer>Powered by software</div>"
    ));
    for n in 1..5 {
        assert!(found.text.contains(&format!("Post {n}.")), "{}", found.text);
    }
    assert!(!found.text.contains("Powered"));
}

#[test]
fn comments_are_no_part_of_an_article_but_all_of_a_discussion() {
    let comments: String = (1..9).map(|n| format!("<li class=comment><p>{LOREM} Comment {n}.</p></li>")).collect();
    let found = page(&format!(
        "<article><p>{LOREM} One.</p><p>{LOREM} Two.</p></article><ol class=comment-list>{comments}</ol>"
    ));
    assert!(found.text.ends_with("Two."), "{}", found.text);
    let found = page(&format!("<div><ol class=comment-list>{comments}</ol></div>"));
    assert!(found.text.contains("Comment 1.") && found.text.contains("Comment 8."), "{}", found.text);
}

#[test]
fn a_listing_keeps_its_links() {
    let chapters: String =
        (1..40).map(|n| format!("<li><a href=/c{n}>Chapter {n}: the long way home</a></li>")).collect();
    let found =
        page(&format!("<nav><a href=/>Home</a><a href=/b>Books</a></nav><div id=list><ul>{chapters}</ul></div>"));
    assert!(found.text.starts_with("Chapter 1: the long way home\nChapter 2:"), "{}", found.text);
    assert!(found.text.ends_with("Chapter 39: the long way home"));
}

#[test]
fn code_keeps_lines_and_spaces() {
    let found = page(&format!(
        "<p>{LOREM}</p><pre><code class=language-python><span>def</span> <span>f</span>(x):\n    <span>return</span> x &lt; 1\n\n\nf(2)  \n</code></pre><p>{LOREM} After.</p>"
    ));
    assert_eq!(code(&found), ["def f(x):\n    return x < 1\n\n\nf(2)"]);
    assert_eq!(found.text, format!("{LOREM}\n\ndef f(x):\n    return x < 1\n\n\nf(2)\n\n{LOREM} After."));
    let fenced = extract(&format!("<p>{LOREM}</p><pre>a\n  b</pre>"), &Options { fences: true, ..Options::default() });
    assert_eq!(fenced.text, format!("{LOREM}\n\n```\na\n  b\n```"));
}

#[test]
fn code_of_highlighters_has_no_line_numbers() {
    let table = "<table class=highlighttable><tr><td class=linenos><pre>1\n2</pre></td><td class=code><pre>a = 1\n  b = 2</pre></td></tr></table>";
    let found = page(&format!("<p>{LOREM}</p><div class=highlight>{table}</div><p>{LOREM}</p>"));
    assert_eq!(code(&found), ["a = 1\n  b = 2"]);
    let rows = "<table><tr><td class=blob-num>1</td><td><pre>x</pre></td></tr></table>";
    assert!(!page(&format!("<p>{LOREM}</p>{rows}")).text.contains('1'));
    let lines = "<pre><span class=lineno>1 </span>a\n<span class=lineno>2 </span>b</pre>";
    assert_eq!(code(&page(&format!("<p>{LOREM}</p>{lines}"))), ["a\nb"]);
}

#[test]
fn code_without_pre() {
    let breaks = "<div class=code>import numpy as np<br><br>&nbsp;&nbsp;print(np)</div>";
    assert_eq!(code(&page(&format!("<p>{LOREM}</p>{breaks}<p>{LOREM}</p>"))), ["import numpy as np\n\n  print(np)"]);
    let lines = "<div class='syntaxhighlighter'><div class=line><code>int</code> <code>a;</code></div><div class=line><code>a++;</code></div></div>";
    assert_eq!(code(&page(&format!("<p>{LOREM}</p>{lines}<p>{LOREM}</p>"))), ["int a;\na++;"]);
    // A word of code in a sentence is not a code block.
    let found = page(&format!("<p>{LOREM} Call <code>free(x)</code> then.</p>"));
    assert!(found.text.ends_with("Call free(x) then.") && code(&found).is_empty());
}

#[test]
fn formulas_are_latex() {
    let annotation =
        "<math><semantics><mi>x</mi><annotation encoding='application/x-tex'>x^2</annotation></semantics></math>";
    let katex = format!(
        "<span class=katex><span class=katex-mathml>{annotation}</span><span class=katex-html aria-hidden=true>x2</span></span>"
    );
    let mathjax = "<span class=MathJax_Preview>x</span><span class=MathJax><span>x2</span></span><script type='math/tex; mode=display'>x^2</script>";
    let wiki = "<span class=mwe-math-element><span style='display: none;'><math alttext='{\\displaystyle x^2}'></math></span><img class=mwe-math-fallback-image-inline alt='{\\displaystyle x^2}'></span>";
    for (html, wanted) in [
        (annotation, "$x^2$"),
        (&katex, "$x^2$"),
        (wiki, "$x^2$"),
        ("<img src=a.png class=latex alt='x^2'>", "$x^2$"),
        ("<img src='https://latex.codecogs.com/gif.latex?x%5E2'>", "$x^2$"),
        ("<span data-tex='x^2'><svg></svg></span>", "$x^2$"),
        ("\\(x^2\\)", "\\(x^2\\)"),
    ] {
        let found = page(&format!("<p>{LOREM} Take {html} and go.</p>"));
        assert!(found.text.ends_with(&format!(" Take {wanted} and go.")), "{html}: {}", found.text);
    }
    let found = page(&format!("<p>{LOREM} Take {mathjax}</p><p>{LOREM}</p>"));
    assert!(found.text.contains(" Take\n\n$$x^2$$\n\nThe river"), "{}", found.text);
    assert_eq!(of(&found, Kind::Formula), ["$$x^2$$"]);
}

#[test]
fn mathml_without_a_source_becomes_latex() {
    let html = "<math><mrow><mfrac><mn>1</mn><msqrt><mi>n</mi></msqrt></mfrac><mo>=</mo><munderover><mo>∑</mo><mi>i</mi><mi>n</mi></munderover>\
                <msub><mi>a</mi><mi>i</mi></msub></mrow></math>";
    let found = page(&format!("<p>{LOREM} So {html} holds.</p>"));
    assert!(found.text.ends_with("So $\\frac{1}{\\sqrt{n}} = \\sum_{i}^{n}a_{i}$ holds."), "{}", found.text);
}

#[test]
fn tables_are_rows_of_cells() {
    let table = "<table><thead><tr><th>River</th><th>Height</th></tr></thead><tbody><tr><td>Old <b>stream</b></td><td>4 m</td></tr>\
                 <tr><td>New<br>canal</td><td><p>7 m</p></td></tr></tbody></table>";
    let found = page(&format!("<p>{LOREM}</p>{table}<p>{LOREM}</p>"));
    assert_eq!(of(&found, Kind::Table), ["River\tHeight\nOld stream\t4 m\nNew canal\t7 m"]);
    let layout = format!(
        "<table><tr><td><a href=/>Menu</a></td><td><p>{LOREM}</p><p>{LOREM}</p><p>{LOREM}</p></td></tr></table>"
    );
    assert_eq!(page(&layout).text, format!("{LOREM}\n\n{LOREM}\n\n{LOREM}"));
}

#[test]
fn alternative_texts() {
    let html =
        format!("<p>{LOREM} We <img alt=love src=heart.png> it.</p><p><img alt='A map' src=map.png></p><p>{LOREM}</p>");
    let with = |alt| extract(&html, &Options { alt, ..Options::default() }).text;
    assert!(with(Alt::Inline).contains("We love it.") && !with(Alt::Inline).contains("A map"));
    assert!(with(Alt::All).contains("\nA map\n"));
    assert!(with(Alt::Formulas).contains("We it."));
}

#[test]
fn white_space_is_what_a_reader_sees() {
    let found = page(&format!("<p>{LOREM} one<b>two</b> \n three&nbsp;four so&shy;ft zero&#8203;width<br>five</p>"));
    assert!(found.text.ends_with(" onetwo three four soft zerowidth\nfive"), "{}", found.text);
}

#[test]
fn a_page_without_running_text_has_the_text_of_its_body() {
    assert_eq!(page("<p>Hello</p>").text, "Hello");
    assert_eq!(page("").text, "");
    assert_eq!(extract("no markup at all", &Options::default()).text, "no markup at all");
}

#[test]
fn broken_markup_is_read_as_browsers_do() {
    let found = page(&format!(
        "<p>{LOREM} <b>bold <i>both</b> italic</i><p>{LOREM}<table><p>{LOREM} In.</p><tr><td>a</table></div></span>"
    ));
    assert!(found.text.contains("bold both italic") && found.text.contains("In."), "{}", found.text);
}

#[test]
fn dates_are_days() {
    let html = "<meta property='article:published_time' content='2024-05-06T07:08:09Z'><p>x";
    assert_eq!(extract(html, &Options::default()).date.as_deref(), Some("2024-05-06"));
    assert_eq!(extract("<time datetime='6 May'>x</time>", &Options::default()).date, None);
}
