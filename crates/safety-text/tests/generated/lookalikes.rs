//! Generates numbers and names that only look like personal data.

use super::{Piece, Random, fill, pick, prose};
use rand::RngExt;

/// Forms for [`fill`].
const FORMS: &[&str] = &[
    // Orders, parcels, parts, tickets.
    "Order ########## was sent.",
    "order number 1##-#######-#######",
    "Invoice #########, due in 30 days",
    "Tracking 1Z§§§#########0##",
    "Tracking number ############",
    "Ticket ¹####-#### is closed",
    "Part no. ²##-²##-####",
    "SKU §#########",
    "Bestellnummer ###########",
    "Case 20##-########",
    // Books and articles.
    "ISBN 978-3-16-######-#",
    "ISBN 97800########",
    "ISBN 0-306-#####-#",
    "ISSN 0###-####",
    "doi:10.1000/########",
    "arXiv:2###.#####",
    "PMID: ########",
    // Dates and times.
    "2024-0¹-1# 1#:##:##",
    "On 1#.0¹.20## it rained.",
    "0¹/1#/20##",
    "20240¹1#",
    "202#0¹1#1#####",
    "timestamp 17########",
    "17###########",
    "1#:##:##.######",
    "from 19## to 20##, 19##-20##",
    // Versions, identifiers, hashes.
    "version ¹.##.#.##",
    "firmware 1#.2##.3#.4#",
    "v¹.#.##.###",
    "release ¹.#.##-rc1",
    "pkg==¹#.#.##.#",
    "chapter ¹.#.#.#",
    "¤¤¤¤¤¤¤¤-1234-4¤¤¤-a¤¤¤-¤¤¤¤¤¤¤¤¤¤¤¤",
    "commit ¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤",
    "sha256:¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤¤",
    "build-########-¤¤¤¤",
    "1.3.6.1.4.1.#####.#.#",
    // Private and reserved addresses.
    "10.#.##.1##",
    "192.168.#.1##",
    "172.16.#.##",
    "127.0.0.1:80##",
    "169.254.#.##",
    "192.0.2.1##",
    "fe80::1ff:fe23:####:890a",
    "2001:db8::#",
    "::1",
    "00:1B:44:11:3A:B#",
    "std::vec::Vec and a::b::c",
    "8.8.8.8",
    // Numbers.
    "¹,###,###.## dollars",
    "€ ¹##.###,##",
    "0.################",
    "¹#.###### , -##.######",
    "#### + #### = #####",
    "5+1##########",
    "¹## ### ### people",
    "1 2 3 4 5 6 7 8 9 10 11 12",
    "12 34 56 78 90 12 34 56",
    "1200 3400 5600 7800",
    "0x¹#######",
    "#######",
    "########",
    "ratio 16:9, 4:3, 10:1",
    "¹###-####",
    "ZIP ¹####-####",
    "CAS 7732-18-5",
    "9e¹#",
    "score 21-19, 19-21, 21-17",
    "coordinates 51.####, -0.####",
    "lat=37.#####&lon=-122.#####",
    // Text that looks like addresses and user names.
    "@someone on a network",
    "lodash@4.17.21",
    "icon@2x.png",
    "git@github.com:user/project.git",
    "git clone ssh://git@example.org/x.git",
    "@types/node@18.0.1",
    "user@localhost",
    "a@b",
    "foo @ bar.com",
    "x = a @ b.T",
    // Text that looks like keys.
    "AKIAIOSFODNN7EXAMPLE",
    "sk_live_xxxxxxxxxxxxxxxxxxxxxxxx",
    "hf_xxx",
    "sk-learn is a library",
    "ghp_short",
    "https://user:password@example.org/",
    "postgres://app:${PASSWORD}@db/app",
    "AC: 32 degrees; SK and CZ",
    // Numbers that were never issued, or that have a wrong form.
    "000-##-####",
    "666-##-####",
    "###-00-####",
    "A1 B52 H2O CO2 MP3 R2D2",
    "INTRODUCTORY REMARKS",
    "A380-800, B737-900",
    "DE 12345",
];

pub fn piece(random: &mut Random) -> Piece {
    let text = match random.random_range(0..20) {
        0 => wrong_card(random),
        1 => wrong_iban(random),
        _ => {
            let form = pick(random, FORMS);
            fill(random, form)
        }
    };
    let text = if random.random_bool(0.3) { format!("{} {text}", prose::sentence(random)) } else { text };
    Piece { before: text, data: None, after: String::new() }
}

/// A card number with one digit changed, so the Luhn check fails.
fn wrong_card(random: &mut Random) -> String {
    loop {
        let card = fill(random, "4###############");
        if !super::entities::luhn_by_strings(&card) {
            let separator = pick(random, &["", " ", "-"]);
            return format!("card {}", super::group(&card, &[4, 4, 4, 4], separator));
        }
    }
}

fn wrong_iban(random: &mut Random) -> String {
    loop {
        let account = fill(random, "####################");
        let written = format!("{}1314{}", &account[2..], &account[..2]);
        if written.bytes().fold(0u32, |rest, b| (rest * 10 + u32::from(b - b'0')) % 97) != 1 {
            return format!("account DE{account}");
        }
    }
}
