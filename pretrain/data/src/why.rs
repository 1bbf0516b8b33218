//! `herd data why`: follows a document through the parts of a run.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::engine::run::parts_folder;
use crate::engine::{phases, place_parts};
use crate::recipe::Recipe;

/// The history of the documents with an id, one line per step.
///
/// # Errors
/// When the folder holds no run, or no document has the id.
pub fn story(folder: &Path, recipe: &Recipe, id: &str) -> anyhow::Result<Vec<String>> {
    let phases = phases(recipe);
    let mut lines = Vec::new();
    ensure!(parts_folder(folder, 0).is_dir(), "{} holds no run of `herd data run`", folder.display());
    let needle = format!("\"id\":{}", serde_json::to_string(id)?);
    for (at, phase) in phases.iter().enumerate() {
        for (part_folder, part) in crate::engine::parts(&parts_folder(folder, at))? {
            let name = part_folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            find(&part_folder.join("dropped.jsonl.zst"), &needle, id, &mut |record, _| {
                let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
                let mut line = format!(
                    "phase {}: part {name}, from {}: dropped by step {} ({}): {} is {} and the limit is {}",
                    at + 1,
                    part.path,
                    record["step"],
                    text("kind"),
                    text("rule"),
                    shown(&record["value"]),
                    shown(&record["limit"])
                );
                if let Some(by) = record["by"].as_u64() {
                    let other = resolve(folder, at - 1, by).unwrap_or_default();
                    line += &format!("; {other} stays in its place");
                } else if record["note"].is_string() {
                    line += &format!("; {}", text("note"));
                }
                lines.push(line);
            })?;
            find(&part_folder.join("documents.jsonl.zst"), &needle, id, &mut |record, ordinal| {
                let steps = phase.maps.iter().map(|step| recipe.steps[*step].kind()).collect::<Vec<_>>().join(", ");
                let steps = if steps.is_empty() { "none".to_owned() } else { steps };
                let bytes = record["text"].as_str().map_or(0, str::len);
                lines.push(format!(
                    "phase {}: part {name}, document {ordinal}, from {}: kept with {bytes} bytes of text; map steps: {steps}",
                    at + 1,
                    part.path
                ));
            })?;
        }
    }
    ensure!(!lines.is_empty(), "no document of the run in {} has the id {id}", folder.display());
    Ok(lines)
}

/// A number as text, with at most four decimals: 48, 0.2435.
fn shown(value: &Value) -> String {
    let Some(number) = value.as_f64() else { return value.to_string() };
    format!("{number:.4}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The id at a place of a phase.
fn resolve(folder: &Path, phase: usize, place: u64) -> Option<String> {
    let (input, number, ordinal) = place_parts(place);
    let part = parts_folder(folder, phase).join(format!("{input:06}-{number:05}"));
    let file = zstd::Decoder::new(File::open(part.join("documents.jsonl.zst")).ok()?).ok()?;
    let line = BufReader::new(file).lines().nth(ordinal as usize)?.ok()?;
    let record: Value = serde_json::from_str(&line).ok()?;
    Some(format!("document {}", record["id"].as_str()?))
}

fn find(path: &Path, needle: &str, id: &str, each: &mut dyn FnMut(&Value, usize)) -> anyhow::Result<()> {
    let read = || format!("cannot read {}", path.display());
    let file = zstd::Decoder::new(File::open(path).with_context(read)?)?;
    for (ordinal, line) in BufReader::with_capacity(1 << 16, file).lines().enumerate() {
        let line = line.with_context(read)?;
        if line.contains(needle) {
            let record: Value = serde_json::from_str(&line).with_context(read)?;
            if record["id"] == id {
                each(&record, ordinal);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        let texts = [48.0, 0.24347826086956523, 0.18, 0.0, 100.0].map(|number| shown(&Value::from(number)));
        assert_eq!(texts, ["48", "0.2435", "0.18", "0", "100"]);
    }
}
