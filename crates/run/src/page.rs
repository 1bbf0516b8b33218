//! One HTML page for every report: a title and blocks, rendered by a template that escapes every text. The page loads
//! no external resources.

use std::path::Path;

use anyhow::Context;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment};
use serde::Serialize;

use crate::plot::{Curve, plot};

/// A report under construction. The blocks are rendered in the order in which they were added.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Page {
    title: String,
    blocks: Blocks,
}

/// A sequence of blocks, of a page or of a collapsible part of a page.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(transparent)]
pub struct Blocks(Vec<Block>);

#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Block {
    Heading { level: u8, text: String },
    Paragraph { text: String, class: &'static str },
    Pre { text: String, class: &'static str },
    Plot { svg: String },
    Table { columns: Vec<Column>, rows: Vec<Vec<Cell>> },
    Details { summary: String, blocks: Blocks },
}

/// A column of a table.
#[derive(Debug, Clone, Serialize)]
pub struct Column {
    name: String,
    /// Whether the column holds numbers, aligned to the right.
    number: bool,
}

/// A cell of a table.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Cell {
    text: String,
    strong: bool,
    bad: bool,
    /// A second line in small type.
    note: String,
    /// The address to which the text links; empty for none.
    link: String,
}

impl Column {
    /// A column of texts.
    pub fn text(name: impl Into<String>) -> Self {
        Self { name: name.into(), number: false }
    }

    /// A column of numbers, aligned to the right.
    pub fn number(name: impl Into<String>) -> Self {
        Self { name: name.into(), number: true }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

impl Cell {
    /// Makes the cell bold.
    #[must_use]
    pub fn strong(self) -> Self {
        Self { strong: true, ..self }
    }

    /// Gives the cell the colour of failures.
    #[must_use]
    pub fn bad(self) -> Self {
        Self { bad: true, ..self }
    }

    /// Makes the text a link to another page. The address is relative to the page: `01-sft/report.html`.
    #[must_use]
    pub fn link(self, address: impl Into<String>) -> Self {
        Self { link: address.into(), ..self }
    }

    /// Adds a second line in small type.
    #[must_use]
    pub fn note(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }
}

impl Blocks {
    /// A heading of level 2 (a section) or 3.
    pub fn heading(&mut self, level: u8, text: impl Into<String>) -> &mut Self {
        self.push(Block::Heading { level, text: text.into() })
    }

    /// A paragraph.
    pub fn paragraph(&mut self, text: impl Into<String>) -> &mut Self {
        self.push(Block::Paragraph { text: text.into(), class: "" })
    }

    /// A paragraph in the colour of failures.
    pub fn failure(&mut self, text: impl Into<String>) -> &mut Self {
        self.push(Block::Paragraph { text: text.into(), class: "bad" })
    }

    /// Preformatted text; lines that are too wide are wrapped.
    pub fn pre(&mut self, text: impl Into<String>) -> &mut Self {
        self.push(Block::Pre { text: text.into(), class: "" })
    }

    /// Preformatted text in columns, never wrapped.
    pub fn columns(&mut self, text: impl Into<String>) -> &mut Self {
        self.push(Block::Pre { text: text.into(), class: "table" })
    }

    /// The answer of a model.
    pub fn answer(&mut self, text: impl Into<String>) -> &mut Self {
        self.push(Block::Pre { text: text.into(), class: "answer" })
    }

    /// Curves over steps. Nothing is added if no point is finite.
    pub fn plot(&mut self, title: &str, curves: &[Curve]) -> &mut Self {
        self.figure(plot(title, None, curves))
    }

    /// Curves over the quantity `over`. Nothing is added if no point is finite.
    pub fn curves(&mut self, title: &str, over: &str, curves: &[Curve]) -> &mut Self {
        self.figure(plot(title, Some(over), curves))
    }

    fn figure(&mut self, svg: String) -> &mut Self {
        if svg.is_empty() { self } else { self.push(Block::Plot { svg }) }
    }

    /// A table.
    pub fn table(&mut self, columns: Vec<Column>, rows: Vec<Vec<Cell>>) -> &mut Self {
        self.push(Block::Table { columns, rows })
    }

    /// A part that is hidden until its summary is clicked.
    pub fn details(&mut self, summary: impl Into<String>, blocks: Blocks) -> &mut Self {
        self.push(Block::Details { summary: summary.into(), blocks })
    }

    /// Whether there is no block.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the blocks of another sequence.
    pub fn extend(&mut self, other: Blocks) -> &mut Self {
        self.0.extend(other.0);
        self
    }

    fn push(&mut self, block: Block) -> &mut Self {
        self.0.push(block);
        self
    }
}

impl std::ops::Deref for Page {
    type Target = Blocks;

    fn deref(&self) -> &Blocks {
        &self.blocks
    }
}

impl std::ops::DerefMut for Page {
    fn deref_mut(&mut self) -> &mut Blocks {
        &mut self.blocks
    }
}

impl Page {
    /// An empty page.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), blocks: Blocks::default() }
    }

    /// The page as HTML.
    ///
    /// # Errors
    /// When the template is faulty.
    pub fn html(&self) -> anyhow::Result<String> {
        let mut templates = Environment::new();
        templates.set_auto_escape_callback(|name| match name {
            "style.css" => AutoEscape::None,
            _ => AutoEscape::Html,
        });
        templates.add_template("page.html", include_str!("page/page.html"))?;
        templates.add_template("block.html", include_str!("page/block.html"))?;
        templates.add_template("style.css", include_str!("page/style.css"))?;
        let page = templates.get_template("page.html")?;
        Ok(page.render(Serde(self))?)
    }

    /// Writes the page.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let html = self.html().with_context(|| format!("cannot make {}", path.display()))?;
        Ok(dataset::write_file(path, html.as_bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_escaped() {
        let bad = "<script>\"&'";
        let mut page = Page::new(bad);
        let mut inner = Blocks::default();
        inner.heading(3, bad).pre(bad).answer(bad);
        page.heading(2, bad).paragraph(bad).failure(bad).columns(bad).details(bad, inner);
        page.plot(bad, &[(bad, "red", vec![(1.0, 2.0)])]);
        page.table(vec![Column::text(bad), Column::number("n")], vec![vec![Cell::from(bad).note(bad), "1".into()]]);
        let html = page.html().unwrap();
        assert!(!html.contains("<script>"), "{html}");
        // The title and the heading occur twice, 8 texts of blocks, a plot's title, curve and legend, two column or
        // cell texts and a note.
        assert_eq!(html.matches("&lt;script&gt;&quot;&amp;").count(), 16, "{html}");
        assert!(html.contains("<p class=\"bad\">") && html.contains("<pre class=\"answer\">"), "{html}");
        assert!(html.contains("<td class=\"n\">1</tr>"), "{html}");
        assert!(html.contains("polyline") && html.contains("body{font:"), "{html}");
    }

    #[test]
    fn a_table_of_figures() {
        let mut page = Page::new("t");
        let columns = vec![Column::text("a"), Column::number("b")];
        page.table(
            columns,
            vec![
                vec![Cell::from("x").strong().note("y"), Cell::from("2")],
                vec![Cell::from("z").bad(), Cell::default()],
                vec![Cell::from("w").link("01-w/\"report\".html"), Cell::default()],
            ],
        );
        let html = page.html().unwrap();
        assert!(html.contains("<tr><th>a<th class=\"n\">b</tr>"), "{html}");
        assert!(html.contains("<tr><td><b>x</b><br><small>y</small><td class=\"n\">2</tr>"), "{html}");
        assert!(html.contains("<tr><td class=\"bad\">z<td class=\"n\"></tr>"), "{html}");
        assert!(html.contains("<tr><td><a href=\"01-w&#x2f;&quot;report&quot;.html\">w</a><td"), "{html}");
        assert!(Page::new("t").is_empty());
    }
}
