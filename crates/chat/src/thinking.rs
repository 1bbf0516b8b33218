//! Templates that open the model's reasoning in the generation prompt (`<|assistant|><think>
//! `) and leave reasoning out of finished turns, such as those of DeepSeek-R1 and its distillations. The prompt is
//! then not a prefix of the finished turn.

use dataset::Message;

use crate::messages::reasoning;

/// The finished turn as the model has to write it after its prompt: the reasoning of the record (or none), the
/// closing tag, and the answer as the template writes it. `through` is the conversation up to and including the turn,
/// as the template renders it; `end` finds the end-of-turn token. `None` if the prompt opens no reasoning, or differs
/// from the turn before the reasoning.
pub(crate) fn completed(
    message: &Message,
    prompt: &str,
    through: &str,
    end: impl Fn(&str) -> Option<usize>,
) -> Option<String> {
    let tag = opened(prompt)?;
    let close = format!("{}/{}", &tag[..1], &tag[1..]);
    let base = &prompt[..prompt.trim_end().len() - tag.len()];
    let space = &prompt[base.len() + tag.len()..];
    let written = through.strip_prefix(base)?;
    let (body, rest) = written.split_at(end(written)?);
    let without_opening = |text: &str| {
        let text = text.trim_start();
        let text = text.strip_prefix(tag).unwrap_or(text);
        text.strip_prefix(space).unwrap_or(text).to_owned()
    };
    let answer = if body.contains(&close) {
        without_opening(body)
    } else {
        let body = body.trim_start();
        let content = message.text();
        match (content.find(&close), reasoning(message).and_then(|value| value.as_str())) {
            (Some(at), _) => {
                let (thought, said) = content.split_at(at + close.len());
                let between = &said[..said.len() - said.trim_start().len()];
                format!("{}{between}{body}", without_opening(thought))
            }
            (None, Some(thought)) => format!("{}\n{close}\n\n{body}", without_opening(thought).trim_end()),
            (None, None) => format!("\n{close}\n\n{body}"),
        }
    };
    Some(format!("{prompt}{answer}{rest}"))
}

/// The reasoning tag at the end of a prompt: `<think>`, `[THINK]`.
fn opened(prompt: &str) -> Option<&str> {
    let prompt = prompt.trim_end();
    let (from, to) = if prompt.ends_with('>') { ('<', '>') } else { ('[', ']') };
    let tag = &prompt[prompt.rfind(from)?..];
    let name = tag.strip_prefix(from)?.strip_suffix(to)?;
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphabetic() || c == '_');
    (plain && ["think", "thinking", "reasoning", "reason", "thought"].contains(&&*name.to_lowercase())).then_some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_turn_begins_with_its_prompt() {
        let end = |text: &str| text.rfind("<e>");
        let turn = |content: &str, through: &str| {
            completed(&Message::assistant(content), "u<a><think>\n", through, end).unwrap()
        };
        assert_eq!(turn("4", "u<a>4<e>\n"), "u<a><think>\n\n</think>\n\n4<e>\n");
        for content in ["<think>\nhm\n</think>\n\n4", "hm\n</think>\n\n4"] {
            assert_eq!(turn(content, "u<a>\n\n4<e>"), "u<a><think>\nhm\n</think>\n\n4<e>");
        }
        // The template keeps reasoning, with an additional space after the tag.
        assert_eq!(turn("<think>hm</think>4", "u<a><think>hm</think>4<e>"), "u<a><think>\nhm</think>4<e>");
        let mut message = Message::assistant("4");
        message.extra.insert("reasoning_content".into(), "hm".into());
        let whole = completed(&message, "u<a><think>\n", "u<a>4<e>", end).unwrap();
        assert_eq!(whole, "u<a><think>\nhm\n</think>\n\n4<e>");
        assert_eq!(completed(&message, "u<a>", "u<a>4<e>", end), None);
        assert_eq!(completed(&message, "u<a><think>\n", "other", end), None);
        assert_eq!(
            completed(&Message::assistant("4"), "u[THINK]", "u4<e>", end).unwrap(),
            "u[THINK]\n[/THINK]\n\n4<e>"
        );
    }
}
