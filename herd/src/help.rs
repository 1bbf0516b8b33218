//! The command line as a whole: commands under headings, an example for each, shell completions and man pages.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::{Command, CommandFactory};
use clap_complete::Shell;

use crate::examples::EXAMPLES;

/// The commands by purpose, in the order of the help. A test checks that every command occurs once.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Train", &["pretrain", "scaling", "sft", "dpo", "rejection-sampling", "average"]),
    ("Measure and judge", &["eval", "mathverify", "codeexec"]),
    ("Use a model", &["chat", "generate", "serve"]),
    ("Data and models", &["data", "longctx", "vision", "safety", "model", "merge"]),
    ("Runs", &["run", "again", "plan", "launch", "config", "doctor", "completions", "man"]),
];

/// The command line with headings and examples.
pub fn command<C: CommandFactory>() -> Command {
    let command = with_examples(C::command(), "");
    let width = GROUPS.iter().flat_map(|group| group.1).map(|name| name.len()).max().unwrap_or_default();
    let mut list = String::new();
    for (heading, names) in GROUPS {
        list += &format!("{heading}:\n");
        for name in names {
            let about = command.find_subcommand(name).and_then(Command::get_about).map(ToString::to_string);
            list += &format!("  {name:<width$}  {}\n", about.unwrap_or_default());
        }
        list.push('\n');
    }
    command
        .help_template(format!("{{about}}\n\n{{usage-heading}} {{usage}}\n\n{list}Options:\n{{options}}{{after-help}}"))
        .after_help("`herd COMMAND --help` has every flag of a command, and examples.")
}

/// Adds examples to a command and to those below it. A command with subcommands shows one example of each.
fn with_examples(mut command: Command, path: &str) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    let below = |name: &str| format!("{path} {name}").trim_start().to_owned();
    let mut shown: Vec<&(&str, &str)> = Vec::new();
    let begins = |words: &str, path: &str| words == path || words.starts_with(&format!("{path} "));
    if !path.is_empty() {
        let is_own = |words: &str| begins(words, path) && !names.iter().any(|name| begins(words, &below(name)));
        shown.extend(EXAMPLES.iter().filter(|(words, _)| is_own(words)));
        shown.extend(names.iter().filter_map(|name| EXAMPLES.iter().find(|(words, _)| begins(words, &below(name)))));
    }
    for name in &names {
        command = command.mut_subcommand(name, |sub| with_examples(sub, &below(name)));
    }
    if shown.is_empty() {
        return command;
    }
    let lines: Vec<String> = shown.iter().map(|(words, what)| format!("  herd {words}\n      {what}")).collect();
    command.after_help(format!("Examples:\n{}", lines.join("\n")))
}

/// Flags of `herd completions`.
#[derive(clap::Args)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

/// Prints a completion script.
pub fn completions(args: &Completions, mut command: Command) {
    clap_complete::generate(args.shell, &mut command, "herd", &mut std::io::stdout());
}

/// Flags of `herd man`.
#[derive(clap::Args)]
pub struct Man {
    /// The folder for herd.1, herd-sft.1, ...
    #[arg(long)]
    output: PathBuf,
}

/// Writes a man page for every command.
///
/// # Errors
/// When the folder cannot be written.
pub fn man(args: &Man, command: Command) -> anyhow::Result<()> {
    std::fs::create_dir_all(&args.output).with_context(|| format!("cannot create {}", args.output.display()))?;
    let count = pages(&args.output, command, "herd")?;
    println!("{}: {count} pages", args.output.display());
    ensure!(count > 0, "there is no command");
    Ok(())
}

fn pages(folder: &Path, command: Command, name: &str) -> anyhow::Result<usize> {
    let mut count = 1;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        count += pages(folder, sub.clone(), &format!("{name}-{}", sub.get_name()))?;
    }
    let mut page = Vec::new();
    // The help's list of commands is a template that is not suitable for a man page.
    clap_mangen::Man::new(command.display_name(name)).render(&mut page)?;
    let path = folder.join(format!("{name}.1"));
    dataset::write_file(&path, &page)?;
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cli;

    #[test]
    fn every_command_has_a_heading_and_an_example_that_parses() {
        let command = command::<Cli>();
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help" && !sub.is_hide_set()) {
            let name = sub.get_name();
            let listed = GROUPS.iter().flat_map(|group| group.1).filter(|listed| **listed == name).count();
            assert_eq!(listed, 1, "{name} stands under {listed} headings");
        }
        examples_of_all(&command, "herd");
        for (words, _) in EXAMPLES {
            // A quoted part is one word.
            let parts = words.split('"').enumerate();
            let words: String = parts.map(|(number, part)| if number % 2 == 1 { "q" } else { part }).collect();
            let words: Vec<String> = words.split(' ').map(Into::into).collect();
            crate::check(&words).unwrap_or_else(|error| panic!("herd {}: {error}", words.join(" ")));
        }
    }

    fn examples_of_all(command: &Command, path: &str) {
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help" && !sub.is_hide_set()) {
            let path = format!("{path} {}", sub.get_name());
            let text = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(text.contains(&format!("  {path}")), "{path} has no example: {text}");
            examples_of_all(sub, &path);
        }
    }

    /// The command lines of `herd` in the code blocks of a page, without those that leave something out.
    fn command_lines(page: &str) -> Vec<String> {
        let (mut found, mut is_fenced): (Vec<String>, bool) = (Vec::new(), false);
        let mut lines = page.lines();
        while let Some(line) = lines.next() {
            is_fenced ^= line.trim_start().starts_with("```");
            if !(is_fenced || line.starts_with("    ")) || !line.trim_start().starts_with("herd ") {
                continue;
            }
            let mut text = line.trim().to_owned();
            while let Some(start) = text.strip_suffix('\\') {
                text = format!("{start}{}", lines.next().unwrap_or_default().trim());
            }
            let text = text.split(" #").next().unwrap_or_default().trim().to_owned();
            let is_whole = !["...", "[-", " | ", "; ", "$", ">", " = ", " ("].iter().any(|part| text.contains(part));
            found.extend(is_whole.then_some(text));
        }
        found
    }

    #[test]
    fn the_command_lines_of_all_pages_parse() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let folders = [
            "",
            "docs",
            "recipes",
            "sft",
            "dpo",
            "rejection-sampling",
            "eval",
            "mathverify",
            "codeexec",
            "pretrain",
            "pretrain/data",
            "pretrain/scaling",
            "longctx",
            "longctx/model",
            "safety",
            "vision",
            "vision/pictures",
        ];
        let crates = std::fs::read_dir(root.join("crates")).unwrap().map(|entry| entry.unwrap().path());
        let folders = folders.iter().map(|folder| root.join(folder)).chain(crates);
        let mut count = 0;
        for page in folders.flat_map(|folder| std::fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path()) {
            if page.extension().is_none_or(|end| end != "md") || page.ends_with("CHANGELOG.md") {
                continue;
            }
            for line in command_lines(&std::fs::read_to_string(&page).unwrap()) {
                // A quoted part is one word.
                let parts = line.split('"').enumerate();
                let words: String = parts.map(|(number, part)| if number % 2 == 1 { "q" } else { part }).collect();
                let words: Vec<String> = words.split_whitespace().skip(1).map(Into::into).collect();
                let result = crate::check(&words);
                // A configuration file that the page writes is not there.
                let is_fine =
                    result.as_ref().map_or_else(|error| format!("{error:#}").contains("cannot read"), |()| true);
                assert!(is_fine, "{}: {line}: {:#}", page.display(), result.unwrap_err());
                count += 1;
            }
        }
        assert!(count > 120, "{count} command lines");
    }

    #[test]
    fn a_page_for_every_command() {
        let dir = tempfile::tempdir().unwrap();
        man(&Man { output: dir.path().join("man") }, command::<Cli>()).unwrap();
        let page = std::fs::read_to_string(dir.path().join("man/herd-sft.1")).unwrap();
        assert!(page.contains("learning\\-rate") && page.contains("Examples"), "{page}");
        assert!(dir.path().join("man/herd-rejection-sampling-train-rm.1").exists());
    }
}
