//! The relational steps as SQL over the Parquet files of a run's folder, for engines on several machines (Spark,
//! Sail, Daft, DataFusion). No statement needs a user-defined function: the rows already contain the hashes. `herd
//! data sql` prints the statements.

/// The statements for a phase's folder.
#[must_use]
pub fn statements(folder: &str, max_times: Option<u64>) -> String {
    let max_times = max_times.unwrap_or(6);
    format!(
        "-- Tables, one file of each in every part of the phase.\n\
         -- documents(place BIGINT, priority BIGINT, id VARCHAR, language BIGINT)   place: part * 2^32 + position in the part\n\
         -- urls(key BIGINT, seconds BIGINT, place BIGINT)   exact(key BIGINT, place BIGINT)\n\
         -- bands(key BIGINT, place BIGINT)                  lines(key BIGINT, place BIGINT)\n\
         CREATE VIEW documents AS SELECT * FROM parquet.`{folder}/*/documents.parquet`;\n\
         CREATE VIEW urls AS SELECT * FROM parquet.`{folder}/*/urls.parquet`;\n\
         CREATE VIEW exact AS SELECT * FROM parquet.`{folder}/*/exact.parquet`;\n\
         CREATE VIEW bands AS SELECT * FROM parquet.`{folder}/*/bands.parquet`;\n\
         CREATE VIEW lines AS SELECT * FROM parquet.`{folder}/*/lines.parquet`;\n\
         \n\
         -- Numbers: the smaller one survives.\n\
         CREATE TABLE numbered AS\n\
         SELECT place, row_number() OVER (ORDER BY priority, id, place) - 1 AS document FROM documents;\n\
         \n\
         -- URL: the newest wins, of equally new ones the smallest number.\n\
         CREATE TABLE newest AS SELECT key, max(seconds) AS seconds FROM urls GROUP BY key;\n\
         CREATE TABLE url_survivors AS\n\
         SELECT u.key, min(n.document) AS document FROM urls u\n\
         JOIN newest w ON u.key = w.key AND u.seconds = w.seconds JOIN numbered n ON n.place = u.place GROUP BY u.key;\n\
         \n\
         -- Exact: the smallest number of a key survives.\n\
         CREATE TABLE exact_survivors AS\n\
         SELECT e.key, min(n.document) AS document FROM exact e JOIN numbered n ON n.place = e.place GROUP BY e.key;\n\
         \n\
         -- MinHash: edges from the smallest document of a band to the others; then repeat the second statement, feeding its result\n\
         -- back, until no row changes (connected components by the smallest label).\n\
         CREATE TABLE edges AS\n\
         SELECT DISTINCT s.document AS smallest, n.document FROM bands b JOIN numbered n ON n.place = b.place\n\
         JOIN (SELECT b2.key, min(n2.document) AS document FROM bands b2 JOIN numbered n2 ON n2.place = b2.place GROUP BY b2.key) s\n\
         ON s.key = b.key WHERE n.document <> s.document;\n\
         CREATE TABLE labels AS SELECT document, min(label) AS label FROM\n\
         (SELECT document, smallest AS label FROM edges UNION ALL SELECT smallest, smallest FROM edges) GROUP BY document;\n\
         CREATE TABLE next_labels AS SELECT document, min(label) AS label FROM (\n\
         SELECT document, label FROM labels UNION ALL\n\
         SELECT e.document, l.label FROM edges e JOIN labels l ON l.document = e.smallest UNION ALL\n\
         SELECT e.smallest, l.label FROM edges e JOIN labels l ON l.document = e.document) GROUP BY document;\n\
         \n\
         -- Lines: removed where they occur more than {max_times} times. With more documents of a language than a bucket holds,\n\
         -- group by the document's bucket too.\n\
         CREATE TABLE frequent_lines AS SELECT key FROM lines GROUP BY key HAVING count(*) > {max_times};\n"
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_table_is_made_before_it_is_read() {
        let text = super::statements("runs/x/00", Some(6));
        assert!(text.contains("HAVING count(*) > 6") && text.contains("parquet.`runs/x/00/*/bands.parquet`"), "{text}");
        for table in ["numbered", "newest", "edges", "labels"] {
            let made = text.find(&format!("CREATE TABLE {table} ")).unwrap();
            for word in ["FROM", "JOIN"] {
                let read = text.find(&format!("{word} {table} "));
                assert!(read.is_none_or(|read| made < read), "{table}");
            }
        }
    }
}
