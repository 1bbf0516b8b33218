//! Decides whether a request is retried, and how long to wait before.

use std::time::{Duration, SystemTime};

use rand::RngExt;

/// Exponential back-off with jitter.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// Maximum number of attempts after the first.
    pub retries: u32,
    /// The pause before the first retry; it doubles for each further one.
    pub first: Duration,
    /// The longest pause; it also limits the pause that a server asks for by `Retry-After`.
    pub longest: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { retries: 6, first: Duration::from_millis(500), longest: Duration::from_secs(60) }
    }
}

impl RetryPolicy {
    /// The pause before attempt `attempt + 1` (attempts count from 0): the pause that the server asked for, or a
    /// random time between half and all of `first · 2^attempt`.
    #[must_use]
    pub fn pause(&self, attempt: u32, asked: Option<Duration>) -> Duration {
        let jitter = 0.5 + 0.5 * rand::rng().random::<f64>();
        let grown = self.first.saturating_mul(2_u32.saturating_pow(attempt)).min(self.longest).mul_f64(jitter);
        // Wait a little longer than asked, so that many clients do not return at the same moment.
        asked.map_or(grown, |asked| asked + grown.min(asked / 10)).min(self.longest)
    }
}

/// Whether a status means that the same request may succeed later.
pub(crate) fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 409 | 425 | 429) || status >= 500
}

/// The time that a `Retry-After` header asks for: seconds, or a date.
pub(crate) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit() {
        let policy = RetryPolicy { retries: 9, first: Duration::from_secs(1), longest: Duration::from_secs(10) };
        for (attempt, most) in [(0, 1.0), (1, 2.0), (3, 8.0), (4, 10.0), (40, 10.0)] {
            for _ in 0..50 {
                let pause = policy.pause(attempt, None).as_secs_f64();
                assert!(pause >= most / 2.0 && pause <= most, "{attempt}: {pause}");
            }
        }
        let asked = policy.pause(0, Some(Duration::from_secs(5)));
        assert!(asked >= Duration::from_secs(5) && asked <= Duration::from_millis(5500), "{asked:?}");
        assert_eq!(policy.pause(0, Some(Duration::from_secs(3600))), Duration::from_secs(10));
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now = httpdate::parse_http_date("Tue, 24 Nov 2026 12:00:00 GMT").unwrap();
        assert_eq!(retry_after("7", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(" 0.5 ", now), Some(Duration::from_millis(500)));
        assert_eq!(retry_after("Tue, 24 Nov 2026 12:00:30 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(retry_after("Tue, 24 Nov 2026 11:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("-1", now), None);
        assert_eq!(retry_after("soon", now), None);
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let transient: Vec<u16> =
            [200, 400, 401, 404, 408, 422, 429, 500, 503, 529].into_iter().filter(|&s| is_transient(s)).collect();
        assert_eq!(transient, [408, 429, 500, 503, 529]);
    }
}
