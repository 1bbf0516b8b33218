//! Finds code that an answer marks as such: fenced blocks, blocks between tags, and inline code.

/// A block of code in an answer.
pub struct Block {
    /// The language that the answer names for the block, in lower case; empty if it names none.
    pub mark: String,
    /// The code; every line ends with a newline.
    pub text: String,
}

/// The fence that a line opens: its character, length and indentation (in bytes), and the text after it.
fn fence(line: &str) -> Option<(char, usize, usize, &str)> {
    let trimmed = line.trim_start();
    let character = trimmed.chars().next().filter(|c| ['`', '~', '\''].contains(c))?;
    let length = trimmed.chars().take_while(|c| *c == character).count();
    let rest = trimmed[length..].trim();
    // Three apostrophes are a fence only if a language follows, since Python strings start in the same way.
    let is_named = character != '\'' || crate::languages::find(&rest.to_lowercase()).is_some();
    (length >= 3 && !rest.contains('`') && is_named).then_some((character, length, line.len() - trimmed.len(), rest))
}

/// The fenced blocks of a Markdown text (CommonMark, section 4.5). A block without a closing fence extends to the end
/// of the text. Unlike in CommonMark, a closing fence may also stand at the end of the last line of code.
pub fn fenced(answer: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<(char, usize, usize, Block)> = None;
    for line in answer.lines() {
        let Some((character, length, indent, block)) = &mut open else {
            if let Some((character, length, indent, rest)) = fence(line) {
                let mark = rest.split([' ', '{', ',']).next().unwrap_or("").to_lowercase();
                open = Some((character, length, indent, Block { mark, text: String::new() }));
            }
            continue;
        };
        let trimmed = line.trim();
        let run = trimmed.chars().take_while(|c| c == character).count();
        if run >= *length && run == trimmed.chars().count() {
            blocks.extend(open.take().map(|(.., block)| block));
            continue;
        }
        let blank = line.len() - line.trim_start().len();
        let text = &line[blank.min(*indent)..];
        let mark = character.to_string().repeat(*length);
        let last = text.trim_end().strip_suffix(&mark).filter(|_| *character == '`');
        block.text.push_str(last.filter(|last| !last.contains(['`', '"', '\'', '#'])).unwrap_or(text));
        block.text.push('\n');
        if last.is_some_and(|last| !last.contains(['`', '"', '\'', '#'])) {
            blocks.extend(open.take().map(|(.., block)| block));
        }
    }
    blocks.extend(open.map(|(.., block)| block));
    blocks.retain(|block| !block.text.trim().is_empty());
    blocks
}

/// The blocks between tags that some prompts ask for, such as `[PYTHON]`. Only the first kind of tag found counts.
pub fn tagged(answer: &str) -> Vec<Block> {
    const TAGS: [(&str, &str); 8] = [
        ("[PYTHON]", "[/PYTHON]"),
        ("[BEGIN]", "[DONE]"),
        ("[CODE]", "[/CODE]"),
        ("<code>", "</code>"),
        ("<python>", "</python>"),
        ("<pre>", "</pre>"),
        ("\\begin{verbatim}", "\\end{verbatim}"),
        ("\\begin{lstlisting}", "\\end{lstlisting}"),
    ];
    let mut blocks = Vec::new();
    for (start, end) in TAGS {
        let mut rest = answer;
        while let Some(at) = rest.find(start) {
            rest = &rest[at + start.len()..];
            let inside = rest.find(end).map_or(rest, |end| &rest[..end]);
            rest = &rest[inside.len()..];
            let text = inside.trim_matches('\n');
            if text.trim().contains([' ', '\n', '(']) {
                blocks.push(Block { mark: String::new(), text: format!("{text}\n") });
            }
        }
        if !blocks.is_empty() {
            break;
        }
    }
    blocks
}

/// The inline code span that is a program. Among the spans that look like code, this is the last one that defines the
/// wanted name, else the longest.
pub fn inline(answer: &str, looks: impl Fn(&str) -> bool, defines: impl Fn(&str) -> bool) -> Option<String> {
    let mut spans = Vec::new();
    let mut rest = answer;
    while let Some(at) = rest.find('`') {
        let length = rest[at..].chars().take_while(|c| *c == '`').count();
        let inside = &rest[at + length..];
        let Some(end) = inside.find(&"`".repeat(length)) else { break };
        let mut text = inside[..end].trim();
        // A fenced block on a single line may start with its language: "```python x = 1```".
        if let Some((first, code)) = text.split_once(' ')
            && length >= 3
            && crate::languages::find(&first.to_lowercase()).is_some()
        {
            text = code;
        }
        if looks(text) {
            spans.push(text);
        }
        rest = &inside[end + length..];
    }
    let wanted = spans.iter().rev().find(|text| defines(text));
    let chosen = wanted.or_else(|| spans.iter().max_by_key(|text| text.len()))?;
    Some(format!("{chosen}\n"))
}
