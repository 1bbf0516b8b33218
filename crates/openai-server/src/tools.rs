//! Functions that a model may call: `tools` and `tool_choice`.

use chat::ChatTemplate;
use serde_json::{Value, json};

use crate::calls::{CLOSE, CallFormat, OPEN};
use crate::fields::{Fields, RequestError, bad};
use crate::grammar::{Shape, with_white_space};

/// A function.
struct Tool {
    name: String,
    /// The schema of the arguments.
    parameters: Value,
    /// Whether its calls must follow the schema even if nothing else is constrained.
    strict: bool,
}

/// The functions that must be called.
#[derive(Debug, Clone, PartialEq)]
enum ToolChoice {
    Auto,
    Required,
    Named(String),
}

/// The functions of a request.
pub(crate) struct Tools {
    list: Vec<Tool>,
    /// The definitions from the client, for the template.
    definitions: Vec<Value>,
    choice: ToolChoice,
    /// Whether one answer may have several calls.
    parallel: bool,
}

/// Takes `tools`, `tool_choice` and `parallel_tool_calls`. `None` if there are no tools, or none may be called.
///
/// # Errors
/// When a field is malformed, or a choice names a tool that is not in the list.
pub(crate) fn take(fields: &mut Fields) -> Result<Option<Tools>, RequestError> {
    let definitions: Vec<Value> = fields.take("tools", "a list of tools")?.unwrap_or_default();
    let choice = fields.value("tool_choice");
    let parallel = fields.flag("parallel_tool_calls")?.unwrap_or(true);
    let mut list: Vec<Tool> = Vec::new();
    for (place, definition) in definitions.iter().enumerate() {
        let tool = tool(definition).map_err(|sentence| bad("tools", format!("[{place}].{sentence}")))?;
        if list.iter().any(|other| other.name == tool.name) {
            return Err(bad("tools", format!("[{place}]: there are two of the name {:?}", tool.name)));
        }
        list.push(tool);
    }
    let choice = match choice {
        None => ToolChoice::Auto,
        Some(Value::String(text)) => match text.as_str() {
            "none" => return Ok(None),
            "auto" => ToolChoice::Auto,
            "required" | "any" => ToolChoice::Required,
            _ => return Err(bad("tool_choice", "must be none, auto, required or a function's name in an object")),
        },
        Some(object) => {
            let name = object["function"]["name"].as_str().or_else(|| object["name"].as_str());
            match name {
                Some(name) if object["type"] == "function" => ToolChoice::Named(name.to_owned()),
                _ => return Err(bad("tool_choice", "must be {\"type\": \"function\", \"function\": {\"name\": ...}}")),
            }
        }
    };
    match &choice {
        ToolChoice::Auto if list.is_empty() => return Ok(None),
        ToolChoice::Named(name) if !list.iter().any(|tool| tool.name == *name) => {
            return Err(bad("tool_choice", format!("there is no tool {name:?} in tools")));
        }
        _ if list.is_empty() => return Err(bad("tool_choice", "needs tools")),
        _ => {}
    }
    Ok(Some(Tools { list, definitions, choice, parallel }))
}

fn tool(definition: &Value) -> Result<Tool, String> {
    if definition["type"] != "function" {
        return Err(format!("type: {} is not supported; only \"function\" is", definition["type"]));
    }
    let function = &definition["function"];
    let name = function["name"].as_str().ok_or("function.name: must be a text")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
        return Err(format!("function.name: {name:?} must be 1 to 64 of the characters a-z, A-Z, 0-9, _, - and ."));
    }
    let parameters = match &function["parameters"] {
        // A function without parameters.
        Value::Null => json!({"type": "object", "properties": {}, "additionalProperties": false}),
        Value::Object(schema) if schema.is_empty() => json!({"type": "object"}),
        schema @ Value::Object(_) => schema.clone(),
        _ => return Err("function.parameters: must be a JSON schema".into()),
    };
    Ok(Tool { name: name.to_owned(), parameters, strict: function["strict"] == true })
}

impl Tools {
    /// The definitions from the client.
    pub fn definitions(&self) -> &[Value] {
        &self.definitions
    }

    pub fn names(&self) -> Vec<String> {
        self.list.iter().map(|tool| tool.name.clone()).collect()
    }

    /// Whether an answer may have at most one call.
    pub fn only_one(&self) -> bool {
        !self.parallel || self.is_named()
    }

    /// Whether the client chose the function.
    pub fn is_named(&self) -> bool {
        matches!(self.choice, ToolChoice::Named(_))
    }

    /// The form that forces the required calls; `None` if calls are optional.
    pub fn shape(&self, format: CallFormat) -> Option<Shape> {
        let (callable, must): (Vec<&Tool>, bool) = match &self.choice {
            ToolChoice::Auto if self.list.iter().any(|tool| tool.strict) => (self.list.iter().collect(), false),
            ToolChoice::Auto => return None,
            ToolChoice::Required => (self.list.iter().collect(), true),
            ToolChoice::Named(name) => (self.list.iter().filter(|tool| tool.name == *name).collect(), true),
        };
        let key = match format {
            CallFormat::Tags => "arguments",
            CallFormat::Json(key) => key,
        };
        // One rule for each call: a schema with its own definitions must stay complete.
        let mut rules = String::new();
        for (number, tool) in callable.iter().enumerate() {
            let free = json!({"type": "object"});
            let arguments = with_white_space(if must || tool.strict { tool.parameters.clone() } else { free });
            let (name, key) = (Value::from(tool.name.as_str()), Value::from(key));
            let head = Value::from(format!("{{\"name\": {name}, {key}: "));
            rules.push_str(&format!("call_{number}: {head} %json {arguments} \"}}\"\n"));
        }
        let any: Vec<String> = (0..callable.len()).map(|number| format!("call_{number}")).collect();
        rules.push_str(&format!("call: {}\n", any.join(" | ")));
        let start = match (format, must) {
            (CallFormat::Tags, true) => {
                rules.push_str(&format!("tagged: \"{OPEN}\\n\" call \"\\n{CLOSE}\"\n"));
                if self.only_one() { "tagged".to_owned() } else { "tagged (\"\\n\" tagged)*".to_owned() }
            }
            (CallFormat::Tags, false) => {
                rules.push_str(&format!("TEXT: /(.|\\n)*/\nbefore[lazy]: TEXT \"{OPEN}\"\nafter: TEXT\n"));
                rules.push_str(&format!("tagged: before \"\\n\" call \"\\n{CLOSE}\"\n"));
                "tagged* after".to_owned()
            }
            (CallFormat::Json(_), true) => "call".to_owned(),
            (CallFormat::Json(_), false) => {
                rules.push_str("TEXT: /[^{\\[ \\n\\t](.|\\n)*/\n");
                "call | TEXT".to_owned()
            }
        };
        Some(Shape::Lark(format!("start: {start}\n{rules}")))
    }
}

/// The form of the calls that this template's model writes.
///
/// # Errors
/// When that form is not supported.
pub(crate) fn call_format(template: &ChatTemplate) -> Result<CallFormat, String> {
    let source = template.tool_source();
    if !template.reads("tools") || source.contains(OPEN) && !source.contains("<function=") {
        return Ok(CallFormat::Tags);
    }
    if source.contains("<function=") || source.contains("<|channel|>") || source.contains("<｜tool") {
        return Err("this model's chat template asks for calls in a form that this server does not read".into());
    }
    Ok(CallFormat::Json(if source.contains("[TOOL_CALLS]") { "arguments" } else { "parameters" }))
}

/// The description of the tools for a template without support for tools: Hermes's form, as in Qwen 2.5's template.
pub(crate) fn as_text(definitions: &[Value]) -> String {
    let list: Vec<String> = definitions.iter().map(Value::to_string).collect();
    format!(
        "# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with function \
         signatures within <tools></tools> XML tags:\n<tools>\n{}\n</tools>\n\nFor each function call, return a json object \
         with function name and arguments within {OPEN}{CLOSE} XML tags:\n{OPEN}\n{{\"name\": <function-name>, \
         \"arguments\": <args-json-object>}}\n{CLOSE}",
        list.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(body: &Value) -> Result<Option<Tools>, String> {
        take(&mut Fields::read(body.to_string().as_bytes()).unwrap()).map_err(|bad| bad.sentence)
    }

    fn function(name: &str) -> Value {
        json!({"type": "function", "function": {"name": name, "parameters": {"type": "object"}}})
    }

    #[test]
    fn choices_are_checked_against_the_list() {
        let tools = json!([function("f"), function("g")]);
        let with = |choice: Value| asked(&json!({"tools": tools, "tool_choice": choice}));
        assert!(with(json!("none")).unwrap().is_none());
        assert!(with(json!("auto")).unwrap().unwrap().shape(CallFormat::Tags).is_none());
        assert!(with(json!("required")).unwrap().unwrap().shape(CallFormat::Tags).is_some());
        let named = with(json!({"type": "function", "function": {"name": "g"}})).unwrap().unwrap();
        assert!(named.only_one() && named.is_named());
        let Some(Shape::Lark(text)) = named.shape(CallFormat::Tags) else { panic!() };
        assert!(text.contains("\\\"g\\\"") && !text.contains("\\\"f\\\""), "{text}");
        assert!(with(json!({"type": "function", "function": {"name": "h"}})).is_err());
        assert!(with(json!("sometimes")).is_err());
        assert!(asked(&json!({"tool_choice": "required"})).is_err());
        assert!(asked(&json!({"tool_choice": "auto", "tools": []})).unwrap().is_none());
        for bad in [json!([function("f"), function("f")]), json!([{"type": "web"}]), json!([function("a b")])] {
            assert!(asked(&json!({"tools": bad})).is_err(), "{bad}");
        }
    }

    #[test]
    fn calls_can_be_forced_in_every_form() {
        let (_folder, grammars) = crate::grammar::tests::of_bytes();
        let fits = |shape: &Shape, text: &str| crate::grammar::tests::fits(&grammars, shape, text);
        let add = json!({"type": "function", "function": {"name": "add", "strict": true, "parameters": {"type": "object",
            "properties": {"a": {"$ref": "#/$defs/n"}}, "required": ["a"], "additionalProperties": false,
            "$defs": {"n": {"type": "integer"}}}}});
        let body = json!({"tools": [add, function("f")]});
        let with = |choice: Value| {
            let mut body = body.clone();
            body["tool_choice"] = choice;
            asked(&body).unwrap().unwrap()
        };
        let tagged = |inner: &str| format!("<tool_call>\n{inner}\n</tool_call>");
        let right = "{\"name\": \"add\", \"arguments\": {\"a\": 1}}";
        let other = "{\"name\": \"f\", \"arguments\": {\"x\": [1]}}";
        let wrong = "{\"name\": \"add\", \"arguments\": {\"a\": \"x\"}}";

        let required = with(json!("required")).shape(CallFormat::Tags).unwrap();
        assert!(fits(&required, &tagged(right)) && fits(&required, &tagged(other)));
        assert!(fits(&required, &format!("{}\n{}", tagged(right), tagged(other))));
        assert!(!fits(&required, &tagged(wrong)) && !fits(&required, "no call") && !fits(&required, ""));
        let named = with(json!({"type": "function", "function": {"name": "add"}}));
        let json_form = named.shape(CallFormat::Json("parameters")).unwrap();
        assert!(fits(&json_form, &right.replace("arguments", "parameters")));
        assert!(!fits(&json_form, &other.replace("arguments", "parameters")));
        assert!(!fits(&named.shape(CallFormat::Tags).unwrap(), &tagged(other)));

        // Free text, but the arguments of a strict function are constrained.
        let auto = with(json!("auto"));
        let free = auto.shape(CallFormat::Tags).unwrap();
        for text in ["", "plain < text", &tagged(right), &format!("Hm.\n{}\n{}", tagged(other), tagged(right))] {
            assert!(fits(&free, text), "{text}");
        }
        assert!(!fits(&free, &tagged(wrong)));
        let free = auto.shape(CallFormat::Json("parameters")).unwrap();
        assert!(fits(&free, "plain {text}") && fits(&free, &right.replace("arguments", "parameters")));
        assert!(!fits(&free, &wrong.replace("arguments", "parameters")));
    }

    #[test]
    fn templates_tell_the_form_of_calls() {
        let format = |source: &str| call_format(&ChatTemplate::new(source).unwrap());
        assert_eq!(format("{{ messages }}"), Ok(CallFormat::Tags));
        assert_eq!(format("{% if tools %}<tool_call>{% endif %}"), Ok(CallFormat::Tags));
        assert_eq!(format("{% if tools %}<|python_tag|>{% endif %}"), Ok(CallFormat::Json("parameters")));
        assert_eq!(format("{% if tools %}[TOOL_CALLS]{% endif %}"), Ok(CallFormat::Json("arguments")));
        assert!(format("{% if tools %}<tool_call><function=x>{% endif %}").is_err());
    }
}
