//! Inputs on which other graders hang, overflow the stack or run out of memory. The time limit here only detects hangs;
//! `benches/peer.rs` measures the times.
use std::time::{Duration, Instant};

/// CPU time of this thread, which does not depend on the load of the machine. On systems without `/proc`, the
/// wall-clock time since the first call.
fn spent() -> Duration {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.as_deref().and_then(|text| text.split(' ').next()).and_then(|first| first.parse().ok());
    nanoseconds.map_or_else(|| START.elapsed(), Duration::from_nanos)
}

use mathverify::{Options, Status, Verdict, check_solution, split_steps, verify};

/// Time limit of a check: far above the 50 ms of the benchmark, so that a debug build on a loaded machine passes.
const HANG: Duration = Duration::from_secs(5);

fn quick(pred: &str, gold: &str) -> Verdict {
    let start = spent();
    let verdict = verify(pred, gold, &Options::default());
    assert!(spent().saturating_sub(start) < HANG, "{:?} for {:.60}", spent().saturating_sub(start), pred);
    verdict
}

#[test]
fn power_towers() {
    for tower in [
        "9^{9^{9^{9}}}",
        "10^{10^{10}}",
        "2^{2^{2^{2^{2^{2}}}}}",
        "(((9^9)^9)^9)^9",
        "e^{e^{e^{e^{e}}}}",
        "99999999!",
        "\\binom{1000000}{500000}",
    ] {
        assert_ne!(quick(tower, "7").verdict, Status::Equal, "{tower}");
        assert!(quick(tower, tower).is_equal());
        assert_ne!(quick(tower, &format!("{tower}+1")).verdict, Status::Equal);
    }
}

/// A polynomial term whose coefficient grows to tens of thousands of bits. Fuzzing found that this input took seconds
/// while the budget counted only terms. The budget must end the check, on every machine.
#[test]
fn long_coefficients_are_paid_for() {
    let percent = |n: usize| "%".repeat(n);
    for base in ["x", "x+1"] {
        let pred = format!("({base}){}^3{}^{{31}}{}^3", percent(45), percent(36), percent(18));
        for (a, b) in [(pred.as_str(), "y"), ("y", pred.as_str())] {
            let verdict = quick(a, b);
            assert_eq!((verdict.verdict, &*verdict.reason), (Status::Unknown, "larger than the budget"), "{a}");
        }
    }
}

#[test]
fn long_numbers() {
    let long = "7".repeat(10_000);
    assert!(quick(&long, &long).is_equal());
    let other = format!("{}8", "7".repeat(9_999));
    assert_eq!(quick(&long, &other).verdict, Status::Different);
    assert_ne!(quick(&format!("{long}/{other}"), "1").verdict, Status::Equal);
    assert_ne!(quick(&format!("\\sqrt{{{long}}}"), "1").verdict, Status::Equal);
    assert_ne!(quick(&format!("0.{long}"), &format!("0.{other}")).verdict, Status::Equal);
    assert_eq!(quick("1/2^{99}", "1/2^{98}").verdict, Status::Different);
}

#[test]
fn deep_nesting() {
    for (open, close) in [
        ("(", ")"),
        ("{", "}"),
        ("\\sqrt{", "}"),
        ("\\frac{1}{", "}"),
        ("\\boxed{", "}"),
        ("[", "]"),
        ("|", "|"),
        ("x^{", "}"),
        ("-", ""),
        ("\\text{", "}"),
        ("\\left(", "\\right)"),
        ("\\{", "\\}"),
        ("\\begin{pmatrix}", "\\end{pmatrix}"),
        ("\\mathrm{", "}"),
        ("2^", ""),
        ("x_", ""),
        ("\\sin ", ""),
    ] {
        for depth in [40, 1_000, 100_000] {
            let text = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            quick(&text, "2");
            quick("1", &text);
            let boxed = format!("so $\\boxed{{{text}}}$");
            quick(&boxed, "1");
        }
    }
}

#[test]
fn megabytes() {
    let line = "The sum is $x^2 + 3 = 12$, so **12** and \\(\\frac{1}{2}\\) = 3 + 4 = 7. ";
    for piece in [
        line,
        "1 + ",
        "$",
        "\\",
        "{",
        "\\boxed{",
        "\\boxed{1} and ",
        "(1,",
        "<<",
        "a=",
        "=",
        "1,234,",
        "**",
        "answer is ",
        "####",
        "½",
        "答案是",
        "\n\n",
        "|x",
        "1/",
        "\\[",
        "if 2+2=",
    ] {
        let text = piece.repeat((1 << 20) / piece.len());
        quick(&text, "7");
        quick("7", &text);
        let start = spent();
        let steps = split_steps(&text);
        let _ = check_solution(None, &steps[..steps.len().min(1_000)], None, &Options::default());
        assert!(
            spent().saturating_sub(start) < HANG * 4,
            "{:?} for the steps of {piece:?}",
            spent().saturating_sub(start)
        );
    }
}

#[test]
fn wide_structures() {
    let list =
        |n: usize, step: usize| (0..n).map(|i| format!("\\sqrt{{{}}}", i * step + 2)).collect::<Vec<_>>().join(", ");
    quick(&list(100, 1), &list(100, 3));
    quick(&list(1_000, 1), &list(1_000, 3));
    let sum = |n: usize| (0..n).map(|i| format!("\\sin({i}x)")).collect::<Vec<_>>().join("+");
    quick(&sum(300), &sum(301));
    quick("\\sum_{k=1}^{100000} \\sin k", "1");
    quick("\\sum_{a=1}^{2000}\\sum_{b=1}^{2000}\\sum_{c=1}^{2000} a b c", "1");
    let matrix = format!("\\begin{{pmatrix}} {} \\end{{pmatrix}}", ["1 & 2 & 3 & 4"; 4].join("\\\\"));
    quick(&format!("{matrix}^8"), &matrix);
    quick(&matrix.repeat(30), &matrix);
    quick(&format!("(x+y+z+w)^{{60}} {}", "(x+1)".repeat(60)), "1");
    quick(&"1 \\pm ".repeat(400), "1");
    quick(&format!("[{}]", "(1,2)\\cup".repeat(500)), "(1,2)");
}

/// Many expensive parts of one answer or solution share one budget.
#[test]
fn many_dear_parts() {
    let list = |f: &dyn Fn(usize) -> String, n: usize, between: &str| (0..n).map(f).collect::<Vec<_>>().join(between);
    let binomials = |top: usize| list(&|i| format!("\\binom{{{top}}}{{{}}}", 340 - i), 100, ", ");
    quick(&binomials(20_000), &binomials(20_001));
    quick("\\sum_{k=1}^{2000} \\binom{20000}{k}", "1");
    let powers = |from: usize| list(&|i| format!("7^{{{}}}", from + i), 100, ", ");
    quick(&powers(20_000), &powers(21_000));
    quick(&list(&|i| format!("(e^{{{i}/7}},e^{{{i}/7+0.1}})"), 300, "\\cup "), "(1,2)");
    quick(&list(&|i| format!("(x+y+z+{i})^9"), 12, ", "), &list(&|i| format!("(x+y+{i}+z)^9+1"), 12, ", "));
    let matrix = format!("\\begin{{pmatrix}} {} \\end{{pmatrix}}", ["x & 2 & 3 & y"; 4].join("\\\\"));
    quick(&format!("{matrix}^8"), &format!("{matrix}^7"));
    for step in [
        "$\\sqrt{7}+\\sqrt[3]{11}+e^{5} = \\sqrt{13}+e^{5}$",
        "Simplify $x = (x+1)^{7} = x^7 + 3$.",
        "$(x+1)^{9} = 3 \\implies x = 5$",
        "3 * 4 = 13",
        "20% of 80 is 17",
    ] {
        let steps = vec![step.to_owned(); 20_000];
        let start = spent();
        let checked = check_solution(None, &steps, None, &Options::default());
        assert!(spent().saturating_sub(start) < HANG, "{:?} for {step}", spent().saturating_sub(start));
        assert_eq!(checked.steps.len(), steps.len());
    }
}

#[test]
fn odd_characters() {
    for text in [
        "\u{0}",
        "\u{feff}7",
        "7\u{200b}",
        "\u{202e}7",
        "７",
        "٧",
        "½½½",
        "²²²",
        "\\",
        "\\\\\\",
        "$$$",
        "{}{}{}",
        "🙂 = 🙂",
        "x\u{301}",
    ] {
        quick(text, "7");
        quick("7", text);
    }
    assert!(quick("７", "7").is_equal());
    assert!(quick("٧", "7").is_equal());
}

/// Comparing powers of decimals with tens of thousands of bits counts against the budget. Fuzzing found that it took a
/// third of a second.
#[test]
fn long_decimals_in_steps_are_paid_for() {
    let powers = "22+2==2+22202=2222.244**2244=222202=2222.244**2244=222:0=2144**2===2222.244**2244=222202";
    let start = spent();
    let checked = check_solution(None, &split_steps(powers), None, &Options::default());
    assert!(spent().saturating_sub(start) < HANG);
    assert_eq!(checked.steps.len(), 1);
}

/// Prints the slowest inputs of a fuzzer's corpus. It is run by hand, since it asserts no times:
/// `MATHVERIFY_CORPUS=FOLDER cargo test -p mathverify --test main slowest -- --ignored --nocapture`.
#[test]
#[ignore = "needs MATHVERIFY_CORPUS, a folder of inputs"]
fn slowest_of_a_corpus() {
    let mut times: Vec<(Duration, &str, String)> = Vec::new();
    for entry in std::fs::read_dir(std::env::var("MATHVERIFY_CORPUS").unwrap()).unwrap() {
        let path = entry.unwrap().path();
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let (a, b) = text.split_once('\n').unwrap_or((&text, ""));
        let timed = |work: &dyn Fn()| {
            let start = spent();
            work();
            spent().saturating_sub(start)
        };
        times.push((timed(&|| drop(verify(a, b, &Options::default()))), "verify", name.clone()));
        let steps = split_steps(&text);
        times.push((timed(&|| drop(check_solution(None, &steps, None, &Options::default()))), "steps", name));
    }
    times.sort();
    for (time, what, name) in times.iter().rev().take(10) {
        println!("{:8.1} ms  {what}  {name}", time.as_secs_f64() * 1e3);
    }
    println!("{} runs, {:.1} s in all", times.len(), times.iter().map(|t| t.0).sum::<Duration>().as_secs_f64());
}
