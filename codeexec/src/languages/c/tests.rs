//! The sources of one compilation: the program, and the tests in a file whose name and entry point are random in each
//! run.

use std::collections::BTreeSet;

use serde_json::Value;

use super::toolchain::Dialect;
use crate::record::{Job, TestKind};

/// The files of one compilation.
pub struct Unit {
    /// Paths and contents. The tests have the placeholder path `/tests.h`, which [`Unit::files`] replaces.
    pub sources: Vec<(&'static str, String)>,
    /// The file to compile.
    pub main: String,
    /// The name of the function that runs one test, if there are any: `int entry(int index)`, 0 for success.
    pub entry: Option<String>,
    /// The tests' names, for reports.
    pub tests: Vec<String>,
    secret: String,
}

impl Unit {
    /// Builds the files for a job.
    pub fn new(job: &Job, dialect: Dialect) -> Self {
        let (program, main) = match dialect {
            Dialect::C => ("/program.c", "/main.c"),
            Dialect::Cpp => ("/program.cpp", "/main.cpp"),
        };
        let mut sources = vec![(program, job.code.clone() + "\n")];
        let is_list = job.test_kind() == Some(TestKind::Assert);
        if job.test.is_none() && !is_list {
            let main = program.trim_start_matches('/').to_owned();
            return Self { sources, main, entry: None, tests: Vec::new(), secret: String::new() };
        }
        let secret = random_name();
        let texts: Vec<&str> = match &job.test {
            Some(test) => vec![test],
            None => job.tests.iter().filter_map(Value::as_str).collect(),
        };
        let name = job.entry_point.as_ref().map_or_else(|| "tests".to_owned(), |name| format!("check({name})"));
        let names = if is_list { texts.iter().map(|text| (*text).to_owned()).collect() } else { vec![name] };
        sources.push(("/tests.h", tests(job, dialect, &texts, &secret)));
        let undefined: String = defined_macros(&job.code).iter().map(|name| format!("#undef {name}\n")).collect();
        let whole = format!(
            "#include <assert.h>\n#define main codeexec_main_of_the_program\n#include \"{}\"\n#undef main\n{undefined}\
             #define CODEEXEC_TESTS 1\n#include \"/{secret}.h\"\n",
            program.trim_start_matches('/')
        );
        sources.push((main, whole));
        let main = main.trim_start_matches('/').to_owned();
        Self { sources, main, entry: Some(secret.clone()), tests: names, secret }
    }

    /// The files by path, with the tests under their secret name.
    pub fn files(&self) -> impl Iterator<Item = (String, &str)> {
        self.sources.iter().map(|(path, text)| {
            let path = if *path == "/tests.h" { format!("/{}.h", self.secret) } else { (*path).to_owned() };
            (path, text.as_str())
        })
    }

    /// The compiler's messages, with readable names in place of the secret ones.
    pub fn without_secrets(&self, said: &str) -> String {
        let said = said.replace("./program.", "program.");
        if self.secret.is_empty() { said } else { said.replace(&format!("/{}.h", self.secret), "tests") }
    }
}

/// The source of the tests, with the function that the host calls.
fn tests(job: &Job, dialect: Dialect, texts: &[&str], secret: &str) -> String {
    let setup = job.setup.as_deref().unwrap_or("");
    let mut text = format!("#include <assert.h>\n{setup}\n");
    let mut calls = String::new();
    if job.test.is_some() {
        let whole = texts.concat();
        let has_main = words(&whole).any(|word| word == "main");
        if has_main {
            // The tests' own includes of <assert.h> get the same definition again.
            text.push_str(&format!("#line 1\n{whole}\n"));
        } else {
            // Headers declare functions and types, which must be outside the function; a blank line keeps the line
            // numbers.
            let is_include = |line: &&str| line.trim_start().starts_with("#include");
            let includes: String = whole.lines().filter(is_include).map(|line| format!("{line}\n")).collect();
            let body: Vec<&str> = whole.lines().map(|line| if is_include(&line) { "" } else { line }).collect();
            let body = body.join("\n");
            text.push_str(&format!("{includes}static int {secret}_main(void) {{\n#line 1\n{body}\nreturn 0; }}\n"));
        }
        let squeezed: String = whole.split_whitespace().collect::<Vec<_>>().join(" ").replace("main (", "main(");
        let takes_nothing =
            ["main()", "main( )", "main(void)", "main( void )"].iter().any(|form| squeezed.contains(form));
        let call = match (has_main, takes_nothing) {
            (false, _) => format!("{secret}_main()"),
            (true, true) => "main()".to_owned(),
            (true, false) => "main(0, (char **)0)".to_owned(),
        };
        calls.push_str(&format!("case 0: result = {call}; break;\n"));
    } else {
        for (i, test) in texts.iter().enumerate() {
            text.push_str(&format!("static void {secret}_{i}(void) {{\n#line 1\n{test}\n;}}\n"));
            calls.push_str(&format!("case {i}: {secret}_{i}(); result = 0; break;\n"));
        }
    }
    let external = if dialect == Dialect::Cpp { "extern \"C\"" } else { "extern" };
    text.push_str(&format!(
        "{external} void __wasm_call_ctors(void);\n{external} void __wasm_call_dtors(void);\n\
         {external} __attribute__((export_name(\"{secret}\"))) int {secret}(int test);\n\
         int {secret}(int test) {{\nint result = 1;\n__wasm_call_ctors();\nswitch (test) {{\n{calls}}}\n\
         __wasm_call_dtors();\nreturn result;\n}}\n"
    ));
    text
}

/// A name with 128 random bits, which a program cannot know.
fn random_name() -> String {
    let mut bytes = [0; 16];
    // SAFETY: the buffer is valid for its length.
    let filled = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    // The call cannot fail for so few bytes after the machine has booted; an address is the fallback.
    let more = if filled == 16 { String::new() } else { format!("{:p}", &raw const bytes).replace("0x", "_") };
    format!("codeexec_{}{more}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// A source with each comment, string and character literal replaced by a space.
pub fn without_comments(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if first == '"' || first == '\'' {
            let mut escaped = false;
            let end = rest[1..].char_indices().find(|(_, c)| {
                let is_end = *c == first && !escaped;
                escaped = *c == '\\' && !escaped;
                is_end
            });
            end.map_or(rest.len(), |(at, _)| at + 2)
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        out.push(' ');
        rest = &rest[skipped..];
    }
    out
}

/// The text between the braces of a function; `None` if the text has no such function.
pub fn body_of<'a>(text: &'a str, function: &str) -> Option<&'a str> {
    let at = text.match_indices(function).find_map(|(at, _)| {
        let before = text[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric() && c != '_');
        let rest = text[at + function.len()..].trim_start();
        (before && rest.starts_with('(')).then_some(at)
    })?;
    let open = at + text[at..].find('{')?;
    let mut depth = 0;
    for (i, c) in text[open..].char_indices() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        if depth == 0 {
            return Some(&text[open + 1..open + i]);
        }
    }
    Some(&text[open + 1..])
}

/// Whether the tests use an identifier that also occurs in the program's source and is neither a keyword nor a common
/// name of the standard headers.
pub fn use_program(job: &Job) -> bool {
    const COMMON: &[&str] = &[
        "include",
        "define",
        "ifdef",
        "ifndef",
        "endif",
        "pragma",
        "once",
        "using",
        "namespace",
        "std",
        "stdio",
        "stdlib",
        "stdbool",
        "stdint",
        "string",
        "assert",
        "cassert",
        "math",
        "iostream",
        "vector",
        "bits",
        "h",
        "int",
        "long",
        "short",
        "char",
        "unsigned",
        "signed",
        "float",
        "double",
        "bool",
        "void",
        "const",
        "static",
        "inline",
        "extern",
        "struct",
        "class",
        "public",
        "private",
        "typedef",
        "auto",
        "return",
        "if",
        "else",
        "for",
        "while",
        "do",
        "switch",
        "case",
        "break",
        "continue",
        "default",
        "sizeof",
        "true",
        "false",
        "NULL",
        "nullptr",
        "main",
        "printf",
        "cout",
        "endl",
        "size_t",
        "template",
        "typename",
        "map",
        "set",
    ];
    // A program may define a function of this name; else it only calls it.
    const FUNCTIONS: &[&str] = &["abs", "strcmp", "strlen", "memcmp"];
    let code = without_comments(&job.code);
    let named = |word: &&str| {
        let is_common = COMMON.contains(word) || (FUNCTIONS.contains(word) && !defines(&code, word));
        !is_common && !word.starts_with(|c: char| c.is_ascii_digit())
    };
    let defined: BTreeSet<&str> = words(&code).filter(named).collect();
    let texts = job.tests.iter().filter_map(Value::as_str).chain(job.test.as_deref()).chain(job.setup.as_deref());
    texts.map(without_comments).any(|text| words(&text).any(|word| defined.contains(word)))
}

/// Whether a text without comments defines a function of this name: a type before it, and a body after its parameters.
fn defines(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let (before, after) = (code[..at].trim_end(), code[at + name.len()..].trim_start());
        let of_type = before.ends_with(|c: char| c.is_alphanumeric() || "_*&>".contains(c));
        let is_return = words(before).last() == Some("return") && !before.ends_with(['*', '&', '>']);
        let mut depth = 0;
        let end = after.find(|c: char| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            depth == 0
        });
        let body = end.map(|end| after[end + 1..].trim_start());
        of_type
            && !is_return
            && after.starts_with('(')
            && body.is_some_and(|body| body.starts_with('{'))
            && code[..at].ends_with(|c: char| !c.is_alphanumeric() && c != '_')
    })
}

/// Identifiers and numbers of a text.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The macros that a source may define: each name after the word `define`, anywhere. As in the preprocessor, continued
/// lines are joined and comments are removed first.
fn defined_macros(code: &str) -> BTreeSet<String> {
    let mut joined = code.replace("\\\r\n", "").replace("\\\n", "").replace("??/\n", "");
    while let Some(start) = joined.find("/*") {
        let end = joined[start..].find("*/").map_or(joined.len(), |end| start + end + 2);
        joined.replace_range(start..end, " ");
    }
    let found: Vec<&str> = words(&joined).collect();
    let name = |pair: &[&str]| (pair[0] == "define").then(|| pair[1].to_owned());
    let is_name = |name: &String| !name.starts_with(|c: char| c.is_ascii_digit()) && name != "defined";
    found.windows(2).filter_map(name).filter(is_name).collect()
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn macros_are_found_however_they_are_spelt() {
        let code = "#define A 1\n# /* x */ define\\\n  B(x) x\n%:define C\n??=define D\n#de\\\nfine E\n// define F\n#define/**/G";
        let found: Vec<String> = defined_macros(code).into_iter().collect();
        assert_eq!(found, ["A", "B", "C", "D", "E", "F", "G"]);
        assert!(defined_macros("int define = 3;").iter().all(|name| name != "3"));
    }

    #[test]
    fn a_program_may_define_what_the_library_has() {
        let uses = |code: &str| {
            let mut job = Job::python("a", code);
            job.test = Some("int main() { assert(strlen(\"abc\") == 3); }".into());
            use_program(&job)
        };
        assert!(uses("int strlen(string str){ return str.length(); }"));
        assert!(uses("static size_t *\nstrlen (const char *(*s)(int))\n{ return 0; }"));
        for code in [
            "int f(const char *s) { return strlen(s); }",
            "int f(const char *s) { if (1) strlen(s); { return 2; } }",
            "int strlen(const char *s);\nint f(void) { return 1; }",
            "int my_strlen(const char *s) { return 1; }",
            "// int strlen(char *s) { return 3; }",
        ] {
            assert!(!uses(code), "{code}");
        }
    }

    #[test]
    fn each_run_has_names_of_its_own() {
        let mut job = Job::python("a", "int f(int x) { return x; }");
        job.test = Some("int main() { assert(f(1) == 1); }".into());
        let (one, other) = (Unit::new(&job, Dialect::Cpp), Unit::new(&job, Dialect::Cpp));
        assert_ne!(one.entry, other.entry);
        assert!(one.files().any(|(path, text)| path.contains("codeexec_") && text.contains("result = main();")));
    }
}
