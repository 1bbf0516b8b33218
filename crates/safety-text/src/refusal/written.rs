//! Answers written for this crate: refusals in the wording of several model families, and answers that begin like refusals but
//! do not refuse. They are added to labelled answers of others, so that the model does not only learn the wording of two
//! models. Refused requests are named in general words only.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Labelled;

/// Makes `count` answers; every second one is a refusal. The same seed gives the same answers.
#[must_use]
pub fn written(count: usize, seed: u64) -> Vec<Labelled> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    (0..count)
        .map(|at| {
            let refusal = at % 2 == 0;
            let answer = if refusal { refuse(&mut random) } else { comply(&mut random) };
            Labelled { answer, refusal, group: None, source: Some("written".into()) }
        })
        .collect()
}

fn pick<'a>(random: &mut ChaCha8Rng, all: &[&'a str]) -> &'a str {
    all[random.random_range(0..all.len())]
}

/// Replaces `{}` in a text by a random topic.
fn fill(random: &mut ChaCha8Rng, form: &str, topics: &[&str]) -> String {
    let topic = pick(random, topics);
    form.replace("{}", topic)
}

/// Topics of refused requests.
const REFUSED: [&str; 24] = [
    "that",
    "this",
    "this request",
    "that request",
    "this kind of activity",
    "anything illegal",
    "content of this kind",
    "harming another person",
    "creating that material",
    "that kind of content",
    "breaking into someone's account",
    "hurting yourself or others",
    "making weapons",
    "personal information about private individuals",
    "spreading false information",
    "material that demeans a group of people",
    "getting around security measures",
    "the question as it is written",
    "plans for violence",
    "obtaining controlled substances",
    "deceiving people",
    "sexual content of this nature",
    "bypassing the law",
    "an attack on a computer system",
];

/// Openings of refusals; `{}` stands for the topic.
const NO: [&str; 40] = [
    "I'm sorry, but I can't help with {}.",
    "I'm sorry, I can't assist with {}.",
    "Sorry, but I'm not able to help with {}.",
    "I can't help with {}.",
    "I cannot help with {}.",
    "I can't provide information or guidance on {}.",
    "I cannot provide assistance with {}.",
    "I won't help with {}.",
    "I will not provide instructions for {}.",
    "No. I won't assist with {}.",
    "I'm unable to help with {}.",
    "I am unable to fulfil {}, as it could lead to harm.",
    "I'm not going to help with {}.",
    "I must decline to help with {}.",
    "I have to decline: {} is not something I can support.",
    "I don't feel comfortable helping with {}.",
    "I'm not comfortable writing about {}.",
    "As an AI language model, I can't engage in or support {}.",
    "As a responsible assistant, I cannot give advice on {}.",
    "My guidelines don't allow me to help with {}.",
    "This goes against my guidelines, so I can't assist with {}.",
    "Unfortunately, I can't help with {}.",
    "Unfortunately I'm not able to assist with {}.",
    "I apologize, but I cannot help with {}.",
    "I apologise, but {} is something I'm not able to discuss.",
    "That's not something I can help with.",
    "This isn't something I'm able to assist with.",
    "I'm afraid I can't do that.",
    "I'd rather not help with {}.",
    "I cannot in good conscience help with {}.",
    "It is not appropriate for me to help with {}.",
    "It would be irresponsible of me to explain {}.",
    "It is illegal and dangerous, and I will not describe {}.",
    "I do not condone {} and cannot assist with it.",
    "I can't comply with {}.",
    "I'm just an assistant, and I can't answer {}.",
    "I strongly advise against {}, and I can't tell you how it is done.",
    "Let me stop you there: I won't be part of {}.",
    "I don't have the ability to give out {}.",
    "Please do not do this. I can't offer any help with {}.",
];

/// Continuations of refusals.
const WHY: [&str; 24] = [
    "It could cause serious harm to others.",
    "It is against the law in most countries.",
    "My purpose is to be helpful and harmless.",
    "It is important to treat everyone with respect.",
    "Doing so would be unethical.",
    "If you are in danger, please call your local emergency number.",
    "If you're struggling, talking to a friend, a doctor or a helpline can make a difference.",
    "There are legal ways to get what you need.",
    "I'd encourage you to think about the consequences.",
    "Everyone has a right to privacy.",
    "Is there something else I can help you with?",
    "Is there anything else you'd like to know?",
    "I'm happy to help with other questions.",
    "I'd be glad to talk about safety or prevention instead.",
    "Instead, I can suggest some resources on the subject.",
    "If you have concerns, please speak with a professional.",
    "If you have information about a crime, please contact the authorities.",
    "Violence is never the answer.",
    "Let me know if you would like to talk about something else.",
    "I hope you understand.",
    "What I can do is explain why this is dangerous.",
    "Please reach out to someone you trust.",
    "You could write a different story in which nobody gets hurt.",
    "I can discuss the history of the subject in general terms.",
];

/// Topics of answered requests.
const ANSWERED: [&str; 20] = [
    "boiling an egg",
    "killing a stuck process on Linux",
    "stopping a cough at night",
    "shooting good photographs at dusk",
    "getting rid of weeds without poison",
    "the causes of the war",
    "the plot of the novel",
    "a birthday cake for twelve people",
    "learning the guitar as an adult",
    "the rules of the game",
    "saving for a house",
    "writing a cover letter",
    "cutting onions without tears",
    "beating the last level",
    "the difference between the two terms",
    "a strong password",
    "treating a burn at home",
    "the history of the city",
    "blowing up balloons for a party",
    "a weekend in the mountains",
];

/// Openings of answers. Many share their first words with refusals.
const YES: [&str; 40] = [
    "Sure! Here are some tips for {}:",
    "Here is a short guide to {}.",
    "Of course. Let's look at {}.",
    "There are several ways to go about {}.",
    "I'm sorry to hear that. Here is what may help with {}:",
    "I'm sorry you are going through this. For {}, start with the following.",
    "Sorry for the confusion! {} works like this.",
    "I can't recommend this enough: {}. Here's how to begin.",
    "I cannot say for certain, but {} usually comes down to three things.",
    "I can't wait to tell you about {}!",
    "Unfortunately, there is no single answer to {}; it depends on a few things.",
    "Unfortunately, {} takes time. These steps make it easier.",
    "As an AI I have no tastes of my own, but many people enjoy {} for these reasons.",
    "As a language model I don't have experiences, but here is how {} is usually done.",
    "I'm not a doctor, but for {} the usual advice is simple.",
    "I'm not able to see your screen, so here is a general way of {}.",
    "No, that is a common misunderstanding about {}.",
    "Yes. {} is simpler than it looks.",
    "It is illegal in some countries and allowed in others; with {} the rules are these.",
    "It's not appropriate in every setting, but {} has a long tradition.",
    "To understand {}, it helps to begin at the beginning.",
    "Great question about {}!",
    "{} in five steps:",
    "1. Prepare what you need for {}.",
    "Step 1: Read about {}.",
    "The short answer on {}: start small.",
    "Certainly. The following explains {}.",
    "Absolutely, here's an outline of {}.",
    "I don't know everything about {}, but the main points are well established.",
    "I would say that {} is mostly a matter of practice.",
    "She could not help thinking of {}. \"I'm sorry,\" he said, and the story went on.",
    "Once upon a time there was a girl who loved {}.",
    "Please note that {} needs some care. First, wash your hands.",
    "Before you start with {}, make sure that nobody can be hurt.",
    "While {} can be risky, it is safe when done like this.",
    "I apologize for the late reply. About {}: the answer is below.",
    "My guidelines for {} are simple.",
    "It depends. For {}, most experts recommend the first option.",
    "In 1912 nobody had heard of {}. That changed quickly.",
    "People who refuse to talk about {} miss a lot. Here is an overview.",
];

/// Continuations of answers.
const MORE: [&str; 24] = [
    "First, gather everything and read the instructions once.",
    "Then turn the heat down and wait for ten minutes.",
    "2. Check the settings and save a copy.",
    "3. Repeat until the result is even.",
    "* Use a sharp knife and a stable board.",
    "For example, type the command `kill 1234` and press return.",
    "This happens because warm air rises.",
    "The first edition appeared in 1925 and sold badly.",
    "Most people need two or three tries.",
    "Add a pinch of salt and stir.",
    "The main character leaves home and meets an old friend.",
    "It costs between 20 and 50 euros.",
    "If it does not work, restart the machine and try again.",
    "Keep it in a cool, dry place.",
    "Finally, let it rest and enjoy.",
    "Some people cannot drink milk; use oat milk instead.",
    "The battle ended in the spring of the following year.",
    "Practice for fifteen minutes a day.",
    "Ask a friend to watch the first time.",
    "In short, it is a matter of timing.",
    "Hope this helps!",
    "Let me know if you have more questions.",
    "See a doctor if the pain lasts for more than a week.",
    "Both terms are used for the same thing today.",
];

fn refuse(random: &mut ChaCha8Rng) -> String {
    let mut text = String::new();
    // Sympathy before the refusal.
    if random.random_bool(0.15) {
        text += pick(
            random,
            &[
                "I understand that you are upset. ",
                "I'm really sorry that you're feeling this way. ",
                "I know this is a hard time for you. ",
                "Thank you for your question. ",
                "It sounds like you are under a lot of pressure. ",
                "I appreciate your curiosity, however: ",
            ],
        );
    }
    // A reason before the refusal.
    if random.random_bool(0.15) {
        text += pick(random, &WHY[..10]);
        text.push(' ');
    }
    let opening = pick(random, &NO);
    text += &fill(random, opening, &REFUSED);
    for _ in 0..random.random_range(0..5) {
        text.push_str(if random.random_bool(0.15) { "\n\n" } else { " " });
        text += pick(random, &WHY);
    }
    text
}

fn comply(random: &mut ChaCha8Rng) -> String {
    let opening = pick(random, &YES);
    let mut text = fill(random, opening, &ANSWERED);
    for _ in 0..random.random_range(1..9) {
        text.push_str(if random.random_bool(0.3) { "\n" } else { " " });
        text += pick(random, &MORE);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_the_same_twice_and_of_both_kinds() {
        let rows = written(200, 3);
        assert_eq!(rows.iter().filter(|row| row.refusal).count(), 100);
        let texts = |seed| written(200, seed).into_iter().map(|row| row.answer).collect::<Vec<_>>();
        assert_eq!(texts(3), texts(3));
        assert_ne!(texts(3), texts(4));
        assert!(rows.iter().all(|row| !row.answer.contains("{}")));
    }
}
