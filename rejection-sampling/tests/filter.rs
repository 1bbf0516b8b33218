//! Complete runs of `filter`: which records are removed, why, and which questions are asked only once.

use crate::common;

use common::{World, run, says, serve, words};
use serde_json::{Value, json};

fn conversation(id: &str, prompt: &str, answer: &str) -> Value {
    json!({"id": id, "messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]})
}

fn reasons(world: &World) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    world.lines("out/removed.jsonl").iter().map(|line| (text(&line["id"]), text(&line["removed"]["by"]))).collect()
}

fn ids(world: &World) -> Vec<String> {
    world.lines("out/kept.jsonl").iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn rules_duplicates_and_evaluation_prompts_go_with_their_reasons() {
    let world = World::new();
    let input = world.write(
        "in.jsonl",
        &[
            conversation("good", "Explain how tides work.", "The moon pulls on the oceans."),
            conversation("emoji", "Say hello.", "Hello 🎉🎉🎉🎉"),
            conversation("eval", "What is 2 +  2?", "It is 4."),
            conversation("copy", "explain how tides work", "The moon pulls on the oceans!"),
            conversation("sorry", "Tell me about bees.", "I'm sorry, but bees are insects."),
            conversation("other", "How do I sort a list in Python?", "Call sorted() on the list."),
        ],
    );
    let eval = world.write("eval.jsonl", &[json!({"question": "what is 2 + 2?", "answer": "4"})]);
    run(&words(&format!("filter --input {input} --output {} --decontaminate {eval}", world.text("out")))).unwrap();
    let expected = [("emoji", "rules"), ("eval", "decontamination"), ("copy", "duplicate"), ("sorry", "apologies")];
    assert_eq!(reasons(&world), expected.map(|(id, by)| (id.to_owned(), by.to_owned())));
    assert_eq!(ids(&world), ["good", "other"]);
    let kept = world.lines("out/kept.jsonl");
    assert_eq!(kept[1]["quality_control"]["topic"], "programming");
    let record = world.record("out");
    assert_eq!(record["removed"], json!({"apologies": 1, "decontamination": 1, "duplicate": 1, "rules": 1}));
    assert!(record["embeddings"].as_str().unwrap().contains("n-grams"), "the fallback says what it is");
    let copy = &world.lines("out/removed.jsonl")[2];
    assert!(copy["removed"]["why"].as_str().unwrap().ends_with(" to good"), "{copy}");
}

#[test]
fn the_top_rewards_or_the_judges_maximum_stay_and_nobody_is_asked_twice() {
    let world = World::new();
    let topics = ["bees", "tides", "trains", "cheese", "rivers", "chess", "paint", "clouds"];
    let lines: Vec<Value> = topics
        .iter()
        .enumerate()
        .map(|(n, topic)| {
            let mut line =
                conversation(topic, &format!("Tell me of {topic}."), &format!("All about {topic}, number {n}."));
            line["reward"] = (n as f64 / 2.0).into();
            line
        })
        .collect();
    let input = world.write("in.jsonl", &lines);
    let server = serve(|_, _, body| {
        let asked = body["messages"][0]["content"].as_str().unwrap();
        says(match asked.split(' ').next().unwrap() {
            "You" if asked.contains("bees") => "accuracy: 1\ninstruction_following: 1\ntone: 1",
            "You" if asked.contains("tides") => "no idea",
            "You" => "accuracy: 1\ninstruction_following: 0\ntone: 1",
            "How" => "difficulty: 2",
            "List" => "intents: learn, pass time",
            _ => "topic: science, nature",
        })
    });
    let flags = words(&format!(
        "filter --input {input} --output {} --judge-endpoint {} --judge-endpoint-model j",
        world.text("out"),
        server.url
    ));
    run(&flags).unwrap();
    // The judge's favourite, and a quarter of the eight rewards.
    assert_eq!(ids(&world), ["bees", "paint", "clouds"]);
    let kept = world.lines("out/kept.jsonl");
    assert_eq!(kept[0]["quality_control"]["topic"], "science");
    assert_eq!(kept[0]["quality_control"]["intents"], json!({"list": ["learn", "pass time"]}));
    let record = world.record("out");
    assert_eq!((&record["unjudged"], &record["removed"]["quality"]), (&json!(1), &json!(5)));
    assert_eq!(server.seen.lock().unwrap().len(), 32);
    run(&flags).unwrap();
    assert_eq!(server.seen.lock().unwrap().len(), 32, "the judge is not asked again");
}

#[test]
fn embeddings_of_a_model_and_rewards_of_a_reward_model() {
    let world = World::new();
    let (model, rm) = (world.model(), world.reward_model());
    let input = world.write(
        "in.jsonl",
        &[
            conversation("a", "Tell me of bees.", "Bees make honey."),
            conversation("b", "Tell me of bees.", "Bees make honey."),
            conversation("c", "1234567890 + 987654321?", "2222222211"),
        ],
    );
    let flags = words(&format!(
        "filter --input {input} --output {} --embed-model {model} --reward-model {rm} --top-share 1 --dtype f32 --device cpu",
        world.text("out")
    ));
    run(&flags).unwrap();
    assert_eq!(reasons(&world), [("b".to_owned(), "duplicate".to_owned())]);
    let kept = world.lines("out/kept.jsonl");
    assert!(kept.iter().all(|line| line["quality_control"]["reward"].is_f64()));
    assert!(world.record("out")["embeddings"].as_str().unwrap().contains("mean-pooled"));
}

#[test]
fn an_embedding_server() {
    let world = World::new();
    let lines: Vec<Value> =
        (0..3).map(|n| conversation(&n.to_string(), &format!("Question {n}?"), &format!("Answer {n}."))).collect();
    let input = world.write("in.jsonl", &lines);
    // The second vector points in the direction of the first.
    let server = serve(|_, path, body| {
        assert_eq!(path, "/v1/embeddings");
        let of = |(index, text): (usize, &Value)| {
            let text = text.as_str().unwrap();
            let vector = if text.contains("Question 2") { [0.0, 3.0] } else { [2.0, 0.1] };
            json!({"index": index, "embedding": vector})
        };
        let mut data: Vec<Value> = body["input"].as_array().unwrap().iter().enumerate().map(of).collect();
        data.reverse();
        common::Reply::Send(200, json!({"data": data}))
    });
    let flags = words(&format!(
        "filter --input {input} --output {} --embed-endpoint {} --embed-endpoint-model e",
        world.text("out"),
        server.url
    ));
    run(&flags).unwrap();
    assert_eq!(ids(&world), ["0", "2"]);
}
