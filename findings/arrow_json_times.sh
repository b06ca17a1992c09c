#!/usr/bin/env bash
# Times with an offset: the JSON and the CSV reader of one library disagree.
#
# pyarrow 26.0.1. Guess beforehand: both readers infer the same type for
# "2024-03-31T01:30:00+02:00", a timestamp with the zone UTC, and neither puts times with and
# without an offset into one column of timestamps.
#
# Seen: the CSV reader infers timestamp[s, tz=UTC], and leaves a column that mixes times with
# and without an offset as text. The JSON reader infers timestamp[s] without a zone: it moves
# the time to UTC and forgets that it did. A column that mixes both becomes one of timestamps,
# without an error: the same clock time read from "01:30" and from "01:30Z" is equal
# afterwards, whatever zone the first was in, and nothing tells the rows apart.
#
# Why it matters: logs in JSON lines, whose times have offsets, change by hours against the
# same log in CSV as soon as somebody takes naive timestamps for local ones.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pyarrow==26.0.1
"$folder/venv/bin/python" - <<'PYTHON'
import io
from datetime import datetime

import pyarrow as pa
import pyarrow.csv
import pyarrow.json


def from_json(*times):
    lines = "\n".join(f'{{"time": "{time}"}}' for time in times)
    return pa.json.read_json(io.BytesIO(lines.encode()))["time"]


def from_csv(*times):
    return pa.csv.read_csv(io.BytesIO("\n".join(["time", *times]).encode()))["time"]


offset = "2024-03-31T01:30:00+02:00"
instant = datetime(2024, 3, 30, 23, 30)
assert from_csv("2024-03-31T01:30:00Z").type == pa.timestamp("s", tz="UTC")
assert from_json("2024-03-31T01:30:00Z").type == pa.timestamp("s")
assert from_json(offset).type == pa.timestamp("s")
assert from_json(offset)[0].as_py() == instant
assert from_json(offset)[0].as_py().tzinfo is None
assert from_csv("2024-03-31T01:30:00Z")[0].as_py().tzinfo is not None

mixed = ("2024-03-31T01:30:00", "2024-03-31T01:30:00Z")
assert from_csv(*mixed).type == pa.string()
assert from_json(*mixed).type == pa.timestamp("s")
naive, aware = from_json(*mixed).to_pylist()
assert naive == aware
print("pyarrow", pa.__version__, "- JSON drops the zone of times, CSV keeps it:")
print("  CSV :", from_csv("2024-03-31T01:30:00Z").type)
print("  JSON:", from_json("2024-03-31T01:30:00Z").type, "and", from_json(offset)[0], "for", offset)
print("  mixed columns: CSV", from_csv(*mixed).type, "- JSON", from_json(*mixed).type)
PYTHON
