//! Every written value is read back unchanged, in every format.
use std::fs;

use dataset::jsonl;
use dataset::resume::OrderedOutput;
use dataset::{Conversation, FinishReason, Kind, Message, Preference, Problem, Role, Sample, Strength, Verdict};
use proptest::prelude::*;
use serde_json::{Map, Number, Value, json};

/// Any text, with characters that are difficult for readers: newlines, separators, quotes, marks, four-byte
/// characters.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["\\PC{0,20}", "[\\n\\r\\t\"\\\\\u{0}\u{2028}\u{FEFF}😀ż ]{0,12}"]
}

fn number() -> impl Strategy<Value = Value> {
    let float = any::<f64>().prop_filter_map("finite", |x| Number::from_f64(x).map(Value::Number));
    prop_oneof![any::<i64>().prop_map(Value::from), any::<u64>().prop_map(Value::from), float]
}

/// Any JSON value, a few levels deep.
fn value() -> impl Strategy<Value = Value> {
    let leaf =
        prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), number(), text().prop_map(Value::from)];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((text(), inner), 0..4).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Fields that no record knows, so that they do not collide with a known field.
fn extra() -> impl Strategy<Value = Map<String, Value>> {
    let names = prop::sample::select(vec!["x_a", "x_b", "tools", "", "name", "żółw"]);
    prop::collection::vec((names, value()), 0..3).prop_map(|f| f.into_iter().map(|(n, v)| (n.to_owned(), v)).collect())
}

fn message() -> impl Strategy<Value = Message> {
    let roles = vec![Role::System, Role::User, Role::Assistant, Role::Tool, Role::Ipython];
    let call = (text().prop_filter("named", |n| !n.is_empty()), value())
        .prop_map(|(name, arguments)| json!({"type": "function", "function": {"name": name, "arguments": arguments}}));
    let calls = prop::collection::vec(call, 0..3);
    (prop::sample::select(roles), prop::option::of(text()), calls, extra()).prop_map(
        |(role, content, tool_calls, extra)| {
            let content = if tool_calls.is_empty() { Some(content.unwrap_or_default()) } else { content };
            Message { role, content: content.map(Into::into), tool_calls, extra }
        },
    )
}

fn messages() -> impl Strategy<Value = Vec<Message>> {
    prop::collection::vec(message(), 0..4)
}

fn finite() -> impl Strategy<Value = Option<f64>> {
    prop::option::of(any::<f64>().prop_filter("finite", |x| x.is_finite()))
}

fn conversation() -> impl Strategy<Value = Conversation> {
    (text(), messages(), prop::option::of(text()), finite(), extra()).prop_map(
        |(id, messages, source, weight, extra)| Conversation {
            id,
            messages,
            capability: source.clone(),
            source,
            weight,
            extra,
        },
    )
}

fn preference() -> impl Strategy<Value = Preference> {
    let strength = prop_oneof![
        Just(None),
        text().prop_map(|t| Some(Strength::Level(t))),
        finite().prop_map(|x| x.map(Strength::Score))
    ];
    (text(), messages(), messages(), messages(), prop::option::of(messages()), strength, extra())
        // Answers that repeat the prompt are read in the form that contains it.
        .prop_filter("distinct", |(_, prompt, chosen, rejected, edited, ..)| {
            let repeats = |answer: &[Message]| answer.starts_with(prompt);
            prompt.is_empty() || !(repeats(chosen) || repeats(rejected) || edited.as_deref().is_some_and(repeats))
        })
        .prop_map(|(id, prompt, chosen, rejected, edited, strength, extra)| Preference {
            id,
            prompt,
            chosen,
            rejected,
            edited,
            strength,
            extra,
        })
}

fn sample() -> impl Strategy<Value = Sample> {
    let verdict = (any::<bool>(), text(), prop::option::of(text()), extra())
        .prop_map(|(passed, status, detail, extra)| Verdict { passed, status, detail, extra });
    let ends = vec![FinishReason::Stop, FinishReason::Length, FinishReason::Other("tool_calls".into())];
    let numbers = (prop::option::of(any::<u64>()), finite(), finite(), prop::option::of(any::<u64>()));
    ("\\PC{1,9}", text(), prop::sample::select(ends), numbers, prop::option::of(verdict), extra()).prop_map(
        |(id, response, finish_reason, (sample, logprob, reward, seed), verdict, extra)| Sample {
            id,
            sample,
            model: response.clone(),
            response,
            finish_reason,
            logprob,
            reward,
            verdict,
            seed,
            extra,
        },
    )
}

fn problem() -> impl Strategy<Value = Problem> {
    let kinds = prop::sample::select(vec![Kind::Math, Kind::Code, Kind::Chat, Kind::Safety]);
    let tests = prop::option::of(prop::collection::vec(value(), 0..3).prop_map(Value::from));
    let meta = value().prop_map(|v| Some(v).filter(|v| !v.is_null()));
    (text(), kinds, messages(), prop::option::of(text()), tests, meta, extra()).prop_map(
        |(id, kind, prompt, answer, tests, meta, extra)| Problem {
            entry_point: answer.clone(),
            answer,
            tests,
            meta,
            extra,
            ..Problem::new(id, kind, prompt)
        },
    )
}

/// Writes and reads in all text formats, twice as JSON.
fn round_trip<T>(records: &[T])
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let dir = tempfile::tempdir().unwrap();
    for name in ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"] {
        let path = dir.path().join(name);
        jsonl::write_all(&path, records).unwrap();
        assert_eq!(jsonl::read_all::<T>(&path).unwrap(), records, "{name}");
    }
}

/// The type of a Parquet column, for rows that agree with it.
#[derive(Debug, Clone)]
enum Column {
    Bool,
    Int,
    UInt,
    Float,
    Text,
    List(Box<Column>),
    Struct(Vec<(String, Column)>),
}

fn column() -> impl Strategy<Value = Column> {
    let leaf = prop::sample::select(vec![Column::Bool, Column::Int, Column::UInt, Column::Float, Column::Text]);
    leaf.prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|c| Column::List(Box::new(c))),
            prop::collection::vec(inner, 1..4).prop_map(fields),
        ]
    })
}

fn fields(columns: Vec<Column>) -> Column {
    Column::Struct(columns.into_iter().enumerate().map(|(i, c)| (format!("f{i}"), c)).collect())
}

/// A value of a column; null (in lists) or missing (in objects) is possible everywhere.
fn of(column: &Column) -> BoxedStrategy<Value> {
    let null = |s: BoxedStrategy<Value>| prop_oneof![1 => Just(Value::Null), 4 => s].boxed();
    match column {
        Column::Bool => null(any::<bool>().prop_map(Value::from).boxed()),
        Column::Int => null(any::<i64>().prop_map(Value::from).boxed()),
        Column::UInt => null(any::<u64>().prop_map(Value::from).boxed()),
        Column::Float => null((-1e300..1e300).prop_map(Value::from).boxed()),
        Column::Text => null(text().prop_map(Value::from).boxed()),
        Column::List(item) => null(prop::collection::vec(of(item), 0..4).prop_map(Value::from).boxed()),
        Column::Struct(_) => null(row(column)),
    }
}

fn row(column: &Column) -> BoxedStrategy<Value> {
    let Column::Struct(fields) = column else { unreachable!("a row is a struct") };
    let parts: Vec<_> = fields
        .iter()
        .map(|(name, c)| {
            of(c).prop_map({
                let name = name.clone();
                move |v| (name.clone(), v)
            })
        })
        .collect();
    parts.prop_map(|f| Value::Object(f.into_iter().filter(|(_, v)| !v.is_null()).collect())).boxed()
}

/// Rows of one type; the first has every field, so that no struct is empty in all rows.
fn rows() -> impl Strategy<Value = Vec<Value>> {
    prop::collection::vec(column(), 1..4).prop_map(fields).prop_flat_map(|column| {
        let whole = full(&column);
        prop::collection::vec(row(&column), 0..12).prop_map(move |mut rows| {
            rows.insert(0, whole.clone());
            rows
        })
    })
}

fn full(column: &Column) -> Value {
    match column {
        Column::Bool => json!(true),
        Column::Int => json!(-1),
        Column::UInt => json!(u64::MAX),
        Column::Float => json!(0.5),
        Column::Text => json!("x"),
        Column::List(item) => json!([full(item)]),
        Column::Struct(fields) => Value::Object(fields.iter().map(|(n, c)| (n.clone(), full(c))).collect()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn conversations(records in prop::collection::vec(conversation(), 0..6)) {
        round_trip(&records);
    }

    #[test]
    fn preferences(records in prop::collection::vec(preference(), 0..6)) {
        round_trip(&records);
    }

    #[test]
    fn problems(records in prop::collection::vec(problem(), 0..6)) {
        round_trip(&records);
    }

    #[test]
    fn samples(records in prop::collection::vec(sample(), 0..6)) {
        round_trip(&records);
    }

    #[test]
    fn parquet(rows in rows()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.parquet");
        jsonl::write_all(&path, &rows).unwrap();
        prop_assert_eq!(jsonl::read_all::<Value>(&path).unwrap(), rows);
    }

    /// Any order of arrival and any number of kills give the same bytes.
    #[test]
    fn ordered_output(records in prop::collection::vec(value(), 1..20), order in any::<u64>(), cuts in prop::collection::vec(0.0..1.0, 0..4)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        let partial = dir.path().join("a.jsonl.partial");
        for cut in cuts {
            drop(push_shuffled(&path, &records, order));
            let bytes = fs::read(&partial).unwrap();
            fs::write(&partial, &bytes[..(bytes.len() as f64 * cut) as usize]).unwrap();
        }
        push_shuffled(&path, &records, order).finish(records.len()).unwrap();
        let expected: String = records.iter().map(|r| format!("{r}\n")).collect();
        prop_assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    }
}

fn push_shuffled(path: &std::path::Path, records: &[Value], order: u64) -> OrderedOutput {
    let mut out = OrderedOutput::open(path, "f").unwrap();
    let mut left: Vec<usize> = (out.done()..records.len()).collect();
    left.sort_by_key(|i| (*i as u64 ^ order).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    for i in left {
        out.push(i, &records[i]).unwrap();
    }
    out
}
