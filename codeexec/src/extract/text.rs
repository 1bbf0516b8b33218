//! Heuristics that recognise code and definitions line by line, without parsing.

use std::collections::BTreeSet;

/// The identifiers in a text.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c| !is_word(c)).filter(|word| word.starts_with(|c: char| c.is_alphabetic() || c == '_'))
}

/// Whether a character can be part of an identifier.
pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_compiled(language: &str) -> bool {
    ["c", "cpp"].contains(&language)
}

/// Names that a text defines at top level, by functions, classes, imports and assignments.
pub fn definitions<'a>(text: &'a str, language: &str) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with([' ', '\t'])) {
        let line = line.trim_start_matches("export ").trim_start_matches("default ").trim_start_matches("async ");
        let keywords = ["def ", "class ", "function ", "const ", "let ", "var ", "struct ", "module "];
        if let Some(rest) = keywords.iter().find_map(|word| line.strip_prefix(word)) {
            names.extend(words(rest).next());
        } else if language == "python" && (line.starts_with("import ") || line.starts_with("from ")) {
            let imported = line.split_once("import ").map_or("", |(_, names)| names);
            let named = |part: &'a str| words(part.rsplit(" as ").next().unwrap_or(part)).next();
            names.extend(imported.split(',').filter_map(named));
        } else if let Some((name, rest)) = line.split_once('=').map(|(name, rest)| (name.trim(), rest))
            && !name.is_empty()
            && !rest.starts_with('=')
            && name.chars().all(is_word)
        {
            names.insert(name);
        } else if is_compiled(language) && line.starts_with(is_word) {
            // For `type name(`, the name is the last word before the parenthesis.
            let before = line.split_once('(').map(|(before, _)| before);
            names.extend(
                before.filter(|before| before.contains([' ', '*', '&'])).and_then(|before| words(before).last()),
            );
        }
    }
    names
}

/// Whether every top-level line of a text can start a definition or an import.
pub fn only_defines(text: &str, language: &str) -> bool {
    let is_inner = |line: &str| line.starts_with([' ', '\t', '}', ')', ']', '#', '/', '@']);
    let mut outer = text.lines().filter(|line| !line.trim().is_empty() && !is_inner(line));
    outer.all(|line| is_start(line, language) || line == "end")
}

/// Whether a line of a text, indented or not, defines `name` in the syntax of the language.
pub fn defines(text: &str, name: Option<&str>, language: &str) -> bool {
    let Some(name) = name else { return false };
    let keywords = ["def", "class", "function", "const", "let", "var", "struct"];
    let starts = |rest: &str| rest.strip_prefix(name).is_some_and(|r| !r.starts_with(is_word));
    text.lines().any(|line| {
        // A definition in C or C++ starts with a type, unindented.
        let typed = || {
            is_compiled(language)
                && line.match_indices(name).any(|(at, _)| {
                    let (before, after) = (&line[..at], line[at + name.len()..].trim_start());
                    line.starts_with(is_word)
                        && before.ends_with([' ', '*', '&'])
                        && !before.contains(['=', '('])
                        && !["return ", "assert "].iter().any(|word| before.starts_with(word))
                        && after.starts_with('(')
                        // A `;` before any `{` makes it a declaration.
                        && !after.split('{').next().unwrap_or(after).contains(';')
                })
        };
        let line =
            ["async ", "export ", "static "].iter().fold(line.trim_start(), |l, word| l.trim_start_matches(word));
        let after = keywords.iter().find_map(|word| line.strip_prefix(word)).map(str::trim_start);
        let is_assigned = || {
            let rest = line[name.len()..].trim_start();
            rest.starts_with('=') && !rest.starts_with("==")
        };
        after.is_some_and(|rest| starts(rest.trim_start_matches("self."))) || starts(line) && is_assigned() || typed()
    })
}

/// Whether a line can start a program in the language.
pub fn is_start(line: &str, language: &str) -> bool {
    let starts: &[&str] = match language {
        "python" => &["def ", "class ", "import ", "from ", "@", "async def ", "if __name__", "#!"],
        "javascript" => &[
            "function ",
            "async function ",
            "const ",
            "let ",
            "var ",
            "class ",
            "import ",
            "export ",
            "module.exports",
        ],
        "php" => &["<?php", "function ", "class "],
        "ruby" => &["def ", "class ", "module ", "require "],
        _ => &[
            "#include",
            "#define",
            "using ",
            "int ",
            "void ",
            "long ",
            "bool ",
            "char ",
            "double ",
            "float ",
            "std::",
            "struct ",
            "class ",
            "template",
            "static ",
            "const ",
            "unsigned ",
            "vector<",
            "string ",
            "auto ",
            "size_t ",
        ],
    };
    let has_code = line.contains(['(', '{', '<', '=', ';']);
    let is_sentence = line.ends_with(['.', ':', '!', '?']) && !has_code && line.split(' ').count() > 4;
    starts.iter().any(|start| line.starts_with(start))
        && (!line.starts_with("from ") || line.contains(" import "))
        && !is_sentence
}

/// Whether an inline code span looks like a program, rather than a name or a call.
pub fn looks_like_code(text: &str, language: &str) -> bool {
    is_start(text.trim_start(), language) && text.contains([':', '{', '(', ';'])
}

/// The program in an answer without marks: from the first line that looks like code up to the next line of prose.
pub fn bare(answer: &str, language: &str) -> String {
    let lines: Vec<&str> = answer.lines().collect();
    let Some(first) = lines.iter().position(|line| is_start(line, language)) else { return answer.to_owned() };
    // A line is prose if it is unindented, ends like a sentence, has more than three words, and has no mark of code.
    let is_prose = |line: &str| {
        let sentence = line.ends_with(['.', ':', '!', '?']) && line.split(' ').count() > 3;
        let is_code = if language == "python" { is_block(line) } else { line.contains([';', '{', '}']) };
        !line.starts_with([' ', '\t', '#', ')', ']', '}', '/', '*'])
            && sentence
            && !line.contains(['(', '='])
            && !is_code
    };
    let end = lines[first..].iter().position(|line| is_prose(line)).map_or(lines.len(), |n| first + n);
    lines[first..end].join("\n").trim_end().to_owned() + "\n"
}

/// Whether a line opens a block in Python.
fn is_block(line: &str) -> bool {
    let words = ["def ", "class ", "if ", "for ", "while ", "with ", "try:", "else:", "elif ", "except", "finally:"];
    line.ends_with(':') && words.iter().any(|word| line.starts_with(word))
}
