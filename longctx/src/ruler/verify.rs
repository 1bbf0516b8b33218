//! Derives the answers of RULER's tasks again from the message alone.

use std::collections::{BTreeMap, BTreeSet};

use dataset::Conversation;
use regex::Regex;

use super::Ruler;
use crate::counter::Counter;
use crate::record::{FILLED, Meta};

/// Derives the strings that an answer has to contain and compares them; with a counter, checks the length too.
///
/// # Errors
/// The first fault.
pub fn check(record: &Conversation, meta: &Meta, counter: Option<&Counter>) -> Result<(), String> {
    let protocol = meta.ruler.as_ref().ok_or("meta.ruler is missing")?;
    let name = meta.task.strip_prefix("ruler:").ok_or_else(|| format!("{} is no task of RULER", meta.task))?;
    let task = Ruler::of_name(name).ok_or_else(|| format!("{name} is no task of RULER"))?;
    let [asked, answered] = &record.messages[..] else { return Err(format!("{} messages", record.messages.len())) };
    let derived = derive(task, asked.text())?;
    let given: BTreeSet<String> = protocol.outputs.iter().cloned().collect();
    if derived != given || given.len() != protocol.outputs.len() {
        return Err(format!("the outputs are {given:?}, the text says {derived:?}"));
    }
    if !answered.text().starts_with(&protocol.answer_prefix) {
        return Err("the answer does not begin with its prefix".into());
    }
    if super::score(answered.text(), &protocol.outputs) < 1.0 {
        return Err("the answer does not hold the outputs".into());
    }
    if (meta.length_tokens as f64) < meta.bucket as f64 * FILLED || meta.length_tokens > meta.bucket {
        return Err(format!("{} tokens do not fill the bucket of {}", meta.length_tokens, meta.bucket));
    }
    if let Some(counter) = counter {
        let begun = [asked.clone(), dataset::Message::assistant(protocol.answer_prefix.clone())];
        let prompt = counter.prompt(&begun).map_err(|error| format!("{error:#}"))?;
        let counted = prompt + protocol.max_new_tokens;
        if counted != meta.length_tokens {
            return Err(format!("{counted} tokens; meta says {}", meta.length_tokens));
        }
    }
    Ok(())
}

fn derive(task: Ruler, message: &str) -> Result<BTreeSet<String>, String> {
    let pattern = |text: &str| Regex::new(text).map_err(|error| error.to_string());
    match task {
        Ruler::Vt => {
            let text = message.rsplit("Memorize and track").next().unwrap_or_default();
            let asked = pattern(r"assigned the value (\d+) in the text above\.$")?;
            let value = asked.captures(text).ok_or("no question")?[1].to_owned();
            let statement = pattern(r"VAR (\w+) = (?:VAR )?(\w+)")?;
            let mut names: BTreeSet<String> = BTreeSet::new();
            loop {
                let before = names.len();
                for found in statement.captures_iter(text) {
                    if found[2] == value || names.contains(&found[2]) {
                        names.insert(found[1].to_owned());
                    }
                }
                if names.len() == before {
                    return Ok(names);
                }
            }
        }
        Ruler::Cwe => {
            let text = message.rsplit("Below is a numbered list").next().unwrap_or_default();
            let text = text.split_once('\n').ok_or("no list")?.1;
            let list = text.rsplit_once("\nQuestion:").ok_or("no question")?.0;
            let words = list.split(' ').filter(|word| !word.ends_with('.'));
            most(words, 10)
        }
        Ruler::Fwe => {
            let text = message.split_once("appeared coded words. ").ok_or("no text")?.1;
            let text = text.split_once("\nQuestion:").ok_or("no question")?.0;
            most(text.split(' ').filter(|word| *word != "..."), 3)
        }
        _ => {
            let asked = pattern(r"special magic \w+ for ([^\n]+) mentioned in the provided text\?$")?;
            let asked = asked.captures(message).ok_or("no question")?[1].replace(", and ", ", ");
            let needle = pattern(r"One of the special magic \w+ for (\S+) is: (\S+)\.")?;
            let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for found in needle.captures_iter(message) {
                values.entry(found[1].to_owned()).or_default().push(found[2].to_owned());
            }
            let mut all = BTreeSet::new();
            for key in asked.split(", ") {
                let of = values.get(key).ok_or_else(|| format!("no needle has the key {key}"))?;
                all.extend(of.iter().cloned());
            }
            Ok(all)
        }
    }
}

/// The most frequent words; their counts must differ from those of the other words.
fn most<'a>(words: impl Iterator<Item = &'a str>, count: usize) -> Result<BTreeSet<String>, String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    words.for_each(|word| *counts.entry(word).or_default() += 1);
    let mut ranked: Vec<(usize, &str)> = counts.into_iter().map(|(word, count)| (count, word)).collect();
    ranked.sort_unstable_by(|a, b| b.cmp(a));
    if ranked.len() < count || ranked.get(count).is_some_and(|next| next.0 == ranked[count - 1].0) {
        return Err(format!("the {count} most frequent words do not stand apart"));
    }
    Ok(ranked[..count].iter().map(|(_, word)| (*word).to_owned()).collect())
}
