//! Files that replace the expected one: what they are, and what to do.

/// Describes a file that is not a model file: a Git LFS pointer, or a web page that was saved in its place.
///
/// ```
/// let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4665\nsize 12\n";
/// assert!(weights::impostor(pointer).unwrap().contains("git lfs pull"));
/// assert_eq!(weights::impostor(b"{}"), None);
/// ```
#[must_use]
pub fn impostor(bytes: &[u8]) -> Option<&'static str> {
    let start = bytes[..bytes.len().min(64)].trim_ascii_start();
    if start.starts_with(b"version https://git-lfs") || start.starts_with(b"version https://hawser") {
        return Some("this is a Git LFS pointer and not the file itself; fetch that (git lfs pull)");
    }
    let page = start.to_ascii_lowercase();
    let is_page = page.starts_with(b"<!doctype html") || page.starts_with(b"<html");
    is_page.then_some("this is a web page that was saved instead of the file; fetch the file again")
}
