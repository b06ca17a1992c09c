"""Result tables in CSV, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from vae_anomaly.pipeline.writers import result_writer

SCHEMA = pa.schema([("a, b", pa.string()), ("score", pa.float64()), ("flag", pa.bool_())])


def written(path: Path, *texts: str | None) -> str:
    with result_writer(str(path), SCHEMA) as write:
        for i, text in enumerate(texts):
            write(pa.record_batch([[text], [0.1 + i], [i % 2 == 0]], schema=SCHEMA))
    return path.read_bytes().decode()


def test_text_is_quoted_where_it_must_be(tmp_path: Path) -> None:
    table = written(tmp_path / "s.csv", "plain", 'say "a,b"', "two\nlines", "ä", None)
    assert table == (
        '"a, b",score,flag\nplain,0.1,1\n"say ""a,b""",1.1,0\n"two\nlines",2.1,1\nä,3.1,0\n,4.1,1\n'
    )
