//! Cases from public bug reports, if `../shared/field/eval-open.jsonl` exists, with what each expects.

use crate::common;

use std::path::Path;

use codeexec::pool::Launcher;
use eval::items::{Item, read};
use eval::prompts::Prompts;
use eval::record::Sample;
use eval::run::{Settings, run};
use eval::score::CodeJudge;
use eval::summary::{summarise, table};
use eval::task::Task;
use llama::SamplingParams;
use sampler::SamplerArgs;
use serde_json::{Value, json};

/// One question of a task, asked of a server that answers every request with `reply`, a status and a body.
fn asked(
    folder: &Path,
    task: Task,
    question: &Value,
    args: &SamplerArgs,
    reply: impl Fn(&Value) -> (u16, Value) + Send + Sync + 'static,
) -> anyhow::Result<Vec<Sample>> {
    let path = folder.join("questions.jsonl");
    std::fs::write(&path, format!("{question}\n")).unwrap();
    let items: Vec<Item> = read(task, &path, &Prompts::load(None).unwrap(), None).unwrap();
    let url = common::serve(move |path, body| {
        if path.ends_with("/models") {
            return (200, json!({"data": [{"id": "m"}]}).to_string().into_bytes());
        }
        let (status, answer) = reply(&serde_json::from_slice(body).unwrap());
        (status, answer.to_string().into_bytes())
    });
    let args = SamplerArgs { endpoint: Some(format!("{url}/v1")), endpoint_retries: 0, ..args.clone() };
    let settings =
        Settings { sampling: SamplingParams::default(), seed: 3, samples: 1, max_new_tokens: Some(50), window: 4 };
    let judge = || -> anyhow::Result<CodeJudge> {
        let worker = test_support::program("codeexec").ok_or_else(|| anyhow::anyhow!("codeexec is not built"))?;
        Ok(CodeJudge::pool(Launcher { program: worker, arguments: vec!["child".into()] }, 1))
    };
    run(&folder.join("run"), "f", &args.open()?, &items, &settings, &judge)
}

fn choice(message: &Value, reason: &Value) -> Value {
    json!({"choices": [{"message": message, "finish_reason": reason}], "usage": {"completion_tokens": 9}})
}

const SUM: &str = "{\"question\": \"How much is 6 times 3?\", \"answer\": \"#### 18\"}";

#[test]
fn public_reports() {
    let Some(path) = test_support::shared("field/eval-open.jsonl") else { return };
    let Some(worker) = test_support::program("codeexec") else { return };
    let status = std::process::Command::new(&worker).arg("setup").status().unwrap();
    assert!(status.success(), "codeexec setup failed");
    let sum: Value = serde_json::from_str(SUM).unwrap();
    let mut faults = Vec::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let (id, input) = (row["id"].as_str().unwrap(), row["input"].clone());
        let folder = tempfile::tempdir().unwrap();
        let plain = SamplerArgs::default();
        // The fields of the input say of which kind a case is.
        let fault = if input["answer"].is_string() {
            // `sq` of these answers multiplies by four.
            let problem = json!({"id": id, "kind": "code", "prompt": input["prompt"], "entry_point": "sq", "tests": ["assert sq(1) == 4"]});
            let message = json!({"role": "assistant", "content": input["answer"]});
            let samples = asked(folder.path(), Task::Problems, &problem, &plain, move |_| {
                (200, choice(&message, &json!("stop")))
            });
            let samples = samples.unwrap();
            (!samples[0].passed).then(|| format!("{:?} {:?}", samples[0].extracted, samples[0].detail))
        } else if input["error"].is_string() {
            // A server that wants the newer name of the length.
            let newer = SamplerArgs { endpoint_max_completion_tokens: true, ..plain };
            let refusal = input["error"].clone();
            let samples = asked(folder.path(), Task::Gsm8kZeroShot, &sum, &newer, move |request| {
                if request.get("max_tokens").is_some() || request["max_completion_tokens"] != json!(50) {
                    return (400, json!({"error": {"message": refusal}}));
                }
                (200, choice(&json!({"content": "The final answer is 18"}), &json!("stop")))
            });
            match samples {
                Ok(samples) => (!samples[0].passed).then(|| format!("{:?}", samples[0].response)),
                Err(error) => Some(format!("{error:#}")),
            }
        } else {
            let message = if input["message"].is_object() { input["message"].clone() } else { input.clone() };
            let reason = input.get("finish_reason").cloned().unwrap_or(json!("stop"));
            let is_empty = message["content"].is_null();
            let samples =
                asked(folder.path(), Task::Gsm8kZeroShot, &sum, &plain, move |_| (200, choice(&message, &reason)));
            let samples = samples.unwrap();
            let summary = summarise(&samples, &[1]);
            let told = table(&summary);
            if is_empty {
                (!told.contains("1 of 1 answers were empty")).then_some(told)
            } else {
                (!samples[0].passed).then(|| format!("{:?}", samples[0].response))
            }
        };
        faults.extend(fault.map(|fault| format!("{id}, expected {}: {input}\n{fault}", row["expected"])));
    }
    assert!(faults.is_empty(), "{} disagree:\n{}", faults.len(), faults.join("\n\n"));
}
