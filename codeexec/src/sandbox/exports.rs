//! Adding exports to a WebAssembly module by the functions' names in its name section.

use anyhow::{Context, bail};
use wasmparser::{BinaryReader, KnownCustom, Name, Parser, Payload};

const EXPORT_SECTION: u8 = 7;

/// The module with `names` exported as well.
pub fn add(wasm: &[u8], names: &[&str]) -> anyhow::Result<Vec<u8>> {
    let mut section = None;
    let mut found: Vec<Option<u32>> = vec![None; names.len()];
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::ExportSection(exports) => section = Some((exports.range(), exports.count())),
            Payload::CustomSection(custom) => {
                let KnownCustom::Name(sections) = custom.as_known() else { continue };
                for part in sections {
                    let Ok(Name::Function(functions)) = part else { continue };
                    for naming in functions {
                        let naming = naming?;
                        if let Some(i) = names.iter().position(|name| *name == naming.name) {
                            found[i] = Some(naming.index);
                        }
                    }
                }
            }
            _ => {}
        }
    }
    let (range, count) = section.context("the module exports nothing")?;
    let mut content = Vec::new();
    leb128(count + names.len() as u32, &mut content);
    let mut reader = BinaryReader::new(&wasm[range.clone()], range.start);
    reader.read_var_u32()?;
    content.extend_from_slice(&wasm[reader.original_position()..range.end]);
    for (name, index) in names.iter().zip(found) {
        let Some(index) = index else { bail!("the module has no function named {name}") };
        leb128(name.len() as u32, &mut content);
        content.extend_from_slice(name.as_bytes());
        content.push(0);
        leb128(index, &mut content);
    }
    // The section's head is its id and its size in LEB128, right before the range.
    let head = (1..=6)
        .map(|length| range.start - length)
        .find(|at| {
            let size = BinaryReader::new(&wasm[at + 1..range.start], at + 1).read_var_u32();
            wasm[*at] == EXPORT_SECTION && size.is_ok_and(|size| size as usize == range.len())
        })
        .context("the export section has no head")?;
    let mut out = wasm[..head].to_vec();
    out.push(EXPORT_SECTION);
    leb128(content.len() as u32, &mut out);
    out.extend_from_slice(&content);
    out.extend_from_slice(&wasm[range.end..]);
    Ok(out)
}

/// Appends an unsigned number in LEB128.
fn leb128(mut value: u32, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
