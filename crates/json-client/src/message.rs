//! The messages in the bodies of errors.

use serde_json::Value;

/// The message in the body of an error, in the formats of OpenAI (`{"error": {"message"}}`), vLLM (`{"message"}`) and
/// others (`{"error"}`, `{"detail"}`); otherwise the start of the body.
#[must_use]
pub fn error_text(body: &str) -> String {
    let parsed: Option<Value> = serde_json::from_str(body).ok();
    let words = parsed.as_ref().and_then(|body| {
        ["/error/message", "/message", "/error", "/detail"].iter().find_map(|at| body.pointer(at)?.as_str())
    });
    let text = words.unwrap_or(body).split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_found_in_every_dialect() {
        for body in [
            r#"{"error": {"message": "too long"}}"#,
            r#"{"message": "too long"}"#,
            r#"{"error": "too long"}"#,
            r#"{"detail": "too long"}"#,
            " too\n long ",
        ] {
            assert_eq!(error_text(body), "too long");
        }
        assert_eq!(error_text(&"é".repeat(1000)).chars().count(), 303);
    }
}
