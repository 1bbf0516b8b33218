//! The elements that this crate distinguishes.

use html5ever::{LocalName, local_name};

macro_rules! tags {
    ($($variant:ident $name:tt,)*) => {
        /// The kind of a node: a text, or an element by its name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub enum Tag { Other, Text, $($variant,)* }

        impl Tag {
            /// The tag of an element's name.
            pub fn of(name: &LocalName) -> Self {
                match *name {
                    $(local_name!($name) => Self::$variant,)*
                    _ => Self::Other,
                }
            }
        }
    };
}

tags! {
    A "a", Abbr "abbr", Address "address", Annotation "annotation", Article "article", Aside "aside", B "b", Blockquote "blockquote",
    Body "body", Br "br", Button "button", Canvas "canvas", Caption "caption", Center "center", Code "code",
    Datalist "datalist", Dd "dd", Del "del", Details "details", Dialog "dialog", Dir "dir", Div "div", Dl "dl", Dt "dt", Em "em",
    Fieldset "fieldset", Figcaption "figcaption", Figure "figure", Font "font", Footer "footer", Form "form",
    H1 "h1", H2 "h2", H3 "h3", H4 "h4", H5 "h5", H6 "h6", Head "head", Header "header", Hr "hr", Html "html", I "i",
    Img "img", Input "input", Kbd "kbd", Label "label", Legend "legend", Li "li", Main "main", Math "math", Menu "menu", Meta "meta",
    Nav "nav", Ol "ol", Optgroup "optgroup", Option "option", P "p", Pre "pre", Q "q", Rp "rp", Rt "rt", Ruby "ruby", S "s", Samp "samp",
    Script "script", Section "section", Select "select", Small "small", Span "span", Strong "strong", Sub "sub", Summary "summary",
    Sup "sup", Table "table", Tbody "tbody", Td "td", Template "template", Textarea "textarea", Tfoot "tfoot", Th "th",
    Thead "thead", Time "time", Title "title", Tr "tr", Tt "tt", U "u", Ul "ul", Var "var", Video "video", Audio "audio", Wbr "wbr",
    Xmp "xmp",
}

impl Tag {
    /// Whether it starts and ends a line.
    pub fn is_block(self) -> bool {
        use Tag::{
            Address, Article, Aside, Blockquote, Body, Caption, Center, Dd, Details, Dialog, Dir, Div, Dl, Dt,
            Fieldset, Figcaption, Figure, Footer, Form, Header, Hr, Html, Legend, Li, Main, Menu, Nav, Ol, Option, P,
            Pre, Section, Summary, Table, Tbody, Td, Textarea, Tfoot, Th, Thead, Tr, Ul, Xmp,
        };
        self.is_heading()
            || matches!(
                self,
                Address
                    | Article
                    | Aside
                    | Blockquote
                    | Body
                    | Caption
                    | Center
                    | Dd
                    | Details
                    | Dialog
                    | Dir
                    | Div
                    | Dl
                    | Dt
                    | Fieldset
                    | Figcaption
                    | Figure
                    | Footer
                    | Form
                    | Header
                    | Hr
                    | Html
                    | Legend
                    | Li
                    | Main
                    | Menu
                    | Nav
                    | Ol
                    | Option
                    | P
                    | Pre
                    | Section
                    | Summary
                    | Table
                    | Tbody
                    | Td
                    | Textarea
                    | Tfoot
                    | Th
                    | Thead
                    | Tr
                    | Ul
                    | Xmp
            )
    }

    /// Whether it is a heading of any level.
    pub fn is_heading(self) -> bool {
        self.level().is_some()
    }

    /// The level of a heading.
    pub fn level(self) -> Option<u8> {
        match self {
            Self::H1 => Some(1),
            Self::H2 => Some(2),
            Self::H3 => Some(3),
            Self::H4 => Some(4),
            Self::H5 => Some(5),
            Self::H6 => Some(6),
            _ => None,
        }
    }

    /// Whether its text is never part of a page's text.
    pub fn is_unseen(self) -> bool {
        use Tag::{
            Audio, Button, Canvas, Datalist, Dialog, Head, Input, Meta, Optgroup, Option, Rp, Rt, Script, Select,
            Template, Title, Video,
        };
        matches!(
            self,
            Audio
                | Button
                | Canvas
                | Datalist
                | Dialog
                | Head
                | Input
                | Meta
                | Optgroup
                | Option
                | Rp
                | Rt
                | Script
                | Select
                | Template
                | Title
                | Video
        )
    }
}
