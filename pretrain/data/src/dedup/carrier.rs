//! The relational steps, behind one small trait. Rows are narrow and hold no text; a document is its number, and the smaller number
//! wins.

/// A key of a document: a band of its signature, or its content's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Keyed {
    /// Documents of the same key are equal.
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
    /// A row of a document that was fetched `seconds` after 1970.
    #[must_use]
    pub fn new(key: u64, seconds: i64, document: u64) -> Self {
        Self { key, age: !(seconds.cast_unsigned() ^ (1 << 63)), document }
    }
}

/// A document that another one replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Replaced {
    /// The document that goes.
    pub document: u64,
    /// The one that stays in its place.
    pub by: u64,
}

/// Rows on their way to a carrier: the callback gets every row once, in any order.
pub type Rows<'a, R> = &'a mut dyn FnMut(&mut dyn FnMut(R) -> anyhow::Result<()>) -> anyhow::Result<()>;

/// Whoever carries out the relational steps. Results are sorted, and the same for every carrier.
pub trait Carrier {
    /// All but the newest document of every address; of equally new ones the smallest number stays.
    ///
    /// # Errors
    /// What the memory budget or the disk refuses.
    fn older(&self, rows: Rows<Dated>) -> anyhow::Result<Vec<Replaced>>;

    /// All but the smallest document of every key.
    ///
    /// # Errors
    /// As above.
    fn repeated(&self, rows: Rows<Keyed>) -> anyhow::Result<Vec<Replaced>>;

    /// All but the smallest document of every connected component, where documents of one key are connected. `documents` is larger
    /// than every number.
    ///
    /// # Errors
    /// As above.
    fn connected(&self, rows: Rows<Keyed>, documents: u64) -> anyhow::Result<Vec<Replaced>>;

    /// Keys that occur more than `times` times.
    ///
    /// # Errors
    /// As above.
    fn frequent(&self, keys: Rows<u64>, times: u64) -> anyhow::Result<Vec<u64>>;
}
