//! Fonts, and words written in them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use pinned::{NpmPackage, cache_dir};
use ttf_parser::{Face, OutlineBuilder};

use super::{Artist, Credit, Icon, WORDS};

/// A font and its source. All are under the Apache licence 2.0.
pub struct Font {
    /// The name of the font in this project.
    pub name: &'static str,
    /// Whether training shows it; the other fonts are for the test.
    pub trains: bool,
    author: &'static str,
    package: NpmPackage,
    /// The file in the package.
    file: &'static str,
}

macro_rules! font {
    ($name:literal, $trains:literal, $author:literal, $version:literal, $sha256:literal, $file:literal) => {
        Font {
            name: $name,
            trains: $trains,
            author: $author,
            package: NpmPackage { name: concat!("@expo-google-fonts/", $name), version: $version, sha256: $sha256 },
            file: concat!("package/400Regular/", $file, ".ttf"),
        }
    };
}

/// A typewriter, a heavy serif, a round sans, a brush and a hand for training; a marker and a script for the test.
pub const FONTS: [Font; 7] = [
    font!(
        "special-elite",
        true,
        "Astigmatic",
        "0.4.1",
        "7a612f3dfa4257e563aec0a6ec26b9f3b669ee9246968c690e0856a3fe6f96c6",
        "SpecialElite_400Regular"
    ),
    font!(
        "ultra",
        true,
        "Astigmatic",
        "0.4.0",
        "5ad08796a7ee92ad5bb6c808b460cea9bcb0c186ab836e0c84311cf9c9c918de",
        "Ultra_400Regular"
    ),
    font!(
        "aclonica",
        true,
        "Astigmatic",
        "0.4.1",
        "ce75de1009f9905d28b5b0e4d4932ab393f5de1300dd100b742bba7f13a7c813",
        "Aclonica_400Regular"
    ),
    font!(
        "chewy",
        true,
        "Sideshow",
        "0.4.0",
        "bc88f2431f47ee1ffaf10e036ce94fba0ef7d77bfeb0f02ef0f809d98ee3025a",
        "Chewy_400Regular"
    ),
    font!(
        "schoolbell",
        true,
        "Font Diner",
        "0.4.0",
        "b75e9a90a098260fcd9dc7c71a7c2f6e585a0d4568f8914bfe93fa3b5f5366f3",
        "Schoolbell_400Regular"
    ),
    font!(
        "permanent-marker",
        false,
        "Font Diner",
        "0.4.0",
        "2c79cf1dec015491b41a15a9225af8ce1c0051474a9d94e5cc87baee9ad82041",
        "PermanentMarker_400Regular"
    ),
    font!(
        "rancho",
        false,
        "Sideshow",
        "0.4.1",
        "f79d9b833b02435834ae2cebdf04f408eb0f4a9518a61a8d87df04f5537dbcb8",
        "Rancho_400Regular"
    ),
];

impl Font {
    /// The folder of all fonts in the cache. Missing fonts are fetched from npm once (1.4 MB) and checked by digest.
    ///
    /// # Errors
    /// When npm cannot fetch a package, or when it is not the pinned one.
    pub fn fetch_all() -> anyhow::Result<PathBuf> {
        let cache = cache_dir()?;
        let versions: Vec<&str> = FONTS.iter().map(|font| font.package.version).collect();
        let folder = cache.join("fonts").join(versions.join("-"));
        if folder.is_dir() {
            return Ok(folder);
        }
        let downloads = cache.join("downloads");
        run::replace_folder(&folder, |target| {
            FONTS.iter().try_for_each(|font| font.unpack(&downloads, &target.join(format!("{}.ttf", font.name))))
        })?;
        Ok(folder)
    }

    fn unpack(&self, downloads: &Path, target: &Path) -> anyhow::Result<()> {
        let NpmPackage { name, version, .. } = &self.package;
        eprintln!("fetching {name} {version} from npm");
        let tarball = self.package.fetch(downloads)?;
        let count = NpmPackage::unpack(&tarball, |name| (name == self.file).then(|| target.to_owned()))?;
        ensure!(count == 1, "{} has no file {}", tarball.display(), self.file);
        Ok(())
    }

    /// Writes all words in the font of a file.
    pub(super) fn open(&self, path: &Path) -> anyhow::Result<Artist> {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let face = Face::parse(&bytes, 0).with_context(|| format!("{}: no TrueType font", path.display()))?;
        let written = |word: &&str| Ok(((*word).to_owned(), written(&face, word)?));
        let drawings = WORDS.iter().map(written).collect::<anyhow::Result<_>>();
        let credit = Credit {
            set: self.name.into(),
            author: self.author.into(),
            url: format!("https://www.npmjs.com/package/{}", self.package.name),
            licence: "Apache-2.0".into(),
            licence_url: "https://www.apache.org/licenses/LICENSE-2.0".into(),
        };
        let drawings = drawings.with_context(|| path.display().to_string())?;
        Ok(Artist { set: self.name.into(), trains: self.trains, credit, drawings })
    }
}

/// A word as a path of SVG: letters side by side by their advance widths, in the box of the font's line.
fn written(face: &Face, word: &str) -> anyhow::Result<Icon> {
    let mut path = SvgPath { data: String::new(), x: 0.0, top: f32::from(face.ascender()) };
    for letter in word.chars() {
        let glyph = face.glyph_index(letter).with_context(|| format!("the font has no letter {letter}"))?;
        face.outline_glyph(glyph, &mut path).with_context(|| format!("the letter {letter} has no outline"))?;
        path.x += f32::from(face.glyph_hor_advance(glyph).unwrap_or_default());
    }
    let height = f64::from(face.ascender()) - f64::from(face.descender());
    ensure!(path.x > 0.0 && height > 0.0, "the font's letters have no size");
    Ok(Icon { body: format!(r#"<path d="{}"/>"#, path.data), width: f64::from(path.x), height })
}

/// Collects outlines; y points down in SVG and up in fonts.
struct SvgPath {
    data: String,
    /// Where the letter begins.
    x: f32,
    /// The height of the line above the base line.
    top: f32,
}

impl SvgPath {
    fn add(&mut self, command: char, points: &[(f32, f32)]) {
        self.data.push(command);
        for (x, y) in points {
            let _ = write!(self.data, "{} {} ", self.x + x, self.top - y);
        }
    }
}

impl OutlineBuilder for SvgPath {
    fn move_to(&mut self, x: f32, y: f32) {
        self.add('M', &[(x, y)]);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        self.add('L', &[(x, y)]);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        self.add('Q', &[(x1, y1), (x, y)]);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        self.add('C', &[(x1, y1), (x2, y2), (x, y)]);
    }

    fn close(&mut self) {
        self.data.push('Z');
    }
}
