use std::collections::HashMap;

use serde_json::json;

use super::*;
use crate::scenes::Split;

#[path = "../../tests/common/font.rs"]
mod font;

/// Makes three small sets: squares in the artist's colour. Only the first artist draws `extra`.
fn world() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (b'a'..=b'l').map(|letter| format!("thing{}", char::from(letter))).collect();
    for (number, set) in SETS.iter().enumerate() {
        let colour = ["#ff0000", "#00ff00", "#0000ff"][number];
        let mut icons = serde_json::Map::new();
        for name in &names {
            icons.insert(name.clone(), json!({"body": format!(r#"<path fill="{colour}" d="M0 0h8v8h-8z"/>"#)}));
        }
        // This drawing has another size than the rest of its set.
        icons["thinga"]["width"] = json!(16);
        icons["thinga"]["height"] = json!(16);
        icons.insert("two-words".into(), icons["thingb"].clone());
        icons.insert("face".into(), icons["thingb"].clone());
        icons.insert("secret".into(), json!({"body": "", "hidden": true}));
        if number == 0 {
            icons.insert("extra".into(), icons["thingb"].clone());
        }
        let listed: Vec<&String> = icons.keys().filter(|name| *name != "face").collect();
        let metadata = json!({"categories": {"Objects": listed, "Smileys & Emotion": ["face"]}});
        let info =
            json!({"name": set.name, "author": {"name": "A", "url": "u"}, "license": {"spdx": "MIT", "url": "l"}});
        let path = folder.path().join(set.name);
        std::fs::create_dir_all(&path).unwrap();
        for (file, value) in [
            ("icons.json", json!({"icons": icons, "width": 8, "height": 8})),
            ("metadata.json", metadata),
            ("info.json", info),
        ] {
            std::fs::write(path.join(file), value.to_string()).unwrap();
        }
    }
    folder
}

fn all(asker: &mut Asker, naming: bool, count: usize) -> Vec<Asked> {
    (0..count).map_while(|_| asker.next(naming)).collect()
}

#[test]
fn names_are_words_that_all_artists_draw() {
    let folder = world();
    let drawings = Drawings::open(folder.path()).unwrap();
    let expected: Vec<String> = (b'a'..=b'l').map(|letter| format!("thing{}", char::from(letter))).collect();
    assert_eq!(drawings.names(), expected);
    let credits: Vec<&Credit> = drawings.credits().collect();
    assert!(credits.len() == 3 && credits[2].set == "twemoji" && credits[2].licence == "MIT");
    std::fs::write(folder.path().join("noto/info.json"), "{}").unwrap();
    let error = Drawings::open(folder.path()).unwrap_err().to_string();
    assert!(error.ends_with("noto/info.json: names no licence"), "{error}");
}

#[test]
fn the_test_shows_an_artist_that_training_does_not() {
    let folder = world();
    let drawings = Drawings::open(folder.path()).unwrap();
    let asked = |split| all(&mut Asker::new(&drawings, 6, 1, split), false, 60);
    let (train, test, unseen) = (asked(Split::Train), asked(Split::Test), asked(Split::Composition));
    let of = |asked: &[Asked], what: fn(&Drawing) -> &String| {
        asked.iter().map(|one| what(&one.drawing).clone()).collect::<BTreeSet<String>>()
    };
    assert_eq!(Vec::from_iter(of(&train, |drawing| &drawing.set)), ["fluent-emoji-flat", "noto"]);
    assert_eq!(Vec::from_iter(of(&test, |drawing| &drawing.set)), ["twemoji"]);
    let (known, tested, new) =
        (of(&train, |drawing| &drawing.name), of(&test, |drawing| &drawing.name), of(&unseen, |drawing| &drawing.name));
    assert!(known.len() == 6 && known == tested, "the test asks for what training shows");
    assert!(new.len() == 6 && new.is_disjoint(&known), "compositions ask for what it does not");
    let mut asker = Asker::new(&drawings, 6, 1, Split::Composition);
    assert_eq!(asker.next(true), None, "a name that was never said cannot be found");
}

#[test]
fn choices_are_balanced() {
    let folder = world();
    let drawings = Drawings::open(folder.path()).unwrap();
    let asked = all(&mut Asker::new(&drawings, 12, 2, Split::Train), false, 1200);
    let (mut names, mut places): (HashMap<&str, usize>, [usize; 4]) = (HashMap::new(), [0; 4]);
    for one in &asked {
        *names.entry(&one.answer).or_default() += 1;
        places[one.answers.iter().position(|name| *name == one.answer).unwrap()] += 1;
        assert_eq!(one.answer, one.drawing.name);
        let distinct: BTreeSet<&String> = one.answers.iter().collect();
        assert_eq!(distinct.len(), 4, "{one:?}");
        let [a, b, c, d] = &one.answers[..] else { panic!("{one:?}") };
        assert_eq!(one.question, format!("Which is it: {a}, {b}, {c} or {d}?"));
    }
    assert!(names.len() == 12 && names.values().all(|count| *count == 100), "{names:?}");
    // Four standard deviations of 1200 draws with probability one in four.
    assert!(places.iter().all(|count| count.abs_diff(300) < 60), "{places:?}");
    let naming = all(&mut Asker::new(&drawings, 12, 2, Split::Test), true, 24);
    assert!(naming.iter().all(|one| one.task == "naming" && one.answers.len() == 12));
}

#[test]
fn a_drawing_stands_at_its_place() {
    let folder = world();
    let drawings = Drawings::open(folder.path()).unwrap();
    let at = |name: &str| Drawing { set: "noto".into(), name: name.into(), side: 100, left: 20, top: 40 };
    let picture = drawings.picture(&at("thingb")).unwrap();
    assert_eq!((picture.width, picture.height), (SIDE, SIDE));
    let pixel = |picture: &Picture, x: usize, y: usize| picture.rgb[3 * (y * SIDE as usize + x)..][..3].to_vec();
    for (x, y, is_red) in
        [(22, 42, true), (118, 138, true), (18, 42, false), (22, 38, false), (122, 42, false), (22, 142, false)]
    {
        let expected = if is_red { [255, 0, 0] } else { [255; 3] };
        assert_eq!(pixel(&picture, x, y), expected, "{x} {y}");
    }
    // The drawing with its own size fills half of it.
    let picture = drawings.picture(&at("thinga")).unwrap();
    assert_eq!((pixel(&picture, 60, 80), pixel(&picture, 80, 80)), (vec![255, 0, 0], vec![255; 3]));
    assert!(drawings.picture(&at("nothing")).unwrap_err().to_string().contains("noto has no drawing of nothing"));
}

/// The fonts of [`FONTS`], all with the same bars as letters.
fn fonts(letters: u8) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in FONTS.map(|font| font.name) {
        std::fs::write(folder.path().join(format!("{name}.ttf")), font::font(letters)).unwrap();
    }
    folder
}

#[test]
fn words_are_written_letter_by_letter() {
    let folder = fonts(26);
    let drawings = Drawings::of_words(folder.path()).unwrap();
    assert!(drawings.names().is_sorted() && drawings.names().len() == WORDS.len());
    let word = "zebra";
    let (letters, side) = (word.len() as f32, 200);
    let drawing = Drawing { set: "ultra".into(), name: word.into(), side, left: 10, top: 20 };
    let picture = drawings.picture(&drawing).unwrap();
    let scale = side as f32 / (letters * f32::from(font::ADVANCE));
    // The line is 1000 units high, 800 of them above the base line, on which the bars stand.
    let (top, bottom) = (300.0 * scale, 800.0 * scale);
    for (number, letter) in word.bytes().enumerate() {
        let start = 10.0 + number as f32 * f32::from(font::ADVANCE) * scale;
        let end = start + f32::from(font::width(letter)) * scale;
        for (x, y, is_black) in [
            (start + 2.0, 20.0 + (top + bottom) / 2.0, true),
            (end - 2.0, 20.0 + (top + bottom) / 2.0, true),
            (end + 2.0, 20.0 + (top + bottom) / 2.0, false),
            (start + 2.0, 20.0 + top - 2.0, false),
            (start + 2.0, 20.0 + top + 2.0, true),
            (start + 2.0, 20.0 + bottom + 2.0, false),
        ] {
            let pixel = &picture.rgb[3 * (y as usize * SIDE as usize + x as usize)..][..3];
            assert_eq!(pixel, if is_black { [0; 3] } else { [255; 3] }, "letter {number} at {x} {y}");
        }
    }
}

#[test]
fn the_test_writes_in_other_fonts() {
    let folder = fonts(26);
    let drawings = Drawings::of_words(folder.path()).unwrap();
    let asked = |split| all(&mut Asker::new(&drawings, 10, 1, split), false, 100);
    let sets = |asked: &[Asked]| asked.iter().map(|one| one.drawing.set.clone()).collect::<BTreeSet<String>>();
    let (train, test, unseen) = (asked(Split::Train), asked(Split::Test), asked(Split::Composition));
    assert_eq!(sets(&train).len(), 5);
    assert_eq!(Vec::from_iter(sets(&test)), ["permanent-marker", "rancho"]);
    let words = |asked: &[Asked]| asked.iter().map(|one| one.answer.clone()).collect::<BTreeSet<String>>();
    assert!(words(&train).len() == 10 && words(&train) == words(&test) && words(&unseen).is_disjoint(&words(&train)));
    assert!(train.iter().all(|one| one.task == "word" && one.answers.len() == 4));
    let open = all(&mut Asker::new(&drawings, 10, 1, Split::Test), true, 5);
    assert!(open.iter().all(|one| (one.task, &*one.question) == ("reading", "What is written in the picture?")));
}

#[test]
fn fonts_that_cannot_write_are_sentences() {
    let folder = fonts(25);
    let error = format!("{:#}", Drawings::of_words(folder.path()).unwrap_err());
    assert!(error.ends_with("special-elite.ttf: the font has no letter z"), "{error}");
    std::fs::write(folder.path().join("special-elite.ttf"), "no font").unwrap();
    let error = format!("{:#}", Drawings::of_words(folder.path()).unwrap_err());
    assert!(error.contains("special-elite.ttf: no TrueType font"), "{error}");
}
