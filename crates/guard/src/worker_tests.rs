use super::*;

/// A guard that follows the text: it hangs, dies, returns nonsense, or finds "bad" unsafe.
struct Told {
    policy: Policy,
}

impl Told {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { policy: Policy::builtin("herd-14").unwrap() })
    }
}

impl Judge for Told {
    fn judge(&mut self, asked: &[Asked]) -> anyhow::Result<Vec<Verdict>> {
        let mut verdicts = Vec::new();
        for one in asked {
            let score = match one.text() {
                "hang" => {
                    std::thread::sleep(Duration::from_millis(400));
                    0.0
                }
                "die" => panic!("as told"),
                "fail" => anyhow::bail!("as told"),
                "nonsense" => f64::NAN,
                "forget" => return Ok(Vec::new()),
                text => f64::from(u8::from(text.contains("bad"))),
            };
            verdicts.push(verdict(score));
        }
        Ok(verdicts)
    }

    fn policy(&self) -> &Policy {
        &self.policy
    }

    fn name(&self) -> &str {
        "told"
    }
}

pub(crate) fn verdict(score: f64) -> Verdict {
    let is_unsafe = score >= 0.5;
    Verdict {
        is_unsafe,
        score,
        mass: None,
        categories: [("S1".to_owned(), score)].into(),
        violated: is_unsafe.then(|| "S1".to_owned()).into_iter().collect(),
        threshold: 0.5,
        windows: 1,
        dropped_turns: 0,
        removed_characters: 0,
        empty: false,
    }
}

fn ask(worker: &Arc<Worker>, text: &str) -> Result<Vec<Verdict>, NoVerdict> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(worker.judge(vec![Asked::prompt(text)]))
}

#[test]
fn failures_are_no_verdicts() {
    let limits = Limits { time: Duration::from_millis(100), queue: 4 };
    let worker = Worker::start(Told::new, limits).unwrap();
    assert!(ask(&worker, "bad").unwrap()[0].is_unsafe && !ask(&worker, "good").unwrap()[0].is_unsafe);
    let why = |text: &str| match ask(&worker, text) {
        Err(NoVerdict::Unavailable(why)) => why,
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(why("fail"), "as told");
    assert_eq!(why("nonsense"), "its verdicts make no sense");
    assert_eq!(why("forget"), "its verdicts make no sense");
    let start = Instant::now();
    assert_eq!(why("hang"), "no verdict within 100ms");
    assert!(start.elapsed() < Duration::from_millis(350), "{:?}", start.elapsed());
    std::thread::sleep(Duration::from_millis(400));
    assert!(!ask(&worker, "good").unwrap()[0].is_unsafe, "it goes on when it answers again");
    // Printing a panic takes a while; then the thread is gone.
    why("die");
    std::thread::sleep(Duration::from_millis(800));
    assert_eq!(why("good"), "it has ended");
    let counts = worker.counts();
    let number = |number: &AtomicU64| number.load(Ordering::Relaxed);
    assert_eq!((number(&counts.prompts[0]), number(&counts.prompts[1]), number(&counts.failures)), (3, 1, 6));
}

#[test]
fn a_full_queue_says_so() {
    let limits = Limits { time: Duration::from_millis(900), queue: 1 };
    let worker = Worker::start(Told::new, limits).unwrap();
    let other = worker.clone();
    let hanging = std::thread::spawn(move || ask(&other, "hang"));
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(ask(&worker, "good"), Err(NoVerdict::Full));
    assert!(hanging.join().unwrap().is_ok());
}

#[test]
fn a_guard_that_cannot_be_made_is_an_error() {
    let made = Worker::start(|| -> anyhow::Result<Told> { anyhow::bail!("no such guard") }, Limits::default());
    assert_eq!(made.err().unwrap().to_string(), "no such guard");
}
