//! The names of the parts of a split file, as written by llama.cpp's `llama-gguf-split`: `NAME-00002-of-00003.gguf`.

use std::path::{Path, PathBuf};

/// The path of part `number`, from 0, of `count`, in the folder of the part at `path`.
///
/// # Errors
/// When the name of `path` is not that of a part.
pub(super) fn part(path: &Path, number: usize, count: usize) -> Result<PathBuf, String> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = name.strip_suffix(&format!("-of-{count:05}.gguf")).and_then(|rest| {
        let (stem, own) = rest.split_at_checked(rest.len().checked_sub(5)?)?;
        own.parse::<usize>().ok()?;
        stem.strip_suffix('-')
    });
    let Some(stem) = stem else {
        return Err(format!(
            "it is one of the {count} parts of a split file, whose names end in -00001-of-{count:05}.gguf and so on; give it its \
             name back, next to the others"
        ));
    };
    Ok(path.with_file_name(format!("{stem}-{:05}-of-{count:05}.gguf", number + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parts() {
        let of = |name: &str| part(Path::new(name), 1, 3).map(|path| path.display().to_string());
        assert_eq!(of("a/m-00001-of-00003.gguf").as_deref(), Ok("a/m-00002-of-00003.gguf"));
        assert_eq!(of("a/m-x-00003-of-00003.gguf").as_deref(), Ok("a/m-x-00002-of-00003.gguf"));
        for name in
            ["m.gguf", "m-00001-of-00002.gguf", "00001-of-00003.gguf", "m-0001-of-00003.gguf", "ü-of-00003.gguf"]
        {
            assert!(of(name).is_err_and(|error| error.contains("-00001-of-00003.gguf")), "{name}");
        }
    }
}
