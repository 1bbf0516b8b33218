//! A sampled answer, and a verifier's verdict on it.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::Invalid;
use crate::fields::{Fields, deserialize_from_value, finite, kind, missing};

/// The reason why a generation ended, with the names of OpenAI's API.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FinishReason {
    /// The model ended its turn, or generated a stop string or stop token.
    Stop,
    /// The maximum length was reached: the text is truncated.
    Length,
    /// Another reason, as a server named it.
    Other(String),
}

impl Serialize for FinishReason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Other(word) => word,
        })
    }
}

impl From<String> for FinishReason {
    fn from(word: String) -> Self {
        match word.as_str() {
            "stop" => Self::Stop,
            "length" => Self::Length,
            _ => Self::Other(word),
        }
    }
}

/// One sampled answer to a problem, `{"id", "sample"?, "response", "finish_reason", "logprob", "reward"?, "verdict"?,
/// "model", "seed"}`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    /// The problem's id.
    pub id: String,
    /// The number of the sample among those of the problem, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<u64>,
    /// The answer's text.
    pub response: String,
    /// The reason why the answer ended.
    pub finish_reason: FinishReason,
    /// Sum of the log-probabilities (natural logarithm) of the answer's tokens; `None` if a server sends none.
    #[serde(serialize_with = "finite")]
    pub logprob: Option<f64>,
    /// The score of a reward model.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "finite")]
    pub reward: Option<f64>,
    /// The verdict of a verifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// The model's name or path.
    pub model: String,
    /// The seed of this sequence.
    pub seed: Option<u64>,
    /// Every other field.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl TryFrom<Value> for Sample {
    type Error = Invalid;

    fn try_from(value: Value) -> Result<Self, Invalid> {
        let mut fields = Fields::new(value)?;
        let id = fields.id()?;
        if id.is_empty() {
            return Err(missing("id", "the problem's id"));
        }
        let verdict = fields.take("verdict").map(Verdict::try_from).transpose().map_err(|e| e.inside("verdict"))?;
        Ok(Self {
            id,
            sample: fields.optional_count("sample")?,
            response: fields.string("response")?,
            finish_reason: fields.string("finish_reason")?.into(),
            logprob: fields.optional_number("logprob")?,
            reward: fields.optional_number("reward")?,
            verdict,
            model: fields.string("model")?,
            seed: fields.optional_count("seed")?,
            extra: fields.0,
        })
    }
}
deserialize_from_value!(Sample);

/// The result of a verifier, `{"passed", "status", "detail"?, ...}`.
///
/// For code, the status is one of [`Verdict::CODE_STATUSES`] and the extra fields are stdout, stderr, per-test results
/// and resource use; for maths, the extracted answer, the matched form and the per-step verdicts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// True when the answer is right.
    pub passed: bool,
    /// The result as one word.
    pub status: String,
    /// One sentence about the result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Every other field.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Verdict {
    /// The possible statuses of a program.
    pub const CODE_STATUSES: [&'static str; 7] =
        ["passed", "failed", "error", "timeout", "memory", "output_limit", "crashed"];
}

impl TryFrom<Value> for Verdict {
    type Error = Invalid;

    fn try_from(value: Value) -> Result<Self, Invalid> {
        let mut fields = Fields::new(value)?;
        let passed = match fields.take("passed") {
            Some(Value::Bool(passed)) => passed,
            Some(other) => return Err(Invalid(format!("passed: must be true or false, not {}", kind(&other)))),
            None => return Err(missing("passed", "true or false")),
        };
        Ok(Self {
            passed,
            status: fields.string("status")?,
            detail: fields.optional_string("detail")?,
            extra: fields.0,
        })
    }
}
deserialize_from_value!(Verdict);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn round_trip() {
        let written = json!({"id": "p", "sample": 3, "response": "4", "finish_reason": "stop", "logprob": -1.25, "reward": 0.1,
            "verdict": {"passed": true, "status": "passed", "detail": "3 of 3", "tests": [{"name": "a", "passed": true}]},
            "model": "m", "seed": u64::MAX, "temperature": 0.6});
        let s = Sample::try_from(written.clone()).unwrap();
        assert_eq!(s.seed, Some(u64::MAX));
        assert_eq!(serde_json::to_string(&s).unwrap(), written.to_string());
    }

    #[test]
    fn a_number_that_json_cannot_hold_is_refused() {
        let mut s =
            Sample::try_from(json!({"id": "p", "response": "", "finish_reason": "tool_calls", "model": "m"})).unwrap();
        assert_eq!(s.finish_reason, FinishReason::Other("tool_calls".into()));
        s.logprob = Some(f64::NAN);
        assert!(serde_json::to_string(&s).unwrap_err().to_string().contains("NaN cannot be written"));
    }

    #[test]
    fn mistakes() {
        for (value, sentence) in [
            (json!({"response": ""}), "id: is missing"),
            (json!({"id": "p"}), "response: is missing"),
            (
                json!({"id": "p", "response": "", "finish_reason": "stop", "model": "m", "seed": -1}),
                "seed: must be a whole",
            ),
            (json!({"id": "p", "verdict": {"status": "x"}}), "verdict.passed: is missing"),
            (json!({"id": "p", "verdict": {"passed": 1}}), "verdict.passed: must be true or false"),
        ] {
            let e = Sample::try_from(value).unwrap_err().0;
            assert!(e.starts_with(sentence), "{e}");
        }
    }
}
