//! Accepts connections, and shuts down gracefully.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;

use crate::http::{Shared, router};
use crate::metrics::Metrics;
use crate::options::{Options, Routes};
use crate::pool::Pool;

/// The reason why the server could not start, or did not shut down gracefully.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is in use or does not belong to this machine.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The requested address.
        addr: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// The operating system refused a thread or a signal handler.
    #[error("cannot start the server: {0}")]
    Start(#[from] std::io::Error),
    /// A gauge's name is invalid or given twice.
    #[error("cannot register a metric: {0}")]
    Metric(#[from] prometheus::Error),
    /// Requests were still running when the time for draining was over.
    #[error("{requests} requests were still running {seconds} s after the signal; they were given up")]
    DrainTimeout {
        /// Number of these requests.
        requests: i64,
        /// [`Options::drain_timeout`].
        seconds: f64,
    },
    /// A second signal came while draining.
    #[error("a second signal came while draining; {requests} requests were given up")]
    SecondSignal {
        /// Number of these requests.
        requests: i64,
    },
}

/// A server that listens but does not answer yet: see [`Worker::run`].
pub struct Worker {
    runtime: Runtime,
    listener: TcpListener,
    router: Router,
    shared: Arc<Shared>,
}

/// Listens, prints the address on standard error, answers until SIGTERM or SIGINT, and drains.
///
/// # Errors
/// See [`Error`].
pub fn serve(options: Options, routes: Routes) -> Result<(), Error> {
    let worker = Worker::bind(options, routes)?;
    let signals = worker.signals()?;
    eprintln!("listening on http://{}", worker.addr()?);
    worker.run_with(signals)
}

/// SIGTERM and SIGINT, caught as soon as this exists.
struct Signals(Signal, Signal);

impl Signals {
    async fn next(&mut self) {
        tokio::select! { _ = self.0.recv() => {}, _ = self.1.recv() => {} }
    }
}

impl Worker {
    /// Binds the address and starts the handler threads.
    ///
    /// # Errors
    /// [`Error::Listen`], [`Error::Start`] or [`Error::Metric`].
    pub fn bind(options: Options, mut routes: Routes) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let addr = options.addr;
        let listener = runtime.block_on(TcpListener::bind(addr)).map_err(|source| Error::Listen { addr, source })?;
        let shared = Arc::new(Shared {
            pool: Pool::start(options.threads, options.queue)?,
            metrics: Metrics::new(std::mem::take(&mut routes.gauges))?,
            draining: AtomicBool::new(false),
            options,
        });
        let router = router(&shared, routes);
        Ok(Self { runtime, listener, router, shared })
    }

    /// The address of the listener, with the real port if port 0 was requested.
    ///
    /// # Errors
    /// [`Error::Start`] when the operating system refuses.
    pub fn addr(&self) -> Result<SocketAddr, Error> {
        Ok(self.listener.local_addr()?)
    }

    /// Answers until SIGTERM or SIGINT; then accepts no new work (503), finishes running requests and returns. A
    /// second signal ends it at once.
    ///
    /// # Errors
    /// [`Error::Start`], [`Error::DrainTimeout`] or [`Error::SecondSignal`].
    pub fn run(self) -> Result<(), Error> {
        let signals = self.signals()?;
        self.run_with(signals)
    }

    fn signals(&self) -> Result<Signals, Error> {
        let _context = self.runtime.enter();
        Ok(Signals(signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
    }

    fn run_with(self, mut signals: Signals) -> Result<(), Error> {
        let (first, second) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (tell_first, tell_second) = (first.clone(), second.clone());
        self.runtime.spawn(async move {
            for notify in [tell_first, tell_second] {
                signals.next().await;
                notify.notify_one();
            }
        });
        self.run_until(async move { first.notified().await }, async move { second.notified().await })
    }

    /// Like [`Worker::run`], with `stop` and `stop_now` in place of the first and the second signal.
    ///
    /// # Errors
    /// See [`Worker::run`].
    pub fn run_until(self, stop: impl Future<Output = ()>, stop_now: impl Future<Output = ()>) -> Result<(), Error> {
        let Self { runtime, listener, router, shared } = self;
        let result = runtime.block_on(async {
            let graceful = GracefulShutdown::new();
            let connections = Arc::new(Semaphore::new(shared.options.max_connections.max(1)));
            let mut accept = Box::pin(accept(&listener, &connections, &graceful, &router, &shared.options));
            tokio::select! { () = &mut accept => {}, () = stop => {} }
            shared.draining.store(true, Ordering::SeqCst);
            let in_flight = || shared.metrics.in_flight.get();
            let seconds = shared.options.drain_timeout.as_secs_f64();
            // The listener continues to answer, so that a load balancer sees 503 on /healthz instead of a refused
            // connection.
            tokio::select! {
                () = &mut accept => {}
                () = idle(in_flight) => {}
                () = tokio::time::sleep(shared.options.drain_timeout) => {
                    return Err(Error::DrainTimeout { requests: in_flight(), seconds });
                }
                () = stop_now => return Err(Error::SecondSignal { requests: in_flight() }),
            }
            drop(accept);
            // Responses that are still being sent to their clients.
            let _ = tokio::time::timeout(shared.options.write_timeout, graceful.shutdown()).await;
            Ok(())
        });
        runtime.shutdown_background();
        result
    }
}

/// Returns when no request is in flight.
async fn idle(in_flight: impl Fn() -> i64) {
    while in_flight() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Accepts connections forever.
async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
    graceful: &GracefulShutdown,
    router: &Router,
    options: &Options,
) {
    while let Ok(place) = connections.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => serve_connection(stream, place, graceful, router, options),
            // Too many open files, or a client that disconnected: neither ends the server.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

fn serve_connection(
    stream: TcpStream,
    place: OwnedSemaphorePermit,
    graceful: &GracefulShutdown,
    router: &Router,
    options: &Options,
) {
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(options.write_timeout));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(router.clone()));
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        // An error here is caused by the client: it disconnected, was too slow or did not speak HTTP.
        let _ = connection.await;
        drop(place);
    });
}
