//! Paths that are not files of records: what they are, and what to give instead.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// The message for a folder, a table in another format or a placeholder file; `None` for everything else.
pub(crate) fn what(path: &Path) -> Option<String> {
    if path.is_dir() {
        return Some(folder(path));
    }
    let end = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let convert = "write it as JSON lines or Parquet first";
    match end.as_str() {
        "csv" | "tsv" => {
            return Some(format!(
                "a table of separated values is not read; {convert}: pandas.read_csv({:?}).to_json(\"data.jsonl\", \
                 orient=\"records\", lines=True)",
                path.file_name().unwrap_or_default().to_string_lossy()
            ));
        }
        "arrow" | "feather" => {
            return Some(format!("an Arrow file is not read; {convert} (datasets' to_json or to_parquet)"));
        }
        "xlsx" | "xls" | "zip" | "tar" | "7z" => return Some(format!("a .{end} file is not read; {convert}")),
        _ => {}
    }
    let mut start = [0; 64];
    let length = File::open(path).and_then(|mut file| file.read(&mut start)).ok()?;
    let pointer = start[..length].starts_with(b"version https://git-lfs");
    pointer.then(|| "this is a Git LFS pointer and not the file itself; fetch that (git lfs pull)".into())
}

fn folder(path: &Path) -> String {
    let mut found = Vec::new();
    files(path, 3, &mut found);
    found.sort();
    let named = |ends: &[&str]| {
        let matches = |file: &&PathBuf| ends.iter().any(|end| file.to_string_lossy().ends_with(end));
        found.iter().filter(matches).map(|file| file.display().to_string()).collect::<Vec<_>>()
    };
    let usable = named(&[".parquet", ".jsonl", ".jsonl.gz", ".jsonl.zst"]);
    match &usable[..] {
        [] if !named(&[".arrow"]).is_empty() => {
            "is a folder with Arrow files, as save_to_disk writes it; write one file with datasets' to_parquet or to_json and \
             give that"
                .into()
        }
        [] => "is a folder without files of records; give a file (.jsonl, .jsonl.gz, .jsonl.zst, .parquet)".into(),
        [first] => format!("is a folder; give the file in it: {first}"),
        several => {
            let more = if several.len() > 4 { format!(" and {} more", several.len() - 4) } else { String::new() };
            format!("is a folder; give the files in it: {}{more}", several[..several.len().min(4)].join(" "))
        }
    }
}

fn files(path: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let inner = entry.path();
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        if inner.is_dir() && depth > 0 && !hidden {
            files(&inner, depth - 1, found);
        } else if inner.is_file() && !hidden {
            found.push(inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_says_what_to_give() {
        let place = tempfile::tempdir().unwrap();
        let set = place.path().join("set");
        fs::create_dir_all(set.join("data")).unwrap();
        assert!(what(&set).unwrap().contains("a folder without files of records"));
        fs::write(set.join("data-00000-of-00001.arrow"), "x").unwrap();
        assert!(what(&set).unwrap().contains("save_to_disk"));
        fs::write(set.join("data/train-00000-of-00001.parquet"), "x").unwrap();
        let said = what(&set).unwrap();
        assert!(said.starts_with("is a folder; give the file in it: ") && said.ends_with(".parquet"), "{said}");
        fs::write(set.join("data/test.jsonl"), "x").unwrap();
        assert!(what(&set).unwrap().contains("give the files in it: "));
        for (name, text, part) in [
            ("a.csv", "a,b\n", "pandas.read_csv(\"a.csv\")"),
            ("a.arrow", "x", "an Arrow file"),
            ("a.jsonl", "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n", "Git LFS pointer"),
        ] {
            fs::write(place.path().join(name), text).unwrap();
            assert!(what(&place.path().join(name)).unwrap().contains(part), "{name}");
        }
        fs::write(place.path().join("b.jsonl"), "{}\n").unwrap();
        assert_eq!(what(&place.path().join("b.jsonl")), None);
        assert_eq!(what(&place.path().join("nowhere")), None);
    }
}
