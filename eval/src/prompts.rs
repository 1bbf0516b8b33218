//! The prompts: an embedded file for each benchmark, which a file with the same name in `--prompt-dir DIR` overrides.
//!
//! A file is a conversation: the lines `--- system`, `--- user` and `--- assistant` start a message, and the texts
//! are Jinja templates over the item's fields. Worked examples are turns of the conversation.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use dataset::{Message, Role};
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde_json::Value;

/// The embedded files: the benchmark's name and its text.
const EMBEDDED: [(&str, &str); 12] = [
    ("gsm8k", include_str!("../prompts/gsm8k.txt")),
    ("gsm8k-0shot", include_str!("../prompts/gsm8k-0shot.txt")),
    ("math", include_str!("../prompts/math.txt")),
    ("svamp", include_str!("../prompts/svamp.txt")),
    ("humaneval", include_str!("../prompts/humaneval.txt")),
    ("humaneval+", include_str!("../prompts/humaneval.txt")),
    ("mbpp", include_str!("../prompts/mbpp.txt")),
    ("mbpp+", include_str!("../prompts/mbpp.txt")),
    ("ifeval", include_str!("../prompts/ifeval.txt")),
    ("xstest", include_str!("../prompts/xstest.txt")),
    ("arc", include_str!("../prompts/arc.txt")),
    ("mmlu", include_str!("../prompts/mmlu.txt")),
];

/// The prompts of all benchmarks.
pub struct Prompts {
    texts: BTreeMap<String, String>,
    environment: Environment<'static>,
}

impl Prompts {
    /// The embedded prompts, replaced by those of a folder where it has them.
    ///
    /// # Errors
    /// When a file of the folder belongs to no benchmark, or has no messages.
    pub fn load(folder: Option<&Path>) -> anyhow::Result<Self> {
        let mut texts: BTreeMap<String, String> =
            EMBEDDED.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        for entry in folder.map(std::fs::read_dir).transpose().context("--prompt-dir")?.into_iter().flatten() {
            let path = entry?.path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let known = path.extension().is_some_and(|ending| ending == "txt") && texts.contains_key(&name);
            ensure!(
                known,
                "--prompt-dir: {} belongs to no benchmark; names are {}",
                path.display(),
                EMBEDDED.map(|(name, _)| format!("{name}.txt")).join(", ")
            );
            let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            parts(&text).with_context(|| format!("--prompt-dir: {}", path.display()))?;
            texts.insert(name, text);
        }
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        Ok(Self { texts, environment })
    }

    /// Names and texts, for printing.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// The messages for an item of a benchmark.
    ///
    /// # Errors
    /// When a template cannot be parsed, or names a field that the benchmark's items do not have.
    pub fn messages(&self, task: &str, variables: &Value) -> anyhow::Result<Vec<Message>> {
        let text = self.texts.get(task).with_context(|| format!("no prompt for {task}"))?;
        let place = || format!("the prompt {task}.txt");
        let render = |(role, template): (Role, String)| -> anyhow::Result<Message> {
            let text = self.environment.render_str(&template, Serde(variables)).with_context(place)?;
            Ok(Message::new(role, text))
        };
        parts(text).with_context(place)?.into_iter().map(render).collect()
    }
}

/// The messages of a file, before rendering.
fn parts(text: &str) -> anyhow::Result<Vec<(Role, String)>> {
    let mut parts: Vec<(Role, String)> = Vec::new();
    for line in text.lines() {
        if let Some(role) = line.strip_prefix("--- ") {
            let role = match role.trim() {
                "system" => Role::System,
                "user" => Role::User,
                "assistant" => Role::Assistant,
                other => bail!("{other:?} is not a role; use --- system, --- user or --- assistant"),
            };
            parts.push((role, String::new()));
        } else if let Some((_, part)) = parts.last_mut() {
            part.push_str(line);
            part.push('\n');
        } else {
            ensure!(line.trim().is_empty(), "text before the first message; begin with --- user");
        }
    }
    for (_, part) in &mut parts {
        part.truncate(part.trim_end_matches('\n').len());
    }
    ensure!(parts.last().is_some_and(|(role, _)| *role == Role::User), "the last message must be the user's");
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn examples_are_turns() {
        let prompts = Prompts::load(None).unwrap();
        let messages = prompts.messages("gsm8k", &json!({"question": "How {{many}}?"})).unwrap();
        assert_eq!(messages.len(), 17);
        assert!(messages[16].text().contains("Problem: How {{many}}?\n"));
        assert!(
            messages
                .iter()
                .skip(1)
                .step_by(2)
                .all(|m| m.role == Role::Assistant && m.text().contains("The final answer is "))
        );
        let choices = json!({"question": "Q", "choices": ["a", "b"], "letters": ["A", "B"], "subject": null});
        assert!(prompts.messages("mmlu", &choices).unwrap()[0].text().ends_with("Q\nA. a\nB. b\nAnswer:"));
    }

    #[test]
    fn a_folder_overrides_and_mistakes_are_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("svamp.txt"), "--- system\nBe brief.\n--- user\n{{ question }}\n").unwrap();
        let prompts = Prompts::load(Some(folder.path())).unwrap();
        let messages = prompts.messages("svamp", &json!({"question": "1+1?"})).unwrap();
        assert_eq!(messages, [Message::system("Be brief."), Message::user("1+1?")]);
        assert!(prompts.messages("svamp", &json!({})).is_err());
        for (name, text, wrong) in [
            ("svamp.txt", "hello", "text before the first message"),
            ("svamp.txt", "--- human\nx", "is not a role"),
            ("svamp.txt", "--- assistant\nx", "must be the user's"),
            ("foo.txt", "--- user\nx", "belongs to no benchmark"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(name), text).unwrap();
            let error = format!("{:#}", Prompts::load(Some(folder.path())).err().unwrap());
            assert!(error.contains(wrong), "{error}");
        }
    }
}
