#!/usr/bin/env bash
# Arrow's groups and joins keep 0.0 and -0.0 apart, though it says that they are equal.
#
# pyarrow 26.0.1 (numpy 2.4.6 beside it). Guess beforehand: 0.0 and -0.0 are one key, as they are
# equal in comparisons, in NumPy, and in IEEE 754; if any value makes trouble as a key it is NaN.
#
# Seen: the other way round. equal(0.0, -0.0) is true, rank gives both the same rank, and mode counts
# them as one value that occurs twice. But unique, count_distinct, value_counts, dictionary_encode and
# group_by have two values, index_in does not find -0.0 among [0.0], and a join of two tables on 0.0
# and -0.0 finds no match. Two NaN, which equal says are different, are one key in all of these.
#
# Why it matters: products and roundings make -0.0, and CSV and Parquet keep its sign. Groups then
# split, and rows of a join are lost in silence. Adding 0.0 to the column before cures it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pyarrow==26.0.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

zeros, nans = pa.array([0.0, -0.0]), pa.array([np.nan, np.nan])
assert len(np.unique([0.0, -0.0])) == 1

print("equal, NaN equal:", pc.equal(zeros[0], zeros[1]), pc.equal(nans[0], nans[1]))
assert pc.equal(zeros[0], zeros[1]).as_py() and not pc.equal(nans[0], nans[1]).as_py()
ranks = pc.rank(zeros, sort_keys="ascending", tiebreaker="min").to_pylist()
mode = pc.mode(zeros).to_pylist()
print("ranks:", ranks, "mode:", mode)
assert ranks == [1, 1] and [one["count"] for one in mode] == [2]


def keys(values):
    groups = pa.table({"key": values}).group_by("key").aggregate([([], "count_all")])
    return {
        "unique": len(pc.unique(values)),
        "count_distinct": pc.count_distinct(values).as_py(),
        "value_counts": len(pc.value_counts(values)),
        "dictionary_encode": len(pc.dictionary_encode(values).dictionary),
        "group_by": groups.num_rows,
    }


print("keys of zeros:", keys(zeros))
print("keys of NaN:", keys(nans))
assert set(keys(zeros).values()) == {2}
assert set(keys(nans).values()) == {1}
place = pc.index_in(zeros[1:], value_set=zeros[:1])
left, right = pa.table({"key": zeros[:1]}), pa.table({"key": zeros[1:], "found": [True]})
joined = left.join(right, "key")["found"].to_pylist()
cured = left.join(right.set_column(0, "key", pc.add(right["key"], 0.0)), "key")["found"].to_pylist()
print("place of -0.0 in [0.0]:", place.to_pylist(), "joined:", joined, "after adding 0.0:", cured)
assert place.to_pylist() == [None] and joined == [None] and cured == [True]
print("as described")
PYTHON
