//! Reads the needed parts of an ONNX file: the float32 initializers, and the operators that use them. ONNX is protobuf (onnx.proto:
//! `ModelProto`, `GraphProto`, `NodeProto`, `TensorProto`); this module only walks over its fields.

use std::collections::BTreeMap;

/// A float32 tensor of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Initializer<'a> {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its values, little endian, in row order.
    pub data: &'a [u8],
}

/// An operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node<'a> {
    /// Its kind, such as `MatMul`.
    pub operator: &'a str,
    /// Names of its inputs.
    pub inputs: Vec<&'a str>,
    /// Names of its outputs.
    pub outputs: Vec<&'a str>,
}

/// The read parts of a file.
#[derive(Debug, Default)]
pub struct Onnx<'a> {
    /// Float32 initializers by name. Others are left out.
    pub initializers: BTreeMap<&'a str, Initializer<'a>>,
    /// The operators, in order.
    pub nodes: Vec<Node<'a>>,
}

/// A field of a message.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Onnx<'a> {
    /// Parses the bytes of a file; `None` if they are not an ONNX model.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut found = Self::default();
        // ModelProto.graph is field 7.
        each(bytes, |number, field| match (number, field) {
            (7, Field::Bytes(graph)) => found.graph(graph),
            _ => Some(()),
        })?;
        (!found.nodes.is_empty()).then_some(found)
    }

    fn graph(&mut self, graph: &'a [u8]) -> Option<()> {
        each(graph, |number, field| match (number, field) {
            (1, Field::Bytes(node)) => {
                self.nodes.push(node_of(node)?);
                Some(())
            }
            (5, Field::Bytes(tensor)) => {
                if let Some((name, tensor)) = tensor_of(tensor)? {
                    self.initializers.insert(name, tensor);
                }
                Some(())
            }
            _ => Some(()),
        })
    }
}

fn node_of(bytes: &[u8]) -> Option<Node<'_>> {
    let mut node = Node { operator: "", inputs: Vec::new(), outputs: Vec::new() };
    each(bytes, |number, field| {
        if let Field::Bytes(text) = field {
            match number {
                1 => node.inputs.push(std::str::from_utf8(text).ok()?),
                2 => node.outputs.push(std::str::from_utf8(text).ok()?),
                4 => node.operator = std::str::from_utf8(text).ok()?,
                _ => {}
            }
        }
        Some(())
    })?;
    Some(node)
}

/// The name and content of a tensor. The inner value is `None` if it is not float32 or stores its values elsewhere.
#[allow(clippy::option_option)]
fn tensor_of(bytes: &[u8]) -> Option<Option<(&str, Initializer<'_>)>> {
    const FLOAT: u64 = 1;
    let (mut name, mut shape, mut kind, mut data) = ("", Vec::new(), 0, None);
    each(bytes, |number, field| {
        match (number, field) {
            (1, Field::Number(size)) => shape.push(usize::try_from(size).ok()?),
            // Packed encoding.
            (1, Field::Bytes(mut sizes)) => {
                while !sizes.is_empty() {
                    shape.push(usize::try_from(varint(&mut sizes)?).ok()?);
                }
            }
            (2, Field::Number(number)) => kind = number,
            (8, Field::Bytes(text)) => name = std::str::from_utf8(text).ok()?,
            (9, Field::Bytes(raw)) => data = Some(raw),
            _ => {}
        }
        Some(())
    })?;
    let Some(data) = data.filter(|_| kind == FLOAT) else { return Some(None) };
    let bytes = shape.iter().try_fold(4_usize, |product, size| product.checked_mul(*size))?;
    (bytes == data.len()).then_some(Some((name, Initializer { shape, data })))
}

/// Calls `visit` for every field of a message. `None` if the bytes are not protobuf, or if `visit` returns it.
fn each<'a>(mut bytes: &'a [u8], mut visit: impl FnMut(u64, Field<'a>) -> Option<()>) -> Option<()> {
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let take = |bytes: &mut &'a [u8], count: usize| {
            let (taken, rest) = bytes.split_at_checked(count)?;
            *bytes = rest;
            Some(taken)
        };
        let field = match key & 7 {
            0 => Field::Number(varint(&mut bytes)?),
            1 => Field::Bytes(take(&mut bytes, 8)?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                Field::Bytes(take(&mut bytes, length)?)
            }
            5 => Field::Bytes(take(&mut bytes, 4)?),
            _ => return None,
        };
        visit(key >> 3, field)?;
    }
    Some(())
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2];
        let mut length = bytes.len();
        while length >= 0x80 {
            out.push(length as u8 | 0x80);
            length >>= 7;
        }
        out.push(length as u8);
        out.extend(bytes);
        out
    }

    fn model() -> Vec<u8> {
        let values: Vec<u8> = (0..60).flat_map(|value| (value as f32).to_le_bytes()).collect();
        let tensor = [vec![8, 6, 8, 10, 16, 1], field(8, b"w"), field(9, &values)].concat();
        let whole = [field(1, &[2]), vec![16, 7], field(8, b"shape"), field(9, &[0; 16])].concat();
        let node = [field(1, b"x"), field(1, b"w"), field(2, b"y"), field(4, b"MatMul")].concat();
        let graph = [field(1, &node), field(5, &tensor), field(5, &whole)].concat();
        [vec![8, 8], field(7, &graph)].concat()
    }

    #[test]
    fn tensors_and_operators_are_found() {
        let bytes = model();
        let found = Onnx::read(&bytes).unwrap();
        assert_eq!(found.nodes, [Node { operator: "MatMul", inputs: vec!["x", "w"], outputs: vec!["y"] }]);
        assert_eq!(found.initializers.keys().collect::<Vec<_>>(), [&"w"], "float32 alone");
        assert_eq!((&found.initializers["w"].shape[..], found.initializers["w"].data.len()), (&[6, 10][..], 240));
    }

    #[test]
    fn what_is_cut_off_is_no_model() {
        let bytes = model();
        for cut in 0..bytes.len() {
            assert!(Onnx::read(&bytes[..cut]).is_none(), "cut at {cut}");
        }
        assert!(Onnx::read(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff").is_none());
    }
}
