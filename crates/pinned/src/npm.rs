//! Pinned packages from npm, checked by SHA-256.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use flate2::bufread::GzDecoder;

use crate::wheel::sha256;

/// One package: its request to npm and the expected tarball.
pub struct NpmPackage {
    /// The package's name, with its scope.
    pub name: &'static str,
    /// The pinned version.
    pub version: &'static str,
    /// The tarball's digest, in hexadecimal.
    pub sha256: &'static str,
}

impl NpmPackage {
    /// The name that npm gives the tarball.
    fn file(&self) -> String {
        format!("{}-{}.tgz", self.name.trim_start_matches('@').replace('/', "-"), self.version)
    }

    /// Makes sure that `folder` has the tarball with the right digest, and returns its path. No script of the package
    /// is run.
    pub fn fetch(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        let path = folder.join(self.file());
        if path.exists() && sha256(&path)? == self.sha256 {
            return Ok(path);
        }
        std::fs::create_dir_all(folder)?;
        let status = Command::new("npm")
            .args(["pack", "--silent", "--ignore-scripts", "--pack-destination"])
            .arg(folder)
            .arg(format!("{}@{}", self.name, self.version))
            .stdout(Stdio::null())
            .status()
            .context("cannot start npm: is it installed?")?;
        if !status.success() {
            bail!("npm could not fetch {}@{} ({status})", self.name, self.version);
        }
        let found = sha256(&path)?;
        if found != self.sha256 {
            bail!("{} has SHA-256 {found}, not {}: it is not the file that was pinned", path.display(), self.sha256);
        }
        Ok(path)
    }

    /// Unpacks every file for which `place` returns a destination from a fetched tarball, and returns their number.
    /// Names start with `package/`.
    pub fn unpack(tarball: &Path, place: impl Fn(&str) -> Option<PathBuf>) -> anyhow::Result<usize> {
        let file = File::open(tarball).with_context(|| format!("cannot open {}", tarball.display()))?;
        let mut archive = tar::Archive::new(GzDecoder::new(BufReader::new(file)));
        let mut count = 0;
        for entry in archive.entries()? {
            let mut entry = entry?;
            let name = entry.path()?.to_string_lossy().into_owned();
            let Some(destination) = place(&name) else { continue };
            std::fs::create_dir_all(destination.parent().context("a destination without a folder")?)?;
            let mut out =
                File::create(&destination).with_context(|| format!("cannot write {}", destination.display()))?;
            std::io::copy(&mut entry, &mut out)?;
            count += 1;
        }
        Ok(count)
    }
}
