//! Reads packages (a folder, a wheel or an sdist) with their Python files and licence.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::documents::UNKNOWN;

/// A source file of a package.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// The path below the import root, with `/`.
    pub path: String,
    /// Dotted name of the module.
    pub module: String,
    /// Its text.
    pub text: String,
}

impl SourceFile {
    /// Whether it is a package's `__init__.py`.
    #[must_use]
    pub fn is_package(&self) -> bool {
        self.path == "__init__.py" || self.path.ends_with("/__init__.py")
    }
}

/// A package.
#[derive(Debug, Clone)]
pub struct Package {
    /// The name from the metadata or of the folder.
    pub name: String,
    /// The licence; `unknown` if the metadata states none.
    pub licence: String,
    /// The Python files without tests, by path.
    pub files: Vec<SourceFile>,
    /// Counts of Python files that were left out, by reason.
    pub left_out: BTreeMap<&'static str, usize>,
}

/// Size limit in bytes: larger files are tables rather than programs.
const LARGE: usize = 400_000;

/// Reads every package that the paths name: a package, or a folder with archives.
///
/// # Errors
/// When a path is no package or cannot be read.
pub fn load(paths: &[PathBuf]) -> anyhow::Result<(Vec<Package>, Vec<PathBuf>)> {
    let (mut packages, mut read) = (Vec::new(), Vec::new());
    for path in paths {
        for path in archives(path)? {
            packages.push(package(&path).with_context(|| format!("--repositories {}", path.display()))?);
            read.push(path);
        }
    }
    Ok((packages, read))
}

/// The archives in a folder; the path itself if there are none.
fn archives(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|p| is_archive(p)).collect();
        if !found.is_empty() {
            found.sort();
            return Ok(found);
        }
    }
    Ok(vec![path.to_owned()])
}

fn is_archive(path: &Path) -> bool {
    let name = path.to_string_lossy();
    path.is_file() && [".whl", ".tar.gz", ".zip"].iter().any(|ending| name.ends_with(ending))
}

/// Reads one package.
///
/// # Errors
/// When it is neither a folder nor an archive of a known kind.
pub fn package(path: &Path) -> anyhow::Result<Package> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut files = BTreeMap::new();
    if path.is_dir() {
        walk(path, path, &mut files)?;
    } else if name.ends_with(".whl") || name.ends_with(".zip") {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let mut archive = zip::ZipArchive::new(BufReader::new(file))?;
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index)?;
            let inside = entry.name()?.to_string();
            if !entry.is_dir() && is_wanted(&inside) {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes)?;
                files.insert(inside, bytes);
            }
        }
    } else if name.ends_with(".tar.gz") {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(BufReader::new(file)));
        for entry in archive.entries()? {
            let mut entry = entry?;
            let inside = entry.path()?.to_string_lossy().into_owned();
            if entry.header().entry_type().is_file() && is_wanted(&inside) {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes)?;
                files.insert(inside, bytes);
            }
        }
    } else {
        bail!("not a package: give a folder, a wheel (.whl) or an sdist (.tar.gz)");
    }
    Ok(of_files(&name, files))
}

fn is_wanted(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    path.ends_with(".py") || name == "METADATA" || name == "PKG-INFO" || name == "pyproject.toml"
}

fn walk(root: &Path, folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && name != "__pycache__" && name != "node_modules" {
                walk(root, &path, files)?;
            }
        } else if let (Ok(inside), true) = (path.strip_prefix(root), is_wanted(&name)) {
            let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            files.insert(inside.to_string_lossy().replace('\\', "/"), bytes);
        }
    }
    Ok(())
}

fn of_files(name: &str, files: BTreeMap<String, Vec<u8>>) -> Package {
    let root = root(&files);
    let mut package = Package {
        name: name.trim_end_matches(".whl").trim_end_matches(".tar.gz").trim_end_matches(".zip").to_owned(),
        licence: UNKNOWN.to_owned(),
        files: Vec::new(),
        left_out: BTreeMap::new(),
    };
    for (path, bytes) in files {
        let is_metadata = !path.ends_with(".py");
        let Ok(text) = String::from_utf8(bytes) else {
            *package.left_out.entry("not UTF-8").or_default() += 1;
            continue;
        };
        if is_metadata {
            if package.licence == UNKNOWN
                && let Some(licence) = licence(&text)
            {
                package.licence = licence;
            }
            continue;
        }
        let Some(inside) = path.strip_prefix(&root) else {
            *package.left_out.entry("outside the source folder").or_default() += 1;
            continue;
        };
        let why = if is_test(inside) {
            Some("tests")
        } else if !inside.contains('/') && ["setup.py", "noxfile.py", "conftest.py"].contains(&inside) {
            Some("set-up files")
        } else if inside.split('/').any(|part| part.contains(".dist-info") || part.contains(".data")) {
            Some("metadata")
        } else if text.len() > LARGE {
            Some("files above 400 kB")
        } else {
            None
        };
        if let Some(why) = why {
            *package.left_out.entry(why).or_default() += 1;
            continue;
        }
        let module = module_of(inside);
        let text = text.replace("\r\n", "\n").trim_end().to_owned();
        package.files.push(SourceFile { path: inside.to_owned(), module, text });
    }
    package
}

/// The module of a path: `a/b/__init__.py` is `a.b`, `a/c.py` is `a.c`.
#[must_use]
pub fn module_of(path: &str) -> String {
    let dotted = path.strip_suffix(".py").unwrap_or(path).replace('/', ".");
    match dotted.strip_suffix("__init__") {
        Some(package) => package.trim_end_matches('.').to_owned(),
        None => dotted,
    }
}

/// The import root: the `src/` or `lib/` that contains packages, below the top folder of an sdist.
fn root(files: &BTreeMap<String, Vec<u8>>) -> String {
    let python: Vec<&str> = files.keys().map(String::as_str).filter(|path| path.ends_with(".py")).collect();
    let mut root = String::new();
    // An sdist has one top folder with its metadata; that folder is no package.
    let first = python.first().and_then(|path| path.split_once('/')).map(|(folder, _)| format!("{folder}/"));
    if let Some(folder) = first
        && files.keys().all(|path| path.starts_with(&folder))
        && !files.contains_key(&format!("{folder}__init__.py"))
        && ["PKG-INFO", "pyproject.toml", "setup.py"].iter().any(|name| files.contains_key(&format!("{folder}{name}")))
    {
        root = folder;
    }
    for inner in ["src/", "lib/"] {
        let below = format!("{root}{inner}");
        let has_package = python.iter().any(|path| path.strip_prefix(&below).is_some_and(|rest| !rest.is_empty()));
        if has_package && !files.contains_key(&format!("{below}__init__.py")) {
            return below;
        }
    }
    root
}

fn is_test(path: &str) -> bool {
    let mut parts: Vec<&str> = path.split('/').collect();
    let name = parts.pop().unwrap_or_default();
    parts.iter().any(|part| *part == "tests" || *part == "test")
        || name.starts_with("test_")
        || name.ends_with("_test.py")
        || name == "conftest.py"
}

/// The licence in `METADATA` or `PKG-INFO`: the expression, the short field, or the classifiers.
fn licence(text: &str) -> Option<String> {
    let head = text.split("\n\n").next().unwrap_or_default();
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let short = |text: &&str| !text.is_empty() && text.len() < 80 && !text.eq_ignore_ascii_case("unknown");
    if let Some(found) = ["License-Expression:", "License:"].iter().find_map(|name| field(name).filter(short)) {
        return Some(found.to_owned());
    }
    let classifiers: Vec<&str> = head
        .lines()
        .filter_map(|line| line.strip_prefix("Classifier: License ::"))
        .filter_map(|line| line.rsplit("::").next())
        .map(str::trim)
        .collect();
    (!classifiers.is_empty()).then(|| classifiers.join(" or "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package_of(files: &[(&str, &str)]) -> Package {
        of_files(
            "demo-1.0.tar.gz",
            files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect(),
        )
    }

    #[test]
    fn modules_of_wheels_sdists_and_folders() {
        let modules = |package: &Package| package.files.iter().map(|f| f.module.clone()).collect::<Vec<_>>();
        let wheel = package_of(&[
            ("demo/__init__.py", ""),
            ("demo/a/b.py", ""),
            ("demo/tests/test_a.py", ""),
            ("demo-1.0.dist-info/METADATA", "Name: demo\nLicense-Expression: MIT\n\nLicense: no"),
            ("single.py", ""),
        ]);
        assert_eq!(modules(&wheel), ["demo", "demo.a.b", "single"]);
        assert_eq!((wheel.licence.as_str(), wheel.left_out["tests"]), ("MIT", 1));
        let sdist = package_of(&[
            ("demo-1.0/PKG-INFO", "License: UNKNOWN\nClassifier: License :: OSI Approved :: BSD License\n"),
            ("demo-1.0/setup.py", ""),
            ("demo-1.0/src/demo/__init__.py", ""),
            ("demo-1.0/docs/conf.py", ""),
        ]);
        assert_eq!(modules(&sdist), ["demo"]);
        assert_eq!((sdist.licence.as_str(), sdist.left_out["outside the source folder"]), ("BSD License", 2));
        let flat = package_of(&[("demo-1.0/setup.py", ""), ("demo-1.0/demo/core.py", "x = 1\r\n")]);
        assert_eq!((modules(&flat), flat.files[0].text.as_str()), (vec!["demo.core".to_owned()], "x = 1"));
    }
}
