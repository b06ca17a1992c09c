"""HTTP service that scores rows: JSON or Arrow in, the same out.

The extra ``serve`` installs what is needed: ``pip install "vae-anomaly[serve]"``.

====================  ======================================================================
``GET /health``       ``{"status": "ok"}``
``GET /model``        digest, score, threshold and columns of the model
``POST /score``       rows, as JSON objects or as a stream of Arrow; options as a query, such as
                      ``?explain=2&keep=id``: those of `vae_anomaly.score_batch`
====================  ======================================================================

Errors are ``{"error": "..."}`` with a status of 4xx or 5xx. There is no authentication: what
reaches the port may score.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, TypeAlias

import pyarrow as pa

from vae_anomaly._extras import of_extra
from vae_anomaly._types import Json, JsonObject
from vae_anomaly.data.registry import columnar
from vae_anomaly.exceptions import DataError, ParameterError, VAEAnomalyError
from vae_anomaly.model.file import model_of
from vae_anomaly.model.model import Model
from vae_anomaly.pipeline.batch import score_batch
from vae_anomaly.storage.container import open_container

__all__ = ["Settings", "app_of_environment", "create_app", "serve"]

Request: TypeAlias = Any
"""Request of Starlette."""

Response: TypeAlias = Any
"""Response of Starlette."""

App: TypeAlias = Any
"""Application of Starlette."""

ARROW = "application/vnd.apache.arrow.stream"
JSON = "application/json"

ENVIRONMENT = "VAE_ANOMALY_SERVICE"
"""Variable that hands the settings to worker processes."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")

PURPOSE = "The service"


@dataclass(frozen=True)
class Settings:
    """Settings of a service.

    Attributes
    ----------
    model : str
        Path of the model file. When it is replaced, the next request is answered by the new model.
    max_bytes : int
        Size of a request's body, at most.
    max_rows : int
        Rows of a request, at most.
    seconds : float
        Time for a request, from its first byte to its answer, at most.
    threads : int
        Requests that a process scores at a time.
    is_local : bool
        Whether to answer only requests that name this machine as their host, which pages of other
        sites in a browser cannot.
    """

    model: str
    max_bytes: int = 16 * 2**20
    max_rows: int = 200_000
    seconds: float = 30.0
    threads: int = 2
    is_local: bool = True


class RefusedError(Exception):
    """A request that is not answered with scores."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class _Loaded(NamedTuple):
    """Model, and the digest of its file."""

    model: Model
    sha256: str


class _CurrentModel:
    """Model of a file that may be replaced; a file that is not sound leaves the one before."""

    def __init__(self, path: str) -> None:
        self._path, self._lock = path, Lock()
        self._state = self._state_of_file()
        self._loaded = self._load()
        self.fault: str | None = None

    def _state_of_file(self) -> tuple[int, int, int]:
        status = Path(self._path).stat()
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _load(self) -> _Loaded:
        file = open_container(self._path)
        model = model_of(file)
        columnar(model.encoder)  # raises for models whose records are no columns
        return _Loaded(model, file.sha256)

    def get(self) -> _Loaded:
        """Return the model, read again if the file is another one."""
        with self._lock:
            try:
                state = self._state_of_file()
                if state != self._state:
                    self._state = state
                    self._loaded, self.fault = self._load(), None
            except (VAEAnomalyError, OSError) as error:
                self.fault = str(error)
            return self._loaded


def create_app(settings: Settings) -> App:
    """Return an application of ASGI.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    starlette.applications.Starlette

    Raises
    ------
    ParameterError
        If Starlette is not installed, or the model takes no columns.
    ModelFileError
        If the file is not a sound model.
    OSError
        If it cannot be read.
    """
    starlette = of_extra("starlette.applications", "serve", PURPOSE)
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.routing import Route

    service = _Service(settings)
    routes = [
        Route("/health", service.health),
        Route("/model", service.model),
        Route("/score", service.score, methods=["POST"]),
    ]
    hosts = [Middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, "[::1]"])]
    return starlette.Starlette(routes=routes, middleware=hosts if settings.is_local else [])


def app_of_environment() -> App:
    """Return the application whose settings a parent process left in the environment."""
    return create_app(Settings(**json.loads(os.environ[ENVIRONMENT])))


class _Service:
    """Answers of the service."""

    def __init__(self, settings: Settings) -> None:
        import anyio

        self._settings, self._current = settings, _CurrentModel(settings.model)
        self._limiter = anyio.CapacityLimiter(settings.threads)

    async def health(self, request: Request) -> Response:
        """Answer that the service runs, and whether a replaced model could not be read."""
        self._current.get()
        fault = self._current.fault
        return _json({"status": "ok"} if fault is None else {"status": "stale", "error": fault})

    async def model(self, request: Request) -> Response:
        """Describe the model."""
        model, sha256 = self._current.get()
        return _json(
            {
                "sha256": sha256,
                "score": model.score_type,
                "threshold": model.calibration.threshold,
                "columns": list(model.encoder.features),
            }
        )

    async def score(self, request: Request) -> Response:
        """Score the rows of a request within the limits of size and time."""
        import anyio

        try:
            with anyio.fail_after(self._settings.seconds):
                media_type = (
                    request.headers.get("content-type", "").partition(";")[0].strip().lower()
                )
                body = await self._body(request)
                return await anyio.to_thread.run_sync(
                    self._answer,
                    media_type.lower(),
                    body,
                    dict(request.query_params.multi_items()),
                    abandon_on_cancel=True,
                    limiter=self._limiter,
                )
        except RefusedError as refused:
            return _json({"error": str(refused)}, refused.status)
        except TimeoutError:
            limit = f"{self._settings.seconds:g} s"
            return _json({"error": f"The request took longer than {limit}. Send fewer rows."}, 503)

    async def _body(self, request: Request) -> bytes:
        """Return the body, of which no more than the limit is read."""
        limit = self._settings.max_bytes
        received: list[bytes] = []
        size = int(request.headers.get("content-length", "0"))
        chunks: AsyncIterator[bytes] = request.stream()
        if size <= limit:
            size = 0
            async for chunk in chunks:
                received.append(chunk)
                size += len(chunk)
                if size > limit:
                    break
        if size > limit:
            raise RefusedError(413, f"The body has more than {limit:,} bytes. Send fewer rows.")
        return b"".join(received)

    def _answer(self, media_type: str, body: bytes, query: Mapping[str, str]) -> Response:
        """Score a body, and answer in its type."""
        from starlette.responses import Response

        loaded = self._current.get()
        try:
            options = _options(query)
            batches = _batches(media_type, body, self._settings.max_rows)
            scored = [score_batch(loaded.model, batch, **options) for batch in batches]
        except (DataError, ParameterError) as error:
            raise RefusedError(422, str(error)) from error
        headers = {"x-model-sha256": loaded.sha256}
        if media_type == ARROW:
            return Response(_stream(scored), media_type=ARROW, headers=headers)
        rows = [_cells(row) for batch in scored for row in batch.to_pylist()]
        return _json({"model": loaded.sha256, "rows": rows}, headers=headers)


# ---------------------------------------------------------------------- bodies and options


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _switch(text: str) -> bool:
    return {"1": True, "true": True, "": True, "0": False, "false": False}[text.lower()]


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


OPTIONS: dict[str, tuple[Callable[[str], Json], str]] = {
    "score": (str, "the name of a score"),
    "explain": (int, "a whole number"),
    "p_values": (_switch, "true or false"),
    "also": (_names, "names of scores between commas"),
    "keep": (_names, "names of columns between commas"),
    "threshold": (_number, "a number"),
    "repair": (_switch, "true or false"),
}
"""Option of a query -> what reads it, and what is expected."""


def _options(query: Mapping[str, str]) -> JsonObject:
    """Return the options of a query.

    Raises
    ------
    ParameterError
    """
    found = {}
    for name, text in query.items():
        if name not in OPTIONS:
            raise ParameterError(
                f"There is no option {name!r}. Those of a query are {', '.join(OPTIONS)}."
            )
        read, expected = OPTIONS[name]
        try:
            found[name] = read(text)
        except (ValueError, KeyError):
            raise ParameterError(f"{name} must be {expected}. Got {text!r} instead.") from None
    return found


def _batches(media_type: str, body: bytes, max_rows: int) -> Sequence[pa.RecordBatch]:
    """Return the rows of a body.

    Raises
    ------
    RefusedError
        If it is of another type, cannot be read, or holds too many rows.
    """
    if media_type not in (ARROW, JSON):
        raise RefusedError(
            415, f"Expected the type {JSON} or {ARROW}, got {media_type or 'none'!r}."
        )
    batches = _arrow_batches(body) if media_type == ARROW else _json_batches(body)
    if sum(batch.num_rows for batch in batches) > max_rows:
        raise RefusedError(413, f"The body has more than {max_rows:,} rows. Send fewer.")
    return batches


def _arrow_batches(body: bytes) -> list[pa.RecordBatch]:
    """Return the batches of a stream, at least one; which is validated."""
    try:
        with pa.ipc.open_stream(body) as stream:
            batches = list(stream)
            for batch in batches:
                batch.validate(full=True)
            return batches or [pa.RecordBatch.from_pylist([], schema=stream.schema)]
    except (pa.ArrowException, OSError, UnicodeDecodeError, EOFError) as cause:
        words = str(cause).splitlines()[0].rstrip(".")
        raise RefusedError(400, f"The body is no stream of Arrow: {words}.") from cause


def _json_batches(body: bytes) -> list[pa.RecordBatch]:
    """Return rows of JSON: a list of objects, or an object with such a list as its rows."""
    try:
        rows = json.loads(body)
    except (ValueError, RecursionError) as cause:
        raise RefusedError(400, f"The body is no JSON: {cause}.") from cause
    if isinstance(rows, dict):
        rows = rows.get("rows")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise RefusedError(
            400, 'Expected a list of rows such as [{"flow": 1.5}], or {"rows": [...]}.'
        )
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: _column([row.get(name) for row in rows]) for name in names}
    return [pa.RecordBatch.from_pydict(columns)] if rows else []


def _column(cells: list[Json]) -> pa.Array:
    """Return cells as an array: of text if they are of several types."""
    with suppress(pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array(cells)
    return pa.array([cell if cell is None else _text(cell) for cell in cells], pa.string())


def _text(cell: Json) -> str:
    return cell if isinstance(cell, str) else json.dumps(cell)


def _cells(row: JsonObject) -> JsonObject:
    """Return a row in which cells that are no numbers for JSON are missing."""
    return {
        name: None if isinstance(cell, float) and not math.isfinite(cell) else cell
        for name, cell in row.items()
    }


def _stream(batches: Sequence[pa.RecordBatch]) -> bytes:
    """Return batches as a stream of Arrow."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def _json(value: Json, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a value as JSON, numbers with all digits; what JSON has no type for as text."""
    from starlette.responses import Response

    text = json.dumps(value, default=str, ensure_ascii=False)
    return Response(text, status, media_type=JSON, headers=dict(headers or {}))


# ------------------------------------------------------------------------------ processes


def serve(settings: Settings, host: str = "127.0.0.1", port: int = 8000, workers: int = 1) -> None:
    """Serve until a signal ends it.

    Parameters
    ----------
    settings : Settings
    host : str, default="127.0.0.1"
        Address to listen at; by default only programs on this machine reach it.
    port : int, default=8000
    workers : int, default=1
        Processes, each started afresh: nothing is forked.

    Raises
    ------
    ParameterError
        If the packages are not installed, or the model takes no columns.
    ModelFileError
        If the file is not a sound model.
    OSError
        If it cannot be read, or the port is taken.
    """
    uvicorn = of_extra("uvicorn", "serve", PURPOSE)
    create_app(settings)  # errors are shown here, once
    os.environ[ENVIRONMENT] = json.dumps(asdict(settings))
    uvicorn.run(
        f"{__name__}:{app_of_environment.__name__}",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        log_level="warning",
    )
