//! A tiny language model, a tiny encoder and tiny pictures of one colour; runs of the stage here and in child processes.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use clap::Parser;
use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};
use rand::{RngExt, SeedableRng};
use serde_json::json;

/// The answers and what they look like.
pub const COLOURS: [(&str, [u8; 3]); 4] =
    [("red", [220, 30, 30]), ("green", [30, 160, 50]), ("blue", [40, 60, 220]), ("yellow", [240, 220, 40])];

/// Writes a picture of 28 x 28 pixels: a square of the colour somewhere on grey noise.
pub fn write_picture(path: &Path, colour: [u8; 3], rng: &mut rand_chacha::ChaCha8Rng) {
    let grey: u8 = rng.random_range(100..200);
    let (left, top) = (rng.random_range(0..12), rng.random_range(0..12));
    let mut rgb = Vec::new();
    for y in 0..28 {
        for x in 0..28 {
            let inside = (left..left + 16).contains(&x) && (top..top + 16).contains(&y);
            let noise: u8 = rng.random_range(0..20);
            rgb.extend(if inside { colour.map(|c| c.saturating_sub(noise)) } else { [grey - noise; 3] });
        }
    }
    let mut png = Vec::new();
    PngEncoder::new(&mut png).write_image(&rgb, 28, 28, ExtendedColorType::Rgb8).unwrap();
    std::fs::write(path, png).unwrap();
}

/// A folder with `model`, `train.jsonl`, `test.jsonl` and their pictures.
pub struct World {
    pub dir: tempfile::TempDir,
}

impl World {
    pub fn new(train: usize, test: usize) -> Self {
        torch_ext::init();
        let dir = tempfile::tempdir().unwrap();
        llama::NewModel { hidden: 64, layers: 3, context: 256, seed: 5 }.write(&dir.path().join("model")).unwrap();
        std::fs::create_dir(dir.path().join("pictures")).unwrap();
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        for (name, count) in [("train", train), ("test", test)] {
            let mut lines = Vec::new();
            for number in 0..count {
                let (colour, rgb) = COLOURS[number % COLOURS.len()];
                let picture = format!("pictures/{name}-{number}.png");
                write_picture(&dir.path().join(&picture), rgb, &mut rng);
                let answers: Vec<&str> = COLOURS.iter().map(|(name, _)| *name).collect();
                lines.push(
                    json!({"id": format!("{name}-{number}"), "meta": {"task": "colour", "answers": answers}, "messages": [
                        {"role": "user", "content": [{"type": "image", "image": picture}, {"type": "text", "text": "Colour?"}]},
                        {"role": "assistant", "content": colour},
                    ]})
                    .to_string(),
                );
            }
            std::fs::write(dir.path().join(format!("{name}.jsonl")), lines.join("\n") + "\n").unwrap();
        }
        Self { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The flags of a short run into `output`.
    pub fn flags(&self, output: &str, more: &str) -> Vec<String> {
        let path = |name: &str| self.path(name).display().to_string();
        let mut flags = vec!["--output".to_owned(), path(output)];
        let encoder = test_support::fixture("vision/dinov2").display().to_string();
        let (data, model) = (path("train.jsonl"), path("model"));
        let usual = [
            ("--model", model.as_str()),
            ("--data", data.as_str()),
            ("--encoder", encoder.as_str()),
            ("--dtype", "f32"),
            ("--device", "cpu"),
            ("--threads", "1"),
            ("--cross-every", "1"),
            ("--max-length", "128"),
            ("--image-size", "28"),
        ];
        for (flag, value) in usual.iter().filter(|(flag, _)| !more.split(' ').any(|word| word == *flag)) {
            flags.extend([(*flag).to_owned(), (*value).to_owned()]);
        }
        flags.extend(more.split_whitespace().map(str::to_owned));
        flags
    }

    /// A run in this process.
    pub fn run(&self, output: &str, more: &str) -> anyhow::Result<()> {
        run(&self.flags(output, more))
    }

    /// A run in a child process.
    pub fn spawn(&self, output: &str, more: &str) -> Child {
        child(&self.flags(output, more)).spawn().unwrap()
    }

    pub fn steps_done(&self, output: &str) -> usize {
        std::fs::read_to_string(self.path(output).join("metrics.jsonl")).map_or(0, |text| text.lines().count())
    }
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: vision::train::Args,
}

pub fn run(flags: &[String]) -> anyhow::Result<()> {
    torch_ext::init();
    let cli = Cli::parse_from(std::iter::once("train".to_owned()).chain(flags.iter().cloned()));
    vision::train::run(&cli.args).map(drop)
}

/// This test program again, as a child that does one run: see [`be_a_child`].
pub fn child(flags: &[String]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture"]).env("VISION_CHILD", flags.join("\n"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The body of the test `child`: it does nothing unless [`child`] started the program.
pub fn be_a_child() {
    let Ok(flags) = std::env::var("VISION_CHILD") else { return };
    let flags: Vec<String> = flags.lines().map(str::to_owned).collect();
    if let Err(error) = run(&flags) {
        eprintln!("error: {error:#}");
        std::process::exit(1);
    }
    std::process::exit(0);
}
