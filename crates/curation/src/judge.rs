//! A language model as the judge: prompts from files, and the parsing of its answers.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use dataset::{Message, Role};
use llama::SamplingParams;
use minijinja::{Environment, UndefinedBehavior, context};
use regex::Regex;
use sampler::{SampleRequest, Sampler};
use serde::{Deserialize, Serialize};

/// Maximum number of tokens of a judge's answer.
const ANSWER_TOKENS: usize = 256;

/// A question to the judge, from a file: a line that defines the answer (`scores: NAME LOW-HIGH, ...` or `list:
/// NAME`), a line `---`, and a template with `{{ prompt }}` and `{{ response }}`.
#[derive(Debug, Clone)]
pub struct Rubric {
    /// The file as it was read.
    pub text: String,
    template: String,
    answers: Answers,
}

#[derive(Debug, Clone, PartialEq)]
enum Answers {
    Scores(Vec<Score>),
    List(String),
}

#[derive(Debug, Clone, PartialEq)]
struct Score {
    name: String,
    low: u64,
    high: u64,
}

/// The result of the judge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// Scores under their names, their sum and the largest sum.
    Scores {
        /// Each score.
        scores: Vec<(String, u64)>,
        /// Their sum.
        total: u64,
        /// The largest sum that the rubric has.
        max: u64,
    },
    /// Tags.
    List(Vec<String>),
    /// The answer is unusable, for this reason.
    Unjudged(String),
}

impl Judgement {
    /// The sum of the scores.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        match self {
            Self::Scores { total, .. } => Some(*total),
            _ => None,
        }
    }

    /// Whether every score is at its maximum.
    #[must_use]
    pub fn is_maximum(&self) -> bool {
        matches!(self, Self::Scores { total, max, .. } if total == max)
    }
}

/// The built-in rubrics.
pub mod builtin {
    /// Accuracy, instruction following, tone: 3 points.
    pub const QUALITY: &str = include_str!("../prompts/quality.txt");
    /// Absence of bugs, and the user's intention: 2 points.
    pub const CODE: &str = include_str!("../prompts/code.txt");
    /// Difficulty: 1 to 3.
    pub const DIFFICULTY: &str = include_str!("../prompts/difficulty.txt");
    /// Intents as tags (Lu et al. 2023, #InsTag).
    pub const INTENTS: &str = include_str!("../prompts/intents.txt");
    /// A coarse and a fine topic.
    pub const TOPIC: &str = include_str!("../prompts/topic.txt");
}

impl Rubric {
    /// The rubric of a file, or `builtin` if no file is given.
    ///
    /// # Errors
    /// When the file cannot be read or is not a rubric.
    pub fn load(path: Option<&Path>, builtin: &str) -> anyhow::Result<Self> {
        let Some(path) = path else { return Self::parse(builtin) };
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    /// Reads a rubric.
    ///
    /// # Errors
    /// When its first lines or its template are faulty.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let form = "a rubric starts with a line `scores: NAME LOW-HIGH, ...` or `list: NAME` and a line `---`";
        let (head, template) = text.split_once("\n---\n").context(form)?;
        let answers = match head.trim().split_once(':') {
            Some(("scores", scores)) => Answers::Scores(scores.split(',').map(score).collect::<anyhow::Result<_>>()?),
            Some(("list", name)) if is_name(name.trim()) => Answers::List(name.trim().to_owned()),
            _ => bail!("{form}, not {head:?}"),
        };
        let rubric = Self { text: text.to_owned(), template: template.to_owned(), answers };
        rubric.render(&[Message::user("x")], "y")?;
        Ok(rubric)
    }

    /// The question about a response to a prompt.
    ///
    /// # Errors
    /// When the template is faulty.
    pub fn render(&self, prompt: &[Message], response: &str) -> anyhow::Result<String> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let prompt = transcript(prompt);
        environment.render_str(&self.template, context! { prompt, response }).context("the rubric's template")
    }

    /// Parses the judge's answer. For each score or list, the last line that has it counts.
    #[must_use]
    pub fn read(&self, answer: &str) -> Judgement {
        let last = |name: &str, value: &str| {
            let name = name.replace('_', "[_ ]");
            let pattern = format!(r"(?im)^[^\w\n]*{name}[^\w\n]*[:=][^\w\n]*({value})");
            let regex = Regex::new(&pattern).ok()?;
            Some(regex.captures_iter(answer).last()?.get(1)?.as_str().trim().to_owned())
        };
        let shown: String = answer.chars().take(120).collect();
        match &self.answers {
            Answers::List(name) => match last(name, ".+") {
                Some(line) => {
                    let tags = line.split(',').map(|tag| tag.trim().trim_matches(['.', '"', '*']).to_lowercase());
                    Judgement::List(tags.filter(|tag| !tag.is_empty()).collect())
                }
                None => Judgement::Unjudged(format!("the judge's answer has no line {name}: {shown:?}")),
            },
            Answers::Scores(scores) => {
                let mut found = Vec::with_capacity(scores.len());
                for Score { name, low, high } in scores {
                    let value = last(name, r"\d+").and_then(|value| value.parse::<u64>().ok());
                    match value.filter(|value| (low..=high).contains(&value)) {
                        Some(value) => found.push((name.clone(), value)),
                        None => {
                            let what = format!("the judge's answer has no {name} of {low} to {high}: {shown:?}");
                            return Judgement::Unjudged(what);
                        }
                    }
                }
                let total = found.iter().map(|(_, value)| value).sum();
                Judgement::Scores { scores: found, total, max: scores.iter().map(|score| score.high).sum() }
            }
        }
    }
}

/// `accuracy 0-1`
fn score(text: &str) -> anyhow::Result<Score> {
    let wrong = || format!("{text:?} is not a score; write NAME LOW-HIGH, such as accuracy 0-1");
    let (name, range) = text.trim().split_once(' ').with_context(wrong)?;
    let (low, high) = range.trim().split_once('-').with_context(wrong)?;
    let score =
        Score { name: name.into(), low: low.parse().with_context(wrong)?, high: high.parse().with_context(wrong)? };
    ensure!(score.low < score.high && is_name(name), "{}", wrong());
    Ok(score)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A conversation as text, with a heading for each turn.
fn transcript(messages: &[Message]) -> String {
    if let [only] = messages
        && only.role == Role::User
    {
        return only.text().to_owned();
    }
    let turns = messages.iter().map(|message| format!("[{}]\n{}", message.role.as_str(), message.text()));
    turns.collect::<Vec<_>>().join("\n\n")
}

/// Asks the judge about many `(rubric, prompt, response)`, with greedy decoding, and passes each judgement to `done`
/// as soon as it is known. A judge that gives no answer yields [`Judgement::Unjudged`] with the cause.
///
/// # Errors
/// Errors that `done` returns, and failures of the whole sampler.
pub fn ask(
    judge: &Sampler,
    questions: &[(&Rubric, &[Message], &str)],
    mut done: impl FnMut(usize, Judgement) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let requests = questions.iter().map(|(rubric, prompt, response)| {
        let mut request = SampleRequest::new(vec![Message::user(rubric.render(prompt, response)?)], ANSWER_TOKENS);
        request.sampling = SamplingParams::greedy();
        Ok(request)
    });
    let requests: Vec<SampleRequest> = requests.collect::<anyhow::Result<_>>()?;
    judge.sample(&requests, &mut |index, answer| {
        let judgement = match answer {
            Ok(answer) => questions[index].0.read(&answer.text),
            Err(error) => Judgement::Unjudged(error.to_string()),
        };
        done(index, judgement)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_that_come_with_the_program_are_rubrics() {
        for text in [builtin::QUALITY, builtin::CODE, builtin::DIFFICULTY, builtin::INTENTS, builtin::TOPIC] {
            let rubric = Rubric::parse(text).unwrap();
            let question = rubric.render(&[Message::system("Be brief."), Message::user("Hi?")], "Hello.").unwrap();
            assert!(question.contains("[system]\nBe brief.\n\n[user]\nHi?"), "{question}");
        }
    }

    #[test]
    fn scores_are_read_from_their_last_lines() {
        let rubric = Rubric::parse(builtin::QUALITY).unwrap();
        let good = "accuracy: 0 or 1\nAll is right.\n**Accuracy**: 1\n- Instruction following = 1\ntone: 1.";
        let judged = rubric.read(good);
        assert!(judged.is_maximum() && judged.total() == Some(3), "{judged:?}");
        let low = rubric.read("accuracy: 1\ninstruction_following: 0\ntone: 1");
        assert_eq!((low.total(), low.is_maximum()), (Some(2), false));
        for answer in ["accuracy: 1\ntone: 1", "accuracy: 7\ninstruction_following: 1\ntone: 1", ""] {
            assert!(matches!(rubric.read(answer), Judgement::Unjudged(_)), "{answer}");
        }
        let tags = Rubric::parse(builtin::INTENTS).unwrap().read("Intents: Fix a bug, \"write tests\".");
        assert_eq!(tags, Judgement::List(vec!["fix a bug".into(), "write tests".into()]));
    }

    #[test]
    fn mistakes_are_sentences() {
        for (text, why) in [
            ("no head", "a rubric starts with"),
            ("scores: accuracy\n---\nx", "is not a score"),
            ("scores: a 1-1\n---\nx", "is not a score"),
            ("list: two words\n---\nx", "a rubric starts with"),
            ("list: a\n---\n{{ answer }}", "the rubric's template"),
        ] {
            let error = format!("{:#}", Rubric::parse(text).unwrap_err());
            assert!(error.contains(why), "{error}");
        }
    }
}
