//! Prompts: conversations in the chat template, texts, token ids.

use dataset::Message;
use guard::Asked;
use serde_json::{Map, Value};

use crate::calls::CallFormat;
use crate::fields::{Fields, RequestError, bad};
use crate::generator::{Generator, Prompting};
use crate::messages;
use crate::tools::{self, Tools};

/// Variables of a template that the server itself sets.
const OWN_VARIABLES: [&str; 5] = ["messages", "tools", "documents", "add_generation_prompt", "continue_final_message"];

/// A conversation as the model's prompt.
pub(crate) struct ChatPrompt {
    pub ids: Vec<i64>,
    /// The text that a guard judges: everything that the client wrote.
    pub asked: Asked,
    pub tools: Option<(Tools, CallFormat)>,
    /// The bytes of the picture files, for the vision model.
    pub pictures: Option<Vec<Vec<u8>>>,
}

/// Takes all fields that define the prompt of a conversation.
pub(crate) fn chat(generator: &Generator, fields: &mut Fields) -> Result<ChatPrompt, RequestError> {
    let list = match fields.value("messages") {
        Some(Value::Array(messages)) if !messages.is_empty() => messages,
        _ => return Err(bad("messages", "must be a list of at least one message")),
    };
    let template = generator.template().map_err(|sentence| bad("messages", sentence))?;
    let source = template.tool_source();
    let reads = |name: &str| {
        [format!(".{name}"), format!("'{name}'"), format!("\"{name}\"")]
            .iter()
            .any(|form| source.contains(form.as_str()))
    };
    let mut messages = messages::read(list, &reads, generator.sees()).map_err(|error| bad("messages", error))?;
    let mut prompting = prompting(fields)?;
    let tools = match tools::take(fields)? {
        None => None,
        Some(tools) => {
            let format = tools::call_format(template).map_err(|sentence| bad("tools", sentence))?;
            prompting.render.tools = tools.definitions().to_vec();
            Some((tools, format))
        }
    };
    if !prompting.render.documents.is_empty() && !template.reads("documents") {
        return Err(bad("documents", "the model's chat template does not read them"));
    }
    if messages.iter().any(has_picture) {
        if tools.is_some() || prompting.continue_final_message || !prompting.render.documents.is_empty() {
            let sentence = "a conversation with pictures has no tools, no documents and no message to go on with";
            return Err(bad("messages", sentence));
        }
        // A guard judges texts; with a guard, pictures are refused.
        let text = |message: &Message| match message.text() {
            "" => Message::new(message.role, "(a picture)"),
            text => Message::new(message.role, text),
        };
        let asked = asked(&messages.iter().map(text).collect::<Vec<_>>(), &prompting)?;
        let look = generator.look(&messages).map_err(|sentence| bad("messages", sentence))?;
        return Ok(ChatPrompt { ids: look.prompt, asked, tools: None, pictures: Some(look.pictures) });
    }
    let asked = asked(&messages, &prompting)?;
    if !template.reads("tools") {
        let has_calls = messages.iter().any(|message| !message.tool_calls.is_empty() || message.role.is_tool());
        let definitions = std::mem::take(&mut prompting.render.tools);
        if !definitions.is_empty() {
            messages = messages::with_tools_as_text(messages, Some(&tools::as_text(&definitions)));
        } else if has_calls {
            messages = messages::with_tools_as_text(messages, None);
        }
    }
    let ids = generator.encode_chat(&messages, &prompting).map_err(|sentence| bad("messages", sentence))?;
    Ok(ChatPrompt { ids, asked, tools, pictures: None })
}

fn has_picture(message: &Message) -> bool {
    message.content.as_ref().is_some_and(|content| content.first_other().is_some())
}

/// The conversation for a guard. It starts with documents, tool definitions and variables, because the client wrote them too.
fn asked(messages: &[Message], prompting: &Prompting) -> Result<Asked, RequestError> {
    let render = &prompting.render;
    let also = render.tools.iter().chain(&render.documents).chain(render.variables.values());
    let also: Vec<String> = also.map(Value::to_string).collect();
    let also = (!also.is_empty()).then(|| Message::system(also.join("\n")));
    let all: Vec<Message> = also.into_iter().chain(messages.iter().cloned()).collect();
    Asked::from_messages(&all).map_err(|sentence| bad("messages", sentence))
}

/// How the template is rendered, without tools.
fn prompting(fields: &mut Fields) -> Result<Prompting, RequestError> {
    let continue_final_message = fields.flag("continue_final_message")?.unwrap_or(false);
    let mut prompting = Prompting { continue_final_message, ..Prompting::default() };
    let add = fields.flag("add_generation_prompt")?;
    if prompting.continue_final_message && add == Some(true) {
        let sentence = "is true and so is continue_final_message: the model either goes on with the last message or \
                        begins a new one";
        return Err(bad("add_generation_prompt", sentence));
    }
    prompting.render.add_generation_prompt = add.unwrap_or(!prompting.continue_final_message);
    let variables: Map<String, Value> =
        fields.take("chat_template_kwargs", "an object of the template's variables")?.unwrap_or_default();
    if let Some(name) = variables.keys().find(|name| OWN_VARIABLES.contains(&name.as_str())) {
        return Err(bad("chat_template_kwargs", format!("{name:?} has its own field")));
    }
    prompting.render.variables = variables;
    prompting.render.documents = fields.take("documents", "a list of documents")?.unwrap_or_default();
    Ok(prompting)
}

/// A prompt's ids and text, for `echo`.
pub(crate) struct TextPrompt {
    pub ids: Vec<i64>,
    /// The text from the client; `None` if it sent ids.
    pub text: Option<String>,
}

/// Texts or ids in a field: a text, a list of texts, ids, or lists of ids.
pub(crate) fn texts(
    generator: &Generator,
    field: &'static str,
    value: Option<Value>,
    special: bool,
) -> Result<Vec<TextPrompt>, RequestError> {
    let sentence = "must be a text, a list of texts, a list of token ids or a list of such lists";
    let encode = |text: String| -> Result<TextPrompt, RequestError> {
        let ids = generator.encode_text(&text, special).map_err(|error| bad(field, error))?;
        Ok(TextPrompt { ids, text: Some(text) })
    };
    let ids = |list: &[Value]| -> Result<TextPrompt, RequestError> {
        let id = |id: &Value| id.as_i64().ok_or_else(|| bad(field, sentence));
        let ids = list.iter().map(id).collect::<Result<Vec<i64>, RequestError>>()?;
        Ok(TextPrompt { ids, text: None })
    };
    let prompts = match value {
        Some(Value::String(text)) => vec![encode(text)?],
        Some(Value::Array(list)) if list.first().is_some_and(Value::is_i64) => vec![ids(&list)?],
        Some(Value::Array(list)) if !list.is_empty() => {
            let one = |item| match item {
                Value::String(text) => encode(text),
                Value::Array(list) => ids(&list),
                _ => Err(bad(field, sentence)),
            };
            list.into_iter().map(one).collect::<Result<Vec<TextPrompt>, RequestError>>()?
        }
        _ => return Err(bad(field, sentence)),
    };
    for TextPrompt { ids, .. } in &prompts {
        check_ids(generator, field, ids)?;
    }
    Ok(prompts)
}

fn check_ids(generator: &Generator, field: &'static str, ids: &[i64]) -> Result<(), RequestError> {
    if ids.is_empty() {
        return Err(bad(field, "has no tokens"));
    }
    match ids.iter().find(|id| !(0..generator.vocab()).contains(*id)) {
        Some(id) => {
            Err(bad(field, format!("token id {id} is outside the model's vocabulary of {}", generator.vocab())))
        }
        None => Ok(()),
    }
}

/// Number of tokens that are left for the answer; at least `least`.
pub(crate) fn room(
    generator: &Generator,
    field: &'static str,
    ids: &[i64],
    least: usize,
) -> Result<usize, RequestError> {
    check_ids(generator, field, ids)?;
    let most = generator.context().min(generator.cache_tokens());
    if ids.len() + least > most {
        let limits =
            format!("the model's context is {}, the cache holds {}", generator.context(), generator.cache_tokens());
        return Err(bad(field, format!("{} tokens are too many: {limits}", ids.len())));
    }
    Ok(most - ids.len())
}
