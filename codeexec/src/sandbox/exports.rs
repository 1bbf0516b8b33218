//! Adds exports to a WebAssembly module by rewriting its export section.

use std::ops::Range;

use anyhow::{Context, bail};
use wasmparser::{BinaryReader, KnownCustom, Name, Operator, Parser, Payload};

const EXPORT_SECTION: u8 = 7;
const FUNCTION: u8 = 0;
const GLOBAL: u8 = 3;
/// Name prefix of the exports that [`state`] adds.
pub const STATE: &str = "codeexec state ";

/// Exports the functions `names`, which the module's name section lists, under their names.
pub fn functions(wasm: &[u8], names: &[&str]) -> anyhow::Result<Vec<u8>> {
    let mut found: Vec<Option<u32>> = vec![None; names.len()];
    for payload in Parser::new(0).parse_all(wasm) {
        let Payload::CustomSection(custom) = payload? else { continue };
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
    let mut new = Vec::new();
    for (name, index) in names.iter().zip(found) {
        let Some(index) = index else { bail!("the module has no function named {name}") };
        new.push(((*name).to_owned(), FUNCTION, index));
    }
    add(wasm, &new)
}

/// Exports every mutable global under a name that starts with [`STATE`], so that the host can restore an instance.
/// This requires that the code can change only these globals and a single memory: the module imports only functions
/// and has no instruction that writes to a table or drops a segment. Any other module is returned unchanged.
pub fn state(wasm: &[u8]) -> anyhow::Result<Vec<u8>> {
    let (mut memories, mut globals, mut index) = (0, Vec::new(), 0);
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    if !matches!(import?.ty, wasmparser::TypeRef::Func(_)) {
                        return Ok(wasm.to_vec());
                    }
                }
            }
            Payload::MemorySection(section) => memories = section.count(),
            Payload::GlobalSection(section) => {
                for global in section {
                    if global?.ty.mutable {
                        globals.push((format!("{STATE}{index}"), GLOBAL, index));
                    }
                    index += 1;
                }
            }
            Payload::CodeSectionEntry(body) => {
                for operator in body.get_operators_reader()? {
                    if changes_more(&operator?) {
                        return Ok(wasm.to_vec());
                    }
                }
            }
            _ => {}
        }
    }
    if memories == 1 { add(wasm, &globals) } else { Ok(wasm.to_vec()) }
}

/// Whether an instruction changes a table or drops a segment: state other than memory and globals.
fn changes_more(operator: &Operator) -> bool {
    matches!(
        operator,
        Operator::TableSet { .. }
            | Operator::TableGrow { .. }
            | Operator::TableFill { .. }
            | Operator::TableCopy { .. }
            | Operator::TableInit { .. }
            | Operator::ElemDrop { .. }
            | Operator::DataDrop { .. }
    )
}

/// Appends exports (name, kind, index) to the module's export section.
fn add(wasm: &[u8], new: &[(String, u8, u32)]) -> anyhow::Result<Vec<u8>> {
    let (range, count) = section(wasm)?;
    let mut content = Vec::new();
    leb128(count + new.len() as u32, &mut content);
    let mut reader = BinaryReader::new(&wasm[range.clone()], range.start);
    reader.read_var_u32()?;
    content.extend_from_slice(&wasm[reader.original_position()..range.end]);
    for (name, kind, index) in new {
        leb128(name.len() as u32, &mut content);
        content.extend_from_slice(name.as_bytes());
        content.push(*kind);
        leb128(*index, &mut content);
    }
    // Before the section's content come its id (one byte) and its size (LEB128, one to five bytes).
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

/// The byte range of the export section's content, and the number of exports.
fn section(wasm: &[u8]) -> anyhow::Result<(Range<usize>, u32)> {
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::ExportSection(exports) = payload? {
            return Ok((exports.range(), exports.count()));
        }
    }
    bail!("the module exports nothing")
}

/// Appends an unsigned integer in LEB128.
fn leb128(mut value: u32, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
