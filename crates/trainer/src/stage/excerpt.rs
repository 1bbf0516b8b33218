//! Excerpt of a text that fits on a screen: its start, its end, and the surroundings of the places where its loss mask changes.

/// Maximal rows of an excerpt, and maximal characters of a row.
const ROWS: usize = 36;
const WIDTH: usize = 160;
/// Rows shown before and after a mask change.
const AROUND: usize = 2;

/// A row of the screen.
struct Row {
    text: String,
    /// Whether the mask changes in this row.
    border: bool,
}

/// Returns the text unchanged if it fits. Otherwise returns at most 36 of its rows, with lines that state how many rows are not
/// shown. Mask changes are recognised by the marks and colours of [`chat::show::tokens`].
pub fn excerpt(text: &str) -> String {
    let rows = rows(text);
    if rows.len() <= ROWS {
        return text.to_owned();
    }
    let mut shown = vec![false; rows.len()];
    let mut left = ROWS;
    let mut show = |middle: usize, around: usize| {
        let reach = middle.saturating_sub(around)..(middle + around + 1).min(rows.len());
        let new = shown[reach.clone()].iter().filter(|shown| !**shown).count();
        if new <= left {
            left -= new;
            shown[reach].fill(true);
        }
    };
    show(0, AROUND);
    show(rows.len() - 1, AROUND);
    // Mask changes in this order: the first, the last, the second, the second to last, and so on.
    let borders: Vec<usize> = (0..rows.len()).filter(|&row| rows[row].border).collect();
    for (&first, &last) in borders.iter().zip(borders.iter().rev()).take(borders.len().div_ceil(2)) {
        show(first, AROUND);
        show(last, AROUND);
    }
    while left > 0 && shown.iter().any(|shown| !shown) {
        // Remaining space: the rows after the start.
        let Some(next) = shown.iter().position(|shown| !shown) else { break };
        shown[next] = true;
        left -= 1;
    }
    let mut out = Vec::new();
    let mut hidden = 0;
    for (row, shown) in rows.iter().zip(&shown) {
        if !shown {
            hidden += 1;
            continue;
        }
        if hidden > 0 {
            out.push(format!("... {hidden} rows not shown ..."));
            hidden = 0;
        }
        out.push(row.text.clone());
    }
    out.join("\n")
}

/// Splits the text into rows of at most [`WIDTH`] characters. Each row sets its own colour.
fn rows(text: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut colour = String::new();
    let mut trained = false;
    for line in text.lines() {
        let mut row = Row { text: colour.clone(), border: false };
        let mut width = 0;
        let mut characters = line.chars();
        while let Some(character) = characters.next() {
            if character == '\x1b' {
                let code: String = characters.by_ref().take_while(|&c| c != 'm').collect();
                let code = format!("\x1b{code}m");
                row.text.push_str(&code);
                let plain = code == "\x1b[0m";
                if !plain {
                    let now = matches!(code.as_str(), "\x1b[32m" | "\x1b[33m");
                    row.border |= now != trained;
                    trained = now;
                }
                colour = if plain { String::new() } else { code };
                continue;
            }
            if width == WIDTH {
                if !colour.is_empty() {
                    row.text.push_str("\x1b[0m");
                }
                rows.push(std::mem::replace(&mut row, Row { text: colour.clone(), border: false }));
                width = 0;
            }
            row.border |= matches!(character, '⟦' | '⟧');
            row.text.push(character);
            width += 1;
        }
        rows.push(row);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_not_changed() {
        let text = "a\n\nb ⟦c⟧\n".repeat(10);
        assert_eq!(excerpt(&text), text);
    }

    #[test]
    fn beginning_end_and_borders_are_shown_of_a_long_text() {
        let mut lines: Vec<String> = (0..9000).map(|line| format!("line {line}")).collect();
        lines[4000] = "here ⟦it begins".into();
        lines[5000] = "here it ends⟧".into();
        // One line that fills 40 rows.
        lines[7000] = "x".repeat(40 * WIDTH);
        let short = excerpt(&lines.join("\n"));
        let shown: Vec<&str> = short.lines().collect();
        assert!(shown.len() <= ROWS + 5, "{} rows", shown.len());
        for line in ["line 0", "line 3998", "here ⟦it begins", "here it ends⟧", "line 5002", "line 8999"] {
            assert!(shown.contains(&line), "{line} is missing in {short}");
        }
        let hidden: usize =
            shown.iter().filter_map(|row| row.strip_prefix("... ")?.split(' ').next()?.parse::<usize>().ok()).sum();
        assert_eq!(hidden + shown.iter().filter(|row| !row.starts_with("... ")).count(), 9039);
    }

    #[test]
    fn many_borders_fit_too_and_colours_end_with_their_row() {
        let text = "\x1b[90mprompt\x1b[0m·\x1b[32manswer of some words\x1b[0m·\n".repeat(500);
        let short = excerpt(&text);
        assert!(short.lines().count() <= ROWS + 40 && short.contains("rows not shown"));
        let one = format!("\x1b[32m{}\x1b[0m", "y".repeat(WIDTH * 50));
        for row in excerpt(&one).lines().filter(|row| !row.starts_with("...")) {
            assert!(row.starts_with("\x1b[32m") && row.ends_with("\x1b[0m"), "{row:?}");
        }
    }
}
