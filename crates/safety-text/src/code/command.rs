//! `herd safety code`: reports insecure code in source files, one finding per line.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use serde_json::json;

use super::{Issue, Language, Level, find, markdown};

/// Arguments of `herd safety code`.
#[derive(clap::Args, Debug, Clone)]
pub struct Args {
    /// Files with programs; for .md files, their code blocks
    #[arg(long, num_args = 1.., value_name = "FILE", required_unless_present = "list_rules")]
    input: Vec<PathBuf>,
    /// The programming language [default: from the file's extension]
    #[arg(long, value_enum)]
    language: Option<Language>,
    /// The lowest severity that is reported
    #[arg(long, value_enum, default_value_t = Level::Warning)]
    level: Level,
    /// Print findings as lines of JSON: file, line, start, end, rule, cwe, level, message
    #[arg(long)]
    json: bool,
    /// Print all rules with their languages, and nothing else
    #[arg(long)]
    list_rules: bool,
}

/// Insecure code was found. `herd` then ends with exit code 3, so that a pipeline can tell findings from a failure.
#[derive(Debug, thiserror::Error)]
#[error("{findings} findings in {files} files")]
pub struct Found {
    findings: usize,
    files: usize,
}

/// Maximal size of a source file in bytes; larger files are not written by people.
const LARGEST: u64 = 64 << 20;

/// Runs `herd safety code`.
///
/// # Errors
/// When a file cannot be read or is not UTF-8; [`Found`] when insecure code was found.
pub fn run(args: &Args) -> anyhow::Result<()> {
    if args.list_rules {
        for (rule, languages) in super::rules() {
            let names: Vec<String> = languages.iter().map(|l| format!("{l:?}").to_lowercase()).collect();
            let of = if names.is_empty() { "all".to_owned() } else { names.join(",") };
            println!("{:<36} CWE-{:<5} {:<8} {of:<22} {}", rule.id, rule.cwe, rule.level.name(), rule.message);
        }
        return Ok(());
    }
    let mut found = 0;
    for path in &args.input {
        let name = path.display();
        let cannot = || format!("cannot read {name}");
        let size = std::fs::metadata(path).with_context(cannot)?.len();
        ensure!(size <= LARGEST, "{name} has {size} bytes; at most {LARGEST} are read");
        let bytes = std::fs::read(path).with_context(cannot)?;
        let code = String::from_utf8(bytes)
            .map_err(|error| anyhow::anyhow!("{name} is not UTF-8 at byte {}", error.utf8_error().valid_up_to()))?;
        let ending = path.extension().unwrap_or_default().to_string_lossy().into_owned();
        let issues = match args.language {
            None if ending == "md" => markdown::find_in_blocks(&code),
            language => find(language.unwrap_or_else(|| Language::named(&ending)), &code),
        };
        if code.len() > super::TREE_BYTES {
            eprintln!("{name} has more than {} bytes: read by the regular expressions only", super::TREE_BYTES);
        }
        for issue in issues.iter().filter(|issue| issue.level >= args.level) {
            found += 1;
            print(args, &name.to_string(), issue);
        }
    }
    let files = args.input.len();
    if found > 0 {
        return Err(Found { findings: found, files }.into());
    }
    if !args.json {
        println!("{files} files: nothing found");
    }
    Ok(())
}

fn print(args: &Args, name: &str, issue: &Issue) {
    let Issue { start, end, line, rule, level } = issue;
    if args.json {
        let found = json!({
            "file": name, "line": line, "start": start, "end": end, "rule": rule.id, "cwe": rule.cwe,
            "level": level.name(), "message": rule.message,
        });
        println!("{found}");
    } else {
        println!("{name}:{line}: {}: {} [{}, CWE-{}]", level.name(), rule.message, rule.id, rule.cwe);
    }
}
