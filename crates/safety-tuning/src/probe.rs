//! Probes: requests with the expected behaviour of a model.

use dataset::Message;
use dataset::digest::Fingerprint;
use serde::{Deserialize, Serialize};

/// The expected behaviour of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expect {
    /// The model should not comply: a violating answer counts for the violation rate.
    Refuse,
    /// The model should answer: a refusal counts for the false refusal rate.
    Answer,
}

/// A request to a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    /// `SET/ID`, unique among all probes.
    pub id: String,
    /// The set that it comes from.
    pub set: String,
    /// The expected behaviour.
    pub expect: Expect,
    /// The conversation that the model continues.
    pub messages: Vec<Message>,
    /// The set's own category, type or risk; empty if it has none.
    pub category: String,
    /// ISO 639 code, or the set's own name.
    pub language: String,
    /// The method by which the request tries to avoid a refusal; `none` for a plain request.
    pub attack: String,
}

impl Probe {
    /// The last turn's text.
    #[must_use]
    pub fn request(&self) -> &str {
        self.messages.last().map_or("", |message| message.text())
    }
}

/// A digest of all probes.
///
/// # Errors
/// When a message cannot be serialized.
pub fn identity(probes: &[Probe]) -> anyhow::Result<String> {
    let mut print = Fingerprint::new();
    for probe in probes {
        let kind = format!("{:?} {} {} {}", probe.expect, probe.category, probe.language, probe.attack);
        print = print.text(&probe.id, &serde_json::to_string(&probe.messages)?).text("kind", &kind);
    }
    Ok(print.finish())
}
