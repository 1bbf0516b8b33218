//! One sample from its first question to its last verdict, as a function of its history. The next step is always
//! computed from the history and never stored, so a killed run continues from its answers and verdicts alone.
//!
//! For programs, this is the execution-feedback loop of the Llama 3 paper (section 4.3.1): generate, run with tests,
//! return the failures to the model, let the model repair, and keep dialogs whose last program passes. If a problem
//! has no tests, the model writes them, and may repair the program or the tests.

use dataset::{Kind, Message, Problem, Verdict};
use serde::{Deserialize, Serialize};

use super::programs;

/// The status of a sample that no verifier could judge.
pub const UNVERIFIED: &str = "unverified";

/// An answer of the model, or the reason why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// The answer.
    Answer(Answer),
    /// The cause of the failure.
    Failed(String),
}

/// An answer of the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The text.
    pub text: String,
    /// The reason why it ended: `stop`, `length` or a server's term.
    pub finish_reason: String,
    /// Sum of the tokens' log-probabilities, if known.
    pub logprob: Option<f64>,
    /// Number of tokens.
    pub tokens: u64,
}

/// Settings of the program loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loop {
    /// Maximum number of repairs of a failed program.
    pub repairs: u64,
    /// Whether the model writes tests for a problem that has none.
    pub write_tests: bool,
}

/// A sample's history.
#[derive(Debug, Clone, Copy)]
pub struct History<'a> {
    /// The problem.
    pub problem: &'a Problem,
    /// The prompt of the request, with the steering system prompt.
    pub prompt: &'a [Message],
    /// The model's turns so far.
    pub turns: &'a [&'a Turn],
    /// The verdicts so far, each with the index of its turn.
    pub verdicts: &'a [(usize, &'a Verdict)],
}

/// The next step.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Ask the model.
    Ask(Vec<Message>),
    /// Verify the answer of the last turn.
    Verify,
    /// Nothing is left to do.
    Done,
}

impl History<'_> {
    /// The next step of this history.
    #[must_use]
    pub fn next(&self, rules: &Loop) -> Step {
        let Some(last) = self.turns.last() else { return Step::Ask(self.prompt.to_vec()) };
        if matches!(last, Turn::Failed(_)) || !self.is_verifiable(rules) {
            return Step::Done;
        }
        let own_tests = self.has_own_tests(rules);
        let ask = |what: String| {
            let mut messages = self.messages();
            messages.push(Message::user(what));
            Step::Ask(messages)
        };
        if own_tests && self.turns.len() == 1 {
            return ask(write_tests(self.problem));
        }
        match self.verdicts.last() {
            Some((turn, verdict)) if *turn + 1 == self.turns.len() => {
                let repaired = self.turns.len() as u64 - 1 - u64::from(own_tests);
                if self.problem.kind != Kind::Code
                    || verdict.passed
                    || verdict.status == UNVERIFIED
                    || repaired >= rules.repairs
                {
                    return Step::Done;
                }
                ask(self.feedback(verdict))
            }
            _ => Step::Verify,
        }
    }

    /// Whether a verifier can judge this problem.
    #[must_use]
    pub fn is_verifiable(&self, rules: &Loop) -> bool {
        match self.problem.kind {
            Kind::Math => self.problem.answer.is_some(),
            Kind::Code => self.problem.tests.is_some() || rules.write_tests,
            Kind::Chat | Kind::Safety => false,
        }
    }

    /// Whether the model writes the tests.
    fn has_own_tests(&self, rules: &Loop) -> bool {
        self.problem.kind == Kind::Code && self.problem.tests.is_none() && rules.write_tests
    }

    /// The dialog so far: the prompt, and each answer with the feedback on it. It ends with the model's last turn.
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        let mut messages = self.prompt.to_vec();
        for (index, turn) in self.turns.iter().enumerate() {
            let Turn::Answer(answer) = turn else { break };
            messages.push(Message::assistant(answer.text.clone()));
            if index + 1 == self.turns.len() {
                break;
            }
            let verdict = self.verdicts.iter().find(|(of, _)| *of == index).map(|(_, verdict)| *verdict);
            messages.push(Message::user(
                verdict.map_or_else(|| write_tests(self.problem), |verdict| self.feedback(verdict)),
            ));
        }
        messages
    }

    /// The feedback to the model on a failed program.
    fn feedback(&self, verdict: &Verdict) -> String {
        let mut text = format!("I ran this and it did not pass ({}).", verdict.status);
        let mut part = |heading: &str, content: &str| {
            if !content.trim().is_empty() {
                text += &format!("\n\n{heading}:\n```\n{}\n```", content.trim_end());
            }
        };
        part("What went wrong", verdict.detail.as_deref().unwrap_or_default());
        let failed: Vec<String> =
            verdict.extra.get("tests").and_then(|tests| tests.as_array()).map_or_else(Vec::new, |tests| {
                let failed = tests.iter().filter(|test| test["passed"] == false).take(3);
                let line = |test: &serde_json::Value| {
                    let (name, message) = (test["name"].as_str(), test["message"].as_str());
                    format!("{}\n    {}", name.unwrap_or_default(), message.unwrap_or_default())
                };
                failed.map(line).collect()
            });
        part("Failed tests", &failed.join("\n"));
        let output = |name: &str| verdict.extra.get(name).and_then(|value| value.as_str()).unwrap_or_default();
        part("Standard output", output("stdout"));
        part("Standard error", output("stderr"));
        let ask = if self.problem.tests.is_some() {
            "\n\nPlease correct the program and give all of it in one code block."
        } else {
            "\n\nPlease correct the program or its tests, whichever is wrong, and give both in full: first the program in \
             a code block, then the tests in another."
        };
        text + ask
    }
}

/// The request for tests after a program, for a problem without tests: assertions that `codeexec` can run in the
/// problem's language.
fn write_tests(problem: &Problem) -> String {
    let language = programs::language(problem);
    let known = codeexec::languages::find(language).map_or("", |language| language.name());
    let what = match known {
        "python" => "plain assert statements",
        "javascript" => "plain assertions of Node's assert module, such as `assert.deepStrictEqual(f(1), [2]);`",
        "php" => "plain assertions, such as `assert(f(1) === 2);`",
        "ruby" => "plain assertions of Minitest, such as `assert_equal 2, f(1)`",
        "c" | "cpp" => "plain assertions, such as `assert(f(1) == 2);`, without a main function",
        _ => "plain assertions",
    };
    format!("Now write tests for this program: {what}, one a line, in one code block, without the program itself.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataset::Role;

    fn answer(text: &str) -> Turn {
        Turn::Answer(Answer { text: text.into(), finish_reason: "stop".into(), logprob: None, tokens: 1 })
    }

    fn verdict(passed: bool, status: &str) -> Verdict {
        let json = serde_json::json!({"passed": passed, "status": status, "detail": "1 of 2 tests failed", "stderr":
            "Traceback", "tests": [{"name": "assert f(1) == 2", "passed": false, "message": "got 1"}]});
        serde_json::from_value(json).unwrap()
    }

    fn step(problem: &Problem, turns: &[&Turn], verdicts: &[(usize, &Verdict)], rules: Loop) -> Step {
        History { problem, prompt: &problem.prompt, turns, verdicts }.next(&rules)
    }

    fn problem(kind: Kind, tests: bool) -> Problem {
        let mut problem = Problem::new("p", kind, vec![Message::user("Do it.")]);
        problem.answer = Some("4".into());
        problem.tests = tests.then(|| serde_json::json!(["assert f(1) == 2"]));
        problem
    }

    const RULES: Loop = Loop { repairs: 2, write_tests: true };

    #[test]
    fn maths_is_asked_and_verified_once() {
        let problem = problem(Kind::Math, false);
        let (said, wrong) = (answer("4"), verdict(false, "wrong-answer"));
        assert_eq!(step(&problem, &[], &[], RULES), Step::Ask(problem.prompt.clone()));
        assert_eq!(step(&problem, &[&said], &[], RULES), Step::Verify);
        assert_eq!(step(&problem, &[&said], &[(0, &wrong)], RULES), Step::Done);
        assert_eq!(step(&problem, &[&Turn::Failed("no answer".into())], &[], RULES), Step::Done);
    }

    #[test]
    fn a_failed_program_is_repaired_until_it_passes_or_the_attempts_are_used_up() {
        let problem = problem(Kind::Code, true);
        let (said, wrong, right) = (answer("def f(x): ..."), verdict(false, "failed"), verdict(true, "passed"));
        assert_eq!(step(&problem, &[&said], &[], RULES), Step::Verify);
        let Step::Ask(messages) = step(&problem, &[&said], &[(0, &wrong)], RULES) else { panic!("no repair") };
        let roles: Vec<Role> = messages.iter().map(|message| message.role).collect();
        assert_eq!(roles, [Role::User, Role::Assistant, Role::User]);
        let told = messages[2].text();
        for part in
            ["(failed)", "1 of 2 tests failed", "assert f(1) == 2\n    got 1", "Traceback", "correct the program"]
        {
            assert!(told.contains(part), "{told}");
        }
        let turns = [&said, &said, &said];
        assert_eq!(step(&problem, &turns[..2], &[(0, &wrong)], RULES), Step::Verify);
        assert_eq!(step(&problem, &turns[..2], &[(0, &wrong), (1, &right)], RULES), Step::Done);
        assert_eq!(step(&problem, &turns, &[(0, &wrong), (1, &wrong), (2, &wrong)], RULES), Step::Done);
        let lost = verdict(false, UNVERIFIED);
        assert_eq!(step(&problem, &[&said], &[(0, &lost)], RULES), Step::Done);
        let none = Loop { repairs: 0, write_tests: false };
        assert_eq!(step(&problem, &[&said], &[(0, &wrong)], none), Step::Done);
    }

    #[test]
    fn the_model_writes_tests_where_there_are_none() {
        let problem = problem(Kind::Code, false);
        let (said, wrong) = (answer("def f(x): ..."), verdict(false, "failed"));
        let Step::Ask(messages) = step(&problem, &[&said], &[], RULES) else { panic!("no tests asked for") };
        assert!(messages[2].text().contains("assert statements"));
        assert_eq!(step(&problem, &[&said, &said], &[], RULES), Step::Verify);
        let Step::Ask(messages) = step(&problem, &[&said, &said], &[(1, &wrong)], RULES) else { panic!("no repair") };
        assert_eq!(messages.len(), 5);
        assert!(messages[4].text().contains("the program or its tests"));
        let turns = [&said, &said, &said, &said];
        let verdicts = [(1, &wrong), (2, &wrong), (3, &wrong)];
        assert_eq!(step(&problem, &turns, &verdicts, RULES), Step::Done);
        for (language, form) in [
            ("js", "assert.deepStrictEqual"),
            ("php", "assert(f(1) === 2);"),
            ("Ruby", "assert_equal"),
            ("c", "without a main"),
            ("c++", "without a main"),
            ("cobol", "plain assertions, one a line"),
        ] {
            let problem = Problem { language: Some(language.into()), ..problem.clone() };
            let Step::Ask(messages) = step(&problem, &[&said], &[], RULES) else { panic!("no tests asked for") };
            assert!(messages[2].text().contains(form), "{}", messages[2].text());
            let Step::Ask(again) = step(&problem, &[&said, &said], &[(1, &wrong)], RULES) else { panic!("no repair") };
            assert_eq!(again[..3], messages[..], "the history says what was asked");
        }
        // Without tests there is nothing to verify with.
        assert_eq!(step(&problem, &[&said], &[], Loop { repairs: 2, write_tests: false }), Step::Done);
    }
}
