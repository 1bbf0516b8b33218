"""Makes conversations.parquet and struct_of_lists.parquet as Hugging Face writes them: pip install pyarrow==26.0.1."""
import pyarrow as pa
import pyarrow.parquet as pq

call = {"type": "function", "function": {"name": "add", "arguments": {"a": 1, "b": None}}}
rows = [
    {"id": "0", "messages": [{"role": "user", "content": "2+2?", "tool_calls": None},
                             {"role": "assistant", "content": None, "tool_calls": [call, call]},
                             {"role": "tool", "content": "4", "tool_calls": None},
                             {"role": "assistant", "content": "zażółć 4", "tool_calls": []}],
     "weight": 0.5, "turns": [[1, 2], [], None, [3]], "n": 2**63 + 1, "ok": True},
    {"id": "1", "messages": [], "weight": None, "turns": [], "n": None, "ok": None},
    {"id": "2", "messages": [{"role": "user", "content": "x", "tool_calls": None}],
     "weight": 2.0, "turns": None, "n": 1, "ok": False},
]
message = pa.struct([
    ("role", pa.string()), ("content", pa.large_string()),
    ("tool_calls", pa.list_(pa.struct([("type", pa.string()), ("function", pa.struct([
        ("name", pa.string()), ("arguments", pa.struct([("a", pa.int64()), ("b", pa.int64())]))]))])))])
schema = pa.schema([("id", pa.string()), ("messages", pa.list_(message)), ("weight", pa.float64()),
                    ("turns", pa.list_(pa.list_(pa.int32()))), ("n", pa.uint64()), ("ok", pa.bool_())])
for codec in ["snappy", "zstd", "gzip", "lz4", "none"]:
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), f"conversations.{codec}.parquet",
                   compression=codec, row_group_size=2)

# datasets' Sequence({"role", "content"}) is stored as a struct of lists.
pq.write_table(pa.Table.from_pylist([{"messages": {"role": ["user", "assistant"], "content": ["q", "a"]}}]),
               "struct_of_lists.parquet")
