//! `herd data crate-docs`: the documentation of Rust packages as web pages.
//!
//! The packages are those of a `Cargo.lock`, from cargo's cache: every machine that built the project has them. A page is the
//! documentation of a source file, or a Markdown file of the package.

pub mod lock;
pub mod page;
pub mod source;

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use ::run::{Class, Facts, Frame, Input, Session, from_flags};
use anyhow::{Context, ensure};
use chrono::DateTime;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::Serialize;
use serde_json::{Value, json};

use lock::Package;

/// The file of the pages.
const PAGES: &str = "pages.warc.gz";
/// Minimum bytes of documentation of a page.
const MIN_BYTES: usize = 200;
/// Maximum size of a file; larger ones are skipped.
const MAX_FILE: u64 = 16 << 20;

/// Arguments of `herd data crate-docs`.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub struct Args {
    #[command(flatten)]
    #[serde(skip)]
    #[allow(missing_docs)]
    pub frame: Frame,
    /// Names of packages in the lock file, separated by commas or repeated
    #[arg(long, required = true, num_args = 1.., value_delimiter = ',')]
    pub packages: Vec<String>,
    /// The lock file, which pins the packages' versions and digests
    #[arg(long, default_value = "Cargo.lock")]
    pub lock: PathBuf,
    /// The folder for pages.warc.gz and run.json
    #[arg(long)]
    pub output: PathBuf,
}

/// Runs `herd data crate-docs`.
///
/// # Errors
/// When a package is not in the lock file or not in cargo's cache, has another digest, or a file cannot be written.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let resolved = from_flags(args, args.frame.config.as_deref())?;
    if args.frame.shows(&resolved)? {
        return Ok(());
    }
    let packages = lock::packages(&args.lock, &args.packages)?;
    let home = lock::cargo_home()?;
    let archives = packages.iter().map(|package| lock::archive(&home, package)).collect::<anyhow::Result<Vec<_>>>()?;
    let inputs = archives.iter().map(|path| Input::file("package", path)).collect::<anyhow::Result<Vec<_>>>()?;
    let facts = Facts { inputs, ..Facts::new("data crate-docs", |_| Class::Free) };
    let Some(mut session) = Session::open(&args.output, &resolved, facts)? else { return Ok(()) };
    session.start(Value::Null)?;
    let (mut out, mut lines, mut all) = (Vec::new(), Vec::new(), Counts::default());
    for (package, path) in packages.iter().zip(&archives) {
        let counts = write(package, path, &mut out).with_context(|| path.display().to_string())?;
        lines.push(format!("  {} {}: {}", package.name, package.version, counts.text()));
        all.add(&counts);
    }
    ensure!(all.pages > 0, "the packages have no documentation");
    dataset::write_file(args.output.join(PAGES), &out)?;
    lines.push(format!("{}: {} of {} packages", args.output.join(PAGES).display(), all.text(), packages.len()));
    let summary = lines.join("\n");
    let figures = json!({"packages": packages.len(), "pages": all.pages, "short": all.short, "bytes": all.bytes});
    session.finish(&[PAGES], &summary, figures)?;
    println!("{summary}");
    Ok(())
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    pages: u64,
    /// Files with too little documentation for a page.
    short: u64,
    bytes: u64,
}

impl Counts {
    fn text(&self) -> String {
        format!(
            "{} pages of {:.2} MB; {} files with less than {MIN_BYTES} bytes of documentation",
            self.pages,
            self.bytes as f64 / 1e6,
            self.short
        )
    }

    fn add(&mut self, other: &Self) {
        self.pages += other.pages;
        self.short += other.short;
        self.bytes += other.bytes;
    }
}

/// A file of an archive that can become a page.
struct Found {
    /// `wide::inner::module`, or the name of a Markdown file.
    title: String,
    text: String,
    /// Seconds since 1970.
    time: u64,
    markdown: bool,
}

/// Writes the pages of a package as WARC records, each compressed separately.
fn write(package: &Package, archive: &Path, out: &mut Vec<u8>) -> anyhow::Result<Counts> {
    let files = files(package, archive)?;
    let titles: Vec<String> = files.iter().map(|file| file.title.clone()).collect();
    let name = format!("{} {}", package.name, package.version);
    let mut counts = Counts::default();
    for file in files {
        let frame = page::Frame { package: &name, title: &file.title, pages: &titles };
        let (size, page) = if file.markdown {
            (file.text.len(), page::of_markdown(&frame, &file.text))
        } else {
            let found = source::documentation(&file.text);
            let size = found.module.len() + found.items.iter().map(|item| item.text.len()).sum::<usize>();
            (size, page::of_module(&frame, &found))
        };
        if size < MIN_BYTES {
            counts.short += 1;
            continue;
        }
        let place = file.title.replace("::", "/");
        let url = format!("https://docs.rs/{}/{}/{place}.html", package.name, package.version);
        let mut encoder = GzEncoder::new(&mut *out, Compression::default());
        encoder.write_all(&record(&url, file.time, &page))?;
        encoder.finish()?;
        counts.pages += 1;
        counts.bytes += page.len() as u64;
    }
    Ok(counts)
}

/// The Rust files of a package's library and its Markdown files, by title. Tests, benchmarks, examples and the list of changes
/// are left out.
fn files(package: &Package, archive: &Path) -> anyhow::Result<Vec<Found>> {
    let file = File::open(archive).context("cannot open")?;
    let mut tar = tar::Archive::new(GzDecoder::new(file));
    let mut found = Vec::new();
    for entry in tar.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let inside = path.iter().skip(1).collect::<PathBuf>();
        let is_code = inside.starts_with("src") && inside.extension().is_some_and(|end| end == "rs");
        let is_test =
            inside.iter().any(|part| ["tests", "tests.rs", "test.rs", "benches"].iter().any(|name| part == *name));
        let is_markdown = inside.extension().is_some_and(|end| end == "md")
            && !inside.to_string_lossy().to_lowercase().contains("change");
        if !entry.header().entry_type().is_file() || !(is_code && !is_test || is_markdown) || entry.size() > MAX_FILE {
            continue;
        }
        let time = entry.header().mtime()?;
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        // A file in another encoding has no page.
        if let Ok(text) = String::from_utf8(bytes) {
            found.push(Found { title: title(&package.name, &inside), text, time, markdown: is_markdown });
        }
    }
    found.sort_by(|a, b| a.title.cmp(&b.title));
    Ok(found)
}

/// `src/a/mod.rs` of `x-y` is `x_y::a`; `src/lib.rs` is `x_y`; `docs/guide.md` is `docs/guide`.
fn title(package: &str, inside: &Path) -> String {
    let plain = inside.with_extension("");
    let parts: Vec<String> = plain.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.first().is_none_or(|first| first != "src") || inside.extension().is_some_and(|end| end == "md") {
        return parts.join("/");
    }
    let root = package.replace('-', "_");
    let modules = parts[1..].iter().filter(|part| !["lib", "mod"].contains(&part.as_str()));
    std::iter::once(&root).chain(modules).cloned().collect::<Vec<_>>().join("::")
}

/// A WARC record with an HTTP response.
fn record(url: &str, seconds: u64, page: &str) -> Vec<u8> {
    let time = i64::try_from(seconds).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0)).unwrap_or_default();
    let date = time.format("%Y-%m-%dT%H:%M:%SZ");
    let response = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n{page}");
    let digest = dataset::digest::bytes(url.as_bytes());
    format!(
        "WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\nWARC-Date: {date}\r\nWARC-Record-ID: \
         <urn:sha256:{digest}>\r\nContent-Type: application/http; msgtype=response\r\nContent-Length: {}\r\n\r\n{response}\r\n\r\n",
        response.len()
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::{Event, open};

    fn crate_file(place: &Path, files: &[(&str, &str)]) -> PathBuf {
        let path = place.join("x-y-1.0.0.crate");
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
        for (name, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mtime(1_153_704_088);
            header.set_mode(0o644);
            builder.append_data(&mut header, format!("x-y-1.0.0/{name}"), text.as_bytes()).unwrap();
        }
        std::fs::write(&path, builder.into_inner().unwrap().finish().unwrap()).unwrap();
        path
    }

    #[test]
    fn a_package_becomes_pages_that_the_readers_read() {
        let place = tempfile::tempdir().unwrap();
        let long = "Words of a documentation that say what the thing does. ".repeat(8);
        let lib = format!("//! {long}\n\n/// Adds numbers.\npub fn add() {{}}\n");
        let module = format!("/// {long}\npub struct Inner;\n");
        let path = crate_file(
            place.path(),
            &[
                ("src/lib.rs", &lib),
                ("src/inner/mod.rs", &module),
                ("src/short.rs", "//! Short.\n"),
                ("src/tests.rs", &lib),
                ("tests/it.rs", &lib),
                ("README.md", &long),
                ("CHANGELOG.md", &long),
            ],
        );
        let package = Package { name: "x-y".into(), version: "1.0.0".into(), checksum: None };
        let mut out = Vec::new();
        let counts = write(&package, &path, &mut out).unwrap();
        assert_eq!((counts.pages, counts.short), (3, 1));
        let pages = place.path().join(PAGES);
        std::fs::write(&pages, &out).unwrap();
        let mut urls = Vec::new();
        for event in open(&pages, "docs", place.path().join("rejected")).unwrap() {
            let Event::Document(item) = event else { panic!("{event:?}") };
            let page = String::from_utf8(item.page.unwrap().bytes).unwrap();
            assert!(page.contains("say what the thing does"), "{page}");
            assert_eq!(item.document.date.as_deref(), Some("2006-07-24T01:21:28Z"));
            urls.push(item.document.url.unwrap());
        }
        let expected = ["README", "x_y", "x_y/inner"].map(|page| format!("https://docs.rs/x-y/1.0.0/{page}.html"));
        assert_eq!(urls, expected);
    }
}
