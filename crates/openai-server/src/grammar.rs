//! Constrained decoding: the crate `llguidance` turns a grammar over texts (a JSON schema, a regular expression, a
//! choice, a Lark grammar) into a mask of the tokens that may come next.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{ApproximateTokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory, token_bytes_from_tokenizer_json};
use serde_json::{Value, json};

use crate::fields::{Fields, RequestError, bad};

/// White space between two parts of a JSON text. It is limited, since a small model may otherwise write white space
/// forever.
const WHITE_SPACE: &str = r"[\x20\x0A\x0D\x09]{1,24}";

/// The required form of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    /// A JSON text that this schema accepts.
    Json(Value),
    /// A text that this regular expression matches as a whole.
    Regex(String),
    /// One of these texts.
    Choice(Vec<String>),
    /// A text of this grammar, in `llguidance`'s form of Lark.
    Lark(String),
}

impl Shape {
    /// Any JSON object.
    pub fn object() -> Self {
        Self::Json(json!({"type": "object"}))
    }

    /// The shape as a grammar.
    fn grammar(&self) -> TopLevelGrammar {
        match self {
            Self::Json(schema) => TopLevelGrammar::from_json_schema(with_white_space(schema.clone())),
            Self::Regex(text) => {
                // The whole answer must match, so anchors are redundant.
                let text = text.strip_prefix('^').unwrap_or(text);
                let is_anchored = text.ends_with('$') && !text.ends_with("\\$");
                TopLevelGrammar::from_regex(if is_anchored { &text[..text.len() - 1] } else { text })
            }
            Self::Choice(texts) => {
                let texts: Vec<String> = texts.iter().map(|text| Value::from(text.as_str()).to_string()).collect();
                TopLevelGrammar::from_lark(format!("start: {}", texts.join(" | ")))
            }
            Self::Lark(text) => TopLevelGrammar::from_lark(text.clone()),
        }
    }
}

/// A schema whose texts have at most a limited amount of white space at a time, unless the schema has its own
/// options.
pub(crate) fn with_white_space(mut schema: Value) -> Value {
    if let Value::Object(map) = &mut schema {
        map.entry("x-guidance").or_insert_with(|| json!({"whitespace_pattern": WHITE_SPACE}));
        schema
    } else if schema == Value::Bool(true) {
        json!({"x-guidance": {"whitespace_pattern": WHITE_SPACE}})
    } else {
        schema
    }
}

/// Makes grammars for one tokenizer; the required tables are computed on first use.
pub(crate) struct Grammars {
    folder: PathBuf,
    stop_ids: Vec<i64>,
    factory: OnceLock<Result<ParserFactory, String>>,
}

impl Grammars {
    pub fn new(folder: &Path, stop_ids: &[i64]) -> Self {
        Self { folder: folder.to_owned(), stop_ids: stop_ids.to_owned(), factory: OnceLock::new() }
    }

    /// The constraint that makes answers match a shape.
    ///
    /// # Errors
    /// When the shape is invalid, or this model's tokenizer does not support constraints.
    pub fn constraint(&self, shape: &Shape) -> Result<Constraint, String> {
        let factory = self.factory.get_or_init(|| self.factory()).as_ref().map_err(Clone::clone)?;
        let mut matcher = Matcher::new(factory.create_parser(shape.grammar()));
        match matcher.get_error() {
            Some(error) => Err(first_line(&error)),
            None => {
                // This detects a grammar that no text matches.
                matcher.compute_mask().map_err(|error| first_line(&error.to_string()))?;
                Ok(Constraint(matcher))
            }
        }
    }

    fn factory(&self) -> Result<ParserFactory, String> {
        let cannot = |why: String| format!("this model's tokenizer allows no constrained answers: {why}");
        let path = self.folder.join("tokenizer.json");
        let text = std::fs::read(&path).map_err(|error| cannot(format!("{}: {error}", path.display())))?;
        let json: Value = serde_json::from_slice(&text).map_err(|error| cannot(error.to_string()))?;
        let words = token_bytes_from_tokenizer_json(&json).map_err(|error| cannot(error.to_string()))?;
        let within = |id: &i64| u32::try_from(*id).ok().filter(|id| (*id as usize) < words.len());
        let ends: Vec<u32> = self.stop_ids.iter().filter_map(within).collect();
        let Some(&end) = ends.first() else { return Err(cannot("it has no token that ends an answer".into())) };
        let count = u32::try_from(words.len()).map_err(|error| cannot(error.to_string()))?;
        let trie = TokTrie::from(&TokRxInfo::new(count, end), &words).with_eos_tokens(&ends);
        let environment = Arc::new(ApproximateTokEnv::new(trie)) as llguidance::toktrie::TokEnv;
        let mut factory = ParserFactory::new_simple(&environment).map_err(|error| cannot(error.to_string()))?;
        factory.quiet();
        factory.limits_mut().verbose_errors = false;
        Ok(factory)
    }
}

fn first_line(text: &str) -> String {
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("the grammar failed").to_owned()
}

/// A grammar and the state of one sequence in it.
pub(crate) struct Constraint(Matcher);

impl Constraint {
    /// A copy for another sequence, which may run on another thread.
    pub fn separate(&self) -> Self {
        Self(self.0.deep_clone())
    }

    /// Forbids the tokens that cannot come next. After a complete text, only an end token can.
    ///
    /// # Errors
    /// When the grammar exceeds its limits.
    pub fn mask(&mut self, logits: &mut [f32]) -> Result<(), String> {
        let mask = self.0.compute_mask_or_eos().map_err(|error| first_line(&error.to_string()))?;
        let words = mask.as_slice();
        for (word, logits) in words.iter().zip(logits.chunks_mut(32)) {
            match *word {
                u32::MAX => {}
                0 => logits.fill(f32::NEG_INFINITY),
                word => {
                    let forbidden = logits.iter_mut().enumerate().filter(|(bit, _)| word >> bit & 1 == 0);
                    forbidden.for_each(|(_, logit)| *logit = f32::NEG_INFINITY);
                }
            }
        }
        // Models can have more logits than their tokenizers have tokens.
        logits.iter_mut().skip(words.len() * 32).for_each(|logit| *logit = f32::NEG_INFINITY);
        Ok(())
    }

    /// Advances by one token.
    ///
    /// # Errors
    /// When the token was not allowed.
    pub fn accept(&mut self, id: i64) -> Result<(), String> {
        if self.0.is_stopped() {
            return Ok(());
        }
        let id = u32::try_from(id).map_err(|error| error.to_string())?;
        self.0.consume_token(id).map_err(|error| first_line(&error.to_string()))
    }
}

/// The shape that a request asks for: `response_format`, or vLLM's `guided_*` or `structured_outputs`.
///
/// # Errors
/// When a field is malformed, or several of them are given.
pub(crate) fn shape(fields: &mut Fields) -> Result<Option<(&'static str, Shape)>, RequestError> {
    let mut found = Vec::new();
    if let Some(format) = fields.value("response_format") {
        found.extend(response_format(&format)?.map(|shape| ("response_format", shape)));
    }
    for (field, kind) in
        [("guided_json", "json"), ("guided_regex", "regex"), ("guided_choice", "choice"), ("guided_grammar", "grammar")]
    {
        if let Some(value) = fields.value(field) {
            found.push((field, guided(field, kind, value)?));
        }
    }
    if fields.flag("guided_json_object")? == Some(true) {
        found.push(("guided_json_object", Shape::object()));
    }
    if let Some(value) = fields.value("structured_outputs") {
        let Value::Object(map) = value else { return Err(bad("structured_outputs", "must be an object")) };
        for (kind, value) in map.into_iter().filter(|(_, value)| !value.is_null() && *value != false) {
            let shape = match kind.as_str() {
                "json_object" => Shape::object(),
                _ => guided("structured_outputs", &kind, value)?,
            };
            found.push(("structured_outputs", shape));
        }
    }
    let pattern = fields.text("guided_whitespace_pattern")?;
    if found.len() > 1 {
        return Err(bad(found[1].0, format!("{} asks for a form already", found[0].0)));
    }
    let mut found = found.pop();
    if let (Some(pattern), Some((_, Shape::Json(Value::Object(schema))))) = (pattern, &mut found) {
        schema.insert("x-guidance".into(), json!({"whitespace_pattern": pattern}));
    }
    Ok(found)
}

/// OpenAI's `response_format`.
fn response_format(format: &Value) -> Result<Option<Shape>, RequestError> {
    let field = "response_format";
    match format["type"].as_str() {
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(Shape::object())),
        Some("json_schema") => {
            let Value::Object(schema) = &format["json_schema"] else {
                return Err(bad(field, "json_schema: must be an object with a name and a schema"));
            };
            match schema.get("schema") {
                None | Some(Value::Null) => Ok(Some(Shape::object())),
                Some(schema @ (Value::Object(_) | Value::Bool(_))) => Ok(Some(Shape::Json(schema.clone()))),
                Some(_) => Err(bad(field, "json_schema.schema: must be a JSON schema")),
            }
        }
        Some(other) => {
            Err(bad(field, format!("type {other:?} is not supported; use text, json_object or json_schema")))
        }
        None => Err(bad(field, "type: is missing; use text, json_object or json_schema")),
    }
}

fn guided(field: &'static str, kind: &str, value: Value) -> Result<Shape, RequestError> {
    let text = |value: Value| match value {
        Value::String(text) if !text.is_empty() => Ok(text),
        _ => Err(bad(field, format!("{kind}: must be a text"))),
    };
    match kind {
        "json" => match value {
            Value::String(text) => serde_json::from_str(&text)
                .map(Shape::Json)
                .map_err(|error| bad(field, format!("is a text that is not a JSON schema: {error}"))),
            Value::Object(_) => Ok(Shape::Json(value)),
            _ => Err(bad(field, "must be a JSON schema")),
        },
        "regex" => text(value).map(Shape::Regex),
        "grammar" => text(value).map(Shape::Lark),
        "choice" => match serde_json::from_value::<Vec<String>>(value) {
            Ok(texts) if !texts.is_empty() && texts.iter().all(|text| !text.is_empty()) => Ok(Shape::Choice(texts)),
            _ => Err(bad(field, "must be a list of at least one text, none of them empty")),
        },
        _ => Err(bad(field, format!("{kind:?} is not supported; use json, json_object, regex, choice or grammar"))),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::ops::Add;

    use super::*;

    /// Grammars for a model whose tokens are bytes and whose answers end with token 257.
    pub(crate) fn of_bytes() -> (tempfile::TempDir, Grammars) {
        let folder = tempfile::tempdir().unwrap();
        llama::NewModel { hidden: 16, layers: 1, context: 64, seed: 1 }.write(folder.path()).unwrap();
        let grammars = Grammars::new(folder.path(), &[257]);
        (folder, grammars)
    }

    /// Whether a whole answer matches a shape: each of its bytes, and then the end token, is allowed.
    pub(crate) fn fits(grammars: &Grammars, shape: &Shape, text: &str) -> bool {
        let mut constraint = grammars.constraint(shape).unwrap_or_else(|error| panic!("{error}: {shape:?}"));
        text.bytes().map(i64::from).chain([257]).all(|id| {
            let mut logits = [0.0; 260];
            constraint.mask(&mut logits).unwrap();
            assert!(logits[258..].iter().all(|logit| *logit == f32::NEG_INFINITY));
            logits[id as usize] == 0.0 && constraint.accept(id).is_ok()
        })
    }

    #[test]
    fn only_what_fits_can_be_written() {
        let (_folder, grammars) = of_bytes();
        let object =
            Shape::Json(json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"$ref": "#/$defs/b"}},
            "required": ["a"], "additionalProperties": false, "$defs": {"b": {"type": ["string", "null"]}}}));
        for (text, expected) in [
            ("{\"a\": 1}", true),
            ("{\"a\":-12,\n  \"b\": \"\u{17c}\\n\"}", true),
            ("{\"a\": 1, \"b\": null}", true),
            ("{\"a\": 1.5}", false),
            ("{\"b\": null}", false),
            ("{\"a\": 1, \"c\": 2}", false),
            ("{\"a\": 1}x", false),
            (" {\"a\": 1}", false),
            ("{\"a\": 1", false),
            ("", false),
        ] {
            assert_eq!(fits(&grammars, &object, text), expected, "{text:?}");
        }
        let spaces = format!("{{{}\"a\": 1}}", " ".repeat(25));
        assert!(
            !fits(&grammars, &object, &spaces) && fits(&grammars, &object, &spaces[..1].to_owned().add(&spaces[2..]))
        );
        let any = Shape::object();
        assert!(fits(&grammars, &any, "{}") && fits(&grammars, &any, "{\"x\": [1, {\"y\": true}]}"));
        assert!(!fits(&grammars, &any, "[]"));
        assert!(fits(&grammars, &Shape::Regex("^a/b+$".into()), "a/bb"));
        assert!(!fits(&grammars, &Shape::Regex("^a/b+$".into()), "a/"));
        assert!(fits(&grammars, &Shape::Regex("a\\$".into()), "a$"));
    }

    fn asked(body: Value) -> Result<Option<Shape>, String> {
        let mut fields = Fields::read(body.to_string().as_bytes()).unwrap();
        shape(&mut fields).map(|found| found.map(|(_, shape)| shape)).map_err(|bad| bad.sentence)
    }

    #[test]
    fn every_way_of_asking_is_read() {
        let schema = json!({"type": "array"});
        let format = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}});
        for body in [
            json!({"response_format": format}),
            json!({"guided_json": schema}),
            json!({"guided_json": schema.to_string()}),
            json!({"structured_outputs": {"json": schema, "regex": null}}),
        ] {
            assert_eq!(asked(body.clone()), Ok(Some(Shape::Json(schema.clone()))), "{body}");
        }
        assert_eq!(asked(json!({"response_format": {"type": "text"}})), Ok(None));
        assert_eq!(asked(json!({"response_format": null, "guided_regex": null})), Ok(None));
        assert_eq!(asked(json!({"response_format": {"type": "json_object"}})), Ok(Some(Shape::object())));
        assert_eq!(asked(json!({"guided_choice": ["a"]})), Ok(Some(Shape::Choice(vec!["a".into()]))));
        let both = asked(json!({"response_format": {"type": "json_object"}, "guided_regex": "a"}));
        assert!(both.unwrap_err().contains("response_format asks"));
        for bad in [
            json!({"guided_choice": []}),
            json!({"guided_json": "{"}),
            json!({"response_format": {}}),
            json!({"response_format": {"type": "xml"}}),
            json!({"structured_outputs": {"structural_tag": "x"}}),
        ] {
            assert!(asked(bad.clone()).is_err(), "{bad}");
        }
    }
}
