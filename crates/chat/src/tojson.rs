//! `tojson` as transformers defines it: Python's `json.dumps(value, ensure_ascii=False, indent=None, separators=None,
//! sort_keys=False)`.

use std::fmt::Write;

use minijinja::value::{Kwargs, Rest, Value};
use minijinja::{Error, ErrorKind};
use serde_json::Value as Json;

/// The style of the JSON text.
struct Style {
    ensure_ascii: bool,
    indent: Option<String>,
    /// The separators between items, and between key and value.
    separators: (String, String),
    sort_keys: bool,
}

/// The filter.
pub fn tojson(value: &Value, positional: Rest<Value>, kwargs: Kwargs) -> Result<Value, Error> {
    let bad = |what: String| Error::new(ErrorKind::InvalidOperation, format!("tojson: {what}"));
    const NAMES: [&str; 4] = ["ensure_ascii", "indent", "separators", "sort_keys"];
    if positional.len() > NAMES.len() {
        return Err(bad(format!("takes at most {} arguments", NAMES.len())));
    }
    let given = |at: usize| -> Result<Option<Value>, Error> {
        let named: Option<Value> = kwargs.get(NAMES[at])?;
        Ok(named.or_else(|| positional.get(at).cloned()).filter(|value| !value.is_none() && !value.is_undefined()))
    };
    let indent = match given(1)? {
        None => None,
        Some(width) => match (width.as_str(), i64::try_from(width.clone())) {
            (Some(text), _) => Some(text.to_owned()),
            (None, Ok(width)) => Some(" ".repeat(width.clamp(0, 64) as usize)),
            (None, Err(_)) => return Err(bad(format!("indent is {width}; a number or a text is expected"))),
        },
    };
    let separators = match given(2)? {
        None => (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned()),
        Some(pair) => {
            let parts: Vec<Value> = pair.try_iter()?.collect();
            match parts.iter().map(Value::as_str).collect::<Option<Vec<_>>>().as_deref() {
                Some([item, key]) => ((*item).to_owned(), (*key).to_owned()),
                _ => return Err(bad(format!("separators is {pair}; two texts are expected"))),
            }
        }
    };
    let style = Style {
        ensure_ascii: given(0)?.is_some_and(|value| value.is_true()),
        indent,
        separators,
        sort_keys: given(3)?.is_some_and(|value| value.is_true()),
    };
    kwargs.assert_all_used()?;
    if value.is_undefined() {
        return Err(bad("an undefined value is not JSON".into()));
    }
    let json = serde_json::to_value(value).map_err(|e| Error::new(ErrorKind::BadSerialization, e.to_string()))?;
    let mut out = String::new();
    style.write(&json, 0, &mut out);
    Ok(Value::from_safe_string(out))
}

/// A value as `json.dumps(value, ensure_ascii=False)` writes it.
pub(crate) fn plain(value: &Json) -> Result<String, std::fmt::Error> {
    let style = Style { ensure_ascii: false, indent: None, separators: (", ".into(), ": ".into()), sort_keys: false };
    let mut out = String::new();
    style.write(value, 0, &mut out);
    Ok(out)
}

impl Style {
    fn write(&self, value: &Json, depth: usize, out: &mut String) {
        match value {
            Json::Null => out.push_str("null"),
            Json::Bool(true) => out.push_str("true"),
            Json::Bool(false) => out.push_str("false"),
            Json::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
                Some(float) => out.push_str(&python_float(float)),
                None => out.push_str(&number.to_string()),
            },
            Json::String(text) => self.string(text, out),
            Json::Array(items) if items.is_empty() => out.push_str("[]"),
            Json::Object(map) if map.is_empty() => out.push_str("{}"),
            Json::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    self.before(index, depth + 1, out);
                    self.write(item, depth + 1, out);
                }
                self.close(depth, out);
                out.push(']');
            }
            Json::Object(map) => {
                let mut entries: Vec<(&String, &Json)> = map.iter().collect();
                if self.sort_keys {
                    entries.sort_by_key(|(key, _)| *key);
                }
                out.push('{');
                for (index, (key, item)) in entries.into_iter().enumerate() {
                    self.before(index, depth + 1, out);
                    self.string(key, out);
                    out.push_str(&self.separators.1);
                    self.write(item, depth + 1, out);
                }
                self.close(depth, out);
                out.push('}');
            }
        }
    }

    /// The text before item `index`.
    fn before(&self, index: usize, depth: usize, out: &mut String) {
        if index > 0 {
            out.push_str(&self.separators.0);
        }
        if let Some(indent) = &self.indent {
            out.push('\n');
            out.push_str(&indent.repeat(depth));
        }
    }

    fn close(&self, depth: usize, out: &mut String) {
        if let Some(indent) = &self.indent {
            out.push('\n');
            out.push_str(&indent.repeat(depth));
        }
    }

    fn string(&self, text: &str, out: &mut String) {
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                c if c < ' ' || (self.ensure_ascii && c > '~') => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        write!(out, "\\u{unit:04x}").ok();
                    }
                }
                c => out.push(c),
            }
        }
        out.push('"');
    }
}

/// A float as Python's `repr` writes it: exponents below 1e-4 and from 1e16 on, with at least two digits.
fn python_float(x: f64) -> String {
    let size = x.abs();
    if x == 0.0 || (1e-4..1e16).contains(&size) {
        return format!("{x:?}");
    }
    let text = format!("{x:e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) => {
            let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
            format!("{mantissa}e{sign}{digits:0>2}")
        }
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_pythons() {
        for (x, text) in [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.1, "0.1"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (-2.5e-7, "-2.5e-07"),
            (123456789.123, "123456789.123"),
        ] {
            assert_eq!(python_float(x), text);
        }
    }
}
