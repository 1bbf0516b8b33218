//! Sentences without personal data, in several scripts.

use super::{Random, pick};
use rand::RngExt;

const SENTENCES: [&str; 24] = [
    "The meeting was moved because the room had no projector.",
    "She wrote three letters before breakfast and posted none of them.",
    "In 1998 the bridge was closed for 14 months and reopened in 2000.",
    "Über die Brücke führt seit 1891 ein schmaler Weg.",
    "Le café était plein, et personne n’avait réservé.",
    "El tren salió a las 17:45 y llegó con 20 minutos de retraso.",
    "Il costo fu di 3.450,00 euro, più le spese.",
    "O relatório tem 48 páginas e 12 gráficos.",
    "会议改到星期五下午三点。",
    "この本は二百ページあります。",
    "Встреча перенесена на пятницу, в 15:30.",
    "हम कल सुबह 9 बजे मिलेंगे।",
    "Το τρένο φεύγει στις 8:15 από την πλατφόρμα 3.",
    "The recipe needs 250 g of flour, 2 eggs and 1/2 teaspoon of salt.",
    "Results improved from 71.4% to 73.9% over 5 runs (p < 0.01).",
    "Only 12 of the 1,024 samples were above the limit 😀.",
    "De boot vaart om 10.30 uur en kost 4,50 euro.",
    "Mötet är flyttat till torsdag vecka 42.",
    "Spotkanie odbędzie się 3 maja o godzinie 18.",
    "There is no better place for a walk – or for a rest.",
    "We call this the second law; see chapter 4, table 2.",
    "Please order the books in the card catalogue by phone or in person.",
    "My phone is new, my card is old, and the tax is high.",
    "The server room is cold; bring a coat.",
];

pub fn sentence(random: &mut Random) -> String {
    let mut text = pick(random, &SENTENCES).to_owned();
    if random.random_bool(0.3) {
        text += " ";
        text += pick(random, &SENTENCES);
    }
    text
}
