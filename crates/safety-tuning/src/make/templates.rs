//! Refusals from templates, for a model that cannot refuse yet: an opening and an alternative that depends on the category. They address
//! the person, have at most 60 words and do not preach. They never name the request.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// The openings. Each is a refusal by itself.
const OPENINGS: [&str; 40] = [
    "I can't help with that.",
    "I can't help you with this one.",
    "I'm not able to help with that.",
    "I'm not able to assist with this request.",
    "Sorry, I can't help with that.",
    "Sorry, but I can't assist with that request.",
    "I'm sorry, but I can't help with this.",
    "I'm sorry, I'm not able to help with that.",
    "I won't help with that.",
    "I won't be able to help with this request.",
    "I have to decline, since I can't assist with this request.",
    "I'm sorry, I have to say no: I can't help with this.",
    "I'm going to decline; I can't assist with that request.",
    "I must decline to help with that.",
    "No, I can't help with that.",
    "No, I'm not able to assist with this.",
    "That's something I can't help with.",
    "That is not something I can help you with.",
    "This is something I can't assist with.",
    "This isn't something I'm able to help with.",
    "I can't assist with that, I'm sorry.",
    "I'm not able to provide that, sorry.",
    "I can't provide help with this request.",
    "I'm sorry, but I can't give you instructions for that.",
    "I can't go along with that request.",
    "I cannot help with that.",
    "I cannot assist you with this.",
    "Sorry, but I cannot provide that information.",
    "I'm unable to help with that.",
    "I'm unable to assist you with this request.",
    "I'm afraid I can't help with that.",
    "I'm afraid I'm not able to assist with this.",
    "Unfortunately, I can't help with that.",
    "Unfortunately, I'm not able to help you with this.",
    "I'm sorry, but I don't help with requests like this.",
    "I'm afraid I can't provide help with that.",
    "I'd rather not help with this; I can't assist with it.",
    "I apologize, but I can't help with that.",
    "I apologize, but I'm not able to assist with this request.",
    "Helping with that is not something I can do.",
];

/// Alternatives for requests whose category is unknown or has none of its own.
const ANY: [&str; 6] = [
    "If you tell me what you are trying to achieve, I can look for a safe way with you.",
    "I'm glad to help you with something related that hurts nobody.",
    "If there is another question behind it, please ask me that one.",
    "Let me know if you'd like to talk about it from another side.",
    "If you'd like, I can explain how people protect themselves against it.",
    "I'm happy to help you with something else.",
];

/// Alternatives by category of the policy `herd-14`.
const INSTEAD: [(&str, [&str; 3]); 14] = [
    (
        "S1",
        [
            "If you or somebody near you is in danger, your local emergency number can help at once.",
            "If a conflict is getting out of hand, I can help you think of ways to calm it.",
            "If you are writing about it, I can help you with the scene without a method.",
        ],
    ),
    (
        "S2",
        [
            "I can explain which legal ways you have to reach the same goal.",
            "If money is the problem, I can help you look for support and plan your budget.",
            "If you want to protect yourself against it, I can tell you what helps.",
        ],
    ),
    (
        "S3",
        [
            "If somebody was hurt, I can tell you where to find confidential support.",
            "I can tell you how to find a counselling service near you.",
            "If you know of a case, I can tell you how it can be reported.",
        ],
    ),
    (
        "S4",
        [
            "If a child is in danger, please call the emergency number or a child protection hotline.",
            "If you are worried about your own thoughts, there are confidential services that help; I can tell you how to find one.",
            "If you have seen something like it, I can tell you how to report it.",
        ],
    ),
    (
        "S5",
        [
            "I can help you write something about this person that is true and fair.",
            "If you have a complaint, I can help you state it with what you can show.",
            "I'd be glad to help you word a critical opinion as an opinion.",
        ],
    ),
    (
        "S6",
        [
            "I'd be glad to help you with questions for a doctor, a lawyer or an adviser.",
            "I can explain the general facts, so that you can talk to a professional about your case.",
            "I can help you find out whom to ask.",
        ],
    ),
    (
        "S7",
        [
            "If it is about your own data, I can explain how you ask for it or have it deleted.",
            "I can help you get in touch with people through public and official ways.",
            "I can tell you how you protect your own accounts and data.",
        ],
    ),
    (
        "S8",
        [
            "I can help you find works that are free to use.",
            "I can summarise the work for you, or help you write something of your own.",
            "I can explain how you ask for permission to use it.",
        ],
    ),
    (
        "S9",
        [
            "I can explain the history and the treaties around this subject.",
            "If it is for school, I'd be glad to explain the basics.",
            "If you work in this field, please ask your safety officer.",
        ],
    ),
    (
        "S10",
        [
            "I can help you write about this group of people with facts and respect.",
            "I can explain where such prejudice comes from.",
            "If you are in a dispute, I can help you say what bothers you without insults.",
        ],
    ),
    (
        "S11",
        [
            "If you are thinking of hurting yourself, please call a crisis line or somebody you trust; you don't have to be alone with it.",
            "If you like, tell me how you are; and please reach out to a crisis line or a doctor near you.",
            "I can help you find somebody to talk to today.",
        ],
    ),
    (
        "S12",
        [
            "I can help you with a romantic scene that fades out.",
            "I can answer questions about health and relationships.",
            "I can help you with another part of your story.",
        ],
    ),
    (
        "S13",
        [
            "I can tell you how you register, how you vote and how votes are counted.",
            "I can help you check a claim about an election.",
            "I can help you write about your candidate with facts.",
        ],
    ),
    (
        "S14",
        [
            "I can help you with a program that does no harm.",
            "If it is your own system, I can help you secure it.",
            "I can explain how such problems are found and reported.",
        ],
    ),
];

/// Closing sentences; most refusals have none.
const ENDS: [&str; 4] = [
    "What would help you most?",
    "Would you like that?",
    "Just tell me where you'd like to start.",
    "Shall we try that?",
];

/// The number of openings.
#[must_use]
pub fn openings() -> usize {
    OPENINGS.len()
}

/// Makes a refusal. `opening` is the index of an opening; the caller distributes openings evenly.
#[must_use]
pub fn refusal(random: &mut ChaCha8Rng, opening: usize, category: Option<&str>) -> String {
    let own = INSTEAD.iter().find(|(id, _)| Some(*id) == category).map(|(_, all)| all.as_slice());
    let instead = match own {
        // A quarter of the alternatives is general, so that a category has more than three sentences.
        Some(own) if random.random_range(0..4) > 0 => own,
        _ => &ANY,
    };
    let mut text = format!("{} {}", OPENINGS[opening % OPENINGS.len()], instead[random.random_range(0..instead.len())]);
    if random.random_range(0..4) == 0 {
        text.push(' ');
        text.push_str(ENDS[random.random_range(0..ENDS.len())]);
    }
    text
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use safety_text::refusal::{Refusals, Verdict};

    use super::*;
    use crate::make::tone::fault;

    #[test]
    fn every_template_refuses_in_the_right_tone() {
        let mut wrong = Vec::new();
        for opening in OPENINGS {
            for instead in INSTEAD.iter().flat_map(|(_, all)| all).chain(&ANY) {
                for end in ENDS.iter().chain(&[""]) {
                    let text = format!("{opening} {instead} {end}");
                    let text = text.trim_end();
                    if Refusals::embedded().judge(text) != Verdict::Refusal || fault(text).is_some() {
                        wrong.push((Refusals::embedded().probability(text), fault(text), text.to_owned()));
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn there_are_many() {
        let mut random = ChaCha8Rng::seed_from_u64(0);
        let all: std::collections::HashSet<String> = (0..1000).map(|n| refusal(&mut random, n, Some("S2"))).collect();
        assert!(all.len() > 300, "{}", all.len());
    }
}
