//! Pages in the markup of widespread programs: forums, questions and answers, documentation, encyclopedias, page builders.

use html_text::{Kind, Options, Page, extract};

const LOREM: &str = "The river rose for three days before anybody in the valley noticed, and by then the lower fields were lost. \
                     Farmers moved their animals to the hills, where neighbours, who had been warned by the priest, let them in.";

fn page(html: &str) -> Page {
    extract(&html.replace("LOREM", LOREM), &Options::default())
}

fn code(page: &Page) -> Vec<&str> {
    page.spans.iter().filter(|span| span.kind == Kind::Code).map(|span| &page.text[span.range.clone()]).collect()
}

fn holds(page: &Page, wanted: &[&str], unwanted: &[&str]) {
    for part in wanted {
        assert!(page.text.contains(part), "{part:?} is missing in:\n{}", page.text);
    }
    for part in unwanted {
        assert!(!page.text.contains(part), "{part:?} stands in:\n{}", page.text);
    }
}

#[test]
fn questions_and_answers() {
    let answer = |n: u32| {
        format!(
            "<div id=answer-{n} class='answer js-answer'><div class=post-layout><div class=votecell><button>up</button><div>1{n}</div></div>
             <div class=answercell><div class='s-prose js-post-body' itemprop=text><p>Answer {n}. LOREM</p><pre><code>x = {n}\n  y</code></pre></div>
             <div class=user-info>user{n}</div></div></div></div>"
        )
    };
    let found = page(&format!(
        "<html itemscope itemtype='https://schema.org/QAPage'><body class='question-page'><header>site</header><div id=content>
         <div id=question-header><h1>How?</h1></div><div id=question class=question><div class='s-prose' itemprop=text>
         <p>Question. LOREM</p><pre><code>ask()\n  more()</code></pre></div></div><div id=answers>{}{}</div></div>
         <div id=sidebar><h4>Hot Network Questions</h4><ul><li><a href=/1>Other</a></ul></div></body>",
        answer(1),
        answer(2)
    ));
    holds(&found, &["Question. The river", "Answer 1.", "Answer 2."], &["Hot Network", "site"]);
    assert_eq!(code(&found), ["ask()\n  more()", "x = 1\n  y", "x = 2\n  y"]);
}

#[test]
fn a_forum_that_calls_its_replies_comments() {
    let posts: String = (1..6)
        .map(|n| format!("<div id=post_{n} itemprop=comment itemscope class='topic-body crawler-post'><div class=crawler-post-meta><span class=creator>user{n}</span></div><div class=post itemprop=text><p>Reply {n}. LOREM</p></div></div>"))
        .collect();
    let found = page(&format!(
        "<html><head><meta name=generator content='Discourse 3.2'></head><body class=crawler><header><a href=/>Forum</a></header>
         <div itemscope itemtype='http://schema.org/DiscussionForumPosting'><div class='topic-body crawler-post'><div class=post itemprop=text><p>First. LOREM</p></div></div>{posts}</div></body>"
    ));
    holds(&found, &["First. The", "Reply 1.", "Reply 5."], &[]);
}

#[test]
fn a_bulletin_board() {
    let posts: String = (1..6)
        .map(|n| format!("<div id=p{n} class='post has-profile bg2'><div class=inner><dl class=postprofile><dt><a href=/u>user{n}</a></dt><dd>Posts: {n}</dd></dl>
             <div class=postbody><h3><a href=#p{n}>Re: The topic</a></h3><p class=author>by <a href=/u>user{n}</a> » Monday</p><div class=content>Post {n}. LOREM<br><br>Bye</div></div></div></div>"))
        .collect();
    let found = page(&format!(
        "<body id=phpbb class='nojs notouch section-viewtopic ltr'><div id=wrap class=wrap><div id=page-header><a href=/>Board index</a></div>
         <div id=page-body>{posts}</div><div id=page-footer class=page-footer>Powered by phpBB</div></div>"
    ));
    holds(&found, &["Post 1. The", "Post 5. The", "\n\nBye"], &["Powered by", "Board index"]);
}

#[test]
fn documentation() {
    let found = page(
        "<body><div class=sphinxsidebar role=navigation><h3><a href=/>Contents</a></h3><ul><li><a href=#a>Install</a></ul></div>
         <div class=document><div class=documentwrapper><div class=bodywrapper><div class=body role=main><section id=usage>
         <h1>Usage<a class=headerlink href=#usage title=Permalink>¶</a></h1><p>LOREM</p>
         <div class='highlight-python notranslate'><div class=highlight><pre><span></span><span class=kn>import</span> <span class=nn>os</span>\n<span class=k>for</span> <span class=n>i</span>:\n    <span class=k>pass</span>\n</pre></div></div>
         <div class='admonition note'><p class=admonition-title>Note</p><p>Mind this. LOREM</p></div>
         <dl class='py function'><dt class='sig sig-object py' id=f><span class=sig-name>f</span>(<em>x</em>)<a class=headerlink href=#f>¶</a></dt><dd><p>Does it. LOREM</p></dd></dl>
         </section></div></div></div></div><div class=footer role=contentinfo>Copyright</div></body>",
    );
    holds(&found, &["Note\n\nMind this.", "f(x)\n\nDoes it."], &["¶", "Usage", "Contents", "Copyright"]);
    assert_eq!(found.title.as_deref(), Some("Usage"));
    assert_eq!(code(&found), ["import os\nfor i:\n    pass"]);
}

#[test]
fn an_encyclopedia() {
    let found = page(
        "<body class='mediawiki ltr'><div id=mw-navigation><ul><li><a href=/>Main page</a></ul></div><div id=content class=mw-body role=main>
         <h1 id=firstHeading>River</h1><div id=bodyContent><div id=mw-content-text class=mw-body-content><div class=mw-parser-output>
         <div role=note class='hatnote'>For other uses, see <a href=/x>X</a>.</div><p>A <b>river</b> is <a href=/water>water</a>. LOREM</p>
         <div id=toc class=toc role=navigation><ul><li><a href=#Flow>1 Flow</a></ul></div>
         <h2><span class=mw-headline id=Flow>Flow</span><span class=mw-editsection>[<a href=/e>edit</a>]</span></h2><p>LOREM</p>
         <table class=wikitable><tr><th>Name</th><th>Length</th></tr><tr><td><a href=/n>Nile</a></td><td>6650</td></tr></table>
         <p>LOREM</p><div class=navbox role=navigation><a href=/r>Rivers</a></div></div></div></div></div>",
    );
    holds(
        &found,
        &["A river is water.", "Flow\n\nThe river", "Name\tLength\nNile\t6650"],
        &["edit", "1 Flow", "Main page", "Rivers"],
    );
}

#[test]
fn a_page_builder() {
    let widget = |html: &str| {
        format!(
            "<div class='elementor-element elementor-widget elementor-widget-text-editor'><div class=elementor-widget-container>{html}</div></div>"
        )
    };
    let found = page(&format!(
        "<body class='page has-sidebar comments-open'><div class='elementor elementor-12'><section class='elementor-section'><div class=elementor-container>{}{}{}</div></section></div><footer>Foot</footer>",
        widget("<h2>What we do</h2>"),
        widget("<p>One. LOREM</p>"),
        widget("<p>Two. LOREM</p>")
    ));
    holds(&found, &["What we do", "One. The", "Two. The"], &["Foot"]);
}

#[test]
fn a_product() {
    let found = page(
        "<nav><a href=/>Shop</a></nav><main><h1>Lamp</h1><div class=price>49 €</div><div class=product-description><p>A lamp for the desk, made of steel and glass. It stands where you put it, and it shines.</p>
         <ul><li>Height: 30 cm</li><li>Colour: red</li></ul></div><table><tr><td>Weight</td><td>2 kg</td></tr><tr><td>Power</td><td>9 W</td></tr><tr><td>Protection</td><td>IP 20, indoors only</td></tr></table>
         <div class='related-products'><div class=card><a href=/1>Other lamp</a></div><div class=card><a href=/2>Third lamp</a></div></div></main>",
    );
    holds(&found, &["A lamp for", "Height: 30 cm\nColour: red", "Weight\t2 kg\nPower\t9 W"], &["Other lamp"]);
}

#[test]
fn a_dialog_in_front_of_the_page() {
    let found = page(
        "<div id=app aria-hidden=true><main><p>LOREM</p><p>LOREM</p></main></div><div class=cookie-consent role=dialog><p>We value your privacy. We and
         our partners store information on a device, such as cookies, and process personal data, such as identifiers, for many purposes.</p></div>",
    );
    holds(&found, &["The river rose"], &["We value"]);
}

#[test]
fn a_short_article_over_a_long_footer() {
    let found = page(
        "<div class=story-text>Two people were hurt on Monday when a wall fell, the police said. Nobody was arrested, and the street, which is narrow, is closed until further notice. The town, which owns the wall, will have it looked at by an engineer.</div><div class=footer-wrap><div class=footer-bottom>LOREM LOREM LOREM</div></div>",
    );
    holds(&found, &["Two people were hurt"], &["The river"]);
}

#[test]
fn links_of_the_author_stay_and_those_of_the_system_go() {
    let found = page(
        "<article><p>LOREM</p><ul><li><a href=/1>The first source</a></li><li><a href=/2>The second source</a></li></ul><p>LOREM</p>
         <div class=inline-box><ul><li><a href=/3>Ten rivers to see before you are old</a></li><li><a href=/4>Why floods come</a></li></ul></div><p>LOREM</p>
         <p><b>Related:</b> <a href=/5>A story about floods</a></p><p>LOREM</p></article>",
    );
    holds(&found, &["The first source\nThe second source"], &["Ten rivers", "A story about"]);
}
