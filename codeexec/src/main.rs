//! x
use codeexec::{limits::Limits, python::{runtime, session}, record::Job, sandbox::*};
fn main() -> anyhow::Result<()> {
    std::thread::Builder::new().stack_size(THREAD_STACK).spawn(|| {
        runtime::set_up()?;
        let machine = Machine::new(Settings { profile: Profile::Programs, max_memory: 4 << 30 })?;
        let python = runtime::Python::open(&machine)?;
        for line in std::io::stdin().lines() {
            let job = Job::from_value(serde_json::from_str(&line?)?).unwrap();
            let n = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(1);
            let start = std::time::Instant::now();
            for _ in 1..n { session::run(&machine, &python, &job, &Limits::default(), 0)?; }
            println!("{}", serde_json::to_string(&session::run(&machine, &python, &job, &Limits::default(), 0)?)?);
            if n > 1 { println!("{:.1}/s", n as f64 / start.elapsed().as_secs_f64()); }
        }
        anyhow::Ok(())
    })?.join().unwrap()
}
