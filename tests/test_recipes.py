"""Recipes of docs/distributed.md, run as they stand there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from vae_anomaly import VAEDetector, save, score_batch

PAGE = Path(__file__).parents[1] / "docs" / "distributed.md"
MODEL = "pump.vae"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model file of the name that the recipes give it."""
    X = np.random.RandomState(0).normal(size=(600, 2))
    path = tmp_path_factory.mktemp("recipes") / MODEL
    columns = pa.table({"flow": X[:, 0], "pressure": X[:, 1]}).to_pandas()
    save(VAEDetector(max_steps=20, random_state=0).fit(columns), path)
    return path


@pytest.fixture
def rows() -> pa.RecordBatch:
    """Return rows to score."""
    X = np.random.RandomState(1).normal(size=(50, 2))
    return pa.record_batch({"id": range(50), "flow": X[:, 0], "pressure": X[:, 1]})


def run(name: str, **given: Any) -> dict[str, Any]:
    """Run the code block below a name, and return its variables."""
    code = PAGE.read_text().split(f"<!-- {name} -->\n```python\n")[1].split("```")[0]
    found = {"pa": pa, "score_batch": score_batch, **given}
    exec(compile(code, f"recipe {name}", "exec"), found)
    return found


@pytest.fixture(autouse=True)
def beside_the_model(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(model.parent)


def test_a_server_of_flight_answers_each_batch(rows: pa.RecordBatch) -> None:
    flight = pytest.importorskip("pyarrow.flight", reason="this pyarrow has no Flight")
    with (
        run("flight")["server"] as server,
        flight.connect(f"grpc://localhost:{server.port}") as client,
    ):
        writer, reader = client.do_exchange(flight.FlightDescriptor.for_path("rows"))
        with writer:
            writer.begin(rows.schema)
            for some in (rows.slice(0, 20), rows.slice(20)):
                writer.write_batch(some)
            writer.done_writing()
            found = reader.read_all()
    assert found.equals(pa.table(score_batch(MODEL, rows, keep=["id"])))


def test_a_flow_of_bytewax_scores_what_has_come(rows: pa.RecordBatch) -> None:
    testing = pytest.importorskip("bytewax.testing", reason="bytewax is not installed")
    found: list[dict[str, object]] = []
    source = testing.TestingSource(rows.to_pylist(), batch_size=7)
    flow = run("bytewax", source=source, sink=testing.TestingSink(found))["flow"]
    testing.run_main(flow)
    assert found == score_batch(MODEL, rows, keep=["id"]).to_pylist()


def test_a_flow_of_bytewax_scores_messages_of_kafka(rows: pa.RecordBatch) -> None:
    kafka = pytest.importorskip("confluent_kafka", reason="confluent-kafka is not installed")
    testing = pytest.importorskip("bytewax.testing", reason="bytewax is not installed")
    producer = kafka.Producer({"test.mock.num.brokers": 3})  # they stop with the producer
    brokers = [f"{one.host}:{one.port}" for one in producer.list_topics().brokers.values()]
    for row in rows.to_pylist():
        producer.produce("pumps", json.dumps(row))
    assert producer.flush(20) == 0

    flow = run("bytewax", source=testing.TestingSource([]), sink=testing.TestingSink([]))
    found = {**flow, "brokers": brokers, "tail": False}
    testing.run_main(run("kafka", **found)["flow"])

    consumer = kafka.Consumer(
        {"bootstrap.servers": ",".join(brokers), "group.id": "a", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe(["scores"])
    messages = consumer.consume(rows.num_rows, timeout=30)
    consumer.close()
    scores = [json.loads(message.value()) for message in messages]
    expected = score_batch(MODEL, rows, keep=["id"]).to_pylist()
    assert sorted(scores, key=lambda row: row["id"]) == expected
