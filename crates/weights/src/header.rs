//! The header of a safetensors file: eight bytes of length, JSON, then the tensors' bytes without gaps.
//!
//! The `safetensors` crate makes the same checks, but its messages rarely name the tensor, a duplicate name passes if
//! its offsets agree, and a crafted offset overflows in a debug build. So the checks are done here, on that crate's
//! types.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;

use safetensors::tensor::TensorInfo;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::error::shown;
use crate::{DType, Result, WeightsError};

/// The limit of the format on the header, in bytes.
const LONGEST_HEADER: u64 = 100_000_000;

/// One tensor of a file.
#[derive(Debug)]
pub(crate) struct Entry {
    pub name: String,
    pub dtype: DType,
    pub shape: Vec<usize>,
    /// First byte and the byte after the last, counted from the start of the file.
    pub bytes: std::ops::Range<usize>,
}

/// The tensors of a safetensors file in the order of their bytes, every offset checked against the file's length.
pub(crate) fn read(path: &Path, file: &[u8]) -> Result<Vec<Entry>> {
    let bad = |problem: String| WeightsError::file(path, problem);
    if let Some(what) = crate::impostor(file) {
        return Err(bad(what.into()));
    }
    let Some((length, rest)) = file.split_first_chunk::<8>() else {
        return Err(bad(format!(
            "{} bytes are too few for a safetensors file; it is empty or truncated, fetch or save it again",
            file.len()
        )));
    };
    let length = u64::from_le_bytes(*length);
    if length > LONGEST_HEADER {
        return Err(bad(format!(
            "the header would be {length} bytes long, the format allows {LONGEST_HEADER}; this is not a safetensors file"
        )));
    }
    let Some((header, data)) = rest.split_at_checked(length as usize) else {
        return Err(bad(format!(
            "the header should be {length} bytes long, but only {} follow; the file is truncated, fetch or save it again",
            rest.len()
        )));
    };
    let Entries(tensors) = serde_json::from_slice(header)
        .map_err(|e| bad(format!("the header is not the JSON of a safetensors file: {e}")))?;
    place(path, tensors, 8 + header.len(), data.len())
}

/// Checks a safetensors file in memory, as [`crate::Checkpoint::open`] checks one on disk, and returns the number of
/// tensors; `path` is for the message.
///
/// # Errors
/// [`WeightsError::File`] or [`WeightsError::Tensor`] with a description of the fault.
pub fn check_safetensors(path: &Path, file: &[u8]) -> Result<usize> {
    read(path, file).map(|entries| entries.len())
}

/// Checks that the tensors cover the `available` data bytes without overlap or gap, and that each has the length of
/// its shape.
fn place(path: &Path, tensors: Vec<(String, TensorInfo)>, start: usize, available: usize) -> Result<Vec<Entry>> {
    let mut sorted = tensors;
    sorted.sort_by_key(|(_, info)| info.data_offsets);
    let mut entries = Vec::with_capacity(sorted.len());
    let mut end_of_last = 0;
    for (name, info) in sorted {
        let bad = |problem: String| Err(WeightsError::tensor(path, &name, problem));
        let (begin, end) = info.data_offsets;
        let Some(expected) = byte_size(info.dtype, &info.shape) else {
            return bad(format!("shape {:?} of {:?} does not come to a whole number of bytes", info.shape, info.dtype));
        };
        if end < begin || end - begin != expected {
            return bad(format!(
                "shape {:?} of {:?} needs {expected} bytes, but data_offsets are {begin} and {end}",
                info.shape, info.dtype
            ));
        }
        if begin < end_of_last {
            return bad(format!(
                "its bytes begin at {begin}, within the tensor before it, which ends at {end_of_last}"
            ));
        }
        if begin > end_of_last {
            return bad(format!("{} bytes before it belong to no tensor", begin - end_of_last));
        }
        if end > available {
            return bad(format!(
                "its bytes end at {end}, but the file has only {available} data bytes; it is truncated, fetch or save it again"
            ));
        }
        end_of_last = end;
        entries.push(Entry { name, dtype: info.dtype, shape: info.shape, bytes: start + begin..start + end });
    }
    if end_of_last < available {
        return Err(WeightsError::file(
            path,
            format!(
                "{} bytes after the last tensor belong to none; the header does not fit the file",
                available - end_of_last
            ),
        ));
    }
    Ok(entries)
}

/// Size of a tensor in bytes; `None` if it overflows or is not an integer.
pub(crate) fn byte_size(dtype: DType, shape: &[usize]) -> Option<usize> {
    let elements = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size))?;
    let bits = elements.checked_mul(dtype.bitsize())?;
    (bits % 8 == 0).then_some(bits / 8)
}

/// The header's tensors in file order; a duplicate name is an error.
struct Entries(Vec<(String, TensorInfo)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;

        impl<'de> Visitor<'de> for Map {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                let mut seen = HashSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    if !seen.insert(name.clone()) {
                        return Err(A::Error::custom(format!("{} occurs twice", shown(&name))));
                    }
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    let info =
                        map.next_value().map_err(|e| A::Error::custom(format!("tensor {}: {e}", shown(&name))))?;
                    entries.push((name, info));
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(Map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + data, 7);
        bytes
    }

    fn error(bytes: &[u8]) -> String {
        read(Path::new("f.safetensors"), bytes).unwrap_err().to_string()
    }

    #[test]
    fn reads_in_the_order_of_bytes() {
        let header = r#"{"b":{"dtype":"F16","shape":[1,2],"data_offsets":[8,12]},"__metadata__":{"format":"pt"},
            "a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"s":{"dtype":"U8","shape":[],"data_offsets":[12,13]}}"#;
        let entries = read(Path::new("f"), &file(header, 13)).unwrap();
        let start = 8 + header.len();
        assert_eq!(entries.iter().map(|e| e.name.as_str()).collect::<Vec<_>>(), ["a", "b", "s"]);
        assert_eq!(entries[1].bytes, start + 8..start + 12);
        assert_eq!((entries[1].dtype, &entries[1].shape[..]), (DType::F16, &[1, 2][..]));
    }

    #[test]
    fn each_fault_is_named() {
        let one = |offsets: &str, shape: &str| {
            format!(r#"{{"w":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}}}"#)
        };
        let cases = [
            (vec![], "0 bytes are too few"),
            (vec![255; 9], "is not a safetensors file"),
            (file(&one("[0,8]", "[2]"), 0)[..20].to_vec(), "the file is truncated"),
            (file("[]", 0), "not the JSON of a safetensors file"),
            (file(&one("[0,8]", "[2]"), 7), "tensor \"w\": its bytes end at 8, but the file has only 7"),
            (file(&one("[0,8]", "[2]"), 9), "1 bytes after the last tensor"),
            (file(&one("[4,12]", "[2]"), 12), "4 bytes before it belong to no tensor"),
            (file(&one("[8,0]", "[2]"), 8), "data_offsets are 8 and 0"),
            (file(&one("[0,8]", "[3]"), 8), "needs 12 bytes"),
            (file(&one("[0,0]", "[4294967296,4294967296,2]"), 0), "does not come to a whole number of bytes"),
            (file(&one("[18446744073709551600,18446744073709551608]", "[2]"), 8), "belong to no tensor"),
            (
                file(r#"{"w":{"dtype":"F99","shape":[],"data_offsets":[0,0]}}"#, 0),
                "tensor \"w\": unknown variant `F99`",
            ),
        ];
        for (bytes, expected) in cases {
            let text = error(&bytes);
            assert!(text.starts_with("f.safetensors: ") && text.contains(expected), "{text} lacks {expected}");
        }
        let twice = r#"{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#;
        assert!(error(&file(twice, 1)).contains("\"w\" occurs twice"));
        let overlap = r#"{"v":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"w":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}"#;
        assert!(error(&file(overlap, 3)).contains("tensor \"w\": its bytes begin at 1, within the tensor before it"));
    }
}
