//! Finds the imports and definitions of a Python file in its syntax tree (tree-sitter).

use anyhow::Context as _;
use tree_sitter::{Node, Parser};

/// An import statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// Number of leading dots: 0 for an absolute import.
    pub level: usize,
    /// The module as written, without leading dots; empty in `from . import x`.
    pub module: String,
    /// The names after `from ... import`; `*` for all. None for `import module`.
    pub names: Option<Vec<String>>,
    /// When the import runs.
    pub when: When,
}

/// When an import statement runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    /// The import always runs when the module is imported.
    Always,
    /// The import may run: it is under `if`, `try`, `with` or a loop.
    Maybe,
    /// The import does not run when the module is imported: it is in a function, or under `TYPE_CHECKING`.
    Later,
}

/// The imports and definitions of a file.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The import statements, in order.
    pub imports: Vec<Import>,
    /// Functions and classes at the top level.
    pub definitions: Vec<String>,
}

/// A Python parser.
pub struct Reader(Parser);

impl Reader {
    /// Makes a parser with the Python grammar.
    ///
    /// # Errors
    /// When the versions of grammar and parser differ.
    pub fn new() -> anyhow::Result<Self> {
        let mut parser = Parser::new();
        parser
            .set_language(&tree_sitter_python::LANGUAGE.into())
            .context("tree-sitter refuses the grammar of Python")?;
        Ok(Self(parser))
    }

    /// The imports and definitions of a file.
    ///
    /// # Errors
    /// When the parser fails.
    pub fn read(&mut self, text: &str) -> anyhow::Result<Facts> {
        let tree = self.0.parse(text, None).context("tree-sitter gave up")?;
        let mut facts = Facts::default();
        // Depth first without recursion: nested expressions could overflow the stack.
        let mut left = vec![(tree.root_node(), When::Always)];
        while let Some((node, when)) = left.pop() {
            let inner = match node.kind() {
                "import_statement" | "import_from_statement" => {
                    imports(node, text, when, &mut facts.imports);
                    continue;
                }
                // `from __future__ import ...` imports no file.
                "future_import_statement" => continue,
                "function_definition" | "class_definition" => {
                    if is_top_level(node)
                        && let Some(name) = node.child_by_field_name("name")
                    {
                        facts.definitions.push(text[name.byte_range()].to_owned());
                    }
                    if node.kind() == "function_definition" { When::Later } else { when }
                }
                "lambda" => When::Later,
                "if_statement" if is_for_types(node, text) => {
                    // The branch after `else` runs.
                    let mut cursor = node.walk();
                    for child in node.children(&mut cursor) {
                        let is_body = child.kind() == "block";
                        left.push((child, if is_body { When::Later } else { when.max(When::Maybe) }));
                    }
                    continue;
                }
                "if_statement" | "try_statement" | "with_statement" | "for_statement" | "while_statement"
                | "match_statement" => when.max(When::Maybe),
                _ => when,
            };
            let mut cursor = node.walk();
            let children: Vec<Node> = node.children(&mut cursor).collect();
            left.extend(children.into_iter().rev().map(|child| (child, inner)));
        }
        Ok(facts)
    }
}

fn is_top_level(node: Node) -> bool {
    match node.parent() {
        Some(parent) if parent.kind() == "decorated_definition" => is_top_level(parent),
        Some(parent) => parent.kind() == "module",
        None => false,
    }
}

/// Whether a condition is `TYPE_CHECKING` or `typing.TYPE_CHECKING`.
fn is_for_types(node: Node, text: &str) -> bool {
    let condition = node.child_by_field_name("condition").map(|condition| &text[condition.byte_range()]);
    condition.is_some_and(|condition| condition == "TYPE_CHECKING" || condition.ends_with(".TYPE_CHECKING"))
}

/// The text of a dotted name, which may be written with white space.
fn dotted(node: Node, text: &str) -> String {
    text[node.byte_range()].chars().filter(|c| !c.is_whitespace() && *c != '\\').collect()
}

/// The name in `a.b` or `a.b as c`.
fn name_of(node: Node, text: &str) -> String {
    let name = if node.kind() == "aliased_import" { node.child_by_field_name("name") } else { Some(node) };
    name.map_or_else(String::new, |name| dotted(name, text))
}

fn imports(node: Node, text: &str, when: When, found: &mut Vec<Import>) {
    let mut cursor = node.walk();
    let names: Vec<String> =
        node.children_by_field_name("name", &mut cursor).map(|child| name_of(child, text)).collect();
    if node.kind() == "import_statement" {
        found.extend(names.into_iter().map(|module| Import { level: 0, module, names: None, when }));
        return;
    }
    let Some(from) = node.child_by_field_name("module_name") else { return };
    let whole = dotted(from, text);
    let module = whole.trim_start_matches('.');
    let level = whole.len() - module.len();
    let mut cursor = node.walk();
    let is_star = node.children(&mut cursor).any(|child| child.kind() == "wildcard_import");
    let names = if is_star { vec!["*".to_owned()] } else { names };
    found.push(Import { level, module: module.to_owned(), names: Some(names), when });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Facts {
        Reader::new().unwrap().read(text).unwrap()
    }

    fn shown(facts: &Facts) -> Vec<String> {
        let one = |import: &Import| {
            let names = import.names.as_ref().map_or(String::new(), |names| format!(":{}", names.join(",")));
            format!("{}{}{names} {:?}", ".".repeat(import.level), import.module, import.when)
        };
        facts.imports.iter().map(one).collect()
    }

    #[test]
    fn all_forms_of_imports() {
        let text = "from __future__ import annotations\nimport a.b.c, d as e\nfrom . import x\nfrom ..y.z import (\n    one as two,  # a\n    three,\n)\n\
                    from q import *\nfrom .w import \\\n    v; import s\n\"\"\"\nimport no\n\"\"\"\n";
        let expected = [
            "a.b.c Always",
            "d Always",
            ".:x Always",
            "..y.z:one,three Always",
            "q:* Always",
            ".w:v Always",
            "s Always",
        ];
        assert_eq!(shown(&read(text)), expected);
    }

    #[test]
    fn when_imports_run() {
        let text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a\nelse:\n    import b\ntry:\n    import c\nexcept ImportError:\n    d = None\n\
                    class K:\n    import e\n    def f(self):\n        import g\n@deco\nasync def h():\n    if x:\n        from .i import j\nif t.TYPE_CHECKING:\n    from k import l\n";
        let facts = read(text);
        let expected = [
            "typing:TYPE_CHECKING Always",
            "a Later",
            "b Maybe",
            "c Maybe",
            "e Always",
            "g Later",
            ".i:j Later",
            "k:l Later",
        ];
        let mut found = shown(&facts);
        found.sort_by_key(|line| expected.iter().position(|other| other == line));
        assert_eq!(found, expected);
        assert_eq!(facts.definitions, ["K", "h"]);
    }
}
