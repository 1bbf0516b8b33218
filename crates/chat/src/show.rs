//! Prints one encoded example token by token: trained tokens green, formatting tokens among them yellow.

use std::fmt::Write;

use crate::encode::Encoded;
use crate::error::ChatError;
use crate::tokenizer::Tokenizer;

/// The ids as text. With `colour`, trained tokens are green (end-of-turn tokens yellow) and the rest grey; without
/// it, trained parts are in `⟦ ⟧`. `·` marks the boundaries between tokens, so that a token that crosses the mask
/// would be visible.
pub fn tokens(tokenizer: &Tokenizer, encoded: &Encoded, colour: bool) -> Result<String, ChatError> {
    let mut out = String::new();
    let mut inside = false;
    for (index, (&id, &trained)) in encoded.ids.iter().zip(&encoded.assistant_mask).enumerate() {
        let text = tokenizer.decode(&[id], false)?;
        let terminator = encoded.turns.iter().any(|turn| turn.terminator.contains(&index));
        if colour {
            let code = match (trained, terminator) {
                (true, true) => 33,
                (true, false) => 32,
                (false, _) => 90,
            };
            // Not every terminal continues a colour on the next line.
            let text = text.replace('\n', &format!("⏎\x1b[0m\n\x1b[{code}m"));
            write!(out, "\x1b[{code}m{text}\x1b[0m·").ok();
        } else {
            if trained != inside {
                out.push(if trained { '⟦' } else { '⟧' });
                inside = trained;
            }
            write!(out, "{}·", text.replace('\n', "⏎\n")).ok();
        }
    }
    if inside {
        out.push('⟧');
    }
    Ok(out)
}
