//! Published sets, if they are available: the folder `../shared/data` beside the repository.
use dataset::jsonl::{self, OnBadLine};
use dataset::{Conversation, Preference, Role, check};

#[test]
fn hh_rlhf_pairs_become_turns() {
    let Some(path) = test_support::shared("data/hh_rlhf/harmless-base.test.jsonl.gz") else { return };
    let mut pairs = 0;
    for pair in jsonl::read::<Preference>(&path, OnBadLine::Error).unwrap() {
        let pair = pair.unwrap();
        pairs += 1;
        check::is_preference(&pair).unwrap();
        assert_eq!(pair.prompt.last().unwrap().role, Role::User, "row {pairs}");
        assert!(!pair.prompt[0].text().contains("\n\nAssistant:"), "row {pairs}");
    }
    assert_eq!(pairs, 2312);
}

#[test]
fn prompt_and_completion_become_a_conversation() {
    let Some(path) = test_support::shared("data/p3_open_subset/p3_open_subset.jsonl.gz") else { return };
    let rows: Vec<Conversation> = jsonl::read_all(&path).unwrap();
    assert_eq!(rows.len(), 24_091);
    assert!(rows.iter().all(|c| c.messages.len() == 2 && c.extra.contains_key("template")));
}
