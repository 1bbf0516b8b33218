//! Several workers of one service (`codeexec serve`, `mathverify serve`) that share the questions. Each question goes
//! to the worker with the fewest open questions; if a worker dies, its questions go to the others.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use anyhow::{bail, ensure};
use json_client::{CONNECT_TIMEOUT, Failure, NOT_JSON, RemoteOptions, address, attempt, client};
use reqwest::{Client, header};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::request::SampleError;

/// The environment variable with the token, for workers and clients, unless a flag names another.
pub const WORKER_TOKEN: &str = "HERD_WORKER_TOKEN";
/// The time after which a lost worker is checked again.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// The number of consecutive questions that fail in all attempts before each further question has only one attempt.
const DEAD_AFTER: u32 = 8;
/// A question that was open at this many workers when they died is taken as the cause.
const DEADLY: u32 = 3;

/// The required properties of the workers.
#[derive(Debug, Clone)]
pub struct Service {
    /// The flag with their addresses, for messages.
    pub flag: &'static str,
    /// The service name that `/healthz` must return.
    pub name: &'static str,
    /// The version that `/healthz` must return.
    pub version: &'static str,
    /// The variable that holds the token, for messages.
    pub token_env: String,
}

/// The workers of a service.
pub struct Workers {
    service: Service,
    /// Addresses without a slash at the end, without duplicates.
    urls: Vec<String>,
    /// The last known state of each worker.
    states: std::sync::Mutex<Vec<State>>,
    runtime: Runtime,
    client: Client,
    options: RemoteOptions,
}

/// The state of a worker.
#[derive(Debug, Clone, PartialEq)]
enum State {
    /// It answers.
    Alive,
    /// A question failed, and the health check is running: the worker gets no new questions.
    Suspect,
    /// It does not answer: the time and the reason.
    Lost(Instant, String),
}

/// A question in progress.
struct Question {
    place: usize,
    path: &'static str,
    body: String,
    /// Failed attempts at healthy workers.
    attempts: u32,
    /// Workers that died while they had the question.
    deaths: u32,
    /// The worker of the last failure.
    last: Option<usize>,
    /// The time until the next attempt.
    pause: Duration,
}

/// The result of a task.
enum Event<T> {
    Answer(usize, Question, Result<T, Failure>),
    Health(usize, Result<Value, Failure>),
}

impl Workers {
    /// The workers at `urls`; no request is sent yet. `options.concurrency` applies to each of them.
    ///
    /// # Errors
    /// When an address is invalid or occurs twice, no address is given, or the token has characters that a header
    /// cannot hold.
    pub fn new(service: Service, urls: &[String], options: RemoteOptions) -> anyhow::Result<Self> {
        let urls: Vec<String> = urls.iter().map(|url| address(service.flag, url)).collect::<Result<_, _>>()?;
        ensure!(!urls.is_empty(), "{} needs an address", service.flag);
        for (i, url) in urls.iter().enumerate() {
            ensure!(!urls[..i].contains(url), "{}: {url} is given twice", service.flag);
        }
        let (runtime, client) = client(&options)?;
        let states = std::sync::Mutex::new(vec![State::Alive; urls.len()]);
        Ok(Self { service, urls, states, runtime, client, options })
    }

    /// Their addresses.
    #[must_use]
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// Checks the health of all workers. Prints on standard error which do not answer; these are left out until they
    /// do.
    ///
    /// # Errors
    /// When no worker answers. When a worker refuses the token or requires one, is another service, or has another
    /// version than this program: its verdicts would follow other rules.
    pub fn check(&self) -> anyhow::Result<()> {
        let answers = self.runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for worker in 0..self.urls.len() {
                tasks.spawn(self.probe::<Value>(worker, 0));
            }
            tasks.join_all().await
        });
        let mut states = vec![State::Alive; self.urls.len()];
        for answer in answers {
            let Event::Health(worker, answer) = answer else { continue };
            if let Err(why) = self.judge(worker, answer)? {
                eprintln!("{}: the worker {} does not answer ({why})", self.service.flag, self.urls[worker]);
                states[worker] = State::Lost(Instant::now(), why);
            }
        }
        self.keep(&states);
        ensure!(states.contains(&State::Alive), self.none_left(&states));
        Ok(())
    }

    /// Evaluates a health response: usable or lost.
    fn judge(&self, worker: usize, answer: Result<Value, Failure>) -> anyhow::Result<Result<(), String>> {
        let (url, Service { flag, name, version, token_env }) = (&self.urls[worker], &self.service);
        let health = match answer {
            Ok(health) => health,
            Err(Failure::Refused(why)) if why.starts_with("401") || why.starts_with("403") => {
                bail!(
                    "{flag}: the worker {url} refuses the token of {token_env} ({why}); give the one that it was started with"
                )
            }
            Err(Failure::Refused(why) | Failure::Transient(why, _)) => return Ok(Err(why)),
        };
        ensure!(
            health["needs_token"] != true || self.options.bearer.is_some(),
            "{flag}: the worker {url} requires a token; put it into the environment variable {token_env}"
        );
        if let Some(other) = health["service"].as_str() {
            ensure!(other == *name, "{flag}: the worker {url} is {other}, not {name}");
        }
        match health["version"].as_str() {
            Some(other) => ensure!(
                other == *version,
                "{flag}: the worker {url} is {name} {other} and this program has {version}, so their verdicts may differ; start \
                 {name} {version} there"
            ),
            None => eprintln!("{flag}: the worker {url} does not report its version"),
        }
        Ok(Ok(()))
    }

    /// A task that checks the health of a worker; after a failure, it tries again `retries` times.
    fn probe<T>(&self, worker: usize, retries: u32) -> impl Future<Output = Event<T>> + Send + use<T> {
        let (client, retry) = (self.client.clone(), self.options.retry.clone());
        let (url, timeout) = (format!("{}/healthz", self.urls[worker]), CONNECT_TIMEOUT.min(self.options.timeout));
        async move {
            let mut attempts = 0;
            loop {
                // Any successful response counts, JSON or not.
                let answer = attempt(client.get(&url).timeout(timeout), Ok).await;
                match answer {
                    Err(Failure::Transient(why, _)) if why.starts_with(NOT_JSON) => {
                        return Event::Health(worker, Ok(Value::Null));
                    }
                    Err(Failure::Transient(_, asked)) if attempts < retries => {
                        tokio::time::sleep(retry.pause(attempts, asked)).await;
                        attempts += 1;
                    }
                    answer => return Event::Health(worker, answer),
                }
            }
        }
    }

    /// A task that sends a question to a worker once.
    fn ask<T: Send + 'static>(
        &self,
        worker: usize,
        question: Question,
        read: fn(Value) -> Result<T, String>,
    ) -> impl Future<Output = Event<T>> + Send + use<T> {
        let (client, url) = (self.client.clone(), format!("{}{}", self.urls[worker], question.path));
        async move {
            tokio::time::sleep(question.pause).await;
            let request = client.post(url).header(header::CONTENT_TYPE, "application/json").body(question.body.clone());
            let answer = attempt(request, read).await;
            Event::Answer(worker, question, answer)
        }
    }

    /// Sends every question `(path, body)` to one of the workers. `read` converts each response to an answer, and
    /// `done` gets the answers in the order of arrival.
    ///
    /// If a worker gives no answer, its health is checked. If it is healthy, the question is sent again, preferably
    /// to another worker, as often as the policy allows. If it is not, the worker is named on standard error, and all
    /// its questions go to the others. A lost worker is checked again every ten seconds. A question that three
    /// workers died over gets no answer.
    ///
    /// # Errors
    /// When no worker is left, or a worker that returned fails the checks of [`Workers::check`]; errors that `done`
    /// returns.
    pub fn ask_all<T: Send + 'static>(
        &self,
        questions: impl IntoIterator<Item = (&'static str, Value)>,
        read: fn(Value) -> Result<T, String>,
        done: &mut dyn FnMut(usize, Result<T, SampleError>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let fresh = || vec![State::Alive; self.urls.len()];
        let mut states = self.states.lock().map_or_else(|_| fresh(), |states| states.clone());
        // A worker whose health check was running when the last call ended with an error.
        states.iter_mut().filter(|state| **state == State::Suspect).for_each(|state| *state = State::Alive);
        let result = self.runtime.block_on(self.share(questions, read, done, &mut states));
        self.keep(&states);
        result
    }

    async fn share<T: Send + 'static>(
        &self,
        questions: impl IntoIterator<Item = (&'static str, Value)>,
        read: fn(Value) -> Result<T, String>,
        done: &mut dyn FnMut(usize, Result<T, SampleError>) -> anyhow::Result<()>,
        states: &mut [State],
    ) -> anyhow::Result<()> {
        let mut tasks: JoinSet<Event<T>> = JoinSet::new();
        let mut waiting = questions.into_iter().enumerate().peekable();
        // Questions to send again, and the questions of each suspect worker until its health is known.
        let (mut again, mut held) = (VecDeque::<Question>::new(), HashMap::<usize, Vec<(Question, Failure)>>::new());
        let (mut under_way, mut failures) = (vec![0_usize; states.len()], 0);
        let mut is_first = true;
        loop {
            for (worker, state) in states.iter_mut().enumerate() {
                if matches!(state, State::Lost(at, _) if is_first || at.elapsed() >= LOOK_AGAIN) {
                    tasks.spawn(self.probe(worker, 0));
                    // The health check continues until the worker answers.
                    *state = State::Lost(Instant::now(), state.why().to_owned());
                }
            }
            is_first = false;
            while let Some(worker) = self.idlest(states, &under_way, again.front().and_then(|question| question.last)) {
                let next = again.pop_front().or_else(|| waiting.next().map(Question::new));
                let Some(question) = next else { break };
                under_way[worker] += 1;
                tasks.spawn(self.ask(worker, question, read));
            }
            let Some(joined) = tasks.join_next().await else {
                ensure!(again.is_empty() && waiting.peek().is_none(), self.none_left(states));
                return Ok(());
            };
            let (worker, questions) = match joined? {
                Event::Answer(worker, question, answer) => {
                    under_way[worker] -= 1;
                    match answer {
                        Ok(answer) => {
                            failures = 0;
                            done(question.place, Ok(answer))?;
                            continue;
                        }
                        Err(Failure::Refused(reason)) => {
                            failures = 0;
                            let url = self.url(worker, &question);
                            done(question.place, Err(SampleError::Refused { url, reason }))?;
                            continue;
                        }
                        Err(failure) if matches!(states[worker], State::Lost(..)) => {
                            (worker, vec![(question, failure)])
                        }
                        Err(failure) => {
                            held.entry(worker).or_default().push((question, failure));
                            if states[worker] == State::Alive {
                                states[worker] = State::Suspect;
                                tasks.spawn(self.probe(worker, self.options.retry.retries));
                            }
                            continue;
                        }
                    }
                }
                Event::Health(worker, answer) => {
                    let health = self.judge(worker, answer).unwrap_or_else(|error| Err(error.to_string()));
                    let questions = held.remove(&worker).unwrap_or_default();
                    self.say_change(worker, &states[worker], &health, questions.len());
                    states[worker] = match health {
                        Ok(()) => State::Alive,
                        Err(why) => State::Lost(Instant::now(), why),
                    };
                    (worker, questions)
                }
            };
            let is_alive = states[worker] == State::Alive;
            for (mut question, failure) in questions {
                let Failure::Transient(reason, asked) = failure else { continue };
                let retries = if failures < DEAD_AFTER { self.options.retry.retries } else { 0 };
                question.attempts += u32::from(is_alive);
                question.deaths += u32::from(!is_alive);
                if question.attempts <= retries && question.deaths < DEADLY {
                    question.last = Some(worker);
                    question.pause = match question.attempts {
                        0 => Duration::ZERO,
                        attempts => self.options.retry.pause(attempts - 1, asked),
                    };
                    again.push_back(question);
                    continue;
                }
                failures += 1;
                let (url, attempts) = (self.url(worker, &question), question.attempts + question.deaths);
                done(question.place, Err(SampleError::NoAnswer { url, attempts, reason }))?;
            }
        }
    }

    /// The worker with the fewest open questions that may take another one, if possible not the one to avoid.
    fn idlest(&self, states: &[State], under_way: &[usize], avoid: Option<usize>) -> Option<usize> {
        let may =
            |worker: &usize| states[*worker] == State::Alive && under_way[*worker] < self.options.concurrency.max(1);
        (0..states.len()).filter(may).min_by_key(|&worker| (avoid == Some(worker), under_way[worker]))
    }

    fn url(&self, worker: usize, question: &Question) -> String {
        format!("{}{}", self.urls[worker], question.path)
    }

    /// Keeps the state of the workers for the next questions.
    fn keep(&self, states: &[State]) {
        if let Ok(mut kept) = self.states.lock() {
            *kept = states.to_vec();
        }
    }

    /// Reports a worker that was lost or that returned.
    fn say_change(&self, worker: usize, before: &State, health: &Result<(), String>, questions: usize) {
        let (flag, url) = (self.service.flag, &self.urls[worker]);
        match (before, health) {
            (State::Lost(..), Ok(())) => eprintln!("{flag}: the worker {url} answers again"),
            (State::Alive | State::Suspect, Err(why)) => {
                eprintln!(
                    "{flag}: the worker {url} does not answer any more ({why}); what it had goes to the others ({questions} now)"
                );
            }
            _ => {}
        }
    }

    /// The message when all workers are lost.
    fn none_left(&self, states: &[State]) -> String {
        let each: Vec<String> =
            self.urls.iter().zip(states).map(|(url, state)| format!("{url} ({})", state.why())).collect();
        format!(
            "{}: no worker answers: {}; start one and give the same command again, which continues from the existing results",
            self.service.flag,
            each.join(", ")
        )
    }
}

impl State {
    fn why(&self) -> &str {
        match self {
            Self::Lost(_, why) => why,
            Self::Alive | Self::Suspect => "it answers",
        }
    }
}

impl Question {
    fn new((place, (path, body)): (usize, (&'static str, Value))) -> Self {
        Self { place, path, body: body.to_string(), attempts: 0, deaths: 0, last: None, pause: Duration::ZERO }
    }
}
