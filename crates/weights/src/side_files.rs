//! The files of a model folder besides its weights and its configuration: the tokenizer, the chat templates, the
//! generation settings. Every function that copies a model uses this list.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Files in the folder itself.
const FILES: [&str; 17] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "tokenizer.model.v3",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tekken.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
];
/// The folder of further chat templates: `NAME.jinja`; `tool_use` is for conversations with tools.
pub const ADDITIONAL_TEMPLATES: &str = "additional_chat_templates";
/// Documents that must accompany a copy of a model.
const DOCUMENTS: [&str; 8] =
    ["README.md", "LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE", "NOTICE.txt", "Notice", "USE_POLICY.md"];

/// The files of a model folder that are neither weights nor configuration, relative to it and in a fixed order.
///
/// # Errors
/// When the folder of further chat templates cannot be read.
pub fn of(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = FILES.iter().map(PathBuf::from).filter(|name| folder.join(name).is_file()).collect();
    let templates = folder.join(ADDITIONAL_TEMPLATES);
    if templates.is_dir() {
        let mut names = Vec::new();
        for entry in fs::read_dir(templates)? {
            let name = PathBuf::from(entry?.file_name());
            if name.extension().is_some_and(|end| end == "jinja") {
                names.push(Path::new(ADDITIONAL_TEMPLATES).join(name));
            }
        }
        names.sort();
        found.extend(names);
    }
    Ok(found)
}

/// The licence and the description in a model folder, relative to it.
pub fn documents(folder: &Path) -> Vec<PathBuf> {
    DOCUMENTS.iter().map(PathBuf::from).filter(|name| folder.join(name).is_file()).collect()
}

/// Copies the files of [`of`]. A folder that is copied onto itself stays unchanged.
///
/// # Errors
/// When a file cannot be read or written; the message names it.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    copy_all(from, to, &of(from)?)
}

/// Copies files of `from`, given relative to it, to the same places in `to`.
///
/// # Errors
/// See [`copy`].
pub fn copy_all(from: &Path, to: &Path, files: &[PathBuf]) -> io::Result<()> {
    for name in files {
        let (source, target) = (from.join(name), to.join(name));
        // `fs::copy` of a file onto itself would empty the file.
        if fs::canonicalize(&target).is_ok_and(|there| fs::canonicalize(&source).is_ok_and(|here| here == there)) {
            continue;
        }
        let named = |e: io::Error| io::Error::new(e.kind(), format!("cannot copy {}: {e}", source.display()));
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(named)?;
        }
        fs::copy(&source, &target).map_err(named)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_beside_the_weights_is_copied_and_nothing_else() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(from.path().join(ADDITIONAL_TEMPLATES)).unwrap();
        let names = ["tokenizer.json", "generation_config.json", "additional_chat_templates/tool_use.jinja"];
        let others = ["config.json", "model.safetensors", "run.json", "README.md", "additional_chat_templates/x.txt"];
        for name in names.iter().chain(&others) {
            fs::write(from.path().join(name), name).unwrap();
        }
        assert_eq!(of(from.path()).unwrap(), names.map(PathBuf::from));
        copy(from.path(), to.path()).unwrap();
        for name in names {
            assert_eq!(fs::read_to_string(to.path().join(name)).unwrap(), name);
        }
        assert!(others.iter().all(|name| !to.path().join(name).exists()));
        assert_eq!(documents(from.path()), [PathBuf::from("README.md")]);
        // Onto itself.
        copy(to.path(), to.path()).unwrap();
        assert_eq!(fs::read_to_string(to.path().join(names[0])).unwrap(), names[0]);
    }
}
