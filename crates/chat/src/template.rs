//! Chat templates, rendered as transformers renders them.

use std::path::Path;

use chrono::{DateTime, Local, NaiveDateTime};
use dataset::Message;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, Error, ErrorKind, context};
use serde_json::Value as Json;

use crate::error::ChatError;
use crate::messages::{Arguments, prepare};
use crate::python;
use crate::tojson::tojson;
use crate::tokenizer::{Tokenizer, read_json};

/// The folder of additional templates, by name.
pub(crate) const ADDITIONAL: &str = "additional_chat_templates";

/// Marks an error that the template itself raised.
const RAISED: &str = "raise_exception: ";

/// A model's chat template.
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    tool_source: Option<String>,
    has_tool_variant: bool,
    variables: serde_json::Map<String, Json>,
    plain_special_tokens: bool,
}

impl std::fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChatTemplate").field("source", &self.source).finish_non_exhaustive()
    }
}

/// The input of a template besides the messages.
#[derive(Debug, Clone, Default)]
pub struct RenderOptions {
    /// End the text with the start of an assistant turn.
    pub add_generation_prompt: bool,
    /// Functions that the model may call, as JSON schemas.
    pub tools: Vec<Json>,
    /// Documents for retrieval templates.
    pub documents: Vec<Json>,
    /// Further variables of the template (`date_string`, `enable_thinking`, ...).
    pub variables: serde_json::Map<String, Json>,
}

impl ChatTemplate {
    /// The template of a model folder: `chat_template.jinja`, `chat_template.json`, or `chat_template` in
    /// `tokenizer_config.json` (one text, or a list of named ones, of which `default` and `tool_use` are used).
    /// Conversations with tools use `additional_chat_templates/tool_use.jinja` if it exists. `None` if there is no
    /// template.
    pub fn from_dir(dir: &Path) -> Result<Option<Self>, ChatError> {
        let additional = |name: &str| read_text(&dir.join(ADDITIONAL).join(format!("{name}.jinja")));
        let tool_use = additional("tool_use")?;
        let source = match read_text(&dir.join("chat_template.jinja"))? {
            None => additional("default")?,
            source => source,
        };
        if let Some(source) = source {
            return Self::with_variants(&source, tool_use.as_deref()).map(Some);
        }
        for file in ["chat_template.json", "tokenizer_config.json"] {
            let found = read_json(&dir.join(file))?.and_then(|mut json| json.get_mut("chat_template").map(Json::take));
            match found {
                None | Some(Json::Null) => {}
                Some(Json::String(source)) => return Self::with_variants(&source, tool_use.as_deref()).map(Some),
                Some(Json::Array(list)) => return Self::from_list(&list).map(Some),
                Some(_) => {
                    let reason = "chat_template is neither a text nor a list".to_owned();
                    return Err(ChatError::File { path: dir.join(file).display().to_string(), reason });
                }
            }
        }
        Ok(None)
    }

    /// A template from its text.
    pub fn new(source: &str) -> Result<Self, ChatError> {
        Self::with_variants(source, None)
    }

    fn from_list(list: &[Json]) -> Result<Self, ChatError> {
        let named = |name: &str| {
            let entry = list.iter().find(|entry| entry["name"] == name)?;
            entry["template"].as_str()
        };
        let default = named("default").ok_or_else(|| ChatError::Template("no template is named \"default\"".into()))?;
        Self::with_variants(default, named("tool_use"))
    }

    fn with_variants(source: &str, tool_use: Option<&str>) -> Result<Self, ChatError> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|e| ChatError::Template(sentence(&e)))?);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_filter("tojson", tojson);
        environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, format!("{RAISED}{message}")))
        });
        python::add_tests(&mut environment);
        set_now(&mut environment, Local::now().naive_local());
        let compile = |e: Error| ChatError::Template(sentence(&e));
        environment.add_template_owned("default", without_generation_marks(source)).map_err(compile)?;
        if let Some(tool_use) = tool_use {
            environment.add_template_owned("tool_use", without_generation_marks(tool_use)).map_err(compile)?;
        }
        let tool_source = tool_use.map(str::to_owned);
        Ok(Self {
            environment,
            source: source.to_owned(),
            tool_source,
            has_tool_variant: tool_use.is_some(),
            variables: serde_json::Map::new(),
            plain_special_tokens: false,
        })
    }

    /// Fixes the time that `strftime_now` returns. By default, it is the time at which the template was read, so all
    /// conversations of a process have the same date.
    pub fn set_now(&mut self, now: NaiveDateTime) {
        set_now(&mut self.environment, now);
    }

    pub(crate) fn keep_variables(&mut self, variables: serde_json::Map<String, Json>) {
        self.variables = variables;
    }

    /// Tokenises the text of special tokens as plain text in every conversation that is encoded for training, in
    /// place of the refusal of [`crate::SpecialTokens::Refuse`].
    pub fn set_plain_special_tokens(&mut self, plain: bool) {
        self.plain_special_tokens = plain;
    }

    pub(crate) fn plain_special_tokens(&self) -> bool {
        self.plain_special_tokens
    }

    /// Whether the template reads the current date, so that its prompts change from day to day.
    pub fn reads_date(&self) -> bool {
        self.source.contains("strftime_now") || self.tool_source.as_deref().is_some_and(|s| s.contains("strftime_now"))
    }

    /// The template's text, for digests.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether the template, or its variant for tools, reads this variable (`tools`, `enable_thinking`, ...).
    pub fn reads(&self, variable: &str) -> bool {
        let names = if self.has_tool_variant { &["default", "tool_use"][..] } else { &["default"] };
        let reads = |name: &&str| {
            let template = self.environment.get_template(name);
            template.is_ok_and(|template| template.undeclared_variables(false).contains(variable))
        };
        names.iter().any(reads)
    }

    /// The text of the template that is used for conversations with tools.
    pub fn tool_source(&self) -> &str {
        self.tool_source.as_deref().unwrap_or(&self.source)
    }

    /// The conversation as text.
    pub fn render(
        &self,
        tokenizer: &Tokenizer,
        messages: &[Message],
        options: &RenderOptions,
    ) -> Result<String, ChatError> {
        self.render_with(tokenizer.named_tokens(), messages, options)
    }

    /// The conversation as text, with the named special tokens given.
    pub fn render_with(
        &self,
        named_tokens: &std::collections::BTreeMap<String, String>,
        messages: &[Message],
        options: &RenderOptions,
    ) -> Result<String, ChatError> {
        dataset::check::text_only("messages", messages).map_err(|error| ChatError::NotText(error.to_string()))?;
        let optional = |list: &[Json]| if list.is_empty() { Value::from(()) } else { Value::from(Serde(list)) };
        let name = if self.has_tool_variant && !options.tools.is_empty() { "tool_use" } else { "default" };
        let template = self.environment.get_template(name).map_err(|e| ChatError::Template(sentence(&e)))?;
        let render = |arguments: Arguments| {
            let standard = context! {
                messages => Value::from(Serde(prepare(messages, arguments))),
                tools => optional(&options.tools),
                documents => optional(&options.documents),
                add_generation_prompt => options.add_generation_prompt,
            };
            let tokens = Value::from(Serde(named_tokens));
            let variables = Value::from(Serde(&options.variables));
            let fixed = Value::from(Serde(&self.variables));
            template.render(context! { ..variables, ..fixed, ..standard, ..tokens }).map_err(|e| render_error(&e))
        };
        // Most templates write arguments with `tojson`; some concatenate them with a text, which fails for an object.
        match render(Arguments::Object) {
            Err(error @ ChatError::Template(_)) if messages.iter().any(|message| !message.tool_calls.is_empty()) => {
                render(Arguments::Text).map_err(|_| not_written(template.source(), messages).unwrap_or(error))
            }
            rendered => rendered,
        }
    }
}

fn set_now(environment: &mut Environment, now: NaiveDateTime) {
    let now: DateTime<Local> = now.and_local_timezone(Local).earliest().unwrap_or_else(Local::now);
    environment.add_function("strftime_now", move |format: String| now.format(&format).to_string());
}

/// A text file that may be missing.
fn read_text(path: &Path) -> Result<Option<String>, ChatError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(ChatError::Io { path: path.display().to_string(), cause }),
    }
}

/// What a template that fails does not write: a call, if it does not read the calls of a message at all.
fn not_written(source: &str, messages: &[Message]) -> Option<ChatError> {
    let (message, calls) = messages.iter().enumerate().find(|(_, message)| !message.tool_calls.is_empty())?;
    let what = format!("the call of the tool {:?}", crate::messages::name_of(&calls.tool_calls[0]));
    (!source.contains("tool_calls")).then_some(ChatError::NotWritten { message: Some(message), what })
}

fn render_error(error: &Error) -> ChatError {
    let detail = error.detail().unwrap_or_default();
    match detail.split_once(RAISED) {
        Some((_, message)) => ChatError::Raised(message.to_owned()),
        None => ChatError::Template(sentence(error)),
    }
}

/// minijinja's error in one line.
fn sentence(error: &Error) -> String {
    let line = error.line().map_or(String::new(), |line| format!(" (line {line} of the template)"));
    match error.detail() {
        Some(detail) => format!("{}: {detail}{line}", error.kind()),
        None => format!("{}{line}", error.kind()),
    }
}

/// Removes transformers' `{% generation %}` blocks, which mark assistant text; here they only have to render.
/// Whitespace control is kept.
fn without_generation_marks(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let Some(length) = rest[start..].find("%}") else { break };
        let tag = &rest[start..start + length + 2];
        let inner = tag[2..tag.len() - 2].trim_matches(['-', '+']).trim();
        out.push_str(&rest[..start]);
        match inner {
            "generation" => out.push_str(&tag.replacen("generation", "if true", 1)),
            "endgeneration" => out.push_str(&tag.replacen("endgeneration", "endif", 1)),
            _ => out.push_str(tag),
        }
        rest = &rest[start + length + 2..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str, messages: &[Message]) -> Result<String, ChatError> {
        ChatTemplate::new(source)?.render_with(&Default::default(), messages, &RenderOptions::default())
    }

    #[test]
    fn a_raised_message_is_the_error() {
        let error = render("{{ raise_exception('roles must alternate') }}", &[]).unwrap_err();
        assert!(matches!(&error, ChatError::Raised(message) if message == "roles must alternate"), "{error}");
    }

    #[test]
    fn a_template_without_calls_says_so_when_it_fails_on_one() {
        let call = serde_json::json!({"role": "assistant", "content": null, "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {}}}]});
        let messages: Vec<Message> =
            serde_json::from_value(serde_json::json!([{"role": "user", "content": "q"}, call])).unwrap();
        let plain = "{% for m in messages %}{{ '<' + m.content + '>' }}{% endfor %}";
        let error = render(plain, &messages).unwrap_err().to_string();
        assert!(error.starts_with("message 1: the chat template does not write the call of the tool \"f\""), "{error}");
        // A template that reads calls is at fault itself.
        let reading = format!("{{# tool_calls #}}{{% set x = messages[0].tool_calls %}}{plain}");
        assert!(matches!(render(&reading, &messages), Err(ChatError::Template(_))));
    }

    #[test]
    fn a_broken_template_is_a_sentence_with_its_line() {
        let error = render("\n{% for %}", &[]).unwrap_err().to_string();
        assert!(error.contains("line 2") && !error.contains('\n'), "{error}");
    }

    #[test]
    fn generation_blocks_render_their_inside() {
        let source = "a\n{%- generation -%}\n b \n{%- endgeneration %}c{% if true %}d{% endif %}";
        assert_eq!(render(source, &[]).unwrap(), "abcd");
    }

    #[test]
    fn tojson_is_pythons() {
        let mut options = RenderOptions::default();
        options.variables.insert("x".into(), serde_json::json!({"b": [1, 2.5, "ż<'"], "a": {}, "n": null}));
        let render =
            |source: &str| ChatTemplate::new(source).unwrap().render_with(&Default::default(), &[], &options).unwrap();
        assert_eq!(render("{{ x | tojson }}"), r#"{"b": [1, 2.5, "ż<'"], "a": {}, "n": null}"#);
        let indented = "{\n  \"b\": [\n    1,\n    2.5,\n    \"ż<'\"\n  ],\n  \"a\": {},\n  \"n\": null\n}";
        assert_eq!(render("{{ x | tojson(indent=2) }}"), indented);
    }

    #[test]
    fn what_templates_use_of_python_works() {
        let cases = [
            ("{{ 'a b'.split(' ')[-1].strip().upper() }}", "B"),
            ("{% for i in [1, 2, 3][::-1] %}{% if i == 1 %}{% break %}{% endif %}{{ i }}{% endfor %}", "32"),
            ("{% set ns = namespace(n=0) %}{% for i in 'abc' %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}", "3"),
            ("{{ strftime_now('%Y') | length }}", "4"),
            ("{{ 'x' if y is not defined else y }}{{ {'a': 1}.items() | list | length }}", "x1"),
        ];
        for (source, expected) in cases {
            assert_eq!(render(source, &[]).unwrap(), expected, "{source}");
        }
    }
}
