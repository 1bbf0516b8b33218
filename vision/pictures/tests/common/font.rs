//! A small TrueType font: every letter from a to z is an upright bar, wider from letter to letter.

/// Height of the bars in units of the font, whose line is 1000 units high.
pub const HEIGHT: i16 = 500;
/// Distance between the beginnings of two letters.
pub const ADVANCE: u16 = 500;

/// The width of a letter's bar.
pub fn width(letter: u8) -> i16 {
    100 + 10 * i16::from(letter - b'a')
}

/// The bytes of the font; `letters` of the alphabet from a on.
pub fn font(letters: u8) -> Vec<u8> {
    let count = u16::from(letters) + 1;
    let words = |all: &[u16]| all.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
    // The first glyph stands for missing letters and is empty.
    let (mut glyf, mut loca) = (Vec::new(), vec![0_u32, 0]);
    for letter in b'a'..b'a' + letters {
        let (w, h) = (width(letter), HEIGHT);
        let glyph = [1, 0, 0, w, h, 3, 0].map(|word| word as u16);
        glyf.extend(words(&glyph));
        glyf.extend([1; 4]);
        glyf.extend(words(&[0, 0, w, 0].map(|word| word as u16)));
        glyf.extend(words(&[0, h, 0, -h].map(|word| word as u16)));
        loca.push(glyf.len() as u32);
    }
    let mut head = [0; 27];
    (head[0], head[9], head[25]) = (1, 1000, 1);
    let mut hhea = [0; 18];
    (hhea[0], hhea[2], hhea[3], hhea[17]) = (1, 800, -200_i16 as u16, count);
    let mut letters_of = vec![0, 1, 0, 3, 0, 12, 6, 10 + 2 * (count - 1), 0, u16::from(b'a'), count - 1];
    letters_of.extend(1..count);
    let tables: [(&[u8; 4], Vec<u8>); 7] = [
        (b"cmap", words(&letters_of)),
        (b"glyf", glyf),
        (b"head", words(&head)),
        (b"hhea", words(&hhea)),
        (b"hmtx", words(&[ADVANCE, 0]).repeat(usize::from(count))),
        (b"loca", loca.iter().flat_map(|place| place.to_be_bytes()).collect()),
        (b"maxp", words(&[0, 0x5000, count])),
    ];
    let mut font = words(&[1, 0, tables.len() as u16, 0, 0, 0]);
    let mut place = font.len() + 16 * tables.len();
    for (tag, table) in &tables {
        font.extend(*tag);
        font.extend([0; 4]);
        font.extend((place as u32).to_be_bytes());
        font.extend((table.len() as u32).to_be_bytes());
        place += table.len().next_multiple_of(4);
    }
    for (_, table) in tables {
        font.extend(&table);
        font.resize(font.len().next_multiple_of(4), 0);
    }
    font
}
