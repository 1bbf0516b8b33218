//! The sets and their sources.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use pinned::{NpmPackage, cache_dir};

/// A set of drawings.
pub struct Set {
    /// The name of the set in this project.
    pub name: &'static str,
    /// Whether training shows its drawings; the other set is for the test.
    pub trains: bool,
    package: NpmPackage,
}

/// The three artists.
pub const SETS: [Set; 3] = [
    Set {
        name: "noto",
        trains: true,
        package: NpmPackage {
            name: "@iconify-json/noto",
            version: "1.2.9",
            sha256: "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad",
        },
    },
    Set {
        name: "fluent-emoji-flat",
        trains: true,
        package: NpmPackage {
            name: "@iconify-json/fluent-emoji-flat",
            version: "1.2.6",
            sha256: "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175",
        },
    },
    Set {
        name: "twemoji",
        trains: false,
        package: NpmPackage {
            name: "@iconify-json/twemoji",
            version: "1.2.5",
            sha256: "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7",
        },
    },
];

/// The folder of the sets in the cache. Missing sets are fetched from npm once (5.9 MB) and checked by digest.
///
/// # Errors
/// When npm cannot fetch a package, or when it is not the pinned one.
pub fn fetch() -> anyhow::Result<PathBuf> {
    let cache = cache_dir()?;
    let versions: Vec<&str> = SETS.iter().map(|set| set.package.version).collect();
    let folder = cache.join("drawings").join(versions.join("-"));
    if folder.is_dir() {
        return Ok(folder);
    }
    let downloads = cache.join("downloads");
    run::replace_folder(&folder, |target| {
        SETS.iter().try_for_each(|set| set.unpack(&downloads, &target.join(set.name)))
    })?;
    Ok(folder)
}

impl Set {
    fn unpack(&self, downloads: &Path, target: &Path) -> anyhow::Result<()> {
        let NpmPackage { name, version, .. } = &self.package;
        eprintln!("fetching {name} {version} from npm");
        let tarball = self.package.fetch(downloads)?;
        let files = ["icons.json", "info.json", "metadata.json"];
        let place =
            |name: &str| files.iter().find(|file| name == format!("package/{file}")).map(|file| target.join(file));
        let count = NpmPackage::unpack(&tarball, place)?;
        ensure!(count == files.len(), "{} has {count} of the files {}", tarball.display(), files.join(", "));
        Ok(())
    }
}
