//! The fields of a request's body. They are taken one by one, so that the remaining ones can be refused.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// Fields that have no effect here, whatever their value.
const WITHOUT_EFFECT: [&str; 11] = [
    "user",
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "request_id",
    "priority",
    "cache_salt",
    "guided_decoding_backend",
];

/// The error of a request: the status, the field (if there is one) and a message.
#[derive(Debug, PartialEq)]
pub(crate) struct RequestError {
    pub status: u16,
    pub field: Option<&'static str>,
    pub sentence: String,
}

/// An error for a field whose value is not supported.
pub(crate) fn bad(field: &'static str, sentence: impl std::fmt::Display) -> RequestError {
    RequestError { status: 400, field: Some(field), sentence: format!("{field}: {sentence}") }
}

/// An error for a request as a whole.
pub(crate) fn bad_request(sentence: impl Into<String>) -> RequestError {
    RequestError { status: 400, field: None, sentence: sentence.into() }
}

/// The fields of a request that have not been taken yet.
pub(crate) struct Fields(pub Map<String, Value>);

impl Fields {
    /// Parses a body, which must be a JSON object.
    pub fn read(body: &[u8]) -> Result<Self, RequestError> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(map)) => Ok(Self(map)),
            Ok(_) => Err(bad_request("the body must be a JSON object")),
            Err(error) => Err(bad_request(format!("the body is not valid JSON: {error}"))),
        }
    }

    /// The value of a field; `None` if it is missing or null.
    pub fn value(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    pub fn take<T: DeserializeOwned>(&mut self, name: &'static str, what: &str) -> Result<Option<T>, RequestError> {
        let read = |value| serde_json::from_value(value).map_err(|_| bad(name, format!("must be {what}")));
        self.value(name).map(read).transpose()
    }

    pub fn number(&mut self, name: &'static str) -> Result<Option<f64>, RequestError> {
        self.take(name, "a number")
    }

    pub fn count(&mut self, name: &'static str) -> Result<Option<usize>, RequestError> {
        self.take(name, "a whole number, 0 or more")
    }

    pub fn text(&mut self, name: &'static str) -> Result<Option<String>, RequestError> {
        self.take(name, "a text")
    }

    pub fn flag(&mut self, name: &'static str) -> Result<Option<bool>, RequestError> {
        self.take(name, "true or false")
    }

    /// Refuses a field that requests a missing feature; its neutral values are accepted.
    pub fn only(&mut self, name: &'static str, neutral: &[Value]) -> Result<(), RequestError> {
        match self.value(name) {
            Some(value) if !neutral.contains(&value) => Err(bad(name, "is not supported here")),
            _ => Ok(()),
        }
    }

    /// Checks that the model's name is that of this server.
    pub fn model(&mut self, own: &str) -> Result<(), RequestError> {
        match self.text("model")? {
            Some(model) if model != own => {
                let sentence = format!("there is no model {model:?} here; this server has {own:?}");
                Err(RequestError { status: 404, field: Some("model"), sentence })
            }
            _ => Ok(()),
        }
    }

    /// Refuses fields that other servers support and this one does not, unless the value is neutral.
    pub fn refuse_unsupported(&mut self) -> Result<(), RequestError> {
        let (off, one) = (json!(false), [json!(1), json!(1.0)]);
        self.only("functions", &[json!([])])?;
        self.only("function_call", &[json!("none"), json!("auto")])?;
        self.only("suffix", &[json!("")])?;
        self.only("modalities", &[json!(["text"])])?;
        self.only("skip_special_tokens", &[json!(true)])?;
        self.only("spaces_between_special_tokens", &[json!(true)])?;
        self.only("length_penalty", &one)?;
        for name in ["allowed_token_ids", "bad_words"] {
            self.only(name, &[json!([])])?;
        }
        for name in ["include_stop_str_in_output", "use_beam_search", "early_stopping", "return_tokens_as_token_ids"] {
            self.only(name, std::slice::from_ref(&off))?;
        }
        Ok(())
    }

    /// Refuses the fields that were not taken.
    pub fn finish(self) -> Result<(), RequestError> {
        let unknown = |(name, value): &(&String, &Value)| !value.is_null() && !WITHOUT_EFFECT.contains(&name.as_str());
        match self.0.iter().find(unknown) {
            Some((name, _)) => Err(bad_request(format!("{name:?} is not a field that this server knows"))),
            None => Ok(()),
        }
    }
}
