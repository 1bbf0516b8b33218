//! The cache of compiled kernels. A file's name contains a digest of the text, the options and NVRTC's version.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::nvrtc::{Architecture, Form, Image, Nvrtc};
use crate::{KernelError, source};

/// Where an image comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Compiled now.
    Compiled,
    /// Read from the cache folder.
    Cache,
}

/// Length of the SHA-256 digest of the image at the start of a file, in bytes.
const DIGEST: usize = 32;

/// The compiled kernels for an architecture, their origin, and their file. Reads them from `folder` if it has an intact image
/// of the same text, options and NVRTC version; otherwise compiles them and writes the file. A damaged file is replaced.
///
/// # Errors
/// When NVRTC reports an error in the program, or `folder` cannot be written to.
pub fn compiled(
    nvrtc: &Nvrtc,
    architecture: Architecture,
    folder: &Path,
) -> Result<(Image, Origin, PathBuf), KernelError> {
    let (options, form) = nvrtc.options(architecture);
    let path = folder.join(name(&options, &nvrtc.version(), form));
    if let Some(bytes) = read(&path) {
        return Ok((Image { form, bytes }, Origin::Cache, path));
    }
    let image = nvrtc.compile(source::TEXT, architecture)?;
    write(&path, &image.bytes).map_err(|error| KernelError::Cache { path: path.clone(), reason: error.to_string() })?;
    Ok((image, Origin::Compiled, path))
}

fn name(options: &[String], version: &str, form: Form) -> String {
    let mut hasher = Sha256::new();
    for part in [source::TEXT, &options.join(" "), version] {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let digest: String = hasher.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let ending = if form == Form::Cubin { "cubin" } else { "ptx" };
    format!("kernels-{digest}.{ending}")
}

/// The image in a file; `None` if there is no file or its digest is wrong.
fn read(path: &Path) -> Option<Vec<u8>> {
    let bytes = fs::read(path).ok()?;
    let (digest, image) = bytes.split_at_checked(DIGEST)?;
    (Sha256::digest(image).as_slice() == digest).then(|| image.to_vec())
}

/// Writes digest and image to a temporary file, and renames it when it is complete.
fn write(path: &Path, image: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&Sha256::digest(image))?;
    file.write_all(image)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_image_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/a.cubin");
        assert_eq!(read(&path), None);
        write(&path, b"machine code").unwrap();
        assert_eq!(read(&path).unwrap(), b"machine code");
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(read(&path), None);
        fs::write(&path, &bytes[..10]).unwrap();
        assert_eq!(read(&path), None);
        write(&path, b"again").unwrap();
        assert_eq!(read(&path).unwrap(), b"again");
    }

    #[test]
    fn the_name_depends_on_options_and_version() {
        let sm = |number: u32| vec![format!("--gpu-architecture=sm_{number}")];
        let names = [
            name(&sm(80), "13.0", Form::Cubin),
            name(&sm(90), "13.0", Form::Cubin),
            name(&sm(90), "13.1", Form::Cubin),
        ];
        assert!(names[0] != names[1] && names[1] != names[2], "{names:?}");
    }
}
