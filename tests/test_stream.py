"""Scoring of lines as they come."""

from __future__ import annotations

import io
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import QUICK, make_rows

from vae_anomaly import DataError, ParameterError, VAEDetector, save, score_batch
from vae_anomaly.cli import run
from vae_anomaly.data import line_reader
from vae_anomaly.pipeline.lines import StreamSummary, score_stream
from vae_anomaly.pipeline.results import Outputs

HEADER = b"t,square,constant,count,site\r\n"


@pytest.fixture(scope="module")
def detector() -> VAEDetector:
    rows = make_rows(400)
    rows["site"] = np.where(np.arange(400) % 3, "north, hall 2", "south")
    return VAEDetector(**QUICK, false_alarm_rate=0.05).fit(rows)


@pytest.fixture(scope="module")
def path(detector: VAEDetector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "m.vae"
    save(detector, path)
    return path


def frame(n: int = 40, seed: int = 1) -> pd.DataFrame:
    rows = make_rows(n, seed=seed)
    sites = np.where(np.arange(n) % 3, "north, hall 2", "south")
    sites[3:5] = 'say "hello"'
    return rows.assign(id=np.arange(n) + 1000, site=sites)


class Parts(io.BytesIO):
    """A stream that gives what has come, some bytes at a time."""

    def __init__(self, content: bytes, size: int) -> None:
        super().__init__(content)
        self._size = size

    def read1(self, size: int | None = -1) -> bytes:
        return self.read(self._size)


def scored(
    detector: VAEDetector,
    content: bytes,
    capfdbinary: pytest.CaptureFixture[bytes],
    *,
    size: int = 1000,
    **options: object,
) -> tuple[StreamSummary, list[bytes]]:
    summary = score_stream(detector.model_, Parts(content, size), **options)
    return summary, capfdbinary.readouterr().out.splitlines()


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize("sep", [",", ";"])
def test_lines_have_the_scores_of_a_batch(
    detector: VAEDetector, size: int, sep: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    rows = frame()
    content = rows.to_csv(index=False, sep=sep, decimal="," if sep == ";" else ".").encode()
    summary, written = scored(detector, content, capfdbinary, size=size, key="id")
    expected = score_batch(detector, pa.RecordBatch.from_pandas(rows), keep=["id"])
    assert written[0] == b"id,anomaly_score,is_anomaly,status"
    cells = [line.split(b",") for line in written[1:]]
    assert [int(key) for key, *_ in cells] == expected["id"].to_pylist()
    assert [float(score) for _, score, *_ in cells] == expected["anomaly_score"].to_pylist()
    assert summary == StreamSummary(40, 40, expected["is_anomaly"].true_count, 0)


def test_a_line_that_cannot_be_used_does_not_end_the_stream(
    detector: VAEDetector, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    content = (
        b"\xef\xbb\xbf" + HEADER + b"1,1,7,2,south\r\n1,1\r\n\r\n"
        b'inf,1,7,2,south\n1,1,7,2,"two\nlines"\n"x"y,1,7,2,south\n1,1,7,2,south'
    )
    summary, written = scored(detector, content, capfdbinary)
    assert written[0] == b"row,anomaly_score,is_anomaly,status"
    status = [line.split(b",", 3)[3] for line in written[1:]]
    assert [line.split(b",")[0] for line in written[1:]] == [b"1", b"2", b"3", b"4", b"5", b"6"]
    assert status == [
        b"ok",
        b'"expected 5 fields, as in the header, got 2"',
        b"\"column 't': expected a finite number, got 'inf'\"",
        b"ok",
        b"not sound CSV",
        b"ok",
    ]
    assert written[1].split(b",")[1:] == written[6].split(b",")[1:]
    assert summary[:2] == (6, 3)


@pytest.mark.parametrize("size", [1, 100_000])
def test_json_lines_have_the_scores_of_a_batch(
    detector: VAEDetector, size: int, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    rows = frame().assign(note=['a "quoted" note', ""] * 20)
    records = [row | {"note": row["note"] or None} for row in rows.to_dict("records")]
    content = "\n".join(["", *map(json.dumps, records)]).encode()
    options = {"size": size, "key": "id", "keep": ["note", "square"]}
    summary, written = scored(detector, content, capfdbinary, **options)
    expected = score_batch(detector, pa.RecordBatch.from_pandas(rows), keep=["id", "note"])
    found = [json.loads(line) for line in written]
    for name in expected.schema.names:
        assert [one[name] or "" for one in found] == [
            one or "" for one in expected[name].to_pylist()
        ]
    assert list(found[0]) == ["id", "note", "square", "anomaly_score", "is_anomaly", "status"]
    assert [float(one["square"]) for one in found] == rows["square"].tolist()
    assert summary == StreamSummary(40, 40, expected["is_anomaly"].true_count, 0)


def test_objects_that_cannot_be_used_do_not_end_the_stream(
    detector: VAEDetector, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    row = b'{"t": 1, "square": 1, "constant": 7, "count": 2, "site": "south"'
    content = b"\n".join(
        [
            row + b"}",
            b'{"t": 1, "square": ',
            b"[1]",
            row + b', "site": ["south"]}',
            row + b', "count": 1e999}',
            b'{"t": null}',
            row + b', "other": {"x": 1}}',
        ]
    )
    summary, written = scored(detector, content, capfdbinary)
    found = [json.loads(line) for line in written]
    assert [one["row"] for one in found] == [*range(1, 8)]
    assert [one["status"] for one in found] == [
        "ok",
        'expected a JSON object, got \'{"t": 1, "square":\'',
        "expected a JSON object, got '[1]'",
        "column 'site': expected a number, a text, true, false or null, got a list",
        "column 'count': expected a finite number, got '1e999'",
        "ok",
        "ok",
    ]
    assert found[6]["anomaly_score"] == found[0]["anomaly_score"]
    assert found[1]["anomaly_score"] is None
    assert summary[:2] == (7, 3)


def test_drift_is_watched_in_windows(
    detector: VAEDetector, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    moved = pd.concat([frame(100), frame(100).assign(square=9.0), frame(60)])
    said: list[str] = []
    content = moved.to_csv(index=False).encode()
    scored(detector, content, capfdbinary, size=4000, window=100, say=said.append)
    assert said
    assert all(line.startswith("warning: rows ") for line in said)
    assert "'square'" in said[0]
    said.clear()
    content = frame(260).to_csv(index=False).encode()
    scored(detector, content, capfdbinary, size=4000, window=100, say=said.append)
    assert said == []


def test_what_is_refused(
    detector: VAEDetector, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch
) -> None:
    with pytest.raises(DataError, match=r"standard input is empty. Expected a line of column"):
        scored(detector, b"", capfdbinary)
    with pytest.raises(DataError, match="the batch lacks 4 columns that the model names"):
        scored(detector, b"t,u\n1,2\n", capfdbinary)
    with pytest.raises(DataError, match="the batch lacks 5 columns that the model names"):
        scored(detector, b'{"u": 1}\n', capfdbinary)
    with pytest.raises(DataError, match="standard input lacks the column 'id' of the keys"):
        scored(detector, b"t,u\n1,2\n", capfdbinary, key="id")
    with pytest.raises(ParameterError, match="fdr needs the scores of all rows before it flags"):
        scored(detector, b"t\n", capfdbinary, outputs=Outputs(fdr=0.1))
    monkeypatch.setattr(line_reader, "MAX_RECORD_BYTES", 2000)
    with pytest.raises(DataError, match=r"a row has more than 2,000 bytes, perhaps an unclosed"):
        scored(detector, HEADER + b'"' + b"x\n" * 2000, capfdbinary)


def test_the_command_line_takes_streams_alone(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["score", str(path), "-", "-o", str(tmp_path / "o.csv"), "--stream"]) == 2
    assert "--stream reads standard input and writes standard output: tail -f" in (
        capsys.readouterr().err
    )
    assert run(["score", str(path), "-", "-o", "-", "--stream", "--strict"]) == 2
    assert capsys.readouterr().err == "error: --strict does not go with --stream.\n"


def test_columns_are_kept_and_rows_left_out(
    path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = frame(60)
    rows.loc[::7, "square"] = 50.0
    content = rows.to_csv(index=False).encode() + b"1,2\n"
    words = ["score", str(path), "-", "-o", "-", "--stream", "--id-column", "id"]
    asked = [*words, "--keep", "site,square", "--only-flagged", "--explain", "1"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert run([*asked, "--fail-if", "flagged>10%"]) == 7
    out, err = capfd.readouterr()
    found = pd.read_csv(io.StringIO(out))
    flagged = score_batch(path, pa.RecordBatch.from_pandas(rows))
    is_anomaly = flagged["is_anomaly"].to_numpy(zero_copy_only=False)
    assert found["id"].tolist() == rows["id"][is_anomaly].tolist()
    assert found["site"].tolist() == rows["site"][is_anomaly].tolist()
    assert found.columns[:3].tolist() == ["id", "site", "square"]
    assert (found["is_anomaly"] == 1).all()
    n_flagged = int(is_anomaly.sum())
    assert f"scored 60 rows, flagged {n_flagged}\nnote: 1 row could not be used" in err
    assert err.endswith(
        f"failed: flagged>10%: {n_flagged} of 60 rows, {100 * n_flagged / 60:.3g} %, are flagged\n"
    )
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert run([*words, "--keep", "all", "--fail-if", "flagged>90%"]) == 6
    kept = pd.read_csv(io.StringIO(capfd.readouterr().out), dtype=str)
    assert kept.columns[:6].tolist() == ["id", "t", "square", "constant", "count", "site"]
    assert kept["square"].astype(float).tolist()[:60] == rows["square"].tolist()


def test_drift_and_sorting_of_a_stream(
    path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["score", str(path), "-", "-o", "-", "--stream"]
    for rows, code in ((frame(200), 0), (frame(200).assign(square=9.0), 7)):
        content = rows.to_csv(index=False).encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        assert run([*words, "--fail-if", "drift"]) == code
    assert "failed: drift: as a whole, they are not normal" in capfd.readouterr().err
    assert run([*words, "--sort"]) == 2
    assert "error: sort needs all rows before it writes one, which a stream does not have." in (
        capfd.readouterr().err
    )


@pytest.fixture
def process(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    words = [sys.executable, "-m", "vae_anomaly", "score", str(path), "-", "-o", "-", "--stream"]
    process = subprocess.Popen(
        [*words, "--id-column", "id"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    yield process
    process.kill()
    process.communicate()


def line_of(process: subprocess.Popen[bytes]) -> bytes:
    """Wait for a line of output, which comes as a whole."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], 60)
    assert ready
    return os.read(process.stdout.fileno(), 2**16)


@pytest.mark.skipif(os.name != "posix", reason="pipes that are waited for")
def test_a_line_is_answered_at_once_and_ctrl_c_leaves_whole_lines(
    process: subprocess.Popen[bytes],
) -> None:
    assert process.stdin is not None
    header, *rows = frame(200).to_csv(index=False).encode().splitlines(keepends=True)
    process.stdin.write(header)
    process.stdin.flush()
    assert line_of(process) == b"id,anomaly_score,is_anomaly,status\n"
    seconds = []
    for i, row in enumerate(rows[:40]):
        start = time.perf_counter()
        process.stdin.write(row)
        process.stdin.flush()
        answer = line_of(process)
        seconds.append(time.perf_counter() - start)
        assert answer.startswith(b"%d," % (1000 + i))
        assert answer.endswith(b",ok\n")
    assert min(seconds) < 0.05  # other tests take the processors as well
    process.stdin.write(b"".join(rows[40:]))
    process.stdin.flush()
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert rest == b"" or rest.endswith(b",ok\n")
