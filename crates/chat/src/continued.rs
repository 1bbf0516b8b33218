//! A conversation whose last assistant turn is unfinished: the model continues its text (a prefilled answer).

use dataset::{Message, Role};

use crate::encode::{bos, check_bos};
use crate::error::ChatError;
use crate::template::{ChatTemplate, RenderOptions};
use crate::tokenizer::Tokenizer;

/// Appended to the unfinished text, to find its end in the rendered conversation. The last character shows whether
/// the template trims contents.
const MARK: &str = "CONTINUE_FINAL_MESSAGE_TAG ";

/// The conversation as text, cut after the content of the last message (transformers' `continue_final_message`). If
/// the template trims contents, the white space at the end of the last message is cut too.
///
/// # Errors
/// When the last message is not an assistant message, calls tools, or is not written by the template.
pub fn render_continued(
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    messages: &[Message],
    render: &RenderOptions,
) -> Result<String, ChatError> {
    let no = |sentence: &str| Err(ChatError::NothingToContinue(sentence.to_owned()));
    let mut messages = messages.to_vec();
    match messages.last_mut() {
        Some(last) if last.role != Role::Assistant => return no("the last message is not the assistant's"),
        Some(last) if !last.tool_calls.is_empty() => return no("the last message calls tools"),
        Some(last) => last.content = Some(format!("{}{MARK}", last.text()).into()),
        None => return no("there is no message"),
    }
    let render = RenderOptions { add_generation_prompt: false, ..render.clone() };
    let mut text = template.render(tokenizer, &messages, &render)?;
    let Some(end) = text.rfind(MARK.trim_end()) else {
        return no("the chat template does not write the last message's content");
    };
    let is_trimmed = !text[end..].starts_with(MARK);
    text.truncate(end);
    if is_trimmed {
        text.truncate(text.trim_end().len());
    }
    Ok(text)
}

/// The ids of a conversation whose last message the model is to continue.
///
/// # Errors
/// See [`render_continued`].
pub fn encode_continued(
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    messages: &[Message],
    render: &RenderOptions,
) -> Result<Vec<u32>, ChatError> {
    let text = render_continued(tokenizer, template, messages, render)?;
    let mut ids = bos(tokenizer, &text);
    ids.extend(tokenizer.encode(&text, false)?);
    check_bos(tokenizer, &ids)?;
    Ok(ids)
}
