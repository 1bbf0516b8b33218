//! Checks a program's messages before the judge reads them: only plain values of Python's marshal format, complete
//! and not nested too deeply. CPython does not guarantee that `marshal.loads` is safe on hostile bytes.
//!
//! The format is that of CPython's `Python/marshal.c`, version 4.

/// Maximum nesting depth.
const MAX_DEPTH: usize = 1000;
/// The bit that assigns a number to a value, for references to it.
const FLAG_REF: u8 = 0x80;

/// True if `bytes` are one plain value and nothing more.
pub fn is_plain(bytes: &[u8]) -> bool {
    let mut checker = Checker { rest: bytes, complete: Vec::new() };
    checker.value(0).is_some_and(|is_value| is_value) && checker.rest.is_empty()
}

struct Checker<'a> {
    rest: &'a [u8],
    /// For each numbered value, whether it is complete.
    complete: Vec<bool>,
}

impl Checker<'_> {
    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let (now, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(now)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn int(&mut self) -> Option<i32> {
        self.take(4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_le_bytes)
    }

    fn length(&mut self) -> Option<usize> {
        self.int().and_then(|n| usize::try_from(n).ok())
    }

    /// Checks one value: `Some(true)` if it is valid, `Some(false)` for the end mark of a dictionary, `None` if it is
    /// not valid.
    fn value(&mut self, depth: usize) -> Option<bool> {
        if depth > MAX_DEPTH {
            return None;
        }
        let code = self.byte()?;
        let number = (code & FLAG_REF != 0).then(|| {
            self.complete.push(false);
            self.complete.len() - 1
        });
        match code & !FLAG_REF {
            b'0' => return Some(false),
            b'N' | b'T' | b'F' | b'.' => {}
            b'i' => drop(self.int()?),
            b'g' => drop(self.take(8)?),
            b'y' => drop(self.take(16)?),
            b'l' => {
                let digits = self.int()?.unsigned_abs() as usize;
                let bytes = self.take(digits.checked_mul(2)?)?;
                let digit = |pair: &[u8]| u16::from_le_bytes([pair[0], pair[1]]);
                if bytes.chunks(2).any(|pair| digit(pair) > 0x7fff)
                    || bytes.chunks(2).last().is_some_and(|p| digit(p) == 0)
                {
                    return None;
                }
            }
            b's' => {
                let length = self.length()?;
                self.take(length)?;
            }
            b'u' | b't' => {
                let length = self.length()?;
                self.take(length)?;
            }
            b'a' | b'A' => {
                let length = self.length()?;
                self.take(length).filter(|text| text.is_ascii())?;
            }
            b'z' | b'Z' => {
                let length = usize::from(self.byte()?);
                self.take(length).filter(|text| text.is_ascii())?;
            }
            b'(' | b'[' | b'<' | b'>' => {
                let length = self.length()?;
                self.items(length, depth)?;
            }
            b')' => {
                let length = usize::from(self.byte()?);
                self.items(length, depth)?;
            }
            b'{' => {
                while self.value(depth + 1)? {
                    self.value(depth + 1).filter(|is_value| *is_value)?;
                }
            }
            b'r' => {
                let index = self.length()?;
                self.complete.get(index).copied().filter(|complete| *complete)?;
            }
            _ => return None,
        }
        if let Some(number) = number {
            self.complete[number] = true;
        }
        Some(true)
    }

    fn items(&mut self, length: usize, depth: usize) -> Option<()> {
        // Each item takes at least a byte, so a longer list is invalid.
        if length > self.rest.len() {
            return None;
        }
        for _ in 0..length {
            self.value(depth + 1).filter(|is_value| *is_value)?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made with CPython 3.11: `marshal.dumps(value, 4)`.
    const VALUES: [&str; 5] = [
        "5b04000000e9010000007200000000e700000000000000407bda0161f3010000007830",
        "a903e901000000da01614e",
        "5b020000004e54",
        "7b7a0161690100000030",
        "6c02000000 0100 0200",
    ];

    fn bytes(text: &str) -> Vec<u8> {
        let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap()).collect()
    }

    #[test]
    fn plain_values_are_taken() {
        for text in VALUES {
            assert!(is_plain(&bytes(text)), "{text}");
        }
    }

    #[test]
    fn code_truncation_and_lies_are_refused() {
        // A code object, a reference to itself, a list longer than the bytes, a digit out of range, nothing, an end
        // mark, two values.
        for text in ["63000000", "db0100000072 00000000", "5bffffff7f4e", "6c01000000ffff", "", "30", "4e4e"] {
            assert!(!is_plain(&bytes(text)), "{text}");
        }
        for text in VALUES {
            let whole = bytes(text);
            for cut in 0..whole.len() {
                assert!(!is_plain(&whole[..cut]), "{text} cut at {cut}");
            }
        }
        assert!(!is_plain(&[b"[\x01\0\0\0".repeat(100_000), b"N".to_vec()].concat()));
    }
}
