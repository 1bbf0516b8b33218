//! The verdict on a mathematical answer: whether the final answer is right, and whether a step was judged wrong (the
//! Llama 3 paper, section 4.3.3).

use dataset::{Problem, Verdict};
use mathverify::{Options, SolutionVerdict, StepStatus, Verdict as AnswerVerdict};
use serde_json::{Map, json};

/// Judges an answer in this process.
#[must_use]
pub fn verify(problem: &Problem, response: &str) -> Verdict {
    let gold = problem.answer.as_deref().unwrap_or_default();
    let options = Options::default();
    let answer = mathverify::verify(response, gold, &options);
    let steps = mathverify::check_solution(None, &mathverify::split_steps(response), None, &options);
    verdict(&answer, &steps)
}

/// Combines both into one verdict: `passed` if the answer is right and no step is wrong.
#[must_use]
pub fn verdict(answer: &AnswerVerdict, steps: &SolutionVerdict) -> Verdict {
    let correct = answer.is_equal();
    let wrong = steps.first_wrong.and_then(|step| {
        let claim = steps.steps.get(step)?.claims.iter().find(|claim| claim.status == StepStatus::Wrong)?;
        let really = claim.expected.as_ref().map_or(String::new(), |value| format!(", really {value}"));
        Some(format!("step {}: {}{really}", step + 1, claim.text))
    });
    let (status, detail) = match (&answer.verdict, steps.first_wrong) {
        (mathverify::Status::Equal, None) => ("passed", None),
        (mathverify::Status::Equal, Some(step)) => {
            ("wrong_step", Some(wrong.unwrap_or_else(|| format!("step {} is wrong", step + 1))))
        }
        (mathverify::Status::Different, _) => ("wrong_answer", Some(answer.reason.to_string())),
        (mathverify::Status::Unknown, _) => ("unknown", Some(answer.reason.to_string())),
    };
    let count = |status| steps.steps.iter().filter(|step| step.status == status).count();
    let mut extra = Map::new();
    extra.insert("correct".into(), correct.into());
    extra.insert("answer".into(), json!(answer.pred_answer));
    extra.insert("form".into(), json!(answer.pred_form));
    extra.insert("gold".into(), json!(answer.gold_answer));
    extra.insert(
        "steps".into(),
        json!({"correct": count(StepStatus::Correct), "wrong": count(StepStatus::Wrong),
               "not_checkable": count(StepStatus::NotCheckable)}),
    );
    Verdict { passed: status == "passed", status: status.into(), detail, extra }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataset::Kind;

    fn judged(response: &str) -> Verdict {
        let mut problem = Problem::new("p", Kind::Math, vec![]);
        problem.answer = Some("She has 3*4 = <<3*4=12>>12.\n12+5 = <<12+5=17>>17.\n#### 17".into());
        verify(&problem, response)
    }

    #[test]
    fn a_right_answer_needs_steps_that_hold() {
        let good = judged("3 boxes of 4 are 3*4 = 12.\n12 + 5 = 17.\nThe answer is 17.");
        assert!(good.passed && good.extra["correct"] == true, "{good:?}");
        assert_eq!(good.extra["steps"]["wrong"], 0);
        let lucky = judged("3 boxes of 4 are 3*4 = 13.\n13 + 5 = 18.\nThe answer is 17.");
        assert_eq!((lucky.passed, lucky.status.as_str(), &lucky.extra["correct"]), (false, "wrong_step", &json!(true)));
        assert!(lucky.detail.as_deref().is_some_and(|detail| detail.contains("really 12")), "{lucky:?}");
        let wrong = judged("It is 3*4 = 12.\nThe answer is 12.");
        assert_eq!(
            (wrong.passed, wrong.status.as_str(), &wrong.extra["correct"]),
            (false, "wrong_answer", &json!(false))
        );
        assert!(!judged("I do not know.").passed);
        assert_eq!(judged("").status, "unknown");
    }
}
