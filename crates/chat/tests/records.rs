//! Conversations as users have them: tools that a template leaves out, masks, reasoning that a prompt opens, text of
//! special tokens, templates in several files. The expected texts are those of transformers 5.24 with jinja2 3.1.6.

use std::fs;
use std::path::Path;

use chat::{
    ChatError, ChatTemplate, EncodeOptions, Encoded, RenderOptions, SpecialTokens, Tokenizer, Train,
    encode_conversation, encode_each_turn, encode_prompt,
};
use dataset::Message;
use serde_json::{Map, Value, json};

/// A token for each byte, and four special ones.
fn tokenizer(folder: &Path, config: Value) -> Tokenizer {
    let printable = |byte: u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let mut stand_in = 256_u32..;
    let mut vocab = Map::new();
    for byte in 0..256_u32 {
        let code = if printable(byte) { byte } else { stand_in.next().unwrap() };
        vocab.insert(char::from_u32(code).unwrap().to_string(), byte.into());
    }
    let special = ["<|im_start|>", "<|im_end|>", "<filename>", "<s>"];
    let added: Vec<Value> = (256..)
        .zip(special)
        .map(|(id, token)| {
            json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
                "special": true})
        })
        .collect();
    vocab.extend((256..).zip(special).map(|(id, token)| (token.to_owned(), json!(id))));
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    let file = json!({"version": "1.0", "added_tokens": added, "pre_tokenizer": bytes, "decoder": bytes,
        "model": {"type": "BPE", "vocab": vocab, "merges": []}});
    fs::write(folder.join("tokenizer.json"), file.to_string()).unwrap();
    fs::write(folder.join("tokenizer_config.json"), config.to_string()).unwrap();
    Tokenizer::from_dir(folder).unwrap()
}

fn usual() -> Tokenizer {
    tokenizer(tempfile::tempdir().unwrap().path(), json!({"eos_token": "<|im_end|>"}))
}

const CHATML: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}\
                      {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
/// Writes tools, and calls with `tojson`.
const TOOLS: &str = "{% if tools %}<|im_start|>system\n{% for t in tools %}{{ t | tojson }}{% endfor %}<|im_end|>\n{% endif %}\
                     {% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}{% for c in m.tool_calls %}<call>\
                     {{ c.function.name }} {{ c.function.arguments | tojson }}</call>{% endfor %}<|im_end|>\n{% endfor %}\
                     {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

fn messages(value: Value) -> Vec<Message> {
    serde_json::from_value(value).unwrap()
}

fn call(arguments: Value, content: Value) -> Vec<Message> {
    messages(json!([{"role": "user", "content": "rain?"},
        {"role": "assistant", "content": content, "tool_calls": [{"type": "function", "function": {"name": "weather", "arguments": arguments}}]},
        {"role": "tool", "content": "no"},
        {"role": "assistant", "content": "No rain."}]))
}

fn encode(template: &str, messages: &[Message], options: &EncodeOptions) -> Result<Encoded, ChatError> {
    encode_conversation(&usual(), &ChatTemplate::new(template).unwrap(), messages, options)
}

fn refused(template: &str, messages: &[Message], options: &EncodeOptions) -> String {
    encode(template, messages, options).unwrap_err().to_string()
}

fn with_tools(tools: Value) -> EncodeOptions {
    let render = RenderOptions { tools: vec![tools], ..RenderOptions::default() };
    EncodeOptions { render, ..EncodeOptions::default() }
}

#[test]
fn what_a_template_does_not_write_is_refused() {
    let usual = EncodeOptions::default();
    for content in [json!(null), json!(""), json!("I look.")] {
        let error = refused(CHATML, &call(json!({"city": "Oslo"}), content), &usual);
        assert!(
            error.starts_with("message 1: the chat template does not write the call of the tool \"weather\""),
            "{error}"
        );
    }
    let tools = with_tools(json!({"type": "function", "function": {"name": "weather"}}));
    let question = messages(json!([{"role": "user", "content": "rain?"}, {"role": "assistant", "content": "no"}]));
    let error = refused(CHATML, &question, &tools);
    assert!(error.starts_with("the chat template does not write the tools"), "{error}");
    let error = encode_prompt(&self::usual(), &ChatTemplate::new(CHATML).unwrap(), &question[..1], &tools.render);
    assert!(matches!(error, Err(ChatError::NotWritten { message: None, .. })));
    encode(TOOLS, &question, &tools).unwrap();

    // A template that writes the call but not its arguments, or not the text beside it, or not the tool's answer.
    let without = TOOLS.replace(" {{ c.function.arguments | tojson }}", "");
    let error = refused(&without, &call(json!({"city": "Oslo"}), json!(null)), &usual);
    assert!(error.contains("the arguments of the call of the tool \"weather\""), "{error}");
    let either = TOOLS.replace("{{ m.content }}", "{% if not m.tool_calls %}{{ m.content }}{% endif %}");
    encode(&either, &call(json!({"city": "Oslo"}), json!(null)), &usual).unwrap();
    let error = refused(&either, &call(json!({"city": "Oslo"}), json!("I look.")), &usual);
    assert!(error.starts_with("message 1: the chat template does not write the text beside the tool call"), "{error}");
    let deaf = TOOLS.replace("{{ m.content }}", "{% if m.role != 'tool' %}{{ m.content }}{% endif %}");
    let error = refused(&deaf, &call(json!({"city": "Oslo"}), json!(null)), &usual);
    assert!(error.starts_with("message 2: the chat template does not write the answer of the tool"), "{error}");
    // The same for a system turn.
    let system = messages(
        json!([{"role": "system", "content": "s"}, {"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]),
    );
    let skips = format!("{{% set messages = messages | rejectattr('role', 'equalto', 'system') | list %}}{CHATML}");
    let error = refused(&skips, &system, &usual);
    assert!(error.starts_with("message 0: the chat template does not write the system turn"), "{error}");
    // Changed text counts as written.
    encode(&CHATML.replace("{{ m.content }}", "{{ m.content | trim }}"), &system, &usual).unwrap();
}

#[test]
fn arguments_are_written_once_whatever_form_they_have() {
    let expected = "<|im_start|>assistant\n<call>weather {\"city\": \"Oslo\"}</call><|im_end|>";
    let joined = TOOLS.replace("c.function.arguments | tojson", "'' + c.function.arguments");
    for template in [TOOLS, &joined] {
        for arguments in [json!({"city": "Oslo"}), json!("{\"city\": \"Oslo\"}")] {
            let encoded = encode(template, &call(arguments, json!(null)), &EncodeOptions::default()).unwrap();
            assert!(encoded.text.contains(expected), "{}", encoded.text);
            assert_eq!(encoded.turns.len(), 2);
        }
    }
    for arguments in [json!("city=Oslo"), json!("[1]"), json!(7)] {
        let error = refused(TOOLS, &call(arguments, json!(null)), &EncodeOptions::default());
        assert!(
            error.starts_with("message 1: the arguments of the call of the tool \"weather\" are neither"),
            "{error}"
        );
    }
}

#[test]
fn a_null_is_no_text() {
    let template = ChatTemplate::new(CHATML).unwrap();
    let text = template.render(&usual(), &call(json!({}), json!(null)), &RenderOptions::default()).unwrap();
    assert!(text.contains("<|im_start|>assistant\n<|im_end|>") && !text.to_lowercase().contains("none"), "{text}");
}

#[test]
fn switches_of_the_loss_are_honoured_or_refused() {
    let conversation = |name: &str, value: Value| {
        messages(json!([{"role": "user", "content": "q1"}, {"role": "assistant", "content": "BAD1", name: value},
            {"role": "user", "content": "q2"}, {"role": "assistant", "content": "good2", "loss": true}]))
    };
    for (name, value) in [("loss", json!(false)), ("train", json!(0)), ("weight", json!(0.0)), ("masked", json!(true))]
    {
        let encoded = encode(CHATML, &conversation(name, value), &EncodeOptions::default()).unwrap();
        let trained: Vec<bool> = encoded.turns.iter().map(|turn| turn.trained).collect();
        assert_eq!((trained, encoded.trained()), (vec![false, true], 6), "{name}");
    }
    for (name, value) in [("learn", json!(false)), ("weight", json!(0.3))] {
        let error = refused(CHATML, &conversation(name, value), &EncodeOptions::default());
        assert!(error.starts_with(&format!("message 1: \"{name}\"")), "{error}");
    }
}

#[test]
fn reasoning_that_the_prompt_opens_is_trained() {
    let source = CHATML
        .replace("{{ m.content }}", "{{ m.content.split('</think>')[-1] }}")
        .replace("assistant\n{% endif", "assistant\n<think>\n{% endif");
    let (tokenizer, template) = (usual(), ChatTemplate::new(&source).unwrap());
    let trained = |encoded: &Encoded| {
        let ids = encoded.ids.iter().zip(&encoded.assistant_mask).filter(|(_, trained)| **trained).map(|(id, _)| *id);
        tokenizer.decode(&ids.collect::<Vec<_>>(), false).unwrap()
    };
    let conversation =
        |answer: &str| messages(json!([{"role": "user", "content": "u"}, {"role": "assistant", "content": answer}]));
    for (answer, expected) in [
        ("4", "\n</think>\n\n4<|im_end|>"),
        ("<think>\nhm\n</think>\n\n4", "hm\n</think>\n\n4<|im_end|>"),
        ("hm\n</think>\n\n4", "hm\n</think>\n\n4<|im_end|>"),
    ] {
        let conversation = conversation(answer);
        for train in [Train::AllTurns, Train::LastTurn] {
            let options = EncodeOptions { train, ..EncodeOptions::default() };
            let encoded = encode_conversation(&tokenizer, &template, &conversation, &options).unwrap();
            assert_eq!(trained(&encoded), expected);
            // The text before the turn is the prompt of sampling.
            let prompt = encode_prompt(&tokenizer, &template, &conversation[..1], &RenderOptions::default()).unwrap();
            assert_eq!(prompt, encoded.ids[..prompt.len()]);
            assert_eq!(encoded.turns[0].content.start, prompt.len());
        }
    }
    let two = [conversation("<think>\na\n</think>\n\n1"), conversation("<think>\nb\n</think>\n\n2")].concat();
    let error = encode_conversation(&tokenizer, &template, &two, &EncodeOptions::default()).unwrap_err();
    assert!(matches!(error, ChatError::NotPrefixStable { message: 1 }), "{error}");
    assert!(!error.to_string().contains("encode_each_turn"), "{error}");
    let each = encode_each_turn(&tokenizer, &template, &two, &EncodeOptions::default()).unwrap();
    let texts: Vec<String> = each.iter().map(trained).collect();
    assert_eq!(texts, ["a\n</think>\n\n1<|im_end|>", "b\n</think>\n\n2<|im_end|>"]);
    assert!(each[1].text.contains("assistant\n\n\n1<|im_end|>"), "{}", each[1].text);
}

#[test]
fn text_that_spells_a_special_token_can_be_plain() {
    let tokenizer = usual();
    let conversation = messages(json!([{"role": "user", "content": "<s>copy</s>?"},
        {"role": "assistant", "content": "cp <filename> <|im_end|>x"}, {"role": "user", "content": "ok"},
        {"role": "assistant", "content": "yes"}]));
    let template = ChatTemplate::new(CHATML).unwrap();
    let error = encode_conversation(&tokenizer, &template, &conversation, &EncodeOptions::default()).unwrap_err();
    assert!(matches!(&error, ChatError::SpecialInContent { message: 0, token } if token == "<s>"), "{error}");
    assert!(error.is_of_conversation());
    let options = EncodeOptions { special_tokens: SpecialTokens::Plain, ..EncodeOptions::default() };
    let encoded = encode_conversation(&tokenizer, &template, &conversation, &options).unwrap();
    assert_eq!(tokenizer.decode(&encoded.ids, false).unwrap(), encoded.text);
    // Only the four starts and the four ends of the template are special tokens, nothing in the contents.
    assert_eq!(encoded.ids.iter().filter(|id| **id >= 256).count(), 8);
    let content = &encoded.ids[encoded.turns[0].content.clone()];
    let bytes: Vec<u32> = "cp <filename> <|im_end|>x".bytes().map(u32::from).collect();
    assert_eq!(content, bytes);
    assert!(!encoded.differs_from_one_shot);
    let mut template = template;
    template.set_plain_special_tokens(true);
    let same = encode_conversation(&tokenizer, &template, &conversation, &EncodeOptions::default()).unwrap();
    assert_eq!(same.ids, encoded.ids);
    // In tool calls and reasoning too.
    let mut hidden = call(json!({"path": "<filename>"}), json!(null));
    let error = refused(TOOLS, &hidden, &EncodeOptions::default());
    assert!(error.contains("message 1 contains the special token <filename>"), "{error}");
    let plain = encode(TOOLS, &hidden, &options).unwrap();
    assert!(plain.text.contains("{\"path\": \"<filename>\"}") && !plain.ids.contains(&258));
    hidden[3].extra.insert("reasoning_content".into(), "<s>".into());
    hidden[1].tool_calls.clear();
    hidden[1].content = Some("x".into());
    let error = refused(TOOLS, &hidden, &EncodeOptions::default());
    assert!(error.contains("message 3 contains the special token <s>"), "{error}");
}

#[test]
fn templates_in_several_files() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("additional_chat_templates")).unwrap();
    fs::write(folder.path().join("additional_chat_templates/tool_use.jinja"), "TOOLS").unwrap();
    let tokenizer = tokenizer(folder.path(), json!({"eos_token": "<|im_end|>", "pad_token": "<|pad|>"}));
    assert!(ChatTemplate::from_dir(folder.path()).unwrap().is_none());
    let rendered = |tools: Vec<Value>| {
        let template = ChatTemplate::from_dir(folder.path()).unwrap().unwrap();
        template.render(&tokenizer, &[], &RenderOptions { tools, ..RenderOptions::default() }).unwrap()
    };
    let both = || (rendered(Vec::new()), rendered(vec![json!({"name": "f"})]));
    fs::write(folder.path().join("chat_template.jinja"), "PLAIN").unwrap();
    assert_eq!(both(), ("PLAIN".into(), "TOOLS".into()));
    fs::remove_file(folder.path().join("chat_template.jinja")).unwrap();
    fs::write(folder.path().join("tokenizer_config.json"), json!({"chat_template": "OLD"}).to_string()).unwrap();
    assert_eq!(both(), ("OLD".into(), "TOOLS".into()));
    let copy = tempfile::tempdir().unwrap();
    tokenizer.save(copy.path()).unwrap();
    assert_eq!(fs::read_to_string(copy.path().join("additional_chat_templates/tool_use.jinja")).unwrap(), "TOOLS");
}

#[test]
fn an_end_of_text_that_no_token_is_stays_an_error() {
    let folder = tempfile::tempdir().unwrap();
    tokenizer(folder.path(), json!({"pad_token": "<|pad|>", "unk_token": "<unk>"}));
    fs::write(folder.path().join("tokenizer_config.json"), json!({"eos_token": "<|end|>"}).to_string()).unwrap();
    let error = Tokenizer::from_dir(folder.path()).unwrap_err().to_string();
    assert!(error.contains("eos_token is \"<|end|>\", which tokenizer.json does not know"), "{error}");
}

#[test]
fn a_run_has_one_date() {
    let mut template = ChatTemplate::new("{{ strftime_now('%d %b %Y') }}").unwrap();
    assert!(template.reads_date() && !ChatTemplate::new(CHATML).unwrap().reads_date());
    let render = |template: &ChatTemplate| template.render(&usual(), &[], &RenderOptions::default()).unwrap();
    template.set_now("2024-07-26T23:59:00".parse().unwrap());
    assert_eq!(render(&template), "26 Jul 2024");
    let mut template = ChatTemplate::new("{{ date_string }}").unwrap();
    template.set_variables(json!({"date_string": "1 Jan 2030"}).as_object().unwrap().clone());
    assert_eq!(render(&template), "1 Jan 2030");
    let mut options = RenderOptions::default();
    options.variables.insert("date_string".into(), "2 Jan 2030".into());
    assert_eq!(template.render(&usual(), &[], &options).unwrap(), "2 Jan 2030");
}

#[test]
fn tests_and_tojson_are_pythons() {
    let mut options = RenderOptions::default();
    options
        .variables
        .insert("x".into(), json!({"b": [1, 2.5, "ż<'"], "a": {}, "n": null, "t": 1e-7, "u": "\u{2028}\u{7f}😀\u{1}"}));
    let render =
        |source: &str| ChatTemplate::new(source).unwrap().render_with(&Default::default(), &[], &options).unwrap();
    for (test, those) in [
        ("iterable", "undef str empty list dict"),
        ("sequence", "undef str empty list dict"),
        ("mapping", "dict"),
        ("string", "str empty"),
        ("number", "int float whole bool"),
        ("integer", "int"),
        ("float", "float whole"),
        ("boolean", "bool"),
        ("none", "none"),
        ("defined", "none str empty list dict int float whole bool"),
    ] {
        let values = [
            ("none", "none"),
            ("undef", "nope"),
            ("str", "'ab'"),
            ("empty", "''"),
            ("list", "[1]"),
            ("dict", "{'a': 1}"),
            ("int", "3"),
            ("float", "2.5"),
            ("whole", "2.0"),
            ("bool", "true"),
        ];
        let found: Vec<&str> = values
            .iter()
            .filter(|(_, value)| render(&format!("{{{{ 'y' if ({value}) is {test} else 'n' }}}}")) == "y")
            .map(|(name, _)| *name)
            .collect();
        assert_eq!(found.join(" "), those, "{test}");
    }
    assert_eq!(render("{% if tools is iterable and tools | length > 0 %}TOOLS{% endif %}"), "");
    let rest = "\"t\": 1e-07, \"u\": \"\u{2028}\u{7f}😀\\u0001\"}";
    for (source, expected) in [
        ("{{ x | tojson }}", format!("{{\"b\": [1, 2.5, \"ż<'\"], \"a\": {{}}, \"n\": null, {rest}")),
        (
            "{{ x | tojson(separators=(',', ':')) }}",
            "{\"b\":[1,2.5,\"ż<'\"],\"a\":{},\"n\":null,\"t\":1e-07,\"u\":\"\u{2028}\u{7f}😀\\u0001\"}".into(),
        ),
        (
            "{{ x | tojson(ensure_ascii=true) }}",
            "{\"b\": [1, 2.5, \"\\u017c<'\"], \"a\": {}, \"n\": null, \"t\": 1e-07, \"u\": \"\\u2028\\u007f\\ud83d\\ude00\\u0001\"}".into(),
        ),
        ("{{ x | tojson(sort_keys=true) }}", format!("{{\"a\": {{}}, \"b\": [1, 2.5, \"ż<'\"], \"n\": null, {rest}")),
        ("{{ {'b': [1]} | tojson(indent=2, separators=(',', ':')) }}", "{\n  \"b\":[\n    1\n  ]\n}".into()),
        ("{{ {'b': [1]} | tojson(false, 1) }}", "{\n \"b\": [\n  1\n ]\n}".into()),
        ("{{ {'b': [1]} | tojson(indent='\t') }}", "{\n\t\"b\": [\n\t\t1\n\t]\n}".into()),
        ("{{ {'b': [1]} | tojson(indent=0) }}", "{\n\"b\": [\n1\n]\n}".into()),
    ] {
        assert_eq!(render(source), expected, "{source}");
    }
}
