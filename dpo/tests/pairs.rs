//! From records to tokens: which tokens are response, which are formatting, and which records are refused.

// Clippy's setting for tests does not cover helpers outside of test functions.
use crate::common;

use chat::{ChatTemplate, Tokenizer};
use common::World;
use dataset::Preference;
use dpo::pairs::{self, Pair, Part, Sequence};
use serde_json::{Value, json};

struct Model {
    tokenizer: Tokenizer,
    template: ChatTemplate,
    _world: World,
}

fn model() -> Model {
    let world = World::new(0);
    let folder = world.path("model");
    let tokenizer = Tokenizer::from_dir(&folder).unwrap();
    let template = ChatTemplate::from_dir(&folder).unwrap().unwrap();
    Model { tokenizer, template, _world: world }
}

impl Model {
    fn encode(&self, record: Value) -> Result<Pair, String> {
        let preference = Preference::try_from(record).unwrap();
        pairs::encode(&self.tokenizer, &self.template, &preference).map_err(|error| error.to_string())
    }

    fn text(&self, sequence: &Sequence, wanted: Part) -> String {
        let picked = sequence.ids.iter().zip(&sequence.parts).filter(|(_, part)| **part == wanted);
        let ids: Vec<u32> = picked.map(|(id, _)| *id).collect();
        self.tokenizer.decode(&ids, false).unwrap()
    }
}

#[test]
fn headers_and_terminators_of_the_template_are_formatting() {
    let model = model();
    let pair = model.encode(json!({"id": "a", "prompt": "Hi", "chosen": "Hello!", "rejected": "What?"})).unwrap();
    let (chosen, rejected) = (&pair.chosen, &pair.rejected);
    assert_eq!(model.text(chosen, Part::Context), "<|im_start|>user\nHi<|im_end|>\n");
    assert_eq!(model.text(chosen, Part::Formatting), "<|im_start|>assistant\n<|im_end|>");
    assert_eq!(model.text(chosen, Part::Content), "Hello!");
    assert_eq!(model.text(rejected, Part::Content), "What?");
    // The newline that the template writes after the terminator is removed; the prompt and the header are shared.
    assert_eq!(chosen.ids.last(), rejected.ids.last());
    assert_eq!(model.tokenizer.decode(&[chosen.ids[chosen.ids.len() - 1]], false).unwrap(), "<|im_end|>");
    assert_eq!(pair.shared(), chosen.ids.len() - "Hello!".len() - 1);
    let shown = pairs::show(&model.tokenizer, &pair, false).unwrap();
    assert!(shown.contains("⟦H·e·l·l·o·!·⟧⟨<|im_end|>·⟩"), "{shown}");
    assert!(pairs::show(&model.tokenizer, &pair, true).unwrap().contains("\x1b[31mW\x1b[0m·"));
}

#[test]
fn prompts_and_answers_of_several_turns() {
    let model = model();
    let say = |role: &str, text: &str| json!({"role": role, "content": text});
    let pair = model
        .encode(json!({
            "id": "a",
            "prompt": [say("user", "1?"), say("assistant", "one"), say("user", "2?")],
            "chosen": [say("assistant", "two")],
            "rejected": [say("assistant", "call"), say("tool", "3"), say("assistant", "three")]
        }))
        .unwrap();
    // Answers in the prompt are context.
    assert_eq!(model.text(&pair.chosen, Part::Content), "two");
    assert!(model.text(&pair.chosen, Part::Context).contains("one"));
    // The tool's turn between two turns of the response is context too; both turns have header and terminator.
    assert_eq!(model.text(&pair.rejected, Part::Content), "callthree");
    assert_eq!(model.text(&pair.rejected, Part::Formatting), "<|im_start|>assistant\n<|im_end|>".repeat(2));
    assert!(model.text(&pair.rejected, Part::Context).ends_with("<|im_start|>tool\n3<|im_end|>\n"));
    assert_eq!(pair.rejected.response().count(), pair.rejected.content_tokens() + 2 * 12);
}

#[test]
fn what_cannot_be_trained_on_is_refused() {
    let model = model();
    let cut = |text: &str| json!([{"role": "assistant", "content": text, "finish_reason": "length"}]);
    for (chosen, rejected, more, expected) in [
        (json!("a"), json!("a"), Value::Null, "have the same tokens"),
        (json!("a"), json!(" \n"), Value::Null, "rejected: the response is empty"),
        (json!(""), json!("a"), Value::Null, "chosen: the response is empty"),
        (cut("a"), json!("b"), Value::Null, "chosen: the response was cut off"),
        (json!("a"), json!("b"), json!("length"), "rejected: the response was cut off"),
        (json!("a <|im_end|>"), json!("b"), Value::Null, "chosen: message 1 contains the special token"),
        (
            json!([{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}]),
            json!("b"),
            Value::Null,
            "chosen: ends with a user turn",
        ),
    ] {
        let record =
            json!({"id": "x", "prompt": "q", "chosen": chosen, "rejected": rejected, "rejected_finish_reason": more});
        let error = model.encode(record).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    let stopped = json!({"id": "x", "prompt": "q", "chosen": "a", "rejected": "b", "rejected_finish_reason": "stop"});
    model.encode(stopped).unwrap();
}
