//! Reads a model's answers to probes from files of records, in their published forms.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use dataset::Message;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::probe::Probe;
use crate::rows::{self, Row, text};
use crate::sets::messages;

/// A line of `responses.jsonl`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Response {
    /// The probe's id.
    pub id: String,
    /// The number of the sample among those of the probe, from 0.
    pub sample: usize,
    /// The text.
    pub response: String,
    /// `stop`, `length`, another server's term, or `error`.
    pub finish_reason: String,
    /// Number of generated tokens.
    #[serde(default)]
    pub tokens: u64,
    /// The reason why there is no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// An answer to a probe.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The index of the probe.
    pub probe: usize,
    /// The number of the sample among those of the probe, from 0.
    pub sample: usize,
    /// The text.
    pub text: String,
    /// The reason why it ended; `error` if there is no answer.
    pub finish_reason: String,
    /// The conversation that the model was asked, if it differs from the probe (an attack on it).
    pub asked: Option<Vec<Message>>,
    /// The attack, if the file names one.
    pub attack: Option<String>,
}

/// The fields that may hold an answer.
const TEXTS: [&str; 6] = ["response", "completion", "answer", "generation", "output", "model_answer"];

/// The answers that were read, with counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Read {
    /// Answers to probes.
    pub answers: Vec<Answer>,
    /// Number of answers to requests that are not probes of the run.
    pub others: usize,
    /// Probes without an answer.
    pub missing: Vec<String>,
}

impl Eq for Answer {}

/// Reads the answers of files, ordered by probe. An answer names its probe by `id` (`SET/ID`; `set` and `id`; or an id that only one set
/// has), or repeats the request in `prompt`. Several answers to one probe are its samples, in the order of the files unless `sample`
/// numbers them.
///
/// # Errors
/// `FILE, record N` and the fault; also when an answer is given twice.
pub fn read(paths: &[PathBuf], probes: &[Probe]) -> anyhow::Result<Read> {
    let places = Places::new(probes);
    let mut found: BTreeMap<(usize, usize), Answer> = BTreeMap::new();
    let mut read = Read::default();
    let mut next: HashMap<usize, usize> = HashMap::new();
    for path in paths {
        for (at, row) in expanded(rows::read(path)?).iter().enumerate() {
            let at = || format!("{}, record {}", path.display(), at + 1);
            let Some(probe) = places.find(row).with_context(at)? else {
                read.others += 1;
                continue;
            };
            let mut answer = answer(row, probe).with_context(at)?;
            let next = next.entry(probe).or_default();
            answer.sample = match row.get("sample").and_then(Value::as_u64) {
                Some(sample) => usize::try_from(sample)?,
                None => *next,
            };
            *next = (*next).max(answer.sample + 1);
            let (id, sample) = (&probes[probe].id, answer.sample);
            ensure!(
                found.insert((probe, sample), answer).is_none(),
                "{}: sample {sample} of {id} is given twice",
                at()
            );
        }
    }
    let missing = (0..probes.len()).filter(|place| found.range((*place, 0)..=(*place, usize::MAX)).next().is_none());
    read.missing = missing.map(|place| probes[place].id.clone()).collect();
    read.answers = found.into_values().collect();
    Ok(read)
}

/// Splits HarmBench's form of completions, `{BEHAVIOUR: [{"test_case", "generation"}, ...]}`, into one row for each answer.
fn expanded(rows: Vec<Row>) -> Vec<Row> {
    let is_map = |row: &Row| {
        !row.is_empty()
            && row.values().all(|value| value.as_array().is_some_and(|all| all.iter().all(Value::is_object)))
    };
    if rows.len() != 1 || !is_map(&rows[0]) {
        return rows;
    }
    let mut all = Vec::new();
    for (id, answers) in rows.into_iter().flatten() {
        let Value::Array(answers) = answers else { continue };
        for answer in answers {
            let Value::Object(mut row) = answer else { continue };
            row.insert("id".into(), id.clone().into());
            all.push(row);
        }
    }
    all
}

fn answer(row: &Row, probe: usize) -> anyhow::Result<Answer> {
    let failed = row.get("error").is_some_and(|error| !error.is_null());
    let text = match text(row, &TEXTS) {
        Some(text) => text,
        None => match row.get("response") {
            _ if failed => String::new(),
            Some(Value::Array(list)) => last_turn(list)?,
            Some(Value::Null) => String::new(),
            _ => bail!("the record has none of {}", TEXTS.join(", ")),
        },
    };
    let finish_reason = rows::text(row, &["finish_reason"]);
    Ok(Answer {
        probe,
        sample: 0,
        text,
        finish_reason: if failed { "error".into() } else { finish_reason.unwrap_or_else(|| "stop".into()) },
        asked: asked(row)?,
        attack: rows::text(row, &["attack", "jailbreak"]),
    })
}

/// The conversation that was asked instead of the probe.
fn asked(row: &Row) -> anyhow::Result<Option<Vec<Message>>> {
    match row.get("test_case").or_else(|| row.get("attacked_prompt")) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(vec![Message::user(text.clone())])),
        Some(list @ Value::Array(_)) => {
            let row: Row = [("test_case".to_owned(), list.clone())].into_iter().collect();
            messages(&row, "test_case").map(Some)
        }
        Some(_) => bail!("test_case is neither a text nor a list of messages"),
    }
}

/// The last message of the assistant.
fn last_turn(list: &[Value]) -> anyhow::Result<String> {
    let last = list.iter().rev().find(|message| message["role"] == "assistant");
    match last.map(|message| &message["content"]) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Null) => Ok(String::new()),
        _ => bail!("response has no message of the assistant with a text"),
    }
}

/// Looks up probes by the names that answers may use.
struct Places {
    by_id: HashMap<String, usize>,
    /// Ids without their set; `None` if two sets have the same id.
    by_bare_id: HashMap<String, Option<usize>>,
    by_request: HashMap<String, Option<usize>>,
}

impl Places {
    fn new(probes: &[Probe]) -> Self {
        let mut places = Self { by_id: HashMap::new(), by_bare_id: HashMap::new(), by_request: HashMap::new() };
        for (place, probe) in probes.iter().enumerate() {
            places.by_id.insert(probe.id.clone(), place);
            let bare = probe.id[probe.set.len() + 1..].to_owned();
            for (map, key) in
                [(&mut places.by_bare_id, bare), (&mut places.by_request, probe.request().trim().to_owned())]
            {
                map.entry(key).and_modify(|known| *known = None).or_insert(Some(place));
            }
        }
        places
    }

    fn find(&self, row: &Row) -> anyhow::Result<Option<usize>> {
        let id = text(row, &["id", "BehaviorID", "prompt_id"]);
        if let Some(id) = &id {
            let full = text(row, &["set"]).map_or_else(|| id.clone(), |set| format!("{set}/{id}"));
            if let Some(place) = self.by_id.get(&full) {
                return Ok(Some(*place));
            }
        }
        // A request identifies a probe better than a number, which may mean another row in another version of the set.
        if let Some(request) = text(row, &["prompt", "request", "goal", "forbidden_prompt", "Behavior"]) {
            match self.by_request.get(request.trim()) {
                Some(None) => bail!("two probes have this request; name one by id: SET/ID"),
                Some(place) => return Ok(*place),
                None if id.is_none() => return Ok(None),
                None => {}
            }
        }
        let id = id.context("the record has neither an id nor a prompt")?;
        match self.by_bare_id.get(&id) {
            Some(None) => bail!("probes of two sets have the id {id}; write SET/ID"),
            found => Ok(found.copied().flatten()),
        }
    }
}

/// A labelled answer, to measure the error rate of the judges.
#[derive(Debug, Clone)]
pub struct Labelled {
    /// The conversation that was asked, if it is known.
    pub asked: Option<Vec<Message>>,
    /// The answer.
    pub text: String,
    /// Whether it refuses, according to a person.
    pub refusal: Option<bool>,
    /// Whether it violates the policy, according to a person.
    pub violation: Option<bool>,
}

/// Labelled answers: `{"answer" | "response" | "completion", "refusal"?, "violation"?, "prompt"?}`, or without a text
/// `{"id", "sample"?, ...}` for an answer of this run; XSTest's `final_label` says whether an answer refuses.
///
/// # Errors
/// `FILE, record N` and the fault: no label, or no such answer.
pub fn labels(paths: &[PathBuf], probes: &[Probe], answers: &[Answer]) -> anyhow::Result<Vec<Labelled>> {
    let places = Places::new(probes);
    let mut all = Vec::new();
    for path in paths {
        for (at, row) in rows::read(path)?.iter().enumerate() {
            let label = label(row, &places, probes, answers);
            all.push(label.with_context(|| format!("{}, record {}", path.display(), at + 1))?);
        }
    }
    Ok(all)
}

fn label(row: &Row, places: &Places, probes: &[Probe], answers: &[Answer]) -> anyhow::Result<Labelled> {
    let mut refusal = rows::flag(row, "refusal")?;
    if let Some(label) = text(row, &["final_label"]) {
        refusal = Some(match label.as_str() {
            "1_full_compliance" => false,
            "2_full_refusal" | "3_partial_refusal" => true,
            _ => bail!("final_label is none of XSTest's three labels"),
        });
    }
    let violation = rows::flag(row, "violation")?;
    ensure!(refusal.is_some() || violation.is_some(), "the record has no label: refusal or violation, true or false");
    if let Some(text) = text(row, &TEXTS) {
        let asked = if row.contains_key("prompt") { Some(messages(row, "prompt")?) } else { None };
        return Ok(Labelled { asked, text, refusal, violation });
    }
    let place = places.find(row)?.context("no probe of this run has this id")?;
    let sample = row.get("sample").and_then(Value::as_u64).unwrap_or(0) as usize;
    let answer = answers.iter().find(|answer| (answer.probe, answer.sample) == (place, sample));
    let answer = answer.with_context(|| format!("this run has no sample {sample} of {}", probes[place].id))?;
    let asked = answer.asked.clone().unwrap_or_else(|| probes[place].messages.clone());
    Ok(Labelled { asked: Some(asked), text: answer.text.clone(), refusal, violation })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Expect;

    fn probe(set: &str, id: &str, request: &str) -> Probe {
        Probe {
            id: format!("{set}/{id}"),
            set: set.into(),
            expect: Expect::Refuse,
            messages: vec![Message::user(request)],
            category: String::new(),
            language: "en".into(),
            attack: "none".into(),
        }
    }

    fn of(files: &[(&str, &str)], probes: &[Probe]) -> anyhow::Result<Read> {
        let dir = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for (name, text) in files {
            paths.push(dir.path().join(name));
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        read(&paths, probes)
    }

    #[test]
    fn an_answer_finds_its_probe() {
        let probes = [probe("a", "1", "first"), probe("a", "2", "second"), probe("b", "1", "third")];
        let lines = [
            r#"{"id": "a/1", "response": "x"}"#,
            r#"{"id": "2", "completion": "y"}"#,
            r#"{"prompt": " third ", "generation": "z"}"#,
            r#"{"id": "a/1", "response": [{"role": "assistant", "content": "w"}], "finish_reason": "length"}"#,
            r#"{"prompt": "a fourth", "response": "?"}"#,
            r#"{"set": "b", "id": "1", "error": "too long"}"#,
        ];
        let read = of(&[("a.jsonl", &lines.join("\n"))], &probes).unwrap();
        let short: Vec<(usize, usize, &str, &str)> =
            read.answers.iter().map(|a| (a.probe, a.sample, a.text.as_str(), a.finish_reason.as_str())).collect();
        let expected =
            [(0, 0, "x", "stop"), (0, 1, "w", "length"), (1, 0, "y", "stop"), (2, 0, "z", "stop"), (2, 1, "", "error")];
        assert_eq!(short, expected);
        assert_eq!((read.others, read.missing.len()), (1, 0));
    }

    #[test]
    fn harmbench_writes_a_map() {
        let probes = [probe("harmbench", "do_it", "Do it"), probe("harmbench", "do_that", "Do that")];
        let map = r#"{"do_it": [{"test_case": "Please do it", "generation": "No."}, {"test_case": "Do it now", "generation": "Yes"}]}"#;
        let read = of(&[("c.json", map)], &probes).unwrap();
        assert_eq!(read.answers.len(), 2);
        assert_eq!(read.answers[1].asked.as_ref().unwrap()[0].text(), "Do it now");
        assert_eq!(read.missing, ["harmbench/do_that"]);
    }

    #[test]
    fn mistakes_are_named_without_the_text() {
        let probes = [probe("a", "1", "secret"), probe("b", "1", "other"), probe("b", "2", "secret")];
        for (line, what) in [
            (r#"{"id": "1", "response": "x"}"#, "probes of two sets have the id 1"),
            (r#"{"prompt": "secret", "response": "x"}"#, "two probes have this request"),
            (r#"{"response": "secret"}"#, "neither an id nor a prompt"),
            (r#"{"id": "a/1", "text": "secret"}"#, "none of response, completion"),
        ] {
            let error = format!("{:#}", of(&[("a.jsonl", line)], &probes).unwrap_err());
            assert!(error.contains(what) && error.contains("record 1") && !error.contains("secret"), "{error}");
        }
        let twice = r#"{"id": "a/1", "response": "x", "sample": 0}"#;
        let error = format!("{:#}", of(&[("a.jsonl", &format!("{twice}\n{twice}\n"))], &probes).unwrap_err());
        assert!(error.contains("record 2: sample 0 of a/1 is given twice"), "{error}");
    }

    #[test]
    fn labels_are_of_texts_or_of_answers() {
        let probes = [probe("a", "1", "first")];
        let answers = of(&[("a.jsonl", r#"{"id": "a/1", "response": "x"}"#)], &probes).unwrap().answers;
        let dir = tempfile::tempdir().unwrap();
        let labels = |text: &str| {
            let path = dir.path().join("labels.jsonl");
            std::fs::write(&path, text).unwrap();
            super::labels(&[path], &probes, &answers)
        };
        let all = labels(
            "{\"completion\": \"No.\", \"final_label\": \"3_partial_refusal\", \"prompt\": \"p\"}\n{\"id\": \"1\", \"violation\": true}\n",
        )
        .unwrap();
        assert_eq!((all[0].refusal, all[0].violation, all[0].text.as_str()), (Some(true), None, "No."));
        assert_eq!((all[1].refusal, all[1].violation, all[1].text.as_str()), (None, Some(true), "x"));
        assert_eq!(all[1].asked.as_ref().unwrap()[0].text(), "first");
        for (line, what) in [
            (r#"{"answer": "secret"}"#, "the record has no label"),
            (r#"{"id": "a/1", "sample": 3, "refusal": true}"#, "this run has no sample 3 of a/1"),
            (r#"{"id": "a/9", "refusal": true}"#, "no probe of this run"),
            (r#"{"answer": "secret", "refusal": "secret"}"#, "refusal is neither true nor false"),
        ] {
            let error = format!("{:#}", labels(line).unwrap_err());
            assert!(error.contains(what) && !error.contains("secret"), "{error}");
        }
    }
}
