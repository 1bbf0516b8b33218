//! Checks whether models may be averaged: same architecture, configuration, tokenizer and chat template.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use chat::ChatTemplate;
use serde_json::Value;

/// Keys of a `config.json` that do not affect the computation.
const IDLE: [&str; 6] = ["_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache", "name_or_path"];

/// Checks that `other` has the configuration, tokenizer and chat template of `first`.
///
/// # Errors
/// When a file differs: the error names the file and the first key that differs, with both values.
pub fn models(first: &Path, other: &Path) -> anyhow::Result<()> {
    same_json(first, other, "config.json", &IDLE)?;
    same_json(first, other, "tokenizer.json", &[])?;
    let template = |folder: &Path| -> anyhow::Result<Option<String>> {
        Ok(ChatTemplate::from_dir(folder)?.map(|template| template.source().to_owned()))
    };
    ensure!(
        template(first)? == template(other)?,
        "{} and {} have different chat templates; average models that speak one format",
        first.display(),
        other.display()
    );
    Ok(())
}

/// Compares a JSON file of two folders, ignoring some keys at its top level.
///
/// # Errors
/// See [`models`].
pub fn same_json(first: &Path, other: &Path, file: &str, idle: &[&str]) -> anyhow::Result<()> {
    let read = |folder: &Path| -> anyhow::Result<Option<Value>> {
        let path = folder.join(file);
        match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            text => {
                let text = text.with_context(|| format!("cannot read {}", path.display()))?;
                let mut value: Value = serde_json::from_slice(&text).with_context(|| format!("{}", path.display()))?;
                if let Some(keys) = value.as_object_mut() {
                    keys.retain(|key, _| !idle.contains(&key.as_str()));
                }
                Ok(Some(value))
            }
        }
    };
    match (read(first)?, read(other)?) {
        (None, None) => Ok(()),
        (Some(_), None) => bail!("{} has no {file}, but {} has one", other.display(), first.display()),
        (None, Some(_)) => bail!("{} has no {file}, but {} has one", first.display(), other.display()),
        (Some(a), Some(b)) => match difference(&a, &b, String::new()) {
            None => Ok(()),
            Some((key, a, b)) => bail!(
                "{}: {key} is {b}, but in {} it is {a}; only models that agree in it can be averaged",
                other.join(file).display(),
                first.display()
            ),
        },
    }
}

/// The first key, in the order of `a`, at which two values differ, with both values.
fn difference(a: &Value, b: &Value, key: String) -> Option<(String, String, String)> {
    if a == b {
        return None;
    }
    let below = |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let missing = || "absent".to_owned();
            let in_a = a.iter().find_map(|(name, value)| match b.get(name) {
                Some(other) => difference(value, other, below(name)),
                None => Some((below(name), short(value), missing())),
            });
            in_a.or_else(|| {
                let (name, value) = b.iter().find(|(name, _)| !a.contains_key(*name))?;
                Some((below(name), missing(), short(value)))
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(place, (a, b))| difference(a, b, below(&place.to_string())))
        }
        (Value::Array(a), Value::Array(b)) => {
            Some((key, format!("a list of {}", a.len()), format!("a list of {}", b.len())))
        }
        _ => Some((key, short(a), short(b))),
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_difference_is_named_by_its_path() {
        let a = json!({"rope": {"theta": 1, "list": [1, 2]}, "x": 1});
        let of = |b: Value| difference(&a, &b, String::new()).map(|(key, a, b)| format!("{key} {a} {b}"));
        assert_eq!(of(a.clone()), None);
        assert_eq!(of(json!({"rope": {"theta": 2, "list": [1, 2]}, "x": 1})).unwrap(), "rope.theta 1 2");
        assert_eq!(of(json!({"rope": {"theta": 1, "list": [1, 3]}, "x": 1})).unwrap(), "rope.list.1 2 3");
        assert_eq!(
            of(json!({"rope": {"theta": 1, "list": [1]}, "x": 1})).unwrap(),
            "rope.list a list of 2 a list of 1"
        );
        assert_eq!(of(json!({"rope": {"theta": 1, "list": [1, 2]}})).unwrap(), "x 1 absent");
        assert_eq!(of(json!({"rope": {"theta": 1, "list": [1, 2]}, "x": 1, "y": 2})).unwrap(), "y absent 2");
    }
}
