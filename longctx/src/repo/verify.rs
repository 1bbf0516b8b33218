//! Derives answers about packages again from the shown text alone: no syntax tree, only lines, indentation and paths.

use std::collections::{BTreeMap, BTreeSet};

use super::HEAD;
use crate::phrases::NOT_SAID;
use crate::task::Form;

/// The answer to a question about the quoted strings.
pub(crate) fn derive(form: Form, context: &str, things: &[&str]) -> Result<String, String> {
    let files = split(context);
    let thing = *things.first().ok_or("nothing stands in quotes")?;
    let known = |path: &str| files.contains_key(path).then_some(()).ok_or_else(|| format!("{path} is not shown"));
    match form {
        Form::DefinedIn => {
            let mut found = Vec::new();
            for (path, text) in &files {
                found.extend(lines(text).iter().filter(|line| line.defines(thing)).map(|_| *path));
            }
            match found[..] {
                [] => Ok(NOT_SAID.to_owned()),
                [path] => Ok(path.to_owned()),
                _ => Err(format!("{thing} is defined {} times", found.len())),
            }
        }
        Form::ImportedNames => {
            let used = *things.get(1).ok_or("the second file is missing")?;
            known(thing)?;
            known(used)?;
            let mut names = BTreeSet::new();
            for (target, name, _) in imports(thing, files[thing], &files) {
                if target == used {
                    names.insert(name.ok_or("it imports the module as a whole")?);
                }
            }
            Ok(names.into_iter().collect::<Vec<_>>().join(", "))
        }
        _ => {
            known(thing)?;
            let mut edges: Vec<(&str, String, When)> = Vec::new();
            for (path, text) in &files {
                edges.extend(imports(path, text, &files).into_iter().map(|(target, _, when)| (*path, target, when)));
            }
            let mut found: BTreeSet<&str> = BTreeSet::from([thing]);
            loop {
                let before = found.len();
                for (path, target, when) in &edges {
                    let leads = match form {
                        Form::Importers => target == thing,
                        Form::Dependents => found.contains(target.as_str()),
                        _ => {
                            let needed = around(target, &files).into_iter().chain([target.clone()]);
                            *when == When::Always
                                && needed.filter(|n| n != path).any(|needed| found.contains(needed.as_str()))
                        }
                    };
                    if leads && path != target {
                        found.insert(path);
                    }
                }
                if form == Form::Breaks {
                    let inside = files.keys().filter(|path| {
                        around(path, &files).iter().any(|package| package != *path && found.contains(package.as_str()))
                    });
                    let inside: Vec<&str> = inside.copied().collect();
                    found.extend(inside);
                }
                if found.len() == before {
                    break;
                }
            }
            found.remove(thing);
            Ok(found.into_iter().collect::<Vec<_>>().join(", "))
        }
    }
}

/// The shown files by their paths.
fn split(context: &str) -> BTreeMap<&str, &str> {
    let starts = context.match_indices(HEAD).map(|(at, _)| at);
    let starts: Vec<usize> = starts.filter(|at| *at == 0 || context[..*at].ends_with('\n')).collect();
    let ends = starts.iter().skip(1).copied().chain([context.len()]);
    let blocks = starts.iter().zip(ends).map(|(start, end)| &context[start + HEAD.len()..end]);
    blocks.filter_map(|block| block.split_once('\n')).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    Maybe,
    Later,
}

/// A logical line without string contents and comments.
struct Line {
    indent: usize,
    text: String,
    /// The lines that open the enclosing blocks.
    headers: Vec<String>,
}

impl Line {
    fn defines(&self, name: &str) -> bool {
        let text = self.text.strip_prefix("async ").unwrap_or(&self.text);
        let rest = ["def ", "class "].iter().find_map(|word| text.strip_prefix(word));
        let rest = rest.and_then(|rest| rest.trim_start().strip_prefix(name));
        self.indent == 0 && rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    }

    fn when(&self) -> When {
        let starts = |header: &String, words: &[&str]| {
            words.iter().any(|word| {
                header.strip_prefix(word).is_some_and(|rest| rest.starts_with([' ', ':', '(']) || rest.is_empty())
            })
        };
        let for_types = |header: &String| {
            let condition = header.strip_prefix("if ").unwrap_or_default().trim_end_matches(':').trim();
            condition == "TYPE_CHECKING" || condition.ends_with(".TYPE_CHECKING")
        };
        if self.headers.iter().any(|header| starts(header, &["def", "async def"]) || for_types(header)) {
            When::Later
        } else if self.headers.iter().any(|header| !starts(header, &["class"])) {
            When::Maybe
        } else {
            When::Always
        }
    }
}

/// The text with every string emptied to `""`, without comments, and without line breaks inside strings.
fn bare(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::new();
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        if c == '#' {
            while at < chars.len() && chars[at] != '\n' {
                at += 1;
            }
        } else if c == '"' || c == '\'' {
            let long = chars[at..].starts_with(&[c, c, c]);
            at += if long { 3 } else { 1 };
            while at < chars.len() {
                if chars[at] == '\\' {
                    at += 2;
                } else if long && chars[at..].starts_with(&[c, c, c]) {
                    at += 3;
                    break;
                } else if !long && (chars[at] == c || chars[at] == '\n') {
                    at += usize::from(chars[at] == c);
                    break;
                } else {
                    at += 1;
                }
            }
            out.push_str("\"\"");
        } else {
            out.push(c);
            at += 1;
        }
    }
    out
}

/// The logical lines: joined inside brackets and after a backslash, split at `;` and after the colon of a one-line block.
fn lines(text: &str) -> Vec<Line> {
    let bare = bare(text).replace("\\\n", " ");
    let mut joined: Vec<String> = vec![String::new()];
    let mut depth = 0_i64;
    for c in bare.chars() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if c == '\n' && depth <= 0 {
            joined.push(String::new());
        } else if let Some(line) = joined.last_mut() {
            line.push(if c == '\n' { ' ' } else { c });
        }
    }
    let mut found: Vec<Line> = Vec::new();
    let mut open: Vec<(usize, String)> = Vec::new();
    for line in joined {
        let text = line.trim();
        if text.is_empty() {
            continue;
        }
        let indent: usize = line.chars().take_while(|c| c.is_whitespace()).map(|c| if c == '\t' { 8 } else { 1 }).sum();
        while open.last().is_some_and(|(outer, _)| *outer >= indent) {
            open.pop();
        }
        let headers: Vec<String> = open.iter().map(|(_, header)| header.clone()).collect();
        if text.ends_with(':') {
            open.push((indent, text.to_owned()));
        }
        for (number, part) in text.split(';').enumerate() {
            let mut headers = headers.clone();
            let mut part = part.trim();
            let inner = ["import ", "from "].iter().find_map(|word| part.find(&format!(": {word}")));
            if let Some(colon) =
                inner.filter(|_| number == 0 && !part.starts_with("import ") && !part.starts_with("from "))
            {
                headers.push(part[..=colon].to_owned());
                part = part[colon + 1..].trim();
            }
            found.push(Line { indent, text: part.to_owned(), headers });
        }
    }
    found
}

/// The shown file of a module.
fn file_of(module: &str, files: &BTreeMap<&str, &str>) -> Option<String> {
    let path = module.replace('.', "/");
    [format!("{path}.py"), format!("{path}/__init__.py")].into_iter().find(|path| files.contains_key(path.as_str()))
}

/// The shown `__init__.py` files of the folders that contain a file.
fn around(path: &str, files: &BTreeMap<&str, &str>) -> Vec<String> {
    let folders = path.match_indices('/').map(|(at, _)| format!("{}/__init__.py", &path[..at]));
    folders.filter(|init| init != path && files.contains_key(init.as_str())).collect()
}

/// The imports of a file: the imported file, the name imported from it, and when the import runs.
fn imports(path: &str, text: &str, files: &BTreeMap<&str, &str>) -> Vec<(String, Option<String>, When)> {
    let mut found = Vec::new();
    for line in lines(text) {
        let when = line.when();
        let without_alias = |item: &str| item.split_whitespace().next().unwrap_or_default().to_owned();
        if let Some(modules) = line.text.strip_prefix("import ") {
            for module in modules.split(',') {
                found.extend(file_of(&without_alias(module), files).map(|file| (file, None, when)));
            }
        } else if let Some((module, names)) = line.text.strip_prefix("from ").and_then(around_import) {
            let module: String = module.split_whitespace().collect();
            let Some(module) = absolute(path, &module) else { continue };
            for name in names.trim().trim_start_matches('(').trim_end_matches(')').split(',') {
                let name = without_alias(name);
                if name.is_empty() {
                    continue;
                }
                let below = file_of(&format!("{module}.{name}"), files);
                let of_module = || file_of(&module, files).map(|file| (file, Some(name.clone()), when));
                found.extend(below.map(|file| (file, None, when)).or_else(of_module));
            }
        }
    }
    found
}

/// The text before and after the word `import`.
fn around_import(text: &str) -> Option<(&str, &str)> {
    let mut words = text.match_indices("import").filter(|(at, word)| {
        let behind = text[at + word.len()..].chars().next();
        text[..*at].ends_with([' ', '.']) && behind.is_some_and(|c| c == ' ' || c == '(' || c == '*')
    });
    words.next().map(|(at, word)| (&text[..at], &text[at + word.len()..]))
}

/// The absolute name of a relative module such as `..a`, seen from a path.
fn absolute(path: &str, module: &str) -> Option<String> {
    let name = module.trim_start_matches('.');
    let dots = module.len() - name.len();
    if dots == 0 {
        return Some(name.to_owned());
    }
    let mut folders: Vec<&str> = path.split('/').collect();
    for _ in 0..dots {
        folders.pop()?;
    }
    if folders.is_empty() {
        return None;
    }
    if !name.is_empty() {
        folders.push(name);
    }
    Some(folders.join("."))
}
