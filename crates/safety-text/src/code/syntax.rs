//! Rules that are queries on syntax trees, for Python and JavaScript.
//!
//! A rule is a query of tree-sitter. The names of its captures add conditions on the captured nodes:
//!
//! | capture | condition |
//! |---|---|
//! | `@hit` | none; this node is reported |
//! | `@dynamic` | is neither a constant nor composed of constants only |
//! | `@sql` | is a string with an SQL keyword that is combined with something that is not a constant; for a name, the last value assigned to it in the same function is checked |
//! | `@credential` | is a string that may be a password or a key |
//!
//! `context` is a regular expression for the name of the enclosing function or of the assignment target; one of the two must
//! match. `needs` is a regular expression that the program must match. `outside` is one for the name of the enclosing function,
//! which must not match.

use std::ops::ControlFlow;
use std::sync::LazyLock;

use regex::Regex;
use serde::Deserialize;
use tree_sitter::{Node, Parser, Query, QueryCursor, StreamingIterator};

use super::{Issue, Language, Level, Rule, line_of};

/// A rule in the format of the rule files.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    cwe: u32,
    level: Level,
    message: String,
    query: String,
    context: Option<String>,
    needs: Option<String>,
    outside: Option<String>,
}

/// Conditions of a rule besides its query.
struct Conditions {
    rule: Rule,
    context: Option<Regex>,
    needs: Option<Regex>,
    outside: Option<Regex>,
}

/// All rules of a language, combined into one query.
struct Grammar {
    language: tree_sitter::Language,
    query: Query,
    /// Offset of each rule in the text of the query.
    starts: Vec<usize>,
    rules: Vec<Conditions>,
    /// Node kinds of the language.
    kinds: &'static Kinds,
}

/// Names of node kinds and fields in the grammar of a language.
struct Kinds {
    functions: &'static [&'static str],
    /// Assignment nodes: their kind, the field of the target, and the field of the value.
    assignments: &'static [(&'static str, &'static str, &'static str)],
    constants: &'static [&'static str],
    /// Nodes that are constant if their named children are.
    made_of: &'static [&'static str],
    strings: &'static [&'static str],
    sums: &'static str,
    call: &'static str,
}

static PYTHON_KINDS: Kinds = Kinds {
    functions: &["function_definition"],
    assignments: &[("assignment", "left", "right"), ("augmented_assignment", "left", "right")],
    constants: &[
        "integer",
        "float",
        "true",
        "false",
        "none",
        "string_start",
        "string_content",
        "string_end",
        "comment",
    ],
    made_of: &[
        "string",
        "concatenated_string",
        "parenthesized_expression",
        "binary_operator",
        "list",
        "tuple",
        "unary_operator",
    ],
    strings: &["string", "concatenated_string"],
    sums: "binary_operator",
    call: "call",
};

static JAVASCRIPT_KINDS: Kinds = Kinds {
    functions: &["function_declaration", "method_definition", "function_expression", "generator_function_declaration"],
    assignments: &[("variable_declarator", "name", "value"), ("assignment_expression", "left", "right")],
    constants: &[
        "number",
        "true",
        "false",
        "null",
        "undefined",
        "string_fragment",
        "escape_sequence",
        "regex",
        "comment",
    ],
    made_of: &[
        "string",
        "template_string",
        "parenthesized_expression",
        "binary_expression",
        "array",
        "unary_expression",
    ],
    strings: &["string", "template_string"],
    sums: "binary_expression",
    call: "call_expression",
};

static PYTHON: LazyLock<Grammar> =
    LazyLock::new(|| Grammar::new(tree_sitter_python::LANGUAGE.into(), include_str!("python.toml"), &PYTHON_KINDS));
static JAVASCRIPT: LazyLock<Grammar> = LazyLock::new(|| {
    Grammar::new(tree_sitter_javascript::LANGUAGE.into(), include_str!("javascript.toml"), &JAVASCRIPT_KINDS)
});

impl Grammar {
    fn new(language: tree_sitter::Language, file: &str, kinds: &'static Kinds) -> Self {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            rule: Vec<Entry>,
        }
        let file: File = toml::from_str(file).expect("the file is part of the crate, and a test reads it");
        let (mut text, mut starts, mut rules) = (String::new(), Vec::new(), Vec::new());
        for Entry { id, cwe, level, message, query, context, needs, outside } in file.rule {
            starts.push(text.len());
            text += &query;
            text.push('\n');
            let regex = |pattern: Option<String>| {
                pattern.map(|pattern| {
                    Regex::new(&pattern).expect("the expressions are constants, and a test compiles them")
                })
            };
            rules.push(Conditions {
                rule: Rule { id, cwe, level, message },
                context: regex(context),
                needs: regex(needs),
                outside: regex(outside),
            });
        }
        let query = Query::new(&language, &text).expect("the queries are constants, and a test compiles them");
        Self { language, query, starts, rules, kinds }
    }

    fn rule(&self, pattern: usize) -> &Conditions {
        let start = self.query.start_byte_for_pattern(pattern);
        &self.rules[self.starts.partition_point(|&at| at <= start) - 1]
    }
}

fn grammar(language: Language) -> Option<&'static Grammar> {
    match language {
        Language::Python => Some(&PYTHON),
        Language::JavaScript => Some(&JAVASCRIPT),
        _ => None,
    }
}

/// All rules with their languages.
pub(super) fn rules() -> Vec<(&'static Rule, Vec<Language>)> {
    [Language::Python, Language::JavaScript]
        .into_iter()
        .flat_map(|language| {
            grammar(language).into_iter().flat_map(|grammar| &grammar.rules).map(move |r| (&r.rule, vec![language]))
        })
        .collect()
}

/// Adds the findings of the queries. Findings in comments that are already in `issues` become advice.
pub(super) fn find(language: Language, code: &str, issues: &mut Vec<Issue>) {
    let Some(grammar) = grammar(language) else { return };
    let mut parser = Parser::new();
    if parser.set_language(&grammar.language).is_err() {
        return;
    }
    let Some(tree) = parser.parse(code, None) else { return };
    let root = tree.root_node();
    for issue in issues.iter_mut() {
        let is_comment = |node: Node| node.kind() == "comment";
        // A key is a finding in a comment too.
        let is_key = issue.rule.id.starts_with("key-");
        if !is_key && root.descendant_for_byte_range(issue.start, issue.end).is_some_and(is_comment) {
            issue.level = Level::Advice;
        }
    }
    let seen = Seen { code, kinds: grammar.kinds };
    let mut cursor = QueryCursor::new();
    let mut matches = cursor.matches(&grammar.query, root, code.as_bytes());
    while let Some(found) = matches.next() {
        let conditions = grammar.rule(found.pattern_index);
        let mut hit = None;
        let mut fits = true;
        for capture in found.captures() {
            let name = grammar.query.capture_names()[capture.index as usize];
            fits &= match name {
                "hit" => {
                    hit = Some(capture.node);
                    true
                }
                "dynamic" => !seen.is_constant(capture.node, 0),
                "sql" => seen.is_built_sql(capture.node),
                "credential" => seen.is_credential(capture.node),
                _ => true,
            };
        }
        let Some(hit) = hit.filter(|_| fits) else { continue };
        if !seen.holds(conditions, hit) {
            continue;
        }
        let (start, end) = (hit.start_byte(), hit.end_byte());
        let rule = &conditions.rule;
        issues.push(Issue { start, end, line: line_of(code, start), rule, level: rule.level });
    }
}

/// A program with the node kinds of its language.
struct Seen<'a> {
    code: &'a str,
    kinds: &'static Kinds,
}

/// Maximal depth of nested expressions that are examined.
const DEPTH: usize = 64;

static SQL: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)\b(select|insert|update|delete|create|drop|alter|replace|grant|truncate|merge|call|exec|where|from|values|pragma|show)\b")
        .expect("the expression is a constant, and a test uses it")
});

static PLACEHOLDER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)^(x+|\*+|\.+|-+)$|example|change_?me|your|placeholder|dummy|todo|none|null|<|\{|\$|env|^(true|false)$|[/\\].*\.|\.html?$|\.txt$|\.json$|^https?:")
        .expect("the expression is a constant, and a test uses it")
});

impl<'a> Seen<'a> {
    fn text(&self, node: Node) -> &'a str {
        self.code.get(node.byte_range()).unwrap_or_default()
    }

    /// Whether an expression is composed of constants only.
    fn is_constant(&self, node: Node, depth: usize) -> bool {
        if self.kinds.constants.contains(&node.kind()) {
            return true;
        }
        if node.kind() == "keyword_argument" {
            return node.child_by_field_name("value").is_some_and(|value| self.is_constant(value, depth + 1));
        }
        depth < DEPTH
            && self.kinds.made_of.contains(&node.kind())
            && !node.has_error()
            && children(node).iter().all(|&child| self.is_constant(child, depth + 1))
    }

    /// Whether an expression is an SQL string that is combined with something that is not a constant.
    fn is_built_sql(&self, node: Node) -> bool {
        if self.is_built(node, 0) {
            return SQL.is_match(self.text(node));
        }
        node.kind() == "identifier"
            && self.last_value(node).is_some_and(|value| self.is_built(value, 0) && SQL.is_match(self.text(value)))
    }

    /// Whether an expression combines a string with something that is not a constant.
    fn is_built(&self, node: Node, depth: usize) -> bool {
        if depth > DEPTH {
            return false;
        }
        let kinds = self.kinds;
        if kinds.strings.contains(&node.kind()) {
            return !self.is_constant(node, 0);
        }
        match node.kind() {
            kind if kind == kinds.sums => !self.is_constant(node, 0) && self.holds_string(node, depth),
            "parenthesized_expression" => children(node).iter().any(|&child| self.is_built(child, depth + 1)),
            // "...".format(x)
            kind if kind == kinds.call => node.child_by_field_name("function").is_some_and(|function| {
                let of = function.child_by_field_name("object");
                let name = function.child_by_field_name("attribute").or(function.child_by_field_name("property"));
                let is_format = name.is_some_and(|name| matches!(self.text(name), "format" | "concat" | "join"));
                is_format && of.is_some_and(|of| self.holds_string(of, depth + 1))
            }),
            _ => false,
        }
    }

    fn holds_string(&self, node: Node, depth: usize) -> bool {
        self.kinds.strings.contains(&node.kind())
            || depth <= DEPTH && children(node).iter().any(|&child| self.holds_string(child, depth + 1))
    }

    /// The last value that is assigned to a name before its use, in the same function.
    fn last_value<'t>(&self, name: Node<'t>) -> Option<Node<'t>> {
        let scope = self.function(name).unwrap_or_else(|| root(name));
        let mut last: Option<Node<'t>> = None;
        let _ = walk(scope, &mut |node| {
            if node.start_byte() >= name.start_byte() {
                return ControlFlow::Break(());
            }
            for (kind, left, right) in self.kinds.assignments {
                let is_same = node.kind() == *kind
                    && node.child_by_field_name(left).is_some_and(|l| self.text(l) == self.text(name));
                // Appending to a combined string leaves it a combined string.
                let is_added =
                    is_same && *kind == "augmented_assignment" && last.is_some_and(|value| self.is_built(value, 0));
                if is_same && !is_added {
                    last = node.child_by_field_name(right);
                }
            }
            ControlFlow::Continue(())
        });
        last
    }

    /// The enclosing function of a node.
    fn function<'t>(&self, node: Node<'t>) -> Option<Node<'t>> {
        let mut at = node.parent();
        while let Some(node) = at {
            if self.kinds.functions.contains(&node.kind()) {
                return Some(node);
            }
            at = node.parent();
        }
        None
    }

    /// Whether a string may be a password or a key: at least 4 characters, no white space, no common placeholder, no path and
    /// no address.
    fn is_credential(&self, node: Node) -> bool {
        let text = self.text(node).trim_start_matches(|c: char| c.is_ascii_alphabetic());
        let text = text.trim_matches(['"', '\'', '`']);
        self.is_constant(node, 0)
            && text.len() >= 4
            && !text.contains(char::is_whitespace)
            && !PLACEHOLDER.is_match(text)
    }

    /// Checks the conditions of a rule besides its query.
    fn holds(&self, conditions: &Conditions, hit: Node) -> bool {
        let name = |node: Node| node.child_by_field_name("name").map(|name| self.text(name).to_owned());
        let function = || self.function(hit).and_then(name).unwrap_or_default();
        conditions.needs.as_ref().is_none_or(|needs| needs.is_match(self.code))
            && conditions.outside.as_ref().is_none_or(|outside| !outside.is_match(&function()))
            && conditions
                .context
                .as_ref()
                .is_none_or(|context| context.is_match(&function()) || context.is_match(self.assigned(hit)))
    }

    /// The target of the assignment whose value contains a node; empty if there is none.
    fn assigned(&self, node: Node) -> &'a str {
        let mut at = Some(node);
        while let Some(node) = at {
            if let Some((_, left, _)) = self.kinds.assignments.iter().find(|(kind, ..)| *kind == node.kind()) {
                return node.child_by_field_name(left).map(|left| self.text(left)).unwrap_or_default();
            }
            if node.kind().ends_with("statement") || node.kind() == "block" {
                break;
            }
            at = node.parent();
        }
        ""
    }
}

fn children(node: Node) -> Vec<Node> {
    let mut cursor = node.walk();
    node.named_children(&mut cursor).collect()
}

fn root(node: Node) -> Node {
    let mut at = node;
    while let Some(parent) = at.parent() {
        at = parent;
    }
    at
}

/// Visits a node and its descendants in the order of the text.
fn walk<'t>(node: Node<'t>, visit: &mut impl FnMut(Node<'t>) -> ControlFlow<()>) -> ControlFlow<()> {
    let mut cursor = node.walk();
    loop {
        visit(cursor.node())?;
        if cursor.goto_first_child() {
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() || cursor.node() == node {
                return ControlFlow::Continue(());
            }
        }
    }
}
