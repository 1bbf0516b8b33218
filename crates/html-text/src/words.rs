//! The meaning of the names in `class` and `id` of an element.
//!
//! The words are those with which authors of themes and content systems name their parts, on many sites; none is the
//! name of a site.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

/// A set of the kinds below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Labels(u16);

impl Labels {
    /// Menus, breadcrumbs, page numbers.
    pub const NAVIGATION: Self = Self(1);
    /// Advertisements and promotion.
    pub const ADVERT: Self = Self(2);
    /// Buttons and counts of social networks.
    pub const SHARE: Self = Self(4);
    /// Teasers of other pages.
    pub const RELATED: Self = Self(8);
    /// Comments of readers.
    pub const COMMENT: Self = Self(16);
    /// Author, date, tags, licence.
    pub const META: Self = Self(32);
    /// Newsletters, logins, consent.
    pub const FORM: Self = Self(64);
    /// Side columns, heads of pages.
    pub const FRAME: Self = Self(128);
    /// Captions and credits of pictures.
    pub const CAPTION: Self = Self(256);
    /// Parts that are only for screen readers or printers, or not shown.
    pub const HIDDEN: Self = Self(512);
    /// The body of the main text, with certainty.
    pub const BODY: Self = Self(1024);
    /// Possibly a part that contains the main text.
    pub const CONTENT: Self = Self(2048);
    /// An answer or post of a discussion.
    pub const POST: Self = Self(4096);

    /// The foot of the page.
    pub const FOOTER: Self = Self(8192);

    /// Decoration, for assistive programs.
    pub const DECORATION: Self = Self(16384);

    /// A block of code of a highlighter.
    pub const CODE: Self = Self(32768);

    /// Labels of elements that never belong to the main text.
    pub const BOILERPLATE: Self = Self(1 | 2 | 4 | 8 | 32 | 64 | 128 | 512 | 8192);

    /// The set without `other`.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether it contains at least one of `other`.
    pub fn any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The union with `other`.
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Words that are significant anywhere in a name.
const ANYWHERE: &[(Labels, &str)] = &[
    (
        Labels::NAVIGATION,
        "breadcrumb navbar navigation pagination paginator pagenav page-nav post-nav skip-link skiplink topbar menu-item submenu dropdown toolbar tablist megamenu jump-to table-of-contents tableofcontents toc-list prev-next next-prev mw-editsection editsection catlinks navbox",
    ),
    (
        Labels::ADVERT,
        "advert adsense adslot ad-slot adunit sponsor promoted promotion promobox banner-ad taboola outbrain revcontent doubleclick google_ads affiliate-box paid-content shoppable dfp-",
    ),
    (
        Labels::SHARE,
        "social sharing share-b share-l share-t sharebar sharetool addthis addtoany sharedaddy jp-relatedposts followus follow-us follow-b like-button post-actions story-tools article-tools sharethis",
    ),
    (
        Labels::RELATED,
        "related recommend recirc readmore read-more read_more readnext read-next read-also more-stor morestor most-read mostread most-popular mostpopular trending teaser also-like also-read youmaylike may-like up-next upnext see-also seealso suggested more-from morefrom more-on latest-news top-stor carousel in-this-series onward yarpp contentrecommend other-news moreposts",
    ),
    (Labels::COMMENT, "comment disqus replies respond discussion livefyre"),
    (
        Labels::META,
        "byline author-b author-i author-n author-c author-a author-d about-author aboutauthor authorbox author_box author_info dateline timestamp pubdate publish-date published-date post-date post-meta postmeta entry-meta article-meta articlemeta post-info article-info taglist tag-list tagcloud post-tags entry-tags article-tags tags-links cat-links categories post-categor copyright reading-time readtime read-time post-footer entry-footer article-footer contributor datepublish datecreated datemodif entry-date posted-on posted-by meta-data metadata vcard writer-info article-date",
    ),
    (
        Labels::FORM,
        "newsletter subscri notification-bar paywall cookie consent gdpr optin opt-in donat mailchimp lightbox regwall search-form searchform captcha",
    ),
    (
        Labels::FRAME,
        "sidebar side-bar side_bar widget masthead site-header page-header skyscraper right-rail left-rail rightcol leftcol right-col left-col",
    ),
    (
        Labels::CAPTION,
        "caption photo-credit image-credit img-credit media-credit photocredit image-source photo-source credit-line",
    ),
    (
        Labels::HIDDEN,
        "sr-only visually-hidden visuallyhidden screen-reader screenreader noprint no-print print-only printonly display-none",
    ),
    (
        Labels::BODY,
        "article-body articlebody article_body article__body article-text article_text articletext articlecontent article-content article_content article__content entry-content entry_content entrycontent post-content postcontent post_content post-body postbody post_body post__content post-text post_text story-body storybody story_body story__body story-content storycontent story-text storytext body-content bodycontent content-body contentbody content_body content__body blog-content blog-post-body news-content newscontent news-text newstext article-copy main-text maintext markdown-body page-content-body td-post-content single-content mw-parser-output field-name-body node-body text-body rich-text-body paragraph-content articlepage-body art-text",
    ),
    (Labels::CONTENT, "article content main story entry blog post document description"),
    (Labels::POST, "answer question message topic thread forum reply-body postmsg post-message js-post"),
];

/// Words that are significant only as a whole part of a name.
const ALONE: &[(Labels, &str)] = &[
    (Labels::NAVIGATION, "nav menu crumbs pager toc skip"),
    (Labels::ADVERT, "ad ads adv dfp promo promos advertisement oas mpu leaderboard banner cta"),
    (Labels::SHARE, "share shares sns follow tweet-this whatsapp pinterest"),
    (Labels::RELATED, "rel similar popular latest teasers explore zergnet outbound"),
    (Labels::COMMENT, "reply remarks talkback"),
    (Labels::META, "author authors byline bio tags tag category kicker rubric eyebrow meta credits"),
    (
        Labels::FORM,
        "modal popup overlay subscribe dialog tooltip toast signup sign-up sign_up login log-in signin sign-in register",
    ),
    (Labels::FRAME, "header aside rail sidebar"),
    (Labels::FOOTER, "foot"),
    (Labels::BODY, "articlebody"),
    (
        Labels::CODE,
        "code codeblock highlight syntaxhighlighter highlighttable sourcecode codehilite codemirror prettyprint hljs crayon prism rouge snippet brush",
    ),
];

/// Names that are significant as a whole: `hidden-xs` is shown on most screens.
const WHOLE: &[(Labels, &str)] = &[
    (Labels::HIDDEN, "hidden hide invisible print is-hidden d-none"),
    (Labels::META, "date time"),
    (Labels::CAPTION, "credit credits"),
];

/// The required place of a word.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Anywhere,
    Alone,
    Whole,
}

struct Matcher {
    automaton: AhoCorasick,
    /// For each pattern: its label, and the required place.
    patterns: Vec<(Labels, Place)>,
}

static MATCHER: LazyLock<Matcher> = LazyLock::new(|| {
    let mut words = Vec::new();
    let mut patterns = Vec::new();
    for (list, place) in [(ANYWHERE, Place::Anywhere), (ALONE, Place::Alone), (WHOLE, Place::Whole)] {
        for (label, line) in list {
            for word in line.split(' ') {
                words.push(word);
                patterns.push((*label, place));
            }
        }
    }
    let automaton = AhoCorasick::builder()
        .kind(Some(AhoCorasickKind::DFA))
        .match_kind(MatchKind::Standard)
        .ascii_case_insensitive(true)
        .build(words)
        // The words are constants: a matcher without any would call every element content.
        .unwrap_or_else(|why| panic!("html-text: the built-in words do not compile: {why}"));
    Matcher { automaton, patterns }
});

/// The labels of a class or id.
pub fn labels(names: &str) -> Labels {
    // Classes of articles that name their topics.
    if names.contains("tag-") || names.contains("category-") {
        let topic = |name: &&str| !(name.starts_with("tag-") || name.starts_with("category-"));
        let own: Vec<&str> = names.split_ascii_whitespace().filter(topic).collect();
        return found(&own.join(" "));
    }
    let labels = found(names);
    // Page builders give every block this name.
    if names.contains("elementor") || names.contains("so-panel") { labels.without(Labels::FRAME) } else { labels }
}

fn found(names: &str) -> Labels {
    let matcher = &*MATCHER;
    let bytes = names.as_bytes();
    let mut found = Labels::default();
    for hit in matcher.automaton.find_overlapping_iter(names) {
        let (label, place) = matcher.patterns[hit.pattern().as_usize()];
        let there = match place {
            Place::Anywhere => true,
            Place::Alone => begins_word(bytes, hit.start()) && ends_word(bytes, hit.end()),
            Place::Whole => {
                let space = |at: Option<&u8>| at.is_none_or(u8::is_ascii_whitespace);
                space(hit.start().checked_sub(1).and_then(|at| bytes.get(at))) && space(bytes.get(hit.end()))
            }
        };
        if there {
            found = found.with(label);
        }
    }
    found
}

fn begins_word(bytes: &[u8], at: usize) -> bool {
    at == 0
        || !bytes[at - 1].is_ascii_alphabetic()
        || (bytes[at].is_ascii_uppercase() && bytes[at - 1].is_ascii_lowercase())
}

fn ends_word(bytes: &[u8], at: usize) -> bool {
    at == bytes.len()
        || !bytes[at].is_ascii_alphabetic()
        || (bytes[at].is_ascii_uppercase() && bytes[at - 1].is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_words_count_only_by_themselves() {
        for (name, expected) in [
            ("ad-top", true),
            ("header_ad", true),
            ("topAd", true),
            ("AdBox", true),
            ("shadow", false),
            ("load", false),
        ] {
            assert_eq!(labels(name).any(Labels::ADVERT), expected, "{name}");
        }
    }

    #[test]
    fn hidden_is_a_whole_name() {
        assert!(labels("box hidden").any(Labels::HIDDEN));
        assert!(!labels("box hidden-xs").any(Labels::HIDDEN));
    }

    #[test]
    fn kinds_are_told_apart() {
        assert!(labels("site-Sidebar").any(Labels::FRAME));
        assert!(labels("c-related__list").any(Labels::RELATED));
        assert!(labels("entry-content single").any(Labels::BODY));
        assert!(!labels("entry-content single").any(Labels::BOILERPLATE));
        for name in
            ["x1 y2", "blog-index", "design-updates", "post category-newsletter tag-related", "elementor-widget"]
        {
            assert!(!labels(name).any(Labels::BOILERPLATE), "{name}");
        }
    }
}
