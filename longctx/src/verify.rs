//! Derives every answer again from the context alone. The code shares nothing with the generator: no index, no word table, no sentence
//! splitter, only searches through the text. The subject of a question is read from its quotes.

use std::collections::BTreeMap;

use dataset::{Conversation, Role};
use regex::Regex;

use crate::counter::Counter;
use crate::phrases::{self, NOT_SAID};
use crate::record::{self, FILLED, Meta};
use crate::task::Form;

/// The first fault of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong(pub String);

/// Tasks whose answers a model wrote.
const WRITTEN: [&str; 2] = ["qa", "summary"];

/// Checks what can be checked of a record that a model wrote: alternating turns, the place of the text, quotes that occur once, and the
/// length.
fn written(record: &Conversation, meta: &Meta, counter: Option<&Counter>) -> Result<(), String> {
    let roles: Vec<Role> = record.messages.iter().map(|message| message.role).collect();
    if roles.is_empty() || !roles.chunks(2).all(|pair| pair == [Role::User, Role::Assistant]) {
        return Err(format!("{} messages that do not alternate", roles.len()));
    }
    let first = record.messages[0].text();
    let (before, context, _) = parts(first).ok_or("no text between marks")?;
    let start = before.chars().count();
    let end = start + context.chars().count();
    if meta.context != [start, end] {
        return Err(format!("meta.context is {:?}, the text is at {:?}", meta.context, [start, end]));
    }
    if meta.task == "qa" && meta.evidence.len() * 2 != roles.len() {
        return Err(format!("{} quotes for {} questions", meta.evidence.len(), roles.len() / 2));
    }
    for [from, until] in &meta.evidence {
        if *from < start || *until > end || from >= until {
            return Err(format!("evidence {from}..{until} lies outside the text"));
        }
        let quote: String = first.chars().skip(*from).take(until - from).collect();
        let count = context.matches(&quote).count();
        if count != 1 {
            return Err(format!("the quote {quote:?} stands {count} times in the text"));
        }
    }
    if meta.length_tokens > meta.bucket {
        return Err(format!("{} tokens in a bucket of {}", meta.length_tokens, meta.bucket));
    }
    if let Some(counter) = counter {
        let counted = counter.conversation(&record.messages).map_err(|error| format!("{error:#}"))?;
        if (counted.tokens, counted.trained) != (meta.length_tokens, meta.trained_tokens) {
            return Err(format!(
                "{} tokens, {} of them trained; meta says {} and {}",
                counted.tokens, counted.trained, meta.length_tokens, meta.trained_tokens
            ));
        }
    }
    Ok(())
}

/// Derives every answer of a record again and compares. With a counter, the length is checked too, over the whole text.
///
/// # Errors
/// [`Wrong`] with the first fault.
pub fn check(record: &Conversation, counter: Option<&Counter>) -> Result<Meta, Wrong> {
    let meta = record::meta(record).map_err(Wrong)?;
    if meta.ruler.is_some() {
        crate::ruler::check(record, &meta, counter).map_err(Wrong)?;
        return Ok(meta);
    }
    if WRITTEN.contains(&meta.task.as_str()) {
        written(record, &meta, counter).map_err(Wrong)?;
        return Ok(meta);
    }
    let roles: Vec<Role> = record.messages.iter().map(|message| message.role).collect();
    let alternate = roles.chunks(2).all(|pair| pair == [Role::User, Role::Assistant]);
    if !alternate || roles.len() != meta.forms.len() * 2 || roles.is_empty() {
        return Err(Wrong(format!("{} messages for {} questions", roles.len(), meta.forms.len())));
    }
    let first = record.messages[0].text();
    let (before, context, behind) = parts(first).ok_or_else(|| Wrong("no text between marks".into()))?;
    let start = before.chars().count();
    let length = context.chars().count();
    if meta.context != [start, start + length] {
        return Err(Wrong(format!("meta.context is {:?}, the text is at {:?}", meta.context, [start, start + length])));
    }
    if let Some([from, until]) = meta.evidence.iter().find(|[a, b]| *a < start || *b > start + length || a >= b) {
        return Err(Wrong(format!("evidence {from}..{until} lies outside the text")));
    }
    let mut answers: Vec<&str> = Vec::new();
    for (at, form) in meta.forms.iter().enumerate() {
        let asked = record.messages[at * 2].text();
        let question = if at == 0 { format!("{before}\n{behind}") } else { asked.to_owned() };
        let given = record.messages[at * 2 + 1].text();
        let derived = derive(*form, context, &question, &answers)
            .map_err(|why| Wrong(format!("question {} ({form:?}): {why}", at + 1)))?;
        if derived != given {
            return Err(Wrong(format!(
                "question {} ({form:?}): the answer is {given:?}, the text says {derived:?}",
                at + 1
            )));
        }
        answers.push(given);
    }
    let not_in_text = answers.contains(&NOT_SAID);
    if not_in_text != meta.not_in_text {
        return Err(Wrong(format!("meta.not_in_text is {}, the answers say {not_in_text}", meta.not_in_text)));
    }
    if meta.evidence.is_empty() && answers.iter().any(|answer| *answer != NOT_SAID) {
        return Err(Wrong("an answer without evidence".into()));
    }
    if (meta.length_tokens as f64) < meta.bucket as f64 * FILLED || meta.length_tokens > meta.bucket {
        return Err(Wrong(format!("{} tokens do not fill the bucket of {}", meta.length_tokens, meta.bucket)));
    }
    if let Some(counter) = counter {
        let counted = counter.conversation(&record.messages).map_err(|error| Wrong(format!("{error:#}")))?;
        let said = (meta.length_tokens, meta.trained_tokens);
        if (counted.tokens, counted.trained) != said {
            return Err(Wrong(format!(
                "{} tokens, {} of them trained; meta says {} and {}",
                counted.tokens, counted.trained, said.0, said.1
            )));
        }
    }
    Ok(meta)
}

/// The text before the context, the context, and the text after it.
fn parts(message: &str) -> Option<(&str, &str, &str)> {
    let found = phrases::marks().filter_map(|(open, close)| {
        let start = message.find(&format!("{open}\n"))? + open.len() + 1;
        let end = message.rfind(&format!("\n{close}"))?;
        (start <= end).then_some((start, end))
    });
    let (start, end) = found.min()?;
    Some((&message[..start], &message[start..end], &message[end..]))
}

/// The strings in double quotes, in order.
fn quoted(question: &str) -> Vec<&str> {
    question.split('"').skip(1).step_by(2).collect()
}

fn derive(form: Form, context: &str, question: &str, answers: &[&str]) -> Result<String, String> {
    let things = quoted(question);
    let thing = *things.first().ok_or("nothing stands in quotes")?;
    match form {
        Form::NextSentence => Ok(match once(context, thing)? {
            None => NOT_SAID.to_owned(),
            Some(at) => {
                let rest = context[at + thing.len()..].strip_prefix(' ').ok_or("no sentence behind it")?;
                sentence(rest)?.to_owned()
            }
        }),
        Form::PreviousSentence => Ok(match once(context, thing)? {
            None => NOT_SAID.to_owned(),
            Some(at) => {
                let before = context[..at].strip_suffix(' ').ok_or("no sentence before it")?;
                let inner = before.strip_suffix(['.', '!', '?']).ok_or("what stands before it is no sentence")?;
                let start = inner.rfind(['.', '!', '?', '\n']).map_or(0, |end| end + 1);
                before[start..].trim_start().to_owned()
            }
        }),
        Form::Complete => {
            let at = once(context, thing)?.ok_or("no sentence begins so")?;
            let before = &context[..at];
            let begins =
                before.is_empty() || before.ends_with('\n') || before.ends_with([' ']) && ends(before.trim_end());
            if !begins {
                return Err("it stands in the middle of a sentence".into());
            }
            sentence(&context[at..]).map(str::to_owned)
        }
        Form::Order => {
            let mut places = Vec::new();
            for (number, thing) in things.iter().enumerate() {
                let at = once(context, thing)?.ok_or_else(|| format!("{thing:?} is not in the text"))?;
                places.push((at, char::from(b'A' + number as u8).to_string()));
            }
            places.sort();
            Ok(places.into_iter().map(|(_, letter)| letter).collect::<Vec<_>>().join(", "))
        }
        Form::Count => Ok(occurrences(context, thing).len().to_string()),
        Form::Most | Form::FirstOf | Form::LastOf => choose(form, context, &things),
        Form::Paragraph | Form::ParagraphFromEnd => {
            let number: usize = thing.parse().map_err(|_| format!("{thing:?} is not a number"))?;
            let blocks: Vec<&str> = context.split("\n\n").collect();
            let at = if form == Form::Paragraph { number.checked_sub(1) } else { blocks.len().checked_sub(number) };
            let block = at.and_then(|at| blocks.get(at)).ok_or("there is no such paragraph")?;
            sentence(block).map(str::to_owned)
        }
        Form::KeyValue => {
            let mut values = Vec::new();
            for line in context.lines() {
                let parts: Vec<&str> = line.split('"').collect();
                match parts[..] {
                    [_, key, _, value, _] if key == thing => values.push(value),
                    [_, "id", _, key, _, "code", _, value, _] if key == thing => values.push(value),
                    _ => {}
                }
            }
            match values[..] {
                [] => Ok(NOT_SAID.to_owned()),
                [value] => Ok(value.to_owned()),
                _ => Err(format!("the key has {} values", values.len())),
            }
        }
        Form::DepotCode => last(context, r"The access code of the (\w+) depot is (?:now )?(\w+)\.", thing),
        Form::ArchiveKeeper => last(context, r"The (\w+) archive is (?:now )?kept by (\w+)\.", thing),
        Form::ExpeditionGate => last(context, r"The (\w+) expedition (?:now )?leaves from gate (\w+)\.", thing),
        Form::ShipCargo => last(context, r"The cargo of the ship (\w+) (?:now )?weighs (\w+) tons\.", thing),
        Form::CommitteeRoom => last(context, r"Room (?<v>\w+) is (?:now )?booked for the (?<k>\w+) committee\.", thing),
        Form::Hops => Ok(markers(context)?.remove(thing).unwrap_or_else(|| NOT_SAID.to_owned())),
        Form::HopsAll => {
            let all = markers(context)?;
            let of: Vec<String> = all.into_iter().filter(|(_, n)| n == thing).map(|(marker, _)| marker).collect();
            if of.is_empty() { Err("no marker has the number".into()) } else { Ok(of.join(", ")) }
        }
        Form::Importers | Form::Dependents | Form::Breaks | Form::ImportedNames | Form::DefinedIn => {
            crate::repo::verify::derive(form, context, &things)
        }
        Form::Again => {
            let number: usize = thing.parse().map_err(|_| format!("{thing:?} is not a number"))?;
            let answer = number.checked_sub(1).and_then(|at| answers.get(at));
            answer.map(|answer| (*answer).to_owned()).ok_or_else(|| format!("there is no answer {number} before it"))
        }
    }
}

/// The offset of a string; an error if it occurs twice.
fn once(context: &str, what: &str) -> Result<Option<usize>, String> {
    let Some(at) = context.find(what) else { return Ok(None) };
    let width = what.chars().next().map_or(1, char::len_utf8);
    match context[at + width..].find(what) {
        Some(_) => Err(format!("{what:?} stands in the text more than once")),
        None => Ok(Some(at)),
    }
}

fn ends(text: &str) -> bool {
    text.ends_with(['.', '!', '?'])
}

/// The text up to the first full stop, exclamation mark or question mark that white space or the end follows.
fn sentence(text: &str) -> Result<&str, String> {
    let end = text.find(['.', '!', '?']).ok_or("the sentence does not end")? + 1;
    match text[end..].chars().next() {
        None | Some(' ' | '\n') => Ok(&text[..end]),
        Some(c) => Err(format!("the sentence may not end at {c:?}")),
    }
}

/// The offsets of a word that is not part of a longer word.
fn occurrences(context: &str, word: &str) -> Vec<usize> {
    let alone = |at: &usize| {
        let before = context[..*at].chars().next_back();
        let behind = context[at + word.len()..].chars().next();
        ![before, behind].into_iter().flatten().any(char::is_alphanumeric)
    };
    context.match_indices(word).map(|(at, _)| at).filter(alone).collect()
}

fn choose(form: Form, context: &str, words: &[&str]) -> Result<String, String> {
    let mut ranked: Vec<(usize, &str)> = Vec::new();
    for word in words {
        let places = occurrences(context, word);
        let rank = match form {
            Form::Most => Some(places.len()),
            Form::FirstOf => places.first().map(|at| context.len() - at),
            _ => places.last().map(|at| at + 1),
        };
        ranked.push((rank.filter(|rank| *rank > 0).ok_or_else(|| format!("{word:?} is not in the text"))?, word));
    }
    ranked.sort_unstable();
    match ranked[..] {
        [.., (second, _), (first, _)] if first == second => Err("two of the words are level".into()),
        [.., (_, word)] => Ok(word.to_owned()),
        [] => Err("no words".into()),
    }
}

/// The last value that a pattern gives to a name; `k` and `v` are the groups, or the first and the second group.
fn last(context: &str, pattern: &str, name: &str) -> Result<String, String> {
    let pattern = Regex::new(pattern).map_err(|error| error.to_string())?;
    let mut value = None;
    for found in pattern.captures_iter(context) {
        let key = found.name("k").or_else(|| found.get(1)).map(|group| group.as_str());
        if key == Some(name) {
            value = found.name("v").or_else(|| found.get(2)).map(|group| group.as_str().to_owned());
        }
    }
    Ok(value.unwrap_or_else(|| NOT_SAID.to_owned()))
}

/// The number of every marker: follows references until nothing changes.
fn markers(context: &str) -> Result<BTreeMap<String, String>, String> {
    let pattern = |text: &str| Regex::new(text).map_err(|error| error.to_string());
    let given = pattern(r"(?:Marker (\w+) holds the number|Signal (\w+) stands for) (\d+)\.")?;
    let taken = pattern(
        r"(?:Marker (\w+) holds the same number as marker (\w+)|Signal (\w+) stands for whatever signal (\w+) stands for)\.",
    )?;
    let mut numbers = BTreeMap::new();
    for found in given.captures_iter(context) {
        let marker = found.get(1).or_else(|| found.get(2)).map_or("", |group| group.as_str());
        if numbers.insert(marker.to_owned(), found[3].to_owned()).is_some() {
            return Err(format!("{marker} has two numbers"));
        }
    }
    loop {
        let before = numbers.len();
        for found in taken.captures_iter(context) {
            let group = |a: usize, b: usize| found.get(a).or_else(|| found.get(b)).map_or("", |group| group.as_str());
            if let Some(number) = numbers.get(group(2, 4)).cloned() {
                numbers.insert(group(1, 3).to_owned(), number);
            }
        }
        if numbers.len() == before {
            return Ok(numbers);
        }
    }
}
