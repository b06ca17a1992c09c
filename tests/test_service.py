"""The HTTP service, in processes of its own, with a real client."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import QUICK, make_rows

from vae_anomaly import ParameterError, VAEDetector, recalibrate, save, score_batch
from vae_anomaly.cli import run
from vae_anomaly.pipeline.models import ModelFile

pytest.importorskip("starlette", reason="the extra [serve] is not installed")
pytest.importorskip("uvicorn", reason="the extra [serve] is not installed")

from vae_anomaly import service
from vae_anomaly.service.app import ENVIRONMENT
from vae_anomaly.service.bodies import ARROW

N = 60

ROW = b'[{"t": 1, "square": 1, "constant": 7, "count": 1, "site": "north"}]'
MANY = b"[%s]" % b",".join([b'{"t":1}'] * 501)


def frame() -> pd.DataFrame:
    rows = make_rows(N, seed=1)
    rows["site"] = np.where(np.arange(N) % 3, "north", "south")
    rows["id"] = np.arange(N) + 1000
    rows.loc[4, "t"] = np.nan
    return rows


@pytest.fixture(scope="module")
def detector() -> VAEDetector:
    training = make_rows(300).assign(site=np.where(np.arange(300) % 3, "north", "south"))
    training.loc[4, "t"] = np.nan
    return VAEDetector(**QUICK, false_alarm_rate=0.05).fit(training)


@pytest.fixture(scope="module")
def batch() -> pa.RecordBatch:
    return pa.RecordBatch.from_pandas(frame(), preserve_index=False)


class Service(NamedTuple):
    """A service that runs, and its model file."""

    port: int
    model: Path
    process: subprocess.Popen[bytes]

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes]:
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            client.request(method, path, body, named)
            answer = client.getresponse()
            return answer.status, answer.read()
        finally:
            client.close()

    def json(self, path: str, rows: Any) -> tuple[int, Any]:
        body = rows if isinstance(rows, bytes) else json.dumps(rows).encode()
        status, answer = self.ask("POST", path, body, content_type="application/json")
        return status, json.loads(answer)

    def arrow(self, path: str, batch: pa.RecordBatch) -> pa.RecordBatch:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        body = sink.getvalue().to_pybytes()
        status, answer = self.ask("POST", path, body, content_type=ARROW)
        assert status == 200, answer
        return pa.ipc.open_stream(answer).read_next_batch()


@contextmanager
def running(
    detector: VAEDetector, folder: Path, workers: int, **settings: Any
) -> Iterator[Service]:
    model = folder / "m.vae"
    save(detector, model)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = [f"--{name}={value}" for name, value in settings.items()]
    words = [sys.executable, "-m", "vae_anomaly", "serve", str(model), f"--port={port}", *options]
    words.append(f"--workers={workers}")
    process = subprocess.Popen(words)
    found = Service(port, model, process)
    try:
        for _ in range(600):
            try:
                if found.ask("GET", "/health")[0] == 200:
                    break
            except OSError:
                time.sleep(0.1)
        yield found
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


@pytest.fixture(scope="module")
def one(detector: VAEDetector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    limits = {"max-size": "100KB", "max-rows": 500, "seconds": 3.0}
    with running(detector, tmp_path_factory.mktemp("service"), 1, **limits) as service:
        yield service


def test_json_has_the_scores_of_a_batch(
    one: Service, detector: VAEDetector, batch: pa.RecordBatch
) -> None:
    expected = score_batch(detector, batch, keep=["id"], explain=1, p_values=True).to_pylist()
    for rows in (batch.to_pylist(), {"rows": batch.to_pylist()}):
        status, answer = one.json("/score?explain=1&keep=id&p_values=true", rows)
        assert status == 200
        assert answer == {"model": ModelFile.of(one.model).sha256, "rows": expected}


def test_arrow_has_the_scores_of_a_batch(
    one: Service, detector: VAEDetector, batch: pa.RecordBatch
) -> None:
    assert one.arrow("/score?keep=id", batch).equals(score_batch(detector, batch, keep=["id"]))
    assert one.arrow("/score", batch.slice(0, 0)).num_rows == 0
    assert one.json("/score", [])[1]["rows"] == []


def test_cells_of_several_types(one: Service) -> None:
    rows = [
        {"t": 1, "square": "0.5", "constant": 7.0, "count": 2, "site": "north"},
        {"t": 1.0, "square": 0.5, "constant": 7, "count": 2, "site": "north"},
        {"t": 1.0, "square": 1e999, "constant": 7, "count": 2, "site": "north"},
    ]
    status, answer = one.json("/score", rows)
    assert status == 200
    first, second, third = answer["rows"]
    assert first == second
    assert third["status"] == "column 'square': expected a finite number, got 'Infinity'"
    assert third["anomaly_score"] is None


def test_keys_that_may_be_missing_may_be_left_out(one: Service) -> None:
    row = {"square": 0.5, "constant": 7.0, "count": 2, "site": "north"}
    status, answer = one.json("/score", [row])  # `t` was missing in training
    assert status == 200
    assert answer == one.json("/score", [row | {"t": None}])[1]
    assert answer["rows"][0]["status"] == "ok"


def test_the_model_is_described(one: Service, detector: VAEDetector) -> None:
    status, answer = one.ask("GET", "/model")
    assert status == 200
    assert json.loads(answer) == {
        "sha256": ModelFile.of(one.model).sha256,
        "score": "exemplar",
        "threshold": -detector.offset_,
        "columns": ["t", "square", "constant", "count", "site"],
    }


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/score", b"{", 400, "The body is no JSON"),
        ("/score", b"[1]", 400, 'Expected a list of rows such as [{"flow": 1.5}]'),
        ("/score", b"[{}]", 422, "the batch lacks 4 columns that the model names"),
        ("/score", b'[{"t": 1}]', 422, "the batch lacks 4 columns that the model names"),
        ("/score?speed=1", b"[]", 422, "There is no option 'speed'. Those of a query are score,"),
        ("/score?explain=x", b"[]", 422, "explain must be a whole number. Got 'x' instead."),
        ("/score?threshold=nan", b"[]", 422, "threshold must be a number. Got 'nan' instead."),
        ("/score?also=x", ROW, 422, "There is no score 'x'. Expected one of"),
        (
            "/score",
            b"[%s]" % b",".join([b'{"t":1}'] * 501),
            413,
            "The body has more than 500 rows.",
        ),
        ("/score", b" " * 100_001, 413, "The body has more than 100,000 bytes. Send fewer rows."),
    ],
)
def test_what_cannot_be_scored_is_refused(
    one: Service, path: str, body: bytes, status: int, words: str
) -> None:
    found, answer = one.json(path, body)
    assert (found, words in answer["error"]) == (status, True), answer


def test_other_bodies_are_refused(one: Service, batch: pa.RecordBatch) -> None:
    status, answer = one.ask("POST", "/score", b"t,square\n", content_type="text/csv")
    assert status == 415
    assert b"Expected the type application/json or application/vnd.apache.arrow" in answer
    status, answer = one.ask("POST", "/score", b"ARROW1", content_type=ARROW)
    assert status == 400
    assert b"The body is no stream of Arrow" in answer
    assert one.ask("GET", "/score")[0] == 405


def test_pages_of_other_hosts_are_refused(one: Service) -> None:
    assert one.ask("GET", "/model", Host="evil.example")[0] == 400


def test_a_slow_client_is_cut_off(one: Service) -> None:
    with socket.create_connection(("127.0.0.1", one.port), timeout=20) as client:
        client.sendall(
            b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 1000\r\n\r\n["
        )
        assert client.recv(100).startswith(b"HTTP/1.1 503 ")


def test_a_replaced_model_answers_the_next_request(
    detector: VAEDetector, batch: pa.RecordBatch, tmp_path: Path
) -> None:
    with running(detector, tmp_path, 2) as two:

        def flags(_: int) -> list[bool]:
            found = two.arrow("/score", batch)
            assert found.equals(score_batch(detector, batch))
            return found["is_anomaly"].to_pylist()

        with ThreadPoolExecutor(8) as clients:
            before = list(clients.map(flags, range(24)))
        assert before == [before[0]] * 24
        save(recalibrate(detector, threshold=-1e9), two.model)
        assert two.arrow("/score", batch)["is_anomaly"].to_pylist() == [True] * N
        good = two.model.read_bytes()
        two.model.write_bytes(b"damaged")
        for _ in range(8):  # both processes keep the model that they have
            assert two.json("/score", batch.to_pylist())[0] == 200
        assert b'"stale"' in two.ask("GET", "/health")[1]
        two.model.write_bytes(good)
        assert two.ask("GET", "/health")[1] == b'{"status": "ok"}'
    assert two.process.returncode in (0, 143)


def test_models_of_images_are_refused(tmp_path: Path) -> None:
    images = np.random.RandomState(0).uniform(size=(30, 6, 6))
    detector = VAEDetector(max_steps=2, contamination=0.1, random_state=0).fit(images)
    save(detector, tmp_path / "m.vae")
    with pytest.raises(ParameterError, match="fitted on images, which are no columns"):
        service.serve(service.Settings(str(tmp_path / "m.vae")))
    assert ENVIRONMENT not in os.environ


def test_a_port_that_is_taken_is_refused(
    detector: VAEDetector, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(detector, tmp_path / "m.vae")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run(["serve", str(tmp_path / "m.vae"), f"--port={port}"]) == 2
    assert capsys.readouterr().err.startswith(
        f"error: Cannot listen at 127.0.0.1, port {port}: Address already in use. Choose another"
    )
