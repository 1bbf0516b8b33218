//! The key-value section of a GGUF file. Values stay in the file and are decoded on request, so opening a file
//! allocates little more than its keys.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::cursor::Cursor;
use crate::error::shown;
use crate::{Result, WeightsError};

/// The longest key that the format allows, in bytes.
const LONGEST_KEY: usize = 65_535;

/// The types of values, with their numbers in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    Array,
    U64,
    I64,
    F64,
}

impl Kind {
    const ALL: [Self; 13] = [
        Self::U8,
        Self::I8,
        Self::U16,
        Self::I16,
        Self::U32,
        Self::I32,
        Self::F32,
        Self::Bool,
        Self::String,
        Self::Array,
        Self::U64,
        Self::I64,
        Self::F64,
    ];

    fn from_number(number: u32, what: &str) -> Result<Self, String> {
        let kind = usize::try_from(number).ok().and_then(|number| Self::ALL.get(number));
        kind.copied().ok_or_else(|| format!("{what} has type {number}, types are 0 to 12; the file is damaged"))
    }

    /// Size of one value in bytes; `None` for types without a fixed size.
    fn size(self) -> Option<usize> {
        match self {
            Self::U8 | Self::I8 | Self::Bool => Some(1),
            Self::U16 | Self::I16 => Some(2),
            Self::U32 | Self::I32 | Self::F32 => Some(4),
            Self::U64 | Self::I64 | Self::F64 => Some(8),
            Self::String | Self::Array => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Bool => "a truth value",
            Self::String => "a text",
            Self::Array => "an array",
            Self::F32 | Self::F64 => "a fraction",
            _ => "a whole number",
        }
    }
}

/// The place of a value.
#[derive(Debug, Clone, Copy)]
struct Place {
    kind: Kind,
    /// For an array: the type and the number of its values.
    elements: Option<(Kind, usize)>,
    /// The first byte of the value, or of an array's first value.
    start: usize,
}

/// Keys and values of a file, typed. Getters return `None` for a missing key, and an error that names file and key if
/// the value has another type.
#[derive(Debug)]
pub struct Metadata {
    path: PathBuf,
    places: BTreeMap<String, Place>,
}

/// A [`Metadata`] with the bytes of its file.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    pub(crate) metadata: &'a Metadata,
    pub(crate) bytes: &'a [u8],
}

impl Metadata {
    /// Reads `count` pairs, and checks every length, every text and every array.
    pub(crate) fn read(path: &Path, cursor: &mut Cursor, count: u64) -> Result<Self, String> {
        let mut places = BTreeMap::new();
        for number in 0..count {
            let key = cursor.string(&format!("the key of metadata {number} of {count}"))?;
            if key.is_empty() || key.len() > LONGEST_KEY {
                return Err(format!(
                    "the key of metadata {number} has {} bytes, 1 to {LONGEST_KEY} are allowed",
                    key.len()
                ));
            }
            let place = read_value(cursor, &format!("metadata {}", shown(key)))?;
            if places.insert(key.to_owned(), place).is_some() {
                return Err(format!("metadata {} occurs twice", shown(key)));
            }
        }
        Ok(Self { path: path.to_owned(), places })
    }
}

fn read_value(cursor: &mut Cursor, what: &str) -> Result<Place, String> {
    let kind = Kind::from_number(cursor.u32(what)?, what)?;
    let mut place = Place { kind, elements: None, start: cursor.position() };
    if kind == Kind::Array {
        let inner = Kind::from_number(cursor.u32(what)?, what)?;
        let count = cursor.u64(what)?;
        let smallest = inner.size().unwrap_or(8);
        let count = usize::try_from(count).ok().filter(|count| *count <= cursor.remaining() / smallest);
        let Some(count) = count else {
            return Err(format!(
                "{what} claims more values than the {} bytes after it can hold; the file is truncated or damaged",
                cursor.remaining()
            ));
        };
        place.elements = Some((inner, count));
        place.start = cursor.position();
        match inner.size() {
            Some(size) => {
                let values = cursor.take(count * size, what)?;
                check_flags(inner, values, what)?;
            }
            None if inner == Kind::String => {
                for _ in 0..count {
                    cursor.string(what)?;
                }
            }
            None => return Err(format!("{what} is an array of arrays, which no known model uses")),
        }
    } else if let Some(size) = kind.size() {
        check_flags(kind, cursor.take(size, what)?, what)?;
    } else {
        cursor.string(what)?;
    }
    Ok(place)
}

fn check_flags(kind: Kind, values: &[u8], what: &str) -> Result<(), String> {
    match values.iter().find(|value| **value > 1) {
        Some(value) if kind == Kind::Bool => Err(format!("{what} is a truth value of {value}; 0 or 1 is expected")),
        _ => Ok(()),
    }
}

/// A number in the file.
#[derive(Clone, Copy)]
enum Number {
    Whole(i128),
    F32(f32),
    F64(f64),
}

impl<'a> Fields<'a> {
    /// All keys, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.metadata.places.keys().map(String::as_str)
    }

    /// An error about the value of `key`.
    pub fn error(&self, key: &str, problem: impl Into<String>) -> WeightsError {
        let path = self.metadata.path.clone();
        WeightsError::Metadata { path, key: key.to_owned(), problem: problem.into() }
    }

    /// Unwraps a required value of [`Fields::str`], [`Fields::size`] and the other getters.
    ///
    /// # Errors
    /// [`WeightsError::Metadata`] when the value is missing.
    pub fn required<T>(&self, key: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| self.error(key, "it is missing; the file is incomplete, fetch another one of this model"))
    }

    fn place(&self, key: &str) -> Option<Place> {
        self.metadata.places.get(key).copied()
    }

    fn cursor(&self, place: Place) -> Cursor<'a> {
        Cursor::new(self.bytes, place.start)
    }

    fn wrong(&self, key: &str, place: Place, expected: &str) -> WeightsError {
        self.error(key, format!("it is {}, {expected} is expected", place.kind.name()))
    }

    /// A text.
    ///
    /// # Errors
    /// [`WeightsError::Metadata`] when the value has another type.
    pub fn str(&self, key: &str) -> Result<Option<&'a str>> {
        let Some(place) = self.place(key) else { return Ok(None) };
        if place.kind != Kind::String {
            return Err(self.wrong(key, place, "a text"));
        }
        self.cursor(place).string("it").map(Some).map_err(|problem| self.error(key, problem))
    }

    /// A boolean.
    ///
    /// # Errors
    /// [`WeightsError::Metadata`] when the value has another type.
    pub fn bool(&self, key: &str) -> Result<Option<bool>> {
        let Some(place) = self.place(key) else { return Ok(None) };
        if place.kind != Kind::Bool {
            return Err(self.wrong(key, place, "a truth value"));
        }
        let [value] = self.cursor(place).array("it").map_err(|problem| self.error(key, problem))?;
        Ok(Some(value == 1))
    }

    /// An integer from 0 to 2^53, of any integer type.
    ///
    /// # Errors
    /// [`WeightsError::Metadata`] when the value has another type or is out of range.
    pub fn size(&self, key: &str) -> Result<Option<usize>> {
        let Some(place) = self.place(key) else { return Ok(None) };
        let number = number(&mut self.cursor(place), place.kind);
        let Some(Number::Whole(whole)) = number else { return Err(self.wrong(key, place, "a whole number")) };
        self.in_range(key, whole).map(Some)
    }

    fn in_range(&self, key: &str, whole: i128) -> Result<usize> {
        let size = usize::try_from(whole).ok().filter(|size| *size <= 1 << 53);
        size.ok_or_else(|| self.error(key, format!("{whole} is out of range")))
    }

    /// A finite number of any numeric type. A 32-bit float becomes the shortest decimal that represents it: 1e-5, not
    /// 9.999999747378752e-06.
    ///
    /// # Errors
    /// [`WeightsError::Metadata`] when the value has another type or is not finite.
    pub fn number(&self, key: &str) -> Result<Option<f64>> {
        let Some(place) = self.place(key) else { return Ok(None) };
        let value = match number(&mut self.cursor(place), place.kind) {
            None => return Err(self.wrong(key, place, "a number")),
            Some(Number::Whole(whole)) => whole as f64,
            Some(Number::F32(value)) => value.to_string().parse().unwrap_or(f64::from(value)),
            Some(Number::F64(value)) => value,
        };
        if !value.is_finite() {
            return Err(self.error(key, format!("{value} is not a finite number")));
        }
        Ok(Some(value))
    }

    /// An array of texts.
    ///
    /// # Errors
    /// [`WeightsError::Metadata`] when the value has another type.
    pub fn strings(&self, key: &str) -> Result<Option<Vec<&'a str>>> {
        self.array(key, "an array of texts", |cursor, kind| match kind {
            Kind::String => cursor.string("it").ok(),
            _ => None,
        })
    }

    /// An array of integers from 0 to 2^53.
    ///
    /// # Errors
    /// [`WeightsError::Metadata`] when the value has another type or a number is out of range.
    pub fn sizes(&self, key: &str) -> Result<Option<Vec<usize>>> {
        let wholes = self.array(key, "an array of whole numbers", |cursor, kind| match number(cursor, kind) {
            Some(Number::Whole(whole)) => Some(whole),
            _ => None,
        })?;
        let Some(wholes) = wholes else { return Ok(None) };
        wholes.into_iter().map(|whole| self.in_range(key, whole)).collect::<Result<_>>().map(Some)
    }

    /// An array of 32-bit floats.
    ///
    /// # Errors
    /// [`WeightsError::Metadata`] when the value has another type.
    pub fn floats(&self, key: &str) -> Result<Option<Vec<f32>>> {
        self.array(key, "an array of 32-bit fractions", |cursor, kind| match number(cursor, kind) {
            Some(Number::F32(value)) => Some(value),
            _ => None,
        })
    }

    /// Whether the value of `key` is an array.
    pub fn is_array(&self, key: &str) -> bool {
        self.place(key).is_some_and(|place| place.elements.is_some())
    }

    fn array<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl Fn(&mut Cursor<'a>, Kind) -> Option<T>,
    ) -> Result<Option<Vec<T>>> {
        let Some(place) = self.place(key) else { return Ok(None) };
        let Some((kind, count)) = place.elements else { return Err(self.wrong(key, place, expected)) };
        let mut cursor = self.cursor(place);
        let values = (0..count).map(|_| read(&mut cursor, kind)).collect::<Option<Vec<T>>>();
        let of_kind = |kind: Kind| format!("its values are each {}, {expected} is expected", kind.name());
        values.map(Some).ok_or_else(|| self.error(key, of_kind(kind)))
    }
}

/// The number at the cursor; `None` if `kind` is not a numeric type.
fn number(cursor: &mut Cursor, kind: Kind) -> Option<Number> {
    let what = "it";
    let whole = match kind {
        Kind::U8 => i128::from(u8::from_le_bytes(cursor.array(what).ok()?)),
        Kind::I8 => i128::from(i8::from_le_bytes(cursor.array(what).ok()?)),
        Kind::U16 => i128::from(u16::from_le_bytes(cursor.array(what).ok()?)),
        Kind::I16 => i128::from(i16::from_le_bytes(cursor.array(what).ok()?)),
        Kind::U32 => i128::from(cursor.u32(what).ok()?),
        Kind::I32 => i128::from(i32::from_le_bytes(cursor.array(what).ok()?)),
        Kind::U64 => i128::from(cursor.u64(what).ok()?),
        Kind::I64 => i128::from(i64::from_le_bytes(cursor.array(what).ok()?)),
        Kind::F32 => return Some(Number::F32(f32::from_le_bytes(cursor.array(what).ok()?))),
        Kind::F64 => return Some(Number::F64(f64::from_le_bytes(cursor.array(what).ok()?))),
        Kind::Bool | Kind::String | Kind::Array => return None,
    };
    Some(Number::Whole(whole))
}
