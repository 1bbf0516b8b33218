//! The statements of the steps.
//!
//! Tables contain only 64-bit numbers. A document is a number below 2^32, and the smaller of two duplicates is kept. `age` grows as a
//! document gets older. Each statement is one pass that can spill (an aggregation, or a sort-merge join of one large table with a table
//! that has each key once); its result is a table on disk. Statements avoid window functions, which ignore the memory pool, and hash
//! joins, which cannot spill.

/// Keys with several documents, and the document that is kept: the newest, and among equally new ones the smallest number.
///
/// Age and document are one decimal number, `(age + 2^63) * 2^32 + document`, since the smallest pair is wanted.
pub const NEWEST: &str = "SELECT key, CAST(min((CAST(age AS DECIMAL(20, 0)) + 9223372036854775808) * 4294967296 + document) % 4294967296 \
     AS BIGINT) AS keeper FROM entries GROUP BY key HAVING count(*) > 1";

/// Keys with several documents, and their smallest document.
pub const SMALLEST: &str = "SELECT key, min(document) AS keeper FROM entries GROUP BY key HAVING count(*) > 1";

/// The replaced documents: for each key of `keepers`, all documents except the keeper.
pub const REPLACED: &str = "SELECT r.document AS document, k.keeper AS keeper FROM entries r JOIN keepers k ON r.key = k.key WHERE r.document <> k.keeper";

/// Keys that occur more than `times` times.
pub fn frequent(times: u64) -> String {
    format!("SELECT key FROM entries GROUP BY key HAVING count(*) > {times}")
}

/// One row for each pair of connected documents, `larger` and `smaller`.
pub const DISTINCT: &str = "SELECT larger, smaller FROM pairs GROUP BY larger, smaller";

/// The same as [`DISTINCT`], for pairs that come from [`REPLACED`].
pub const EDGES: &str = "SELECT document AS larger, keeper AS smaller FROM pairs GROUP BY document, keeper";

// Connected components by large star and small star (Kiveris, Lattanzi, Mirrokni, Rastogi, Vassilvitskii, Connected Components in
// MapReduce and Beyond, 2014). Both operations preserve the components. After O(log^2 n) rounds every document except the smallest of its
// component has exactly one edge, to the smallest.

/// The smallest document among each document and all its neighbours.
pub const LARGE_LEAST: &str = "SELECT node, CASE WHEN min(other) < node THEN min(other) ELSE node END AS least FROM \
     (SELECT larger AS node, smaller AS other FROM edges UNION ALL SELECT smaller AS node, larger AS other FROM edges) GROUP BY node";

/// Large star: every larger neighbour of a document is connected with the smallest one.
pub const LARGE_STAR: &str = "SELECT e.other AS larger, l.least AS smaller FROM \
     (SELECT larger AS node, smaller AS other FROM edges UNION ALL SELECT smaller AS node, larger AS other FROM edges) e \
     JOIN least l ON e.node = l.node WHERE e.other > e.node";

/// The smallest of the smaller neighbours of each document.
pub const SMALL_LEAST: &str = "SELECT larger AS node, min(smaller) AS least FROM edges GROUP BY larger";

/// Small star: the smaller neighbours of a document, and the document, are connected with the smallest one.
pub const SMALL_STAR: &str = "SELECT e.smaller AS larger, l.least AS smaller FROM edges e JOIN least l ON e.larger = l.node \
     WHERE e.smaller <> l.least UNION ALL SELECT node AS larger, least AS smaller FROM least";

/// Documents with several edges. If there are none, and [`CHAINED`] has no row, all components are stars.
pub const SEVERAL: &str = "SELECT larger FROM edges GROUP BY larger HAVING count(*) > 1";

/// Edges to a document that itself has an edge to a smaller one.
pub const CHAINED: &str =
    "SELECT e.larger FROM edges e JOIN (SELECT larger AS node FROM edges GROUP BY larger) n ON e.smaller = n.node";

/// The components' edges as replaced documents.
pub const STARS: &str = "SELECT larger AS document, smaller AS keeper FROM edges";
