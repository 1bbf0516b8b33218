//! The metrics at `/metrics`.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    Counter, Gauge, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

use crate::options::{MetricKind, ReadGauge};

/// Latency buckets in seconds: from a string comparison to a long program.
const BUCKETS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The worker's own counters and the handlers' gauges.
pub(crate) struct Metrics {
    registry: Registry,
    /// Answered requests by path and HTTP status.
    pub requests: IntCounterVec,
    /// Requests answered with 429.
    pub rejected: IntCounter,
    /// Requests whose headers have been read and whose response is not ready.
    pub in_flight: IntGauge,
    /// Items running or waiting.
    pub queued: IntGauge,
    /// Items by path and outcome.
    pub items: IntCounterVec,
    /// Panics of handlers.
    pub panics: IntCounter,
    /// Seconds from headers to answer, by path.
    pub seconds: HistogramVec,
}

impl Metrics {
    pub fn new(gauges: Vec<(MetricKind, String, String, ReadGauge)>) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let metrics = Self {
            requests: IntCounterVec::new(
                Opts::new("worker_requests_total", "Answered requests by path and HTTP status."),
                &["path", "status"],
            )?,
            rejected: IntCounter::new(
                "worker_rejected_total",
                "Requests answered with 429 because the queue was full.",
            )?,
            in_flight: IntGauge::new("worker_in_flight", "Requests that are being answered.")?,
            queued: IntGauge::new("worker_items", "Items that run or wait to run.")?,
            items: IntCounterVec::new(
                Opts::new("worker_items_total", "Finished items by path and outcome."),
                &["path", "outcome"],
            )?,
            panics: IntCounter::new("worker_panics_total", "Handlers that panicked.")?,
            seconds: HistogramVec::new(
                HistogramOpts::new("worker_request_seconds", "Seconds from a request's headers to its answer.")
                    .buckets(BUCKETS.to_vec()),
                &["path"],
            )?,
            registry,
        };
        metrics.registry.register(Box::new(metrics.requests.clone()))?;
        metrics.registry.register(Box::new(metrics.rejected.clone()))?;
        metrics.registry.register(Box::new(metrics.in_flight.clone()))?;
        metrics.registry.register(Box::new(metrics.queued.clone()))?;
        metrics.registry.register(Box::new(metrics.items.clone()))?;
        metrics.registry.register(Box::new(metrics.panics.clone()))?;
        metrics.registry.register(Box::new(metrics.seconds.clone()))?;
        for (kind, name, help, read) in gauges {
            let number = match kind {
                MetricKind::Gauge => Number::Gauge(Gauge::new(name, help)?),
                MetricKind::Counter => Number::Counter(Counter::new(name, help)?),
            };
            metrics.registry.register(Box::new(ReadAtScrape { number, read }))?;
        }
        Ok(metrics)
    }

    /// The Prometheus text format.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

enum Number {
    Gauge(Gauge),
    Counter(Counter),
}

/// A number that is read at each scrape.
struct ReadAtScrape {
    number: Number,
    read: ReadGauge,
}

impl Collector for ReadAtScrape {
    fn desc(&self) -> Vec<&Desc> {
        match &self.number {
            Number::Gauge(gauge) => gauge.desc(),
            Number::Counter(counter) => counter.desc(),
        }
    }

    fn collect(&self) -> Vec<MetricFamily> {
        match &self.number {
            Number::Gauge(gauge) => {
                gauge.set((self.read)());
                gauge.collect()
            }
            Number::Counter(counter) => {
                counter.reset();
                counter.inc_by((self.read)().max(0.0));
                counter.collect()
            }
        }
    }
}
