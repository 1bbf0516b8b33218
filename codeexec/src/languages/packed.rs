//! The JSON encoding of the values that the program's guest and the judge's guest exchange. Numbers, strings, booleans,
//! null and lists stand for themselves; every other value is an object `{"$": tag, ...}`:
//!
//! | tag | value |
//! |---|---|
//! | `d` | `v`: pairs of key and value: an object, associative array or hash |
//! | `n` | `v`: a number that JSON lacks (`NaN`, `Infinity`, `-0`), as text |
//! | `f` | `v`: a float, if the language distinguishes it from an integer, as text |
//! | `i` | `v`: an integer of any size, as text |
//! | `u` | undefined |
//! | `s` | `v`: a set's items |
//! | `y` | `v`: a symbol's name |
//! | `b` | `v`: bytes that are not UTF-8, in base64 |
//! | `o` | an object that is not copied: `id`, and language-specific fields |
//!
//! Each language has further tags for its own types.

use serde_json::{Map, Value, json};

/// EvalPlus's absolute tolerance if floats are expected.
const ATOL: f64 = 1e-6;
/// Numpy's relative tolerance, a factor of the expected value.
const RTOL: f64 = 1e-7;

/// True if `bytes` are one JSON value and nothing more.
pub fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
}

/// Encodes plain JSON as a packed value.
pub fn pack(value: &Value) -> Value {
    match value {
        Value::Array(items) => pack_all(items),
        Value::Object(fields) => {
            let pairs: Vec<Value> = fields.iter().map(|(key, value)| json!([key, pack(value)])).collect();
            json!({"$": "d", "v": pairs})
        }
        other => other.clone(),
    }
}

/// Encodes a list of plain JSON values as a packed list.
pub fn pack_all(items: &[Value]) -> Value {
    Value::Array(items.iter().map(pack).collect())
}

/// Decodes a packed value to plain JSON, to compare or print it. Keys become strings, sets sorted lists, undefined
/// null, and an object that is not copied a string that names its class.
pub fn unpack(value: &Value) -> Value {
    let fields = match value {
        Value::Array(items) => return Value::Array(items.iter().map(unpack).collect()),
        Value::Object(fields) => fields,
        other => return other.clone(),
    };
    let content = fields.get("v").unwrap_or(&Value::Null);
    let items = || content.as_array().map(|items| items.iter().map(unpack).collect::<Vec<_>>()).unwrap_or_default();
    let text = || content.as_str().unwrap_or("").to_owned();
    match fields.get("$").and_then(Value::as_str) {
        Some("d" | "m") => {
            let mut object = Map::new();
            for pair in items() {
                let key = match &pair[0] {
                    Value::String(key) => key.clone(),
                    other => other.to_string(),
                };
                object.insert(key, pair[1].clone());
            }
            Value::Object(object)
        }
        Some("s") => {
            let mut items = items();
            items.sort_by(|a, b| match (a.as_f64(), b.as_f64()) {
                (Some(a), Some(b)) => a.total_cmp(&b),
                _ => a.to_string().cmp(&b.to_string()),
            });
            Value::Array(items)
        }
        Some("n" | "f" | "i") => match (text().parse::<i64>(), text().parse::<f64>()) {
            (Ok(integer), _) => json!(integer),
            (_, Ok(float)) if float.is_finite() => json!(float),
            _ => Value::String(text()),
        },
        Some("u") => Value::Null,
        Some("y") => Value::String(text()),
        Some("o") => Value::String(format!("<{} object of the program>", fields.get("c").unwrap_or(&Value::Null))),
        _ => Value::String(format!("<{}>", fields.get("$").unwrap_or(&Value::Null))),
    }
}

/// Whether `got` equals `expected`. If a number is a float or `atol` is above 0, the two numbers may differ by `atol`
/// (1e-6 if it is 0) plus 1e-7 times the expected one; other numbers must be equal. Lists and objects are compared
/// item by item.
pub fn equal(got: &Value, expected: &Value, atol: f64) -> bool {
    match (got, expected) {
        (Value::Number(g), Value::Number(e)) => {
            let (Some(got), Some(wanted)) = (g.as_f64(), e.as_f64()) else { return g == e };
            if g.is_f64() || e.is_f64() || atol > 0.0 {
                let atol = if atol > 0.0 { atol } else { ATOL };
                return got == wanted || (got - wanted).abs() <= atol + RTOL * wanted.abs();
            }
            g == e
        }
        (Value::Array(got), Value::Array(expected)) => {
            got.len() == expected.len() && got.iter().zip(expected).all(|(g, e)| equal(g, e, atol))
        }
        (Value::Object(got), Value::Object(expected)) => {
            got.len() == expected.len()
                && got.iter().all(|(key, g)| expected.get(key).is_some_and(|e| equal(g, e, atol)))
        }
        // PHP has one type for an empty list and an empty map.
        (Value::Array(got), Value::Object(expected)) => got.is_empty() && expected.is_empty(),
        _ => got == expected,
    }
}

/// Returns `text`; beyond `most` characters, the first `most` and `...`.
pub fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most { text.to_owned() } else { text.chars().take(most).collect::<String>() + "..." }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_values_are_compared_with_plain_ones() {
        for (packed, plain, same) in [
            (json!([1, "a", null, true]), json!([1, "a", null, true]), true),
            (json!({"$": "d", "v": [["a", [1]], [2, {"$": "u"}]]}), json!({"a": [1], "2": null}), true),
            (json!({"$": "s", "v": [3, 1, 20]}), json!([1, 3, 20]), true),
            (json!({"$": "f", "v": "2.5000000001"}), json!(2.5), true),
            (json!({"$": "f", "v": "2.51"}), json!(2.5), false),
            (json!({"$": "i", "v": "7"}), json!(7), true),
            (json!(true), json!(1), false),
            (json!("1"), json!(1), false),
            (json!({"$": "n", "v": "NaN"}), json!(0), false),
            (json!({"$": "o", "id": 1, "c": "A"}), json!({"a": 1}), false),
            (json!([1, 2]), json!([1]), false),
        ] {
            assert_eq!(equal(&unpack(&packed), &plain, 0.0), same, "{packed} {plain}");
        }
        assert!(equal(&json!(1.05), &json!(1), 0.1) && !equal(&json!(1.05), &json!(1), 0.01));
        assert_eq!(unpack(&pack(&json!({"a": [{"b": 1.5}]}))), json!({"a": [{"b": 1.5}]}));
    }
}
