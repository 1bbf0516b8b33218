//! Property tests: laws that hold for all answers, and random expressions compared with independent evaluators.
use mathverify::{Options, Status, compare, verify};
use proptest::prelude::*;

/// An arithmetic expression; [`Tree::value`] computes it with fractions of `i128`.
#[derive(Debug, Clone)]
enum Tree {
    Int(i64),
    Add(Box<Tree>, Box<Tree>),
    Sub(Box<Tree>, Box<Tree>),
    Mul(Box<Tree>, Box<Tree>),
    Div(Box<Tree>, Box<Tree>),
    Square(Box<Tree>),
}

fn gcd(a: i128, b: i128) -> i128 {
    if b == 0 { a.abs().max(1) } else { gcd(b, a % b) }
}

fn reduced(n: i128, d: i128) -> Option<(i128, i128)> {
    if d == 0 || n.abs() > 1 << 60 || d.abs() > 1 << 60 {
        return None;
    }
    let g = gcd(n, d) * d.signum();
    Some((n / g, d / g))
}

impl Tree {
    fn value(&self) -> Option<(i128, i128)> {
        let two = |a: &Tree, b: &Tree| Some((a.value()?, b.value()?));
        match self {
            Tree::Int(n) => Some((i128::from(*n), 1)),
            Tree::Add(a, b) => two(a, b).and_then(|((n, d), (p, q))| reduced(n * q + p * d, d * q)),
            Tree::Sub(a, b) => two(a, b).and_then(|((n, d), (p, q))| reduced(n * q - p * d, d * q)),
            Tree::Mul(a, b) => two(a, b).and_then(|((n, d), (p, q))| reduced(n * p, d * q)),
            Tree::Div(a, b) => two(a, b).and_then(|((n, d), (p, q))| reduced(n * q, d * p)),
            Tree::Square(a) => a.value().and_then(|(n, d)| reduced(n * n, d * d)),
        }
    }

    fn latex(&self) -> String {
        match self {
            Tree::Int(n) if *n < 0 => format!("({n})"),
            Tree::Int(n) => n.to_string(),
            Tree::Add(a, b) => format!("\\left({} + {}\\right)", a.latex(), b.latex()),
            Tree::Sub(a, b) => format!("({} - {})", a.latex(), b.latex()),
            Tree::Mul(a, b) => format!("{} \\cdot {}", a.latex(), b.latex()),
            Tree::Div(a, b) => format!("\\dfrac{{{}}}{{{}}}", a.latex(), b.latex()),
            Tree::Square(a) => format!("({})^{{2}}", a.latex()),
        }
    }

    fn plain(&self) -> String {
        match self {
            Tree::Int(n) if *n < 0 => format!("({n})"),
            Tree::Int(n) => n.to_string(),
            Tree::Add(a, b) => format!("({}+{})", a.plain(), b.plain()),
            Tree::Sub(a, b) => format!("({}-{})", a.plain(), b.plain()),
            Tree::Mul(a, b) => format!("({})*({})", a.plain(), b.plain()),
            Tree::Div(a, b) => format!("(({})/({}))", a.plain(), b.plain()),
            Tree::Square(a) => format!("({})²", a.plain()),
        }
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    (-30_i64..100).prop_map(Tree::Int).prop_recursive(4, 16, 2, |inner| {
        let pair = || (inner.clone().prop_map(Box::new), inner.clone().prop_map(Box::new));
        prop_oneof![
            pair().prop_map(|(a, b)| Tree::Add(a, b)),
            pair().prop_map(|(a, b)| Tree::Sub(a, b)),
            pair().prop_map(|(a, b)| Tree::Mul(a, b)),
            pair().prop_map(|(a, b)| Tree::Div(a, b)),
            inner.clone().prop_map(|a| Tree::Square(Box::new(a))),
        ]
    })
}

/// A formula with functions; [`Formula::value`] computes it in `f64`.
#[derive(Debug, Clone)]
enum Formula {
    Int(u32),
    Pi,
    Two(char, Box<Formula>, Box<Formula>),
    One(&'static str, Box<Formula>),
    Power(Box<Formula>, i32),
}

impl Formula {
    fn value(&self) -> f64 {
        match self {
            Formula::Int(n) => f64::from(*n),
            Formula::Pi => std::f64::consts::PI,
            Formula::Two('+', a, b) => a.value() + b.value(),
            Formula::Two('-', a, b) => a.value() - b.value(),
            Formula::Two('*', a, b) => a.value() * b.value(),
            Formula::Two(_, a, b) => a.value() / b.value(),
            Formula::One("\\sqrt", a) => a.value().sqrt(),
            Formula::One("\\sin", a) => a.value().sin(),
            Formula::One("\\cos", a) => a.value().cos(),
            Formula::One("\\ln", a) => a.value().ln(),
            Formula::One("\\arctan", a) => a.value().atan(),
            Formula::One(_, a) => a.value().exp(),
            Formula::Power(a, n) => a.value().powi(*n),
        }
    }

    /// Whether no intermediate value is so large or small that `f64` loses the compared digits.
    fn tame(&self) -> bool {
        let inside = match self {
            Formula::Two(_, a, b) => a.tame() && b.tame(),
            Formula::One(_, a) | Formula::Power(a, _) => a.tame(),
            _ => true,
        };
        inside && (1e-3..1e6).contains(&self.value().abs())
    }

    fn latex(&self) -> String {
        match self {
            Formula::Int(n) => n.to_string(),
            Formula::Pi => "\\pi".to_owned(),
            Formula::Two('/', a, b) => format!("\\frac{{{}}}{{{}}}", a.latex(), b.latex()),
            Formula::Two('*', a, b) => format!("\\left({}\\right)\\left({}\\right)", a.latex(), b.latex()),
            Formula::Two(op, a, b) => format!("({}) {op} ({})", a.latex(), b.latex()),
            Formula::One("\\sqrt", a) => format!("\\sqrt{{{}}}", a.latex()),
            Formula::One("exp", a) => format!("e^{{{}}}", a.latex()),
            Formula::One(f, a) => format!("{f}\\left({}\\right)", a.latex()),
            Formula::Power(a, n) => format!("\\left({}\\right)^{{{n}}}", a.latex()),
        }
    }
}

fn formula() -> impl Strategy<Value = Formula> {
    let leaf = prop_oneof![(1_u32..40).prop_map(Formula::Int), Just(Formula::Pi)];
    leaf.prop_recursive(3, 10, 2, |inner| {
        let boxed = || inner.clone().prop_map(Box::new);
        prop_oneof![
            (prop::sample::select(vec!['+', '-', '*', '/']), boxed(), boxed())
                .prop_map(|(op, a, b)| Formula::Two(op, a, b)),
            (prop::sample::select(vec!["\\sqrt", "\\sin", "\\cos", "\\ln", "\\arctan", "exp"]), boxed())
                .prop_map(|(f, a)| Formula::One(f, a)),
            (boxed(), 2_i32..4).prop_map(|(a, n)| Formula::Power(a, n)),
        ]
    })
}

/// Coefficients of the monic polynomial with these roots, the lowest power first.
fn expanded(roots: &[i64]) -> Vec<i64> {
    let mut coefficients = vec![1];
    for r in roots {
        let mut next = vec![0; coefficients.len() + 1];
        for (i, c) in coefficients.iter().enumerate() {
            next[i + 1] += c;
            next[i] -= r * c;
        }
        coefficients = next;
    }
    coefficients
}

fn polynomial(coefficients: &[i64]) -> String {
    coefficients.iter().enumerate().rev().map(|(i, c)| format!("{c:+}x^{{{i}}}")).collect()
}

/// Random sequences of pieces of answers; most of them parse, not all of them have a meaning.
fn answer() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "1",
        "2",
        "12",
        "0.5",
        "1,000",
        "x",
        "y",
        "\\pi",
        "e",
        "i",
        "+",
        "-",
        "\\cdot ",
        "/",
        "^2",
        "^{x}",
        "(",
        ")",
        "[",
        "]",
        "\\{",
        "\\}",
        ",",
        "\\frac{1}{2}",
        "\\sqrt{3}",
        "\\sin x",
        "=",
        "<",
        "\\le ",
        "\\cup ",
        "\\infty",
        "\\pm ",
        "%",
        "^\\circ",
        "\\text{ cm}",
        "!",
        "|",
        "_2",
        " and ",
        ";",
        "\\binom{5}{2}",
        "\\in ",
        "\\mathbb{R}",
        "x=",
        "½",
        "√2",
    ]);
    prop::collection::vec(piece, 1..9).prop_map(|p| p.concat())
}

fn status(a: &str, b: &str) -> Status {
    compare(a, b, &Options::default()).status
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn arithmetic_agrees_with_the_evaluator(tree in tree()) {
        let Some((n, d)) = tree.value() else { return Ok(()) };
        let value = if d == 1 { n.to_string() } else { format!("\\frac{{{n}}}{{{d}}}") };
        for text in [tree.latex(), tree.plain()] {
            prop_assert_eq!(status(&text, &value), Status::Equal, "{} = {}", text, value);
            // 7n/(7d) has the same value, (7n + 1)/(7d) has another.
            let same = format!("{}/{}", 7 * n, 7 * d);
            prop_assert_eq!(status(&text, &same), Status::Equal, "{} = {}", text, same);
            let other = format!("{}/{}", 7 * n + 1, 7 * d);
            prop_assert_eq!(status(&text, &other), Status::Different, "{} = {}", text, other);
        }
    }

    #[test]
    fn functions_agree_with_machine_arithmetic(formula in formula()) {
        let value = formula.value();
        if !(0.1..1e4).contains(&value.abs()) || !formula.tame() {
            return Ok(());
        }
        let text = formula.latex();
        let rounded = format!("{value:.6}");
        prop_assert_eq!(status(&text, &rounded), Status::Equal, "{} = {}", text, rounded);
        let other = format!("{:.6}", value * 1.0001);
        prop_assert_eq!(status(&text, &other), Status::Different, "{} and {}", text, other);
    }

    #[test]
    fn factored_and_expanded_polynomials(roots in prop::collection::vec(-9_i64..10, 1..6), place in 0_usize..6, change in 1_i64..4) {
        let factored: String = roots.iter().map(|r| format!("(x{:+})", -r)).collect();
        let mut coefficients = expanded(&roots);
        prop_assert_eq!(status(&factored, &polynomial(&coefficients)), Status::Equal);
        let place = place % coefficients.len();
        coefficients[place] += change;
        prop_assert_eq!(status(&factored, &polynomial(&coefficients)), Status::Different);
        // The normal form does not decide about arguments of functions: the numeric tier must.
        let (f, p) = (format!("\\cos({factored})"), format!("\\sin(\\frac{{\\pi}}{{2}} - ({}))", polynomial(&expanded(&roots))));
        prop_assert_eq!(status(&f, &p), Status::Equal);
    }

    #[test]
    fn surds(a in 1_i64..60, b in 2_i64..60, c in 1_i64..9) {
        prop_assert_eq!(status(&format!("{c}\\sqrt{{{}}}", a * a * b), &format!("{}\\sqrt{{{b}}}", a * c)), Status::Equal);
        prop_assert_eq!(status(&format!("\\frac{{{a}}}{{\\sqrt{{{b}}}}}"), &format!("\\frac{{{a}\\sqrt{{{b}}}}}{{{b}}}")), Status::Equal);
        prop_assert_eq!(status(&format!("({a}+\\sqrt{{{b}}})^2"), &format!("{}+{}\\sqrt{{{b}}}", a * a + b, 2 * a)), Status::Equal);
        prop_assert_eq!(status(&format!("\\sqrt{{{}+{}\\sqrt{{{b}}}}}", a * a + b, 2 * a), &format!("{a}+\\sqrt{{{b}}}")), Status::Equal);
        prop_assert_eq!(status(&format!("{a}+\\sqrt{{{b}}}"), &format!("{a}+\\sqrt{{{}}}", b + 1)), Status::Different);
    }

    #[test]
    fn symmetry(a in answer(), b in answer()) {
        prop_assert_eq!(status(&a, &b), status(&b, &a), "{} and {}", a, b);
        let (forward, backward) = (verify(&a, &b, &Options::default()), verify(&b, &a, &Options::default()));
        // If extraction takes the same answers in both directions, the verdict must be symmetric.
        if forward.pred_answer == backward.gold_answer && forward.gold_answer == backward.pred_answer {
            prop_assert_eq!(forward.is_equal(), backward.is_equal(), "{} and {}", a, b);
        }
    }

    #[test]
    fn reflexivity_and_white_space(a in answer()) {
        if status(&a, &a) == Status::Equal {
            for spelled in [format!("  {a} "), format!("${a}$"), format!("\\({a}\\)"), a.replace(',', ", "), format!("{a}.")] {
                prop_assert_ne!(status(&a, &spelled), Status::Different, "{} and {}", a, spelled);
            }
        }
    }

    #[test]
    fn any_text_ends(text in ".{0,300}", other in ".{0,60}") {
        let verdict = verify(&text, &other, &Options::default());
        prop_assert!(verdict.gold_answer.is_some());
    }

    #[test]
    fn a_box_says_the_same_as_its_content(n in -1_000_000_i64..1_000_000, words in "[a-z ]{0,40}") {
        let text = format!("Thus {words} we get 17.\n\nThe result is $\\boxed{{{n}}}$.");
        prop_assert!(verify(&text, &n.to_string(), &Options::default()).is_equal());
        prop_assert!(!verify(&text, &(n + 1).to_string(), &Options::default()).is_equal());
    }
}

/// Many threads give the same verdicts as one thread.
#[test]
fn threads_agree() {
    use rayon::prelude::*;
    let pairs: Vec<(String, String)> =
        (2..400).map(|n| (format!("\\sqrt{{{n}}}+\\ln {n}"), format!("\\frac12 \\ln({n}^2)+{n}^{{1/2}}"))).collect();
    let one: Vec<Status> = pairs.iter().map(|(a, b)| status(a, b)).collect();
    let many: Vec<Status> = pairs.par_iter().map(|(a, b)| status(a, b)).collect();
    assert_eq!(one, many);
    assert!(one.iter().all(|s| *s == Status::Equal));
}
