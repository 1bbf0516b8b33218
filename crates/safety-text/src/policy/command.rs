//! `herd safety policy`: prints a resolved policy.

use std::fmt::Write;

use super::{BUILTIN, Policy};

/// Arguments of `herd safety policy`.
#[derive(clap::Args, Debug, Clone)]
pub struct Args {
    /// herd-14, ailuminate-12, or a file
    #[arg(default_value = BUILTIN[0])]
    pub policy: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs `herd safety policy`: checks the policy and prints it.
///
/// # Errors
/// The same as [`Policy::load`].
pub fn run(args: &Args) -> anyhow::Result<()> {
    let policy = Policy::load(&args.policy)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&policy)?);
    } else {
        print!("{}", text(&policy));
    }
    Ok(())
}

fn text(policy: &Policy) -> String {
    let threshold = |value: Option<f64>| value.map_or("the guard's".to_owned(), |value| value.to_string());
    let mut text = format!(
        "{} version {}: {} categories, threshold {}, {} tokens held back\nSHA-256 {}\n\n",
        policy.name,
        policy.version,
        policy.categories.len(),
        threshold(policy.threshold),
        policy.hold_back_tokens,
        policy.digest()
    );
    for category in &policy.categories {
        let mut notes = Vec::new();
        if !category.enabled {
            notes.push("off".to_owned());
        }
        if let Some(own) = category.threshold {
            notes.push(format!("threshold {own}"));
        }
        for (name, list) in [("AILuminate", &category.ailuminate), ("OpenAI", &category.openai)] {
            if !list.is_empty() {
                notes.push(format!("{name}: {}", list.join(", ")));
            }
        }
        let _ = writeln!(text, "{:<4} {:<24} {}", category.id, category.key, notes.join("; "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_each_category() {
        let policy = Policy::builtin("herd-14").unwrap().only(&["S1"]).unwrap();
        let text = text(&policy);
        assert_eq!(text.lines().count(), 3 + 14, "{text}");
        assert!(text.contains("S1   violent-crimes           AILuminate: vcr; OpenAI: violence,"), "{text}");
        assert!(text.contains("S13  elections                off\n"), "{text}");
    }
}
