//! Files of records as users have them: compressed, damaged, with bad lines, from Hugging Face.
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use dataset::jsonl::{self, AtomicWriter, OnBadLine};
use dataset::{Conversation, Message, Preference, Role};
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::{Value, json};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn conversation(id: &str) -> Conversation {
    let mut c = Conversation::new(id, vec![Message::user("zażółć\n\u{2028}?"), Message::assistant("4 \u{1F600}")]);
    c.weight = Some(0.1);
    c.extra.insert("meta".into(), json!({"z": 1, "a": [true, null]}));
    c
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

#[test]
fn every_text_format_round_trips() {
    let dir = folder();
    let records: Vec<_> = (0..1000).map(|i| conversation(&i.to_string())).collect();
    for name in ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"] {
        let path = dir.path().join(name);
        assert_eq!(jsonl::write_all(&path, &records).unwrap(), 1000);
        assert_eq!(jsonl::read_all::<Conversation>(&path).unwrap(), records, "{name}");
        let magic = fs::read(&path).unwrap()[..2].to_vec();
        let expected = match name {
            "a.jsonl.gz" => [0x1f, 0x8b],
            "a.jsonl.zst" => [0x28, 0xb5],
            _ => *b"{\"",
        };
        assert_eq!(magic, expected);
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
}

#[test]
fn several_gzip_members_are_one_file() {
    let dir = folder();
    let path = dir.path().join("a.jsonl.gz");
    let mut bytes = Vec::new();
    for i in 0..3 {
        let one = dir.path().join("one.gz");
        jsonl::write_all(&one, [json!({"i": i})]).unwrap();
        bytes.extend(fs::read(one).unwrap());
    }
    fs::write(&path, bytes).unwrap();
    assert_eq!(jsonl::read_all::<Value>(&path).unwrap().len(), 3);
}

#[test]
fn a_file_that_was_cut_off_is_an_error_even_in_a_lenient_run() {
    let dir = folder();
    for name in ["a.jsonl.gz", "a.jsonl.zst"] {
        let path = dir.path().join(name);
        jsonl::write_all(&path, (0..20_000).map(|i| json!({"i": i, "x": i * 7919 % 1009}))).unwrap();
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let reader = jsonl::read::<Value>(&path, OnBadLine::SetAside(dir.path().join("r.jsonl"))).unwrap();
        let mut results: Vec<_> = reader.collect();
        let e = results.pop().unwrap().unwrap_err().to_string();
        assert!(e.contains(name) && e.contains("cannot be read after line") && e.contains("cut off or damaged"), "{e}");
        assert!(results.iter().all(Result::is_ok));
    }
}

#[test]
fn bad_lines_have_their_place() {
    let dir = folder();
    let path = dir.path().join("a.jsonl");
    let good = r#"{"messages": [{"role": "user", "content": "x"}]}"#;
    for (bad, what) in [
        (&br#"{"messages" []}"#[..], "not valid JSON: expected `:` (column 13)"),
        (br#"{"messages": ["#, "not valid JSON: the line ends in the middle of a value (column 14)"),
        (br#"{"messages": [{"role": "bot", "content": "x"}]}"#, "messages[0].role: \"bot\" is not known; use system"),
        (b"[1, 2]", "a record must be a JSON object, not a list"),
        (b"{\"messages\": \"\xC3\x28\"}", "not UTF-8 at byte 15 of the line"),
        (br#"{"messages": []} {"#, "not valid JSON: trailing characters (column 18)"),
    ] {
        let mut file = fs::File::create(&path).unwrap();
        file.write_all(format!("\u{FEFF}{good}\r\n\r\n").as_bytes()).unwrap();
        file.write_all(bad).unwrap();
        file.write_all(format!("\n{good}").as_bytes()).unwrap();
        let mut reader = jsonl::read::<Conversation>(&path, OnBadLine::Error).unwrap();
        reader.next().unwrap().unwrap();
        let e = reader.next().unwrap().unwrap_err().to_string();
        assert!(e.starts_with(&format!("{}:3: {what}", path.display())), "{e}");
        assert!(reader.next().is_none());

        let rejected = dir.path().join("rejected.jsonl");
        let mut reader = jsonl::read::<Conversation>(&path, OnBadLine::SetAside(rejected.clone())).unwrap();
        assert_eq!(reader.by_ref().map(Result::unwrap).count(), 2);
        assert_eq!(reader.bad(), 1);
        let reasons: Vec<_> = reader.reasons().iter().map(|r| (r.records, r.first.clone(), r.reason.clone())).collect();
        assert!(
            matches!(&reasons[..], [(1, place, reason)] if *place == format!("{}:3", path.display()) && reason.starts_with(what)),
            "{reasons:?}"
        );
        let lines: Vec<Value> = jsonl::read_all(&rejected).unwrap();
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["place"], format!("{}:3", path.display()));
        assert!(lines[0]["reason"].as_str().unwrap().starts_with(what));
        assert_eq!(lines[0]["line"], String::from_utf8_lossy(bad).as_ref());
    }
    // A run without bad lines removes the file with rejected lines of an earlier run.
    fs::write(&path, good).unwrap();
    let rejected = dir.path().join("rejected.jsonl");
    assert!(rejected.exists());
    assert_eq!(jsonl::read::<Value>(&path, OnBadLine::SetAside(rejected.clone())).unwrap().count(), 1);
    assert!(!rejected.exists());
    let e = jsonl::read::<Value>(&path, OnBadLine::SetAside(path.clone())).err().unwrap().to_string();
    assert!(e.contains("another file than the input") && path.exists(), "{e}");
}

#[test]
fn a_file_that_is_one_list_is_read() {
    let dir = folder();
    let path = dir.path().join("a.json");
    let good = r#"{"messages": [{"role": "user", "content": "x"}]}"#;
    for text in [format!("[{good},\n{good}]"), format!("\u{FEFF}\n [\n  {good},\n  {good}\n]\n"), "[]".into()] {
        fs::write(&path, &text).unwrap();
        let count = if text == "[]" { 0 } else { 2 };
        assert_eq!(jsonl::read_all::<Conversation>(&path).unwrap().len(), count);
    }
    fs::write(&path, format!("[{good}, {{}}]")).unwrap();
    let e = jsonl::read_all::<Conversation>(&path).unwrap_err().to_string();
    assert!(e.contains("a.json: row 2: messages: is missing"), "{e}");
    fs::write(&path, format!("[{good}")).unwrap();
    let e = jsonl::read_all::<Conversation>(&path).unwrap_err().to_string();
    assert!(e.contains("a.json: the file is not a list of records"), "{e}");
    // A record over several lines.
    fs::write(&path, "{\n  \"messages\": []\n}\n").unwrap();
    let e = jsonl::read_all::<Conversation>(&path).unwrap_err().to_string();
    assert!(e.contains("a.json:1: ") && e.ends_with("write each on one line with jq -c ."), "{e}");
}

#[test]
fn numbers_that_are_none_and_bytes_do_not_cost_a_row() {
    use parquet::data_type::{ByteArray, ByteArrayType, DoubleType};
    let dir = folder();
    let path = dir.path().join("a.parquet");
    let schema = "message m { required binary prompt (UTF8); required binary completion (UTF8); required double score; \
                  required binary image; required double weight; }";
    let schema = std::sync::Arc::new(parquet::schema::parser::parse_message_type(schema).unwrap());
    let mut writer =
        parquet::file::writer::SerializedFileWriter::new(fs::File::create(&path).unwrap(), schema, Default::default())
            .unwrap();
    let mut group = writer.next_row_group().unwrap();
    let texts = |texts: [&[u8]; 2]| texts.map(|text| ByteArray::from(text.to_vec()));
    for column in 0..5 {
        let mut out = group.next_column().unwrap().unwrap();
        match column {
            0 => out.typed::<ByteArrayType>().write_batch(&texts([b"q", b"r"]), None, None),
            1 => out.typed::<ByteArrayType>().write_batch(&texts([b"a", b"b"]), None, None),
            2 => out.typed::<DoubleType>().write_batch(&[1.0, f64::NAN], None, None),
            3 => out.typed::<ByteArrayType>().write_batch(&texts([b"\xff\x00", b"\xfe"]), None, None),
            _ => out.typed::<DoubleType>().write_batch(&[f64::NAN, 1.0], None, None),
        }
        .unwrap();
        out.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    let mut reader = jsonl::read::<Conversation>(&path, OnBadLine::SetAside(dir.path().join("r.jsonl"))).unwrap();
    let read: Vec<Conversation> = reader.by_ref().map(Result::unwrap).collect();
    assert_eq!((read.len(), reader.bad()), (1, 1));
    assert_eq!(
        (read[0].messages[1].text(), &read[0].extra["score"], &read[0].extra["image"]["hex"]),
        ("b", &json!("NaN"), &json!("fe"))
    );
    let rejected = fs::read_to_string(dir.path().join("r.jsonl")).unwrap();
    assert!(rejected.contains("weight: is NaN; it must be a finite number"), "{rejected}");
}

#[test]
fn derived_records_name_the_missing_field() {
    #[derive(Debug, serde::Deserialize)]
    struct Program {
        #[allow(dead_code)]
        code: String,
    }
    let dir = folder();
    let path = dir.path().join("programs.jsonl");
    fs::write(&path, "{\"code\": \"x\"}\n{\"kode\": \"x\"}\n").unwrap();
    let e = jsonl::read_all::<Program>(&path).unwrap_err().to_string();
    assert_eq!(e, format!("{}:2: missing field `code` (column 13)", path.display()));
}

#[test]
fn missing_files_and_folders() {
    let e = jsonl::read_all::<Value>("no/such/file.jsonl").unwrap_err().to_string();
    assert!(e.starts_with("no/such/file.jsonl: cannot open: No such file"), "{e}");
    let e = AtomicWriter::create("no/such/file.jsonl").err().unwrap().to_string();
    assert!(e.starts_with("no/such/file.jsonl: cannot create a file in its folder"), "{e}");
    let dir = folder();
    let e = jsonl::read_all::<Value>(dir.path()).unwrap_err().to_string();
    assert!(e.contains("is a folder without files of records"), "{e}");
}

#[test]
fn an_unfinished_writer_leaves_nothing() {
    let dir = folder();
    for name in ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.parquet"] {
        let mut out = AtomicWriter::create(dir.path().join(name)).unwrap();
        out.write(&conversation("a")).unwrap();
        drop(out);
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    let mut out = AtomicWriter::create(dir.path().join("a.jsonl")).unwrap();
    let mut c = conversation("a");
    c.weight = Some(f64::INFINITY);
    let e = out.write(&c).unwrap_err().to_string();
    assert!(e.contains("a.jsonl: record 1: inf cannot be written as JSON"), "{e}");
}

/// Files written by pyarrow 26.0.1, see `data/make_parquet.py`.
#[test]
fn parquet_as_hugging_face_writes_it() {
    for codec in ["snappy", "zstd", "gzip", "lz4", "none"] {
        let read: Vec<Conversation> = jsonl::read_all(data(&format!("conversations.{codec}.parquet"))).unwrap();
        assert_eq!(read.iter().map(|c| c.id.as_str()).collect::<Vec<_>>(), ["0", "1", "2"], "{codec}");
        let c = &read[0];
        assert_eq!(
            c.messages.iter().map(|m| m.role).collect::<Vec<_>>(),
            [Role::User, Role::Assistant, Role::Tool, Role::Assistant]
        );
        assert_eq!(c.messages[0], Message::user("2+2?"));
        let call = json!({"type": "function", "function": {"name": "add", "arguments": {"a": 1}}});
        assert_eq!((&c.messages[1].content, &c.messages[1].tool_calls), (&None, &vec![call.clone(), call]));
        assert_eq!(c.messages[3], Message::assistant("zażółć 4"));
        assert_eq!(c.weight, Some(0.5));
        assert_eq!(c.extra["turns"], json!([[1, 2], [], null, [3]]));
        assert_eq!(c.extra["n"], json!((1u64 << 63) + 1));
        assert_eq!(c.extra["ok"], true);
        assert_eq!(read[1].messages, []);
        assert_eq!((read[1].weight, read[1].extra.get("n")), (None, None));
        assert_eq!(read[1].extra["turns"], json!([]));
        assert_eq!((read[2].weight, read[2].extra.get("turns")), (Some(2.0), None));
    }
    let read: Vec<Conversation> = jsonl::read_all(data("struct_of_lists.parquet")).unwrap();
    assert_eq!(read[0].messages, [Message::user("q"), Message::assistant("a")]);
}

#[test]
fn parquet_rows_have_their_place() {
    let path = data("conversations.zstd.parquet");
    let e = jsonl::read_all::<Preference>(&path).unwrap_err().to_string();
    assert_eq!(e, format!("{}: row 1: chosen: is missing (it must be the better answer)", path.display()));
    let dir = folder();
    let rejected = dir.path().join("rejected.jsonl");
    let mut reader = jsonl::read::<Preference>(&path, OnBadLine::SetAside(rejected.clone())).unwrap();
    assert_eq!((reader.by_ref().count(), reader.bad()), (0, 3));
    assert_eq!(jsonl::read_all::<Value>(&rejected).unwrap().len(), 3);
}

#[test]
fn damaged_parquet_files_do_not_panic_the_reader() {
    let whole = fs::read(data("conversations.none.parquet")).unwrap();
    let dir = folder();
    let path = dir.path().join("a.parquet");
    let mut errors = 0;
    for i in 0..400 {
        let mut bytes = whole.clone();
        match i % 4 {
            0 => bytes.truncate(whole.len() * i / 400),
            k => bytes[(i * 7919) % whole.len()] ^= 1 << k,
        }
        fs::write(&path, &bytes).unwrap();
        match jsonl::read::<Value>(&path, OnBadLine::Error) {
            Err(e) => {
                errors += 1;
                assert!(e.to_string().contains("a.parquet"), "{e}");
            }
            Ok(reader) => errors += u32::from(reader.take(1000).any(|r| r.is_err())),
        }
    }
    assert!(errors >= 100, "{errors}");
    fs::write(&path, "{}").unwrap();
    assert!(jsonl::read_all::<Value>(&path).is_err());
}

#[test]
fn parquet_round_trip_of_records() {
    let dir = folder();
    let path = dir.path().join("a.parquet");
    let mut records: Vec<_> = (0..100).map(|i| conversation(&i.to_string())).collect();
    records[3].extra.clear();
    records[4].weight = None;
    records[5].messages.clear();
    let call = r#"{"role": "assistant", "content": null, "tool_calls": [{"name": "f", "arguments": {"x": [1]}}]}"#;
    records[6].messages.insert(1, serde_json::from_str(call).unwrap());
    jsonl::write_all(&path, &records).unwrap();
    assert_eq!(jsonl::read_all::<Conversation>(&path).unwrap(), records);
}

#[test]
fn pictures_go_through_parquet_as_binary_data() {
    let dir = folder();
    let path = dir.path().join("a.parquet");
    let turns = |picture: Value| {
        json!([
            {"role": "system", "content": "Look."},
            {"role": "user", "content": [{"type": "image", "image": picture}, {"type": "text", "text": "What is it?"}]},
            {"role": "assistant", "content": "A cat."},
        ])
    };
    let records = vec![
        json!({"id": "text", "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": ""}]}),
        json!({"id": "svg", "messages": turns(json!({"bytes": "<svg/>"}))}),
        json!({"id": "png", "messages": turns(json!({"bytes": {"hex": "89504e47ff"}, "path": "a.png"}))}),
        json!({"id": "path", "messages": turns(json!({"path": "b.png"}))}),
    ];
    let records: Vec<Conversation> = records.into_iter().map(|r| serde_json::from_value(r).unwrap()).collect();
    jsonl::write_all(&path, &records).unwrap();
    assert_eq!(jsonl::read_all::<Conversation>(&path).unwrap(), records);
    // What other programs find: a column of bytes without a text's type.
    let file = SerializedFileReader::new(fs::File::open(&path).unwrap()).unwrap();
    let schema = file.metadata().file_metadata().schema_descr();
    let bytes = schema.columns().iter().find(|column| column.name() == "bytes").unwrap();
    assert_eq!((bytes.physical_type(), bytes.logical_type_ref()), (parquet::basic::Type::BYTE_ARRAY, None));
}

#[test]
fn what_parquet_cannot_hold_is_a_sentence() {
    let dir = folder();
    let path = dir.path().join("a.parquet");
    for (rows, what) in [
        (vec![json!({"a": [1]}), json!({"a": ["x"]})], "record 2: a[0]: is a string here and a number in an earlier"),
        (vec![json!({"a": {"b": 1}}), json!({"a": {"b": []}})], "record 2: a.b: is a list here and a number in"),
        (vec![json!({"a": {}})], "a is an empty object in every record"),
        (vec![json!([1])], "record 1: a row of a Parquet file must be an object"),
        (vec![json!({"a": 0.5}), json!({"a": (1u64 << 53) + 1})], "a: 9007199254740993 is too large to be exact"),
    ] {
        let e = jsonl::write_all(&path, &rows).unwrap_err().to_string();
        assert!(e.contains(what), "{e}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
