//! The visible part of a model's output: the text after the reasoning, inside the assistant turn.
//!
//! Model families mark reasoning in different ways: `<think>`, `<thinking>`, `<seed:think>`, `[THINK]`,
//! `<|begin_of_thought|>`, the channels of gpt-oss. Reasoning that never ends, or that no text follows, gives no
//! answer: text inside the reasoning was not given as an answer.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use crate::pattern::pattern;

/// Names of reasoning tags.
const NAMES: &str = "think|thinking|thought|thoughts|reasoning|reason|reflection|analysis|scratchpad";

/// Markers that end reasoning.
static CLOSE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(&format!(
        r"(?i)</(?:[a-z]+[:_])?(?:{NAMES})>|\[/(?:{NAMES})\]|<\|(?:/|end_of_|end_)(?:{NAMES})\|>|◁/think▷|<\|(?:begin_of_solution|start_response)\|>"
    ))
});

/// Markers that start reasoning.
static OPEN: LazyLock<Regex> = LazyLock::new(|| {
    pattern(&format!(
        r"(?i)<(?:[a-z]+[:_])?(?:{NAMES})>|\[(?:{NAMES})\]|<\|(?:begin_of_|start_|begin_)?(?:{NAMES})\|>|◁think▷"
    ))
});

/// The start of gpt-oss's final channel; the second alternative is its text when special tokens are not decoded.
static FINAL: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"<\|channel\|>\s*final\b(?:[^<]|<\|constrain\|>)*<\|message\|>|(?:[^\sA-Za-z]|^)\s*assistantfinal")
});

/// Markers that open the assistant turn, at the start of the text.
static HEADER: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"^\s*(?:<\|begin_of_text\|>|<\|start_header_id\|>\s*assistant\s*<\|end_header_id\|>|<\|im_start\|>\s*assistant\b|<\|start\|>\s*assistant\b|<\|assistant\|>|<start_of_turn>\s*model\b|<\|START_OF_TURN_TOKEN\|><\|CHATBOT_TOKEN\|>|<｜Assistant｜>|<\|header_start\|>\s*assistant\s*<\|header_end\|>|<s>|<bos>|\[/INST\]|<\|?answer\|?>)",
    )
});

/// Markers that end the assistant turn.
const ENDS: &[&str] = &[
    "<|im_start|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|eot|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|endoftext|>",
    "<|end_of_turn|>",
    "<|end|>",
    "<|return|>",
    "<|start_header_id|>",
    "<|header_start|>",
    "<|END_OF_TURN_TOKEN|>",
    "<|end_of_solution|>",
    "<end_of_turn>",
    "<｜end▁of▁sentence｜>",
    "</answer>",
    "</s>",
];

/// Byte range of the visible part. `None` if the reasoning never ends or no text follows it, unless `unfinished` is
/// set.
pub(super) fn visible(text: &str, unfinished: bool) -> Option<Range<usize>> {
    let mut start = 0;
    if may_have_markers(text) {
        start = behind_reasoning(text, unfinished)?;
        while let Some(header) = HEADER.find(&text[start..]) {
            start += header.end();
        }
    }
    let tail = super::floor_boundary(text, text.len().saturating_sub(200).max(start));
    let end = memchr::memchr_iter(b'<', &text.as_bytes()[tail..])
        .map(|at| tail + at)
        .find(|&at| ENDS.iter().any(|marker| text[at..].starts_with(marker)))
        .unwrap_or(text.len());
    let trimmed = text[start..end].trim();
    let offset = trimmed.as_ptr() as usize - text.as_ptr() as usize;
    Some(offset..offset + trimmed.len())
}

/// Whether the text may contain a marker of reasoning or of a turn: a fast test, since most texts have none. A marker
/// starts with a tag, a bracket with a name, `◁` (e2 97 81) or gpt-oss's bare channel name.
fn may_have_markers(text: &str) -> bool {
    let bytes = text.as_bytes();
    text.starts_with("analysis")
        || memchr::memchr3_iter(b'<', b'[', 0xe2, bytes).any(|at| {
            let next = bytes.get(at + 1).copied().unwrap_or(0);
            match bytes[at] {
                b'<' => next.is_ascii_alphabetic() || matches!(next, b'/' | b'|') || !next.is_ascii(),
                b'[' => next.is_ascii_alphabetic() || next == b'/',
                _ => next == 0x97,
            }
        })
}

/// Byte offset of the text after the reasoning; `None` as in [`visible`].
fn behind_reasoning(text: &str, unfinished: bool) -> Option<usize> {
    let channels = memchr::memmem::find(text.as_bytes(), b"<|channel|>").is_some();
    if channels || text.starts_with("analysis") {
        if let Some(last) = FINAL.find_iter(text).last() {
            return Some(last.end());
        }
        if channels && !unfinished {
            return None;
        }
    }
    let closed = CLOSE.find_iter(text).last().map(|m| m.end());
    let mut start = 0;
    match closed {
        Some(after) if !text[after..].trim().is_empty() => start = after,
        // The reasoning ends, but no answer follows.
        Some(_) if !unfinished => return None,
        _ => {}
    }
    let reopened = OPEN.find_at(text, closed.unwrap_or(0)).is_some_and(|m| reasoning_starts(text, m.start()));
    if reopened && !unfinished { None } else { Some(start) }
}

/// Whether the tag at byte `at` starts reasoning: it is first in the text, first in its line, or follows another
/// marker. A `<think>` that a sentence mentions does not.
fn reasoning_starts(text: &str, at: usize) -> bool {
    let before = text[..at].trim_end_matches([' ', '\t']);
    before.is_empty() || before.ends_with(['\n', '>', ']', '▷'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(text: &str) -> Option<&str> {
        visible(text, false).map(|r| &text[r])
    }

    #[test]
    fn reasoning_of_all_families_is_left_out() {
        for text in [
            "<think>7</think> 5",
            "7</think>5",
            "<thinking>7</thinking>\n5",
            "<seed:think>7</seed:think>5",
            "[THINK]7[/THINK]5",
            "<|begin_of_thought|>7<|end_of_thought|>\n5<|end_of_solution|>",
            "◁think▷7◁/think▷5",
            "<reasoning>7</reasoning><answer>5",
            "<|channel|>analysis<|message|>7<|end|><|start|>assistant<|channel|>final<|message|>5<|return|>",
            "<|start|>assistant<|channel|>final <|constrain|>json<|message|>5",
            "analysisSo 7.assistantfinal5",
            "<|start_header_id|>assistant<|end_header_id|>\n\n5<|eot_id|>",
            "<|im_start|>assistant\n<think>\n7\n</think>\n\n5<|im_end|>",
            "<start_of_turn>model\n5<end_of_turn>",
            "5</s>",
            "5<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n8",
        ] {
            assert_eq!(seen(text), Some("5"), "{text}");
        }
    }

    #[test]
    fn reasoning_that_never_ends_gives_nothing() {
        for text in [
            "<think>It is 4",
            "<thinking>\nIt is 4",
            "[THINK]It is 4",
            "<think>a</think>\n<think>It is 4",
            "<|channel|>analysis<|message|>It is 4",
            "<|im_start|>assistant\n<think>\n4",
            // No text follows the reasoning.
            "<think>It is 4</think>",
            "<think>\nIt is \\boxed{4}.\n</think>\n\n",
            "It is 4.</think>\n",
            "[THINK]It is 4[/THINK]",
            "<|begin_of_thought|>4<|end_of_thought|>",
        ] {
            assert_eq!(seen(text), None, "{text}");
            assert!(visible(text, true).is_some(), "{text}");
        }
        assert_eq!(seen("A tag such as <think> opens it."), Some("A tag such as <think> opens it."));
        assert_eq!(seen("the interval [1, 2]"), Some("the interval [1, 2]"));
    }
}
