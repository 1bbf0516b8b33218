//! The relational steps, behind one small trait. Rows are narrow and hold no text. A document is represented by its
//! number, and the smaller number survives.

/// A key of a document: a band of its signature, or the hash of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Keyed {
    /// Documents with the same key are duplicates.
    pub key: u64,
    /// The document's number.
    pub document: u64,
}

/// A document's address and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dated {
    /// Hash of the address.
    pub key: u64,
    /// The complement of the time, so that the newest row of a key is the smallest.
    pub age: u64,
    /// The document's number.
    pub document: u64,
}

impl Dated {
    /// A row for a document that was fetched `seconds` after 1970.
    #[must_use]
    pub fn new(key: u64, seconds: i64, document: u64) -> Self {
        Self { key, age: !(seconds.cast_unsigned() ^ (1 << 63)), document }
    }
}

/// A document that is replaced by another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Replaced {
    /// The number of the removed document.
    pub document: u64,
    /// The number of the document that stays.
    pub by: u64,
}

/// A source of rows for a carrier: the callback gets every row once, in any order.
pub type Rows<'a, R> = &'a mut dyn FnMut(&mut dyn FnMut(R) -> anyhow::Result<()>) -> anyhow::Result<()>;

/// An implementation of the relational steps. Results are sorted, and are the same for every carrier.
pub trait Carrier {
    /// All documents except the newest of every address; of equally new ones, the smallest number stays.
    ///
    /// # Errors
    /// When the memory budget is too small, or temporary files cannot be written.
    fn older(&self, rows: Rows<Dated>) -> anyhow::Result<Vec<Replaced>>;

    /// All documents except the smallest of every key.
    ///
    /// # Errors
    /// See [`Carrier::older`].
    fn repeated(&self, rows: Rows<Keyed>) -> anyhow::Result<Vec<Replaced>>;

    /// All documents except the smallest of every connected component, where documents with the same key are
    /// connected. `documents` is larger than every number.
    ///
    /// # Errors
    /// See [`Carrier::older`].
    fn connected(&self, rows: Rows<Keyed>, documents: u64) -> anyhow::Result<Vec<Replaced>>;

    /// Keys that occur more than `times` times.
    ///
    /// # Errors
    /// See [`Carrier::older`].
    fn frequent(&self, keys: Rows<u64>, times: u64) -> anyhow::Result<Vec<u64>>;
}
