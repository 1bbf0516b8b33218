//! Functions that the model may call.

use serde_json::{Value, json};

use crate::common::Server;
use crate::{chat, content, folder, merged, serve, served};

/// A template with tools in Hermes's form.
const HERMES: &str = "{% if tools %}<tools>{% for tool in tools %}{{ tool | tojson }}{% endfor %}</tools><tool_call>\
    {% endif %}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}{% for call in m.tool_calls or [] %}\
    {{ call.function.name }}{{ call.function.arguments | tojson }}{% endfor %}<|im_end|>\n{% endfor %}\
    {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
/// A template in Llama 3's form.
const LLAMA: &str = "{% if tools %}{{ tools | tojson }} Environment: ipython <|python_tag|>{% endif %}\
    {% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}";

fn tools() -> Value {
    let function = |name: &str, parameters: Value| json!({"type": "function", "function": {"name": name, "description": "d", "parameters": parameters}});
    json!([
        function(
            "weather",
            json!({"type": "object", "properties": {"unit": {"enum": ["C", "F"]}},
            "required": ["unit"], "additionalProperties": false})
        ),
        function(
            "add",
            json!({"type": "object", "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 99}},
            "required": ["a"], "additionalProperties": false})
        ),
    ])
}

fn ask(server: &Server, more: &Value) -> Value {
    let base = json!({"tools": tools(), "temperature": 1, "seed": 1, "max_tokens": 300});
    served(&chat(server, &merged(base, more)))
}

/// The name and the arguments of a call.
fn call(call: &Value) -> (String, Value) {
    assert!(call["id"].as_str().unwrap().starts_with("call_") && call["type"] == "function", "{call}");
    let arguments = call["function"]["arguments"].as_str().unwrap();
    (call["function"]["name"].as_str().unwrap().to_owned(), serde_json::from_str(arguments).unwrap())
}

fn fits(name: &str, arguments: &Value) {
    assert_eq!(arguments.as_object().unwrap().len(), 1, "{arguments}");
    match name {
        "weather" => assert!(["C", "F"].contains(&arguments["unit"].as_str().unwrap()), "{arguments}"),
        "add" => assert!(arguments["a"].as_u64().unwrap() < 100, "{arguments}"),
        _ => panic!("{name}"),
    }
}

#[test]
fn calls_that_have_to_be_made_are_made() {
    for template in [Some(HERMES), Some(LLAMA), None] {
        let folder = folder(template);
        let server = serve(folder.path());
        let mut names = std::collections::BTreeSet::new();
        for seed in 0..6 {
            let more = json!({"tool_choice": "required", "parallel_tool_calls": false, "seed": seed});
            let answer = ask(&server, &more);
            let choice = &answer["choices"][0];
            assert_eq!((&choice["finish_reason"], &choice["message"]["content"]), (&json!("tool_calls"), &Value::Null));
            let calls = choice["message"]["tool_calls"].as_array().unwrap();
            assert_eq!(calls.len(), 1, "{answer}");
            let (name, arguments) = call(&calls[0]);
            fits(&name, &arguments);
            names.insert(name);
        }
        assert_eq!(names.len(), 2, "{template:?}");
        let named = ask(&server, &json!({"tool_choice": {"type": "function", "function": {"name": "add"}}}));
        let choice = &named["choices"][0];
        assert_eq!(choice["finish_reason"], "stop");
        let (name, arguments) = call(&choice["message"]["tool_calls"][0]);
        assert_eq!(name, "add");
        fits(&name, &arguments);
    }
}

#[test]
fn a_model_that_calls_by_itself_is_read() {
    let folder = folder(Some(HERMES));
    let server = serve(folder.path());
    // The random model is forced to write the output of a trained one.
    let text = "Let me see.\n<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 7}}\n</tool_call>\n<tool_call>\n\
                {\"name\": \"weather\", \"arguments\": {\"unit\": \"C\"}}\n</tool_call>";
    let more = json!({"guided_choice": [text]});
    let answer = ask(&server, &more);
    let message = &answer["choices"][0]["message"];
    assert_eq!(
        (&answer["choices"][0]["finish_reason"], &message["content"]),
        (&json!("tool_calls"), &json!("Let me see."))
    );
    let calls: Vec<_> = message["tool_calls"].as_array().unwrap().iter().map(call).collect();
    assert_eq!(calls, [("add".to_owned(), json!({"a": 7})), ("weather".to_owned(), json!({"unit": "C"}))]);

    // The same as a stream: no piece of a call is shown as text.
    let streamed = merged(more.clone(), &json!({"stream": true, "tools": tools(), "max_tokens": 300}));
    let pieces = chat(&server, &streamed).pieces();
    let deltas: Vec<&Value> = pieces.iter().map(|piece| &piece["choices"][0]["delta"]).collect();
    let said: String = deltas.iter().filter_map(|delta| delta["content"].as_str()).collect();
    assert_eq!(said, "Let me see.");
    let sent: Vec<&Value> = deltas.iter().filter_map(|delta| delta["tool_calls"].as_array()).flatten().collect();
    assert_eq!(sent.iter().map(|delta| &delta["index"]).collect::<Vec<_>>(), [&json!(0), &json!(1)]);
    assert_eq!(sent.into_iter().map(call).collect::<Vec<_>>(), calls);
    assert_eq!(pieces.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");

    // One call if at most one is allowed; text if no tools may be called.
    let one = ask(&server, &merged(more.clone(), &json!({"parallel_tool_calls": false})));
    assert_eq!(one["choices"][0]["message"]["tool_calls"].as_array().unwrap().len(), 1);
    let none = ask(&server, &merged(more, &json!({"tool_choice": "none"})));
    assert_eq!((content(&none), &none["choices"][0]["finish_reason"]), (text, &json!("stop")));
}

#[test]
fn strict_tools_bind_calls_and_leave_text_free() {
    let folder = folder(Some(HERMES));
    let server = serve(folder.path());
    let mut strict = tools();
    strict[1]["function"]["strict"] = true.into();
    let more = json!({"tools": strict, "logit_bias": {"65": 100}, "temperature": 1, "seed": 4, "max_tokens": 200});
    assert_eq!(content(&served(&chat(&server, &more))), "A".repeat(200));
    // A call of the strict function with other arguments cannot be written.
    let text = |a: &str| format!("<tool_call>\n{{\"name\": \"add\", \"arguments\": {{\"a\": {a}}}}}\n</tool_call>");
    let refused = chat(&server, &json!({"tools": strict, "guided_choice": [text("x")]}));
    assert_eq!(refused.status, 400, "{}", refused.text);
}

#[test]
fn tools_and_results_reach_the_template() {
    let prompt = |template: Option<&str>, more: &Value| {
        let folder = folder(template);
        let server = serve(folder.path());
        let asked = served(&server.ask("/tokenize", more));
        served(&server.ask("/detokenize", &json!({"tokens": asked["tokens"]})))["prompt"].as_str().unwrap().to_owned()
    };
    let calls = json!([{"id": "call_1", "type": "function", "function": {"name": "add", "arguments": "{\"a\": 7}"}}]);
    let messages = json!([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": null, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "call_1", "name": "add", "content": [{"type": "text", "text": "8"}]}]);
    let more = json!({"messages": messages, "tools": tools()});
    let hermes = prompt(Some(HERMES), &more);
    assert!(hermes.starts_with("<tools>{\"type\": \"function\"") && hermes.contains("{\"a\": 7}"), "{hermes}");
    let without = prompt(Some(HERMES), &merged(more.clone(), &json!({"tool_choice": "none"})));
    assert!(!without.contains("<tools>"), "{without}");
    // A template without support for tools.
    let own = prompt(None, &more);
    assert!(own.starts_with("<|im_start|>system\n# Tools") && own.contains("\"name\":\"weather\""), "{own}");
    assert!(own.contains("<tool_call>\n{\"name\":\"add\",\"arguments\":{\"a\":7}}\n</tool_call>"), "{own}");
    assert!(own.contains("<|im_start|>user\n<tool_response>\n8\n</tool_response>"), "{own}");
}

#[test]
fn tools_that_make_no_sense_are_refused() {
    let folder = folder(Some(HERMES));
    let server = serve(folder.path());
    for (more, field) in [
        (json!({"tools": "x"}), "tools"),
        (json!({"tools": [{"type": "web_search"}]}), "tools"),
        (json!({"tool_choice": "required"}), "tool_choice"),
        (json!({"tools": tools(), "tool_choice": {"type": "function", "function": {"name": "other"}}}), "tool_choice"),
        (
            json!({"tools": tools(), "tool_choice": "required", "response_format": {"type": "json_object"}}),
            "response_format",
        ),
        (
            json!({"tools": [{"type": "function", "function": {"name": "f", "strict": true, "parameters": {"type": 5}}}]}),
            "tools",
        ),
        (json!({"functions": [{"name": "f"}]}), "functions"),
    ] {
        let response = chat(&server, &more);
        assert_eq!(
            (response.status, &response.json()["error"]["param"]),
            (400, &json!(field)),
            "{more}: {}",
            response.text
        );
    }
    let unread = crate::folder(Some("{% if tools %}<tool_call><function=x>{% endif %}{{ messages }}"));
    let refused = chat(&serve(unread.path()), &json!({"tools": tools()}));
    assert!(refused.status == 400 && refused.error().contains("in a form that this server does not read"));
}
