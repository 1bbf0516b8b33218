//! The phrases of questions and statements. Training and evaluation share no phrase (a test compares them by 13 words and by form).
//!
//! The subject of a question stands in double quotes, in the order that [`crate::verify`] reads it.

use crate::split::Split;
use crate::task::Form;

/// The answer when the text has none.
pub const NOT_SAID: &str = "The text does not say.";

/// The layout of a message: the lines before and after the text, with `{}` for the question.
pub struct Layout {
    /// The lines before the text. The last one marks the start of the text.
    pub before: &'static str,
    /// The lines after the text. The first one marks its end.
    pub behind: &'static str,
}

const LAYOUTS: [Layout; 3] = [
    Layout {
        before: "Read the text between the marks, then answer the question.\n\n<text>\n",
        behind: "\n</text>\n\n{}",
    },
    Layout { before: "{}\n\n[BEGIN OF THE TEXT]\n", behind: "\n[END OF THE TEXT]" },
    Layout {
        before: "The following text is the only source for the answers.\n\n=== TEXT ===\n",
        behind: "\n=== END ===\n\n{}",
    },
];

const HELD_OUT_LAYOUTS: [Layout; 2] = [
    Layout { before: "Source:\n<source>\n", behind: "\n</source>\n\nTask: {}" },
    Layout {
        before: "Please work with this material.\n\n--- material ---\n",
        behind: "\n--- end of material ---\n\n{}",
    },
];

/// The layouts of a split.
#[must_use]
pub fn layouts(split: Split) -> &'static [Layout] {
    match split {
        Split::Train => &LAYOUTS,
        Split::Evaluation => &HELD_OUT_LAYOUTS,
    }
}

/// The pairs of lines that enclose the text, of all layouts.
pub fn marks() -> impl Iterator<Item = (&'static str, &'static str)> {
    LAYOUTS.iter().chain(&HELD_OUT_LAYOUTS).map(|layout| {
        let open = layout.before.trim_end().rsplit('\n').next().unwrap_or_default();
        let close = layout.behind.trim_start().split('\n').next().unwrap_or_default();
        (open, close)
    })
}

/// The instruction added to every question that may have no answer.
#[must_use]
pub fn not_said(split: Split) -> &'static str {
    match split {
        Split::Train => " If the text does not say, answer: The text does not say.",
        Split::Evaluation => " Where nothing is said about it, reply: The text does not say.",
    }
}

/// The rule added to questions about imports, which says what counts.
#[must_use]
pub fn imports_rule(split: Split) -> &'static str {
    match split {
        Split::Train => {
            " Only the files shown count. A statement from a import b imports the module a.b where its file is shown, and else a. \
             Names are sorted by character code: capital letters come first."
        }
        Split::Evaluation => {
            " Nothing but what is shown exists. With from x import y, y is a module if there is a file of it; otherwise the import \
             is one of x. Sort as ASCII does."
        }
    }
}

/// The rule added when statements are corrected.
#[must_use]
pub fn last_counts(split: Split) -> &'static str {
    match split {
        Split::Train => " Statements may be corrected further on; the last one counts.",
        Split::Evaluation => " Later statements replace earlier ones.",
    }
}

/// The phrases of a form, with `{}` for the subject.
#[must_use]
pub fn of(form: Form, split: Split) -> &'static [&'static str] {
    let (train, held_out): (&[&str], &[&str]) = match form {
        Form::NextSentence => (
            &[
                "Which sentence comes directly after the sentence {}? Quote it word for word.",
                "Find the sentence {} in the text and write down the sentence that follows it.",
            ],
            &["Look up {}. Copy out the sentence standing right behind it."],
        ),
        Form::PreviousSentence => (
            &[
                "Which sentence comes directly before the sentence {}? Quote it word for word.",
                "Find the sentence {} in the text and write down the sentence in front of it.",
            ],
            &["Look up {}. Copy out the sentence that it stands right behind."],
        ),
        Form::Complete => (
            &[
                "One sentence of the text begins with {}. Write the whole sentence.",
                "How does the sentence go on that begins with {}? Quote all of it.",
            ],
            &["Give in full: {} ..."],
        ),
        Form::Order => (
            &[
                "Put these sentences into the order in which they stand in the text:\n{}\nAnswer with the letters, as in: B, A, C",
                "In which order do the following sentences occur?\n{}\nGive their letters from the first to the last, as in: B, A, C",
            ],
            &["Sort by place:\n{}\nLetters only, separated by commas."],
        ),
        Form::Count => (
            &[
                "How many times does the word {} occur in the text? Count whole words with exactly this spelling. Answer with a number.",
                "Count the word {} in the text (whole words, spelled exactly so) and answer with the number alone.",
            ],
            &["Occurrences of {} as a word of its own, same case: how many?"],
        ),
        Form::Most => (
            &[
                "Which of the words {} occurs most often in the text? Answer with the word.",
                "One of the words {} is the most frequent in the text. Which one?",
            ],
            &["Most frequent among {}?"],
        ),
        Form::FirstOf => (
            &[
                "Which of the words {} appears first in the text? Answer with the word.",
                "The words {} all occur in the text. Which one comes first?",
            ],
            &["Earliest among {}?"],
        ),
        Form::LastOf => (
            &[
                "Of the words {}, the last occurrence of which one is nearest to the end of the text? Answer with the word.",
                "The words {} all occur in the text. After the last occurrence of which one does none of the others come?",
            ],
            &["Seen latest among {}?"],
        ),
        Form::Paragraph => (
            &[
                "Paragraphs are separated by blank lines. Quote the first sentence of paragraph number {}.",
                "Write down the sentence that paragraph number {} begins with (blank lines separate paragraphs).",
            ],
            &["Opening sentence of block {}, blocks being what blank lines part?"],
        ),
        Form::ParagraphFromEnd => (
            &[
                "Paragraphs are separated by blank lines. Counting from the end, quote the first sentence of paragraph number {}.",
                "Write down the sentence that paragraph number {} from the end begins with (blank lines separate paragraphs).",
            ],
            &["Opening sentence of block {} from the end, blocks being what blank lines part?"],
        ),
        Form::KeyValue => (
            &["What is the value of the key {}?", "Give the value that belongs to the key {}."],
            &["Which code goes with the id {}?"],
        ),
        Form::DepotCode => {
            (&["What is the access code of the depot {}?", "Tell me the access code of the depot {}."], &[])
        }
        Form::ArchiveKeeper => (&["Who keeps the archive {}?", "Give the name of the keeper of the archive {}."], &[]),
        Form::ExpeditionGate => (
            &[
                "From which gate does the expedition {} leave?",
                "Give the number of the gate from which the expedition {} leaves.",
            ],
            &[],
        ),
        Form::ShipCargo => (&[], &["How many tons does the cargo of the ship {} weigh?"]),
        Form::CommitteeRoom => (&[], &["Which room is booked for the committee {}?"]),
        Form::Hops => (
            &["Which number does the marker {} hold?", "Find out the number that the marker {} holds."],
            &["What does the signal {} stand for?"],
        ),
        Form::HopsAll => (
            &[
                "Which markers hold the number {}? Name all of them in alphabetical order, separated by commas.",
                "List in alphabetical order, with commas, all markers that hold the number {}.",
            ],
            &["Signals that stand for {}: name them all, sorted from A to Z, with commas."],
        ),
        Form::Again => (
            &[
                "Repeat your answer to question number {}, word for word.",
                "What did you answer to question number {}? Say it again, word for word.",
            ],
            &["Once more, exactly: answer {}."],
        ),
        Form::Importers => (
            &[
                "Which of the files import {} directly? Give their paths in alphabetical order, separated by commas.",
                "List the paths of all files that directly import {}, in alphabetical order, with commas.",
            ],
            &["Direct importers of {}: paths only, sorted, comma between."],
        ),
        Form::Dependents => (
            &[
                "Which of the files depend on {}, by importing it or a file that depends on it? Give their paths in alphabetical \
                 order, separated by commas.",
                "List the paths of all files that import {}, directly or through other files, in alphabetical order, with commas.",
            ],
            &["Everything that leads to {} by a chain of imports: paths only, sorted, comma between."],
        ),
        Form::Breaks => (
            &[
                "Suppose {} is deleted. Which of the other files can then no longer be imported? Importing a module also runs the \
                 __init__.py of the packages around it; imports inside functions and under TYPE_CHECKING do not run. Give the \
                 paths in alphabetical order, separated by commas.",
            ],
            &[
                "Without {}, importing fails for which files? Count the packages that are loaded on the way, leave out what \
                 functions import when called and what only type checkers read; paths only, sorted, comma between.",
            ],
        ),
        Form::ImportedNames => (
            &[
                "Two files: {}. Which names does the first import from the second? Give them in alphabetical order, separated by commas.",
                "Given the files {}: list the names that the first one imports from the second one, in alphabetical order, with commas.",
            ],
            &["Names taken by the former of {} out of the latter: sorted, comma between."],
        ),
        Form::DefinedIn => (
            &[
                "In which file is {} defined at the top level, as a function or a class? Give the path.",
                "Which file defines the function or class {} at its top level? Answer with the path.",
            ],
            &["Path where {} comes from, as def or class without indentation?"],
        ),
    };
    match split {
        Split::Train => train,
        Split::Evaluation => held_out,
    }
}

/// A statement that gives a named thing a value; with `is_correction`, it corrects an earlier one.
#[must_use]
pub fn statement(form: Form, name: &str, value: &str, is_correction: bool) -> String {
    let (is, leaves, weighs, kept) = if is_correction {
        ("is now", "now leaves", "now weighs", "is now kept")
    } else {
        ("is", "leaves", "weighs", "is kept")
    };
    match form {
        Form::ArchiveKeeper => format!("The {name} archive {kept} by {value}."),
        Form::ExpeditionGate => format!("The {name} expedition {leaves} from gate {value}."),
        Form::ShipCargo => format!("The cargo of the ship {name} {weighs} {value} tons."),
        Form::CommitteeRoom => format!("Room {value} {is} booked for the {name} committee."),
        _ => format!("The access code of the {name} depot {is} {value}."),
    }
}

/// The forms of statements in a split.
#[must_use]
pub fn facts(split: Split) -> &'static [Form] {
    match split {
        Split::Train => &[Form::DepotCode, Form::ArchiveKeeper, Form::ExpeditionGate],
        Split::Evaluation => &[Form::ShipCargo, Form::CommitteeRoom],
    }
}

/// The statement that gives a marker its number.
#[must_use]
pub fn holds(split: Split, marker: &str, number: &str) -> String {
    match split {
        Split::Train => format!("Marker {marker} holds the number {number}."),
        Split::Evaluation => format!("Signal {marker} stands for {number}."),
    }
}

/// The statement that gives a marker the number of another.
#[must_use]
pub fn same(split: Split, marker: &str, other: &str) -> String {
    match split {
        Split::Train => format!("Marker {marker} holds the same number as marker {other}."),
        Split::Evaluation => format!("Signal {marker} stands for whatever signal {other} stands for."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// All phrases of a split, without their subjects.
    fn all(split: Split) -> Vec<String> {
        let mut all: Vec<String> = vec![not_said(split).into(), last_counts(split).into(), imports_rule(split).into()];
        for form in Form::ALL {
            all.extend(of(form, split).iter().map(|phrase| (*phrase).to_owned()));
        }
        all.extend(layouts(split).iter().flat_map(|l| [l.before.to_owned(), l.behind.to_owned()]));
        for form in facts(split) {
            all.extend([false, true].map(|now| statement(*form, "{}", "{}", now)));
        }
        all.extend([holds(split, "{}", "{}"), same(split, "{}", "{}")]);
        all
    }

    #[test]
    fn training_and_evaluation_share_no_phrase() {
        // Five shared words in a row are fewer than the thirteen for which a mix is refused.
        let windows = |text: &String| {
            let words: Vec<String> = text
                .replace(NOT_SAID, "")
                .split(|c: char| !c.is_alphanumeric())
                .filter(|word| !word.is_empty())
                .map(str::to_lowercase)
                .collect();
            words.windows(5).map(|window| window.join(" ")).collect::<Vec<_>>()
        };
        let train: HashSet<String> = all(Split::Train).iter().flat_map(windows).collect();
        let shared: Vec<String> =
            all(Split::Evaluation).iter().flat_map(windows).filter(|w| train.contains(w)).collect();
        assert_eq!(shared, [""; 0]);
        let whole: HashSet<String> = all(Split::Train).into_iter().collect();
        assert!(all(Split::Evaluation).iter().all(|text| !whole.contains(text)));
    }

    #[test]
    fn every_phrase_has_its_place_and_no_quote() {
        for split in [Split::Train, Split::Evaluation] {
            for form in Form::ALL {
                for phrase in of(form, split) {
                    assert_eq!(phrase.matches("{}").count(), 1, "{phrase}");
                    assert!(!phrase.contains('"'), "{phrase}");
                }
            }
            assert!(facts(split).iter().all(|form| !of(*form, split).is_empty()));
        }
        let marks: Vec<_> = marks().collect();
        assert_eq!((marks[1], marks[3]), (("[BEGIN OF THE TEXT]", "[END OF THE TEXT]"), ("<source>", "</source>")));
    }
}
