//! `herd plan faults`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::ensure;
use run::{Frame, from_flags, grouped};
use serde::Serialize;
use serde_json::json;

use super::{Mix, Practice, Setting, Shares, Shows, formula, mean, simulate_all};
use crate::figure::{Figure, Origin, columns, table, time};

/// Arguments of `herd plan faults`.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub struct Args {
    #[command(flatten)]
    #[serde(skip)]
    #[allow(missing_docs)]
    pub frame: Frame,
    /// GPUs of the run
    #[arg(long, default_value_t = 16_384)]
    pub gpus: u32,
    /// Days of the run
    #[arg(long, default_value_t = 54.0)]
    pub days: f64,
    /// Simulated runs of each row
    #[arg(long, default_value_t = 8)]
    pub simulations: u32,
    /// Seed of the first run
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Failure mix in TOML: gpus, days, planned, and for each [[cause]] its name, count and symptom (shows = crash, hang, slow, silent)
    /// [default: the paper's 54 days]
    #[arg(long)]
    pub mix: Option<PathBuf>,
    /// Seconds of a step
    #[arg(long, default_value_t = 6.2)]
    pub step_seconds: f64,
    /// Factor by which a slow device lengthens the steps
    #[arg(long, default_value_t = 2.0)]
    pub slow_factor: f64,
    /// Minutes until an operator restarts a run after the supervisor gave up
    #[arg(long, default_value_t = 60.0)]
    pub person_minutes: f64,
    /// Seconds between checkpoints [default: Young's interval]
    #[arg(long)]
    pub interval_seconds: Option<f64>,
    /// Seconds for which a checkpoint stops training
    #[arg(long, default_value_t = 2.0)]
    pub stop_seconds: f64,
    /// Seconds for which a checkpoint is written in the background
    #[arg(long, default_value_t = 60.0)]
    pub write_seconds: f64,
    /// Seconds from the start of the processes to the first step
    #[arg(long, default_value_t = 300.0)]
    pub restart_seconds: f64,
    /// Seconds until the exit of a process is detected
    #[arg(long, default_value_t = 15.0)]
    pub exit_seconds: f64,
    /// Seconds until a slow device is detected
    #[arg(long, default_value_t = 300.0)]
    pub slow_seconds: f64,
    /// Seconds until silent corruption is detected
    #[arg(long, default_value_t = 3600.0)]
    pub corrupt_seconds: f64,
    /// Peers: seconds between checkpoints
    #[arg(long, default_value_t = 1800.0)]
    pub peer_interval_seconds: f64,
    /// Peers: seconds that a checkpoint stops training
    #[arg(long, default_value_t = 60.0)]
    pub peer_stop_seconds: f64,
    /// Peers: seconds until the time-out of a collective detects a dead or stalled rank
    #[arg(long, default_value_t = 600.0)]
    pub peer_limit_seconds: f64,
    /// Peers: seconds from the start of the processes to the first step
    #[arg(long, default_value_t = 1200.0)]
    pub peer_restart_seconds: f64,
    /// Peers: seconds until a slow device is detected
    #[arg(long, default_value_t = 3600.0)]
    pub peer_slow_seconds: f64,
    /// Also simulate other checkpoint intervals
    #[arg(long)]
    pub sweep: bool,
    /// Also simulate other numbers of GPUs
    #[arg(long)]
    pub other_sizes: bool,
    /// Also write inputs and results as JSON
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// A row of the table with its simulation.
#[derive(Debug, Clone, Serialize)]
struct Row {
    gpus: u32,
    practice: Practice,
    shares: Shares,
    lowest: f64,
    highest: f64,
    formula: f64,
    failures: f64,
    restarts: f64,
    given_up: f64,
}

impl Args {
    fn check(&self) -> anyhow::Result<()> {
        ensure!((1..=1_000_000).contains(&self.gpus), "--gpus {}: from 1 to 1000000", self.gpus);
        ensure!((1..=10_000).contains(&self.simulations), "--simulations {}: from 1 to 10000", self.simulations);
        ensure!(
            self.slow_factor >= 1.0 && self.slow_factor <= 1000.0,
            "--slow-factor {}: from 1 to 1000",
            self.slow_factor
        );
        let most = self.days * 86_400.0 / self.step_seconds;
        ensure!(
            self.days > 0.0 && self.step_seconds > 0.0 && most <= 1e8,
            "--days {} and --step-seconds {}: above 0, and at most 100 million steps",
            self.days,
            self.step_seconds
        );
        for (flag, value, above) in [
            ("interval-seconds", self.interval_seconds.unwrap_or(1.0), true),
            ("stop-seconds", self.stop_seconds, true),
            ("write-seconds", self.write_seconds, false),
            ("restart-seconds", self.restart_seconds, false),
            ("exit-seconds", self.exit_seconds, false),
            ("slow-seconds", self.slow_seconds, false),
            ("corrupt-seconds", self.corrupt_seconds, false),
            ("person-minutes", self.person_minutes, false),
            ("peer-interval-seconds", self.peer_interval_seconds, true),
            ("peer-stop-seconds", self.peer_stop_seconds, false),
            ("peer-limit-seconds", self.peer_limit_seconds, true),
            ("peer-restart-seconds", self.peer_restart_seconds, false),
            ("peer-slow-seconds", self.peer_slow_seconds, false),
        ] {
            let fits = value.is_finite() && value <= 1e7 && if above { value > 0.0 } else { value >= 0.0 };
            ensure!(fits, "--{flag} {value}: {} 0, and at most 10 million", if above { "above" } else { "from" });
        }
        Ok(())
    }

    fn setting(&self, gpus: u32, mix: &Mix) -> Setting {
        Setting {
            gpus,
            days: self.days,
            step: self.step_seconds,
            mix: mix.clone(),
            slow_factor: self.slow_factor,
            person: self.person_minutes * 60.0,
            gone: 1.0,
        }
    }

    /// Young's interval, but at least a step and at least the writing time of a checkpoint.
    fn interval(&self, gpus: u32, mix: &Mix) -> f64 {
        let young = formula::young(self.stop_seconds, mix.between_failures(gpus));
        // If nothing ever fails, the run saves once.
        let young = if young.is_finite() { young } else { self.days * 86_400.0 };
        self.interval_seconds.unwrap_or(young.max(self.step_seconds).max(self.write_seconds))
    }

    fn peers(&self) -> Practice {
        Practice {
            name: "assumed peers".into(),
            interval: self.peer_interval_seconds,
            stop: self.peer_stop_seconds,
            write: 0.0,
            restart: self.peer_restart_seconds,
            exit_seen: None,
            fixed_limit: Some(self.peer_limit_seconds),
            slow_seen: self.peer_slow_seconds,
            corrupt_seen: self.corrupt_seconds,
        }
    }

    fn ours(&self, gpus: u32, mix: &Mix) -> Practice {
        Practice {
            name: "herd".into(),
            interval: self.interval(gpus, mix),
            stop: self.stop_seconds,
            write: self.write_seconds,
            restart: self.restart_seconds,
            exit_seen: Some(self.exit_seconds),
            fixed_limit: None,
            slow_seen: self.slow_seconds,
            corrupt_seen: self.corrupt_seconds,
        }
    }

    /// The steps from the peers' practice to ours, one change at a time.
    fn ladder(&self, gpus: u32, mix: &Mix) -> Vec<Practice> {
        let (peers, ours) = (self.peers(), self.ours(gpus, mix));
        let exits = Practice {
            name: "+ process exits and slow devices detected".into(),
            exit_seen: ours.exit_seen,
            slow_seen: ours.slow_seen,
            ..peers.clone()
        };
        let limits = Practice { name: "+ stall limits learned by phase".into(), fixed_limit: None, ..exits.clone() };
        let restart = Practice { name: "+ fast restart".into(), restart: ours.restart, ..limits.clone() };
        let behind = Practice {
            name: "+ asynchronous checkpoints".into(),
            stop: ours.stop,
            write: ours.write,
            ..restart.clone()
        };
        let interval = if self.interval_seconds.is_some() { "+ the given interval" } else { "+ Young's interval" };
        let ours = Practice { name: format!("{interval}: herd"), ..ours };
        vec![peers, exits, limits, restart, behind, ours]
    }
}

fn row(args: &Args, gpus: u32, mix: &Mix, practice: &Practice) -> Row {
    let setting = args.setting(gpus, mix);
    let runs = simulate_all(&setting, practice, args.seed, args.simulations);
    let effective = || runs.iter().map(|run| run.shares.effective);
    let count = |get: fn(&super::Run) -> u32| {
        runs.iter().map(|run| f64::from(get(run))).sum::<f64>() / runs.len().max(1) as f64
    };
    Row {
        gpus,
        practice: practice.clone(),
        shares: mean(&runs),
        lowest: effective().fold(f64::INFINITY, f64::min),
        highest: effective().fold(f64::NEG_INFINITY, f64::max),
        formula: formula::effective(gpus, mix, practice, |shows| practice.noticed(shows, args.step_seconds)),
        failures: count(|run| run.failures),
        restarts: count(|run| run.restarts),
        given_up: count(|run| run.given_up),
    }
}

fn percent(share: f64) -> String {
    format!("{:.1}%", 100.0 * share)
}

fn rows_table(first: &str, rows: &[(String, &Row)]) -> String {
    let head = [
        first,
        "effective",
        "lowest, highest",
        "formula",
        "lost work",
        "checkpoints",
        "detection",
        "restart",
        "failures",
        "restarts",
        "gave up",
    ];
    let mut cells = vec![head.map(str::to_owned).to_vec()];
    for (name, row) in rows {
        let shares = &row.shares;
        cells.push(vec![
            name.clone(),
            percent(shares.effective),
            format!("{}, {}", percent(row.lowest), percent(row.highest)),
            percent(row.formula),
            percent(shares.lost),
            percent(shares.saving),
            percent(shares.noticing),
            percent(shares.restarting),
            format!("{:.1}", row.failures),
            format!("{:.1}", row.restarts),
            format!("{:.1}", row.given_up),
        ]);
    }
    columns(&cells, &[])
}

/// All inputs with their origins.
fn inputs(args: &Args, mix: &Mix, origins: &BTreeMap<String, run::Origin>) -> Vec<Figure> {
    use Origin::{Assumed, Derived, Paper};
    let from = |key: &str, origin: Origin| origin.unless_given(origins.get(key));
    let mut figures = vec![
        Figure::new("GPUs", grouped(u64::from(args.gpus)), from("gpus", Paper), "one rank each"),
        Figure::new("days", format!("{}", args.days), from("days", Paper), ""),
        Figure::new(
            "step",
            time(args.step_seconds),
            from("step_seconds", Paper),
            "16 x 128 sequences of 8,192 tokens of the 405B at 400 TFLOP/s a GPU: 6 x 405e9 x 16.8e6 / (16,384 x 400e12)",
        ),
    ];
    let counted = if args.mix.is_some() { Origin::Given } else { Paper };
    let shown = if args.mix.is_some() { Origin::Given } else { Assumed };
    for cause in &mix.cause {
        figures.push(Figure::new(
            format!("failure: {}", cause.name),
            format!("{}, shows as {}", cause.count, cause.shows.as_str()),
            counted,
            format!("how it shows itself: {}", shown.as_str()),
        ));
    }
    let gpus = grouped(mix.gpus as u64);
    figures.extend([
        Figure::new(
            "unexpected failures",
            format!("{}", mix.failures()),
            counted,
            format!("in {} days on {gpus} GPUs", mix.days),
        ),
        Figure::new("planned interruptions", format!("{}", mix.planned), counted, format!("in {} days", mix.days)),
        Figure::new(
            "mean time between failures",
            time(mix.between_failures(args.gpus)),
            Derived,
            "the same rate for each GPU as in the mix",
        ),
        Figure::new(
            "steps with a slow device",
            format!("{} times as long", args.slow_factor),
            from("slow_factor", Assumed),
            "",
        ),
        Figure::new(
            "operator restarts a run that gave up",
            format!("after {}", time(args.person_minutes * 60.0)),
            from("person_minutes", Assumed),
            "",
        ),
        Figure::new(
            "silent corruption detected",
            format!("after {}", time(args.corrupt_seconds)),
            from("corrupt_seconds", Assumed),
            "herd and peers",
        ),
        Figure::new("spare machines", "always available", Assumed, "herd and peers"),
        Figure::new(
            "herd: checkpoint stall",
            time(args.stop_seconds),
            from("stop_seconds", Assumed),
            "training waits for a copy to host memory: 4 GB per GPU (paper: 1 MB to 4 GB) at 25 GB/s over PCIe take 0.2 s",
        ),
        Figure::new(
            "herd: background write of a checkpoint",
            time(args.write_seconds),
            from("write_seconds", Assumed),
            "16,384 x 4 GB at the paper's 2 TB/s take 33 s",
        ),
    ]);
    let (origin, note) = match args.interval_seconds {
        Some(_) => (Origin::Given, String::new()),
        None => (
            Derived,
            format!("Young: sqrt(2 x {} x {})", time(args.stop_seconds), time(mix.between_failures(args.gpus))),
        ),
    };
    figures.push(Figure::new("herd: checkpoint interval", time(args.interval(args.gpus, mix)), origin, note));
    let settings = args.ours(args.gpus, mix).settings(args.step_seconds);
    let limits = &settings.limits;
    figures.extend([
        Figure::new(
            "herd: process exit detected",
            format!("after {}", time(args.exit_seconds)),
            from("exit_seconds", Assumed),
            "across machines; `herd launch` on one machine detects it at once",
        ),
        Figure::new(
            "herd: stall limit",
            format!(
                "{} x median of the phase, at least {}, at most {} above the median",
                limits.factor,
                time(limits.floor.as_secs_f64()),
                time(limits.slack.as_secs_f64())
            ),
            Origin::Setting,
            "of the state machine, learned during the simulated run",
        ),
        Figure::new(
            "herd: wait for flight recorders",
            time(settings.dump.as_secs_f64()),
            Origin::Setting,
            "of the state machine",
        ),
        Figure::new(
            "herd: SIGTERM to SIGKILL",
            time(settings.failure_grace.as_secs_f64()),
            Origin::Setting,
            "of the state machine",
        ),
        Figure::new(
            "herd: slow device detected",
            format!("after {}", time(args.slow_seconds)),
            from("slow_seconds", Assumed),
            "",
        ),
        Figure::new(
            "herd: restart, to the first step",
            time(args.restart_seconds),
            from("restart_seconds", Assumed),
            "not measured at any size",
        ),
        Figure::new(
            "peers: checkpoint interval",
            time(args.peer_interval_seconds),
            from("peer_interval_seconds", Assumed),
            "",
        ),
        Figure::new(
            "peers: checkpoint stall",
            time(args.peer_stop_seconds),
            from("peer_stop_seconds", Assumed),
            "training waits for the write",
        ),
        Figure::new(
            "peers: failures detected",
            format!("after {}", time(args.peer_limit_seconds)),
            from("peer_limit_seconds", Assumed),
            "NCCL's default time-out is 10 minutes; process exits are not watched",
        ),
        Figure::new(
            "peers: slow device detected",
            format!("after {}", time(args.peer_slow_seconds)),
            from("peer_slow_seconds", Assumed),
            "",
        ),
        Figure::new(
            "peers: restart, to the first step",
            time(args.peer_restart_seconds),
            from("peer_restart_seconds", Assumed),
            "",
        ),
    ]);
    figures
}

/// Runs `herd plan faults`. The same arguments give the same bytes.
///
/// # Errors
/// When an argument or the file of the mix is invalid, or when a file cannot be written.
pub fn run(args: &Args) -> anyhow::Result<()> {
    args.check()?;
    let resolved = from_flags(args, args.frame.config.as_deref())?;
    if args.frame.shows(&resolved)? {
        return Ok(());
    }
    let mix = args.mix.as_deref().map_or_else(|| Ok(Mix::paper()), Mix::read)?;
    let figures = inputs(args, &mix, &resolved.origins);
    println!("Inputs\n{}", table(&figures));
    let ladder: Vec<Row> =
        args.ladder(args.gpus, &mix).iter().map(|practice| row(args, args.gpus, &mix, practice)).collect();
    let named: Vec<_> = ladder.iter().map(|row| (row.practice.name.clone(), row)).collect();
    println!("Effective time on {} GPUs, {} simulated runs a row", grouped(u64::from(args.gpus)), args.simulations);
    println!("{}", rows_table("policy", &named));
    if let (Some(peers), Some(ours)) = (ladder.first(), ladder.last()) {
        let points = 100.0 * (ours.shares.effective - peers.shares.effective);
        println!("herd's policy is {points:.1} points above the assumed peers'; the paper reports over 90%.\n");
    }
    let ours = args.ours(args.gpus, &mix);
    let mut sweep = Vec::new();
    if args.sweep {
        for factor in [0.25, 0.5, 1.0, 2.0, 4.0, 8.0] {
            let interval = (ours.interval * factor).max(args.step_seconds);
            sweep.push(row(args, args.gpus, &mix, &Practice { interval, ..ours.clone() }));
        }
        let named: Vec<_> = sweep.iter().map(|row| (time(row.practice.interval), row)).collect();
        println!("Other intervals\n{}", rows_table("interval", &named));
    }
    let mut sizes = Vec::new();
    if args.other_sizes {
        for gpus in [8, 64, 512, 2_048, 16_384, 65_536] {
            for practice in [args.peers(), args.ours(gpus, &mix)] {
                sizes.push(row(args, gpus, &mix, &practice));
            }
        }
        let named: Vec<_> = sizes
            .iter()
            .map(|row| {
                let gpus = grouped(u64::from(row.gpus));
                (format!("{gpus}, {}, every {}", row.practice.name, time(row.practice.interval)), row)
            })
            .collect();
        println!("Other sizes\n{}", rows_table("GPUs", &named));
    }
    if let Some(path) = &args.output {
        let noticed = |practice: &Practice| {
            Shows::ALL
                .map(|shows| (shows.as_str(), practice.noticed(shows, args.step_seconds)))
                .into_iter()
                .collect::<BTreeMap<_, _>>()
        };
        let value = json!({
            "inputs": figures,
            "mix": mix,
            "noticed_seconds_in_the_formula": {"herd": noticed(&ours), "peers": noticed(&args.peers())},
            "rows": ladder,
            "intervals": sweep,
            "sizes": sizes,
        });
        dataset::write_file(path, format!("{value:#}\n").as_bytes())?;
    }
    Ok(())
}
