//! Workers that share questions: they die, hang, have another version, require a token.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_service::{BadRequest, Failure, Options, Routes, Worker};
use sampler::{RemoteOptions, RetryPolicy, SampleError, Service, Workers};
use serde_json::{Value, json};
use tokio::sync::Notify;

/// A server that doubles numbers, and stops at once when the test says so.
struct Server {
    url: String,
    calls: Arc<AtomicUsize>,
    stop: Arc<Notify>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    /// `before` runs before each answer, with the number of calls before and the question.
    fn start(
        identity: Option<(&str, &str)>,
        token: Option<&str>,
        before: impl Fn(usize, u64) + Send + Sync + 'static,
    ) -> Self {
        let (calls, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let counted = calls.clone();
        let mut routes = Routes::new().post("/double", move |item: Value| {
            let n = item["n"].as_u64().ok_or_else(|| Failure::from(BadRequest("n: must be a number".into())))?;
            before(counted.fetch_add(1, Ordering::SeqCst), n);
            Ok::<_, Failure>(json!({"twice": 2 * n}))
        });
        if let Some((service, version)) = identity {
            routes = routes.identity(service, version);
        }
        let options = Options {
            addr: ([127, 0, 0, 1], 0).into(),
            threads: 4,
            token: token.map(str::to_owned),
            drain_timeout: Duration::ZERO,
            ..Options::default()
        };
        let worker = Worker::bind(options, routes).unwrap();
        let url = format!("http://{}", worker.addr().unwrap());
        let (first, second) = (stop.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let _ = worker.run_until(async move { first.notified().await }, async move { second.notified().await });
        });
        Self { url, calls, stop, thread: Some(thread) }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    fn stop(&mut self) {
        self.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn fine() -> Server {
    Server::start(Some(("doubler", "1.0")), None, |_, _| std::thread::sleep(Duration::from_millis(5)))
}

fn workers(urls: &[&str], bearer: Option<&str>) -> anyhow::Result<Workers> {
    let service = Service { flag: "--double-url", name: "doubler", version: "1.0", token_env: "DOUBLE_TOKEN".into() };
    let retry = RetryPolicy { retries: 1, first: Duration::from_millis(20), longest: Duration::from_millis(50) };
    let bearer = bearer.map(str::to_owned);
    let options = RemoteOptions { concurrency: 4, timeout: Duration::from_millis(800), retry, bearer };
    let urls: Vec<String> = urls.iter().map(|url| (*url).to_owned()).collect();
    Workers::new(service, &urls, options)
}

fn read(answer: Value) -> Result<u64, String> {
    answer["twice"].as_u64().ok_or_else(|| "twice: is missing".into())
}

type Answers = Vec<Result<u64, SampleError>>;

/// Asks for the doubles of `0..count`.
fn ask(workers: &Workers, count: usize) -> anyhow::Result<Answers> {
    let mut answers: Vec<Option<Result<u64, SampleError>>> = (0..count).map(|_| None).collect();
    let questions = (0..count).map(|n| ("/double", json!({"n": n})));
    workers.ask_all(questions, read, &mut |place, answer| {
        assert!(answers[place].replace(answer).is_none(), "{place} was answered twice");
        Ok(())
    })?;
    Ok(answers.into_iter().map(|answer| answer.expect("a question without an answer")).collect())
}

fn all_right(answers: &Answers) {
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(answer.as_ref().ok(), Some(&(2 * n as u64)), "{answer:?}");
    }
}

#[test]
fn workers_share_the_questions() {
    let (one, other) = (fine(), fine());
    let workers = workers(&[&one.url, &format!("{}/", other.url)], None).unwrap();
    workers.check().unwrap();
    all_right(&ask(&workers, 80).unwrap());
    assert_eq!(one.calls() + other.calls(), 80, "nothing is asked twice");
    assert!(one.calls() >= 20 && other.calls() >= 20, "{} and {}", one.calls(), other.calls());
}

#[test]
fn what_a_worker_that_dies_had_goes_to_the_others() {
    let (mut dies, stays) = (fine(), fine());
    let workers = workers(&[&dies.url, &stays.url], None).unwrap();
    workers.check().unwrap();
    let mut got = 0;
    let mut answers: Answers = (0..200).map(|_| Ok(0)).collect();
    let questions = (0..200).map(|n| ("/double", json!({"n": n})));
    workers
        .ask_all(questions, read, &mut |place, answer| {
            answers[place] = answer;
            got += 1;
            if got == 40 {
                dies.stop();
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(got, 200);
    all_right(&answers);
    assert!(dies.calls() > 10 && stays.calls() > 100, "{} and {}", dies.calls(), stays.calls());
    // It is still dead, and the others answer.
    all_right(&ask(&workers, 20).unwrap());
}

#[test]
fn one_that_is_not_there_at_the_start_is_left_out_and_comes_back() {
    let (mut gone, there) = (fine(), fine());
    gone.stop();
    let address = gone.url.trim_start_matches("http://").to_owned();
    let workers = workers(&[&gone.url, &there.url], None).unwrap();
    workers.check().unwrap();
    all_right(&ask(&workers, 20).unwrap());
    assert_eq!(there.calls(), 20);
    let back = Worker::bind(
        Options { addr: address.parse().unwrap(), threads: 4, ..Options::default() },
        Routes::new().post("/double", |item: Value| {
            std::thread::sleep(Duration::from_millis(5));
            Ok::<_, BadRequest>(json!({"twice": 2 * item["n"].as_u64().unwrap_or(0)}))
        }),
    )
    .unwrap();
    std::thread::spawn(move || back.run_until(std::future::pending(), std::future::pending()));
    all_right(&ask(&workers, 80).unwrap());
    assert!(there.calls() < 90, "the one that is back gets its share: {}", there.calls());
}

#[test]
fn none_left_is_a_sentence() {
    let (mut one, mut other) = (fine(), fine());
    let workers = workers(&[&one.url, &other.url], None).unwrap();
    workers.check().unwrap();
    one.stop();
    other.stop();
    for error in [ask(&workers, 8).unwrap_err(), workers.check().unwrap_err(), ask(&workers, 8).unwrap_err()] {
        let error = error.to_string();
        for part in ["--double-url: no worker answers", &one.url, &other.url, "give the same command again"] {
            assert!(error.contains(part), "{error}");
        }
    }
    // No questions is not an error.
    ask(&workers, 0).unwrap();
}

#[test]
fn a_question_that_hangs_costs_itself_only() {
    let hang = |_, n| {
        if n == 3 {
            std::thread::sleep(Duration::from_secs(3));
        }
    };
    let (one, other) = (Server::start(None, None, hang), Server::start(None, None, hang));
    let workers = workers(&[&one.url, &other.url], None).unwrap();
    workers.check().unwrap();
    let mut answers = ask(&workers, 20).unwrap();
    let error = answers[3].as_ref().unwrap_err().to_string();
    assert!(error.contains("in 2 attempts") && error.contains("no answer in time"), "{error}");
    answers[3] = Ok(6);
    all_right(&answers);
    assert_eq!(one.calls() + other.calls(), 21, "both were asked for it");
    // A refused question is not sent again.
    let mut refused = None;
    let questions = [("/double", json!({}))];
    workers
        .ask_all(questions, read, &mut |_, answer| {
            refused = Some(answer);
            Ok(())
        })
        .unwrap();
    assert!(matches!(refused, Some(Err(SampleError::Refused { .. }))), "{refused:?}");
}

#[test]
fn who_a_worker_is_and_whom_it_answers() {
    let plain = |name, version| Server::start(Some((name, version)), None, |_, _| {});
    let (fit, stranger, old) = (fine(), plain("tripler", "1.0"), plain("doubler", "0.9"));
    let closed = Server::start(Some(("doubler", "1.0")), Some("open sesame"), |_, _| {});
    let said = |urls: &[&str], token| workers(urls, token).and_then(|workers| workers.check()).unwrap_err().to_string();
    for (url, token, parts) in [
        (&stranger.url, None, ["is tripler, not doubler", "--double-url"]),
        (&old.url, None, ["is doubler 0.9 and this program has 1.0", "start doubler 1.0"]),
        (&closed.url, None, ["requires a token", "DOUBLE_TOKEN"]),
        (&closed.url, Some("open barley"), ["refuses the token of DOUBLE_TOKEN", "401"]),
    ] {
        let error = said(&[&fit.url, url], token);
        assert!(parts.iter().all(|part| error.contains(part)) && error.contains(url.as_str()), "{error}");
    }
    let known = workers(&[&fit.url, &closed.url], Some("open sesame")).unwrap();
    known.check().unwrap();
    all_right(&ask(&known, 40).unwrap());
    assert!(closed.calls() > 0);
    for (urls, why) in
        [(&[&*fit.url, &fit.url][..], "is given twice"), (&["nowhere"], "is not an address"), (&[], "needs an address")]
    {
        let error = format!("{:#}", workers(urls, None).err().unwrap());
        assert!(error.contains(why), "{error}");
    }
}
