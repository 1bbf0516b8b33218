//! `codeexec serve`: the HTTP service.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use http_service::{BadRequest, Failure, Options, Routes};
use serde_json::Value;

use crate::pool::Pool;
use crate::record::Job;

/// The routes: `POST /run` takes a job or a list of jobs and returns the verdicts in the same order.
pub fn routes(pool: Arc<Pool>) -> Routes {
    let (replaced, finished) = (pool.clone(), pool.clone());
    let named = Mutex::new(BTreeSet::new());
    let handler = move |item: Value| -> Result<Value, Failure> {
        let job = Job::from_value(item).map_err(BadRequest)?;
        if let Ok(mut named) = named.lock() {
            // Names each field once per server, up to 100 fields.
            for name in job.meta.keys() {
                if named.len() < 100 && named.insert(name.clone()) {
                    eprintln!("field {name:?} holds no tests and is not read");
                }
            }
        }
        let verdict = pool.run(&job).map_err(|e| Failure::Internal(format!("{e:#}")))?;
        serde_json::to_value(verdict).map_err(|e| Failure::Internal(e.to_string()))
    };
    Routes::new()
        .identity("codeexec", env!("CARGO_PKG_VERSION"))
        .post("/run", handler)
        .gauge("codeexec_workers_replaced", "Worker processes that were replaced.", move || {
            replaced.replaced.load(Ordering::Relaxed) as f64
        })
        .gauge("codeexec_programs", "Programs that have their verdict.", move || {
            finished.finished.load(Ordering::Relaxed) as f64
        })
}

/// Serves requests until SIGTERM.
///
/// # Errors
/// See [`http_service::Error`].
pub fn serve(pool: Arc<Pool>, options: Options) -> Result<(), http_service::Error> {
    http_service::serve(options, routes(pool))
}
