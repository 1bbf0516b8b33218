//! Handles a request up to its response.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::metrics::Metrics;
use crate::options::{Failure, Handler, Options, Routes, Service, Ticket};
use crate::pool::{Outcome, Pool};

/// State that all requests share.
pub(crate) struct Shared {
    pub options: Options,
    pub pool: Pool,
    pub metrics: Metrics,
    /// Set at SIGTERM: no new work is accepted.
    pub draining: AtomicBool,
}

/// A response that is not a result: its status and message.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(status, sentence) = self;
        let mut response = respond(status, "application/json", json!({"error": sentence}).to_string());
        let headers = response.headers_mut();
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        // The rest of a body that was not read to its end would be taken for the next request.
        if matches!(
            status,
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT | StatusCode::SERVICE_UNAVAILABLE
        ) {
            headers.insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        }
        response
    }
}

fn respond(status: StatusCode, content_type: &'static str, body: String) -> Response {
    const CONTENT_TYPE: HeaderName = header::CONTENT_TYPE;
    (status, [(CONTENT_TYPE, content_type)], body).into_response()
}

/// The routes of the worker: those of the handlers, `/healthz`, `/health` and `/metrics`. A slash at the end of a
/// path is ignored.
pub(crate) fn router(shared: &Arc<Shared>, routes: Routes) -> Router {
    let Routes { handlers, services, pages, pages_of, error_body, cors, identity, .. } = routes;
    let health: Arc<str> = {
        let mut health = json!({"status": "ok"});
        if let Some((service, version)) = identity {
            health["service"] = service.into();
            health["version"] = version.into();
        }
        if shared.options.token.is_some() {
            health["needs_token"] = true.into();
        }
        health.to_string().into()
    };
    let error_body = error_body.unwrap_or_else(|| Arc::new(|_, sentence: &str| json!({"error": sentence})));
    let refuse = move |status: StatusCode, sentence: String| {
        let mut response = Refusal(status, String::new()).into_response();
        *response.body_mut() = Body::from(error_body(status, &sentence).to_string());
        response
    };
    let mut router = Router::new();
    let mut paths = Vec::new();
    let mut add = |path: &str, method: MethodRouter<Arc<Shared>>| {
        let routes = std::mem::take(&mut router);
        router = routes.route(path, method.clone()).route(&format!("{path}/"), method);
        paths.push(path.to_owned());
    };
    for path in ["/healthz", "/health"] {
        let (refuse, health) = (refuse.clone(), health.clone());
        add(path, get(move |State(shared): State<Arc<Shared>>| async move { healthz(&shared, &health, &refuse) }));
    }
    add("/metrics", get(metrics));
    for (path, page) in pages {
        let answer = move || async move { respond(StatusCode::OK, "application/json", page().to_string()) };
        add(&path, get(answer));
    }
    for (path, service) in services {
        let route: Arc<str> = path.as_str().into();
        let answer = move |State(shared): State<Arc<Shared>>, request: Request| async move {
            serve(&shared, &route, service.as_ref(), request).await
        };
        add(&path, post(answer));
    }
    for (path, handler) in handlers {
        let route: Arc<str> = path.as_str().into();
        let answer = move |State(shared): State<Arc<Shared>>, request: Request| async move {
            counted(&shared, &route, run(&shared, &route, &handler, request)).await
        };
        add(&path, post(answer));
    }
    for (prefix, page) in pages_of {
        let refuse = refuse.clone();
        let answer = move |Path(name): Path<String>| async move {
            match page(name.trim_end_matches('/')) {
                Some(value) => respond(StatusCode::OK, "application/json", value.to_string()),
                None => refuse(StatusCode::NOT_FOUND, format!("there is no {name:?} here")),
            }
        };
        router = router.route(&format!("{prefix}{{*name}}"), get(answer));
    }
    let there: Arc<str> = paths.join(", ").into();
    let (not_found, not_allowed, unknown) = (refuse.clone(), refuse.clone(), refuse);
    router = router
        .fallback(move |request: Request| async move {
            let sentence = format!("there is nothing at {}; there is {there}", request.uri().path());
            not_found(StatusCode::NOT_FOUND, sentence)
        })
        .method_not_allowed_fallback(move |request: Request| async move {
            let sentence = format!("{} does not answer {}", request.uri().path(), request.method());
            not_allowed(StatusCode::METHOD_NOT_ALLOWED, sentence)
        });
    if let Some(token) = shared.options.token.clone() {
        router = router.layer(middleware::from_fn(move |request: Request, next: Next| {
            let (token, unknown) = (token.clone(), unknown.clone());
            async move {
                match is_known(&token, &request) {
                    true => next.run(request).await,
                    false => close(unknown(StatusCode::UNAUTHORIZED, "the bearer token is missing or wrong".into())),
                }
            }
        }));
    }
    if let Some(origin) = cors {
        router = router.layer(middleware::from_fn(move |request: Request, next: Next| {
            let origin = origin.clone();
            async move { for_browsers(origin, request, next).await }
        }));
    }
    router.with_state(shared.clone())
}

/// Lets web pages of an origin read the responses (the Fetch standard's CORS protocol). A browser asks with OPTIONS
/// which methods and headers it may send, and requires the origin in every response.
async fn for_browsers(origin: HeaderValue, request: Request, next: Next) -> Response {
    let asks =
        request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let wanted = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let mut response = if asks { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    let headers = response.headers_mut();
    if asks {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
        // `*` would not cover `Authorization`.
        headers.extend(wanted.map(|wanted| (header::ACCESS_CONTROL_ALLOW_HEADERS, wanted)));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    if origin != "*" {
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    }
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    response
}

/// Whether a request may be answered: it has the token, or it asks for a public path.
fn is_known(token: &str, request: &Request) -> bool {
    let Some(sent) = request.headers().get(header::AUTHORIZATION) else {
        let path = request.uri().path().trim_end_matches('/');
        return ["/healthz", "/health", "/metrics"].contains(&path);
    };
    let sent = sent.as_bytes();
    let sent = sent.strip_prefix(b"Bearer ").or_else(|| sent.strip_prefix(b"bearer ")).unwrap_or_default();
    // All bytes are always compared, so that the duration reveals nothing.
    let differ = sent.iter().zip(token.as_bytes()).fold(0, |differ, (a, b)| differ | (a ^ b));
    sent.len() == token.len() && differ == 0
}

fn healthz(shared: &Shared, health: &str, refuse: &dyn Fn(StatusCode, String) -> Response) -> Response {
    if shared.draining.load(Ordering::SeqCst) {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "draining".into());
    }
    respond(StatusCode::OK, "application/json", health.to_owned())
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    shared.metrics.queued.set(i64::try_from(shared.pool.occupied()).unwrap_or(i64::MAX));
    match shared.metrics.text() {
        Ok(text) => respond(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text),
        Err(e) => Refusal(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()).into_response(),
    }
}

/// A request that a service answers. It is in flight until its ticket is dropped, possibly after the last byte of the
/// response.
async fn serve(shared: &Arc<Shared>, path: &str, service: &dyn Service, request: Request) -> Response {
    struct InFlight(Arc<Shared>);
    impl Drop for InFlight {
        fn drop(&mut self) {
            self.0.metrics.in_flight.dec();
        }
    }
    let start = Instant::now();
    shared.metrics.in_flight.inc();
    let ticket = Ticket { _in_flight: Box::new(InFlight(shared.clone())) };
    let response = if shared.draining.load(Ordering::SeqCst) {
        let sentence = "this server is shutting down; use another one".to_owned();
        close(service.refuse(StatusCode::SERVICE_UNAVAILABLE, sentence))
    } else {
        match read_body(&shared.options, request).await {
            Ok(body) => service.call(body, ticket).await,
            Err(Refusal(status, sentence)) => close(service.refuse(status, sentence)),
        }
    };
    record(shared, path, response.status(), start);
    response
}

/// Ends the connection after this response: the rest of an unread body would be taken for the next request.
fn close(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    response
}

fn record(shared: &Shared, path: &str, status: StatusCode, start: Instant) {
    if status == StatusCode::TOO_MANY_REQUESTS {
        shared.metrics.rejected.inc();
    }
    shared.metrics.requests.with_label_values(&[path, status.as_str()]).inc();
    shared.metrics.seconds.with_label_values(&[path]).observe(start.elapsed().as_secs_f64());
}

/// Counts a request as in flight until it is answered or its client has disconnected.
async fn counted(shared: &Shared, path: &str, answer: impl Future<Output = Result<Response, Refusal>>) -> Response {
    struct InFlight<'a>(&'a Metrics);
    impl Drop for InFlight<'_> {
        fn drop(&mut self) {
            self.0.in_flight.dec();
        }
    }
    let start = Instant::now();
    shared.metrics.in_flight.inc();
    let _in_flight = InFlight(&shared.metrics);
    let response = answer.await.into_response();
    record(shared, path, response.status(), start);
    response
}

async fn run(shared: &Shared, path: &str, handler: &Handler, request: Request) -> Result<Response, Refusal> {
    if shared.draining.load(Ordering::SeqCst) {
        return Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, "this worker is shutting down; use another one".into()));
    }
    let bytes = read_body(&shared.options, request).await?;
    let body: Value = serde_json::from_slice(&bytes)
        .map_err(|e| Refusal(StatusCode::BAD_REQUEST, format!("the body is not valid JSON: {e}")))?;
    drop(bytes);
    let (items, is_batch) = match body {
        Value::Array(items) => (items, true),
        item => (vec![item], false),
    };
    let capacity = shared.pool.capacity;
    if items.len() > capacity {
        let sentence =
            format!("a batch of {} is more than this worker's queue holds; send at most {capacity}", items.len());
        return Err(Refusal(StatusCode::PAYLOAD_TOO_LARGE, sentence));
    }
    let Some(mut places) = shared.pool.reserve(items.len()) else {
        return Err(Refusal(StatusCode::TOO_MANY_REQUESTS, "the queue is full; try again later".into()));
    };
    let pending: Vec<_> = items
        .into_iter()
        .filter_map(|item| places.split(1).map(|place| shared.pool.submit(handler, item, place)))
        .collect();
    let mut results = Vec::with_capacity(pending.len());
    for receiver in pending {
        results.push(counted_item(shared, path, receiver.await.unwrap_or(Outcome::Panicked)));
    }
    let value = if is_batch {
        let item = |r: Result<Value, Refusal>| r.unwrap_or_else(|Refusal(_, sentence)| json!({"error": sentence}));
        Value::Array(results.into_iter().map(item).collect())
    } else {
        results.swap_remove(0)?
    };
    Ok(respond(StatusCode::OK, "application/json", value.to_string()))
}

/// Counts the outcome of one item and converts it into its result.
fn counted_item(shared: &Shared, path: &str, outcome: Outcome) -> Result<Value, Refusal> {
    let (name, result) = match outcome {
        Outcome::Done(value) => ("done", Ok(value)),
        Outcome::Failed(Failure::BadRequest(sentence)) => {
            ("bad_request", Err(Refusal(StatusCode::BAD_REQUEST, sentence)))
        }
        Outcome::Failed(Failure::Internal(sentence)) => {
            ("failed", Err(Refusal(StatusCode::INTERNAL_SERVER_ERROR, sentence)))
        }
        Outcome::Panicked => {
            shared.metrics.panics.inc();
            let sentence = "the handler panicked on this request: this is a defect of the worker";
            ("panicked", Err(Refusal(StatusCode::INTERNAL_SERVER_ERROR, sentence.into())))
        }
    };
    shared.metrics.items.with_label_values(&[path, name]).inc();
    result
}

/// The whole body, within the limits of size and time.
///
/// A body that is too large is read and discarded up to four times the limit, so that an honest client finishes
/// sending and sees the response instead of a broken connection.
async fn read_body(options: &Options, request: Request) -> Result<Vec<u8>, Refusal> {
    let limit = options.max_body_bytes;
    let mut body: Body = request.into_body();
    let mut bytes = Vec::new();
    let mut length = 0;
    let read = async {
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                return Err(Refusal(StatusCode::BAD_REQUEST, "the body ended too early".into()));
            };
            let Ok(data) = frame.into_data() else { continue };
            length += data.len();
            if length <= limit {
                bytes.extend_from_slice(&data);
            } else {
                bytes = Vec::new();
            }
            if length > limit.saturating_mul(5) {
                break;
            }
        }
        Ok(())
    };
    let in_time = tokio::time::timeout(options.body_timeout, read).await;
    if length > limit {
        return Err(Refusal(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {limit} bytes")));
    }
    match in_time {
        Ok(result) => result.map(|()| bytes),
        Err(_) => {
            let seconds = options.body_timeout.as_secs_f64();
            Err(Refusal(StatusCode::REQUEST_TIMEOUT, format!("the body did not arrive within {seconds} seconds")))
        }
    }
}
