"""Application of the service: routes, limits, and the processes that run it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, TypeAlias

from vae_anomaly._extras import of_extra
from vae_anomaly._types import Json
from vae_anomaly.data.base import Encoder
from vae_anomaly.data.registry import columnar
from vae_anomaly.exceptions import DataError, ParameterError, VAEAnomalyError
from vae_anomaly.model.file import model_of
from vae_anomaly.model.model import Model
from vae_anomaly.pipeline.batch import score_batch
from vae_anomaly.service.bodies import (
    ARROW,
    JSON,
    RefusedError,
    batches_of,
    cells_of,
    options_of,
    stream_of,
)
from vae_anomaly.storage.container import open_container

__all__ = ["Settings", "app_of_environment", "create_app", "serve"]

Request: TypeAlias = Any
"""Request of Starlette."""

Response: TypeAlias = Any
"""Response of Starlette."""

App: TypeAlias = Any
"""Application of Starlette."""

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
                    media_type,
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
            options = options_of(query)
            optional = _optional(loaded.model.encoder)
            batches = batches_of(media_type, body, self._settings.max_rows, optional)
            scored = [score_batch(loaded.model, batch, **options) for batch in batches]
        except (DataError, ParameterError) as error:
            raise RefusedError(422, str(error)) from error
        headers = {"x-model-sha256": loaded.sha256}
        if media_type == ARROW:
            return Response(stream_of(scored), media_type=ARROW, headers=headers)
        rows = [cells_of(row) for batch in scored for row in batch.to_pylist()]
        return _json({"model": loaded.sha256, "rows": rows}, headers=headers)


def _optional(encoder: Encoder) -> list[str]:
    """Return the columns that had missing cells in training: other columns must be there."""
    if encoder.names is None:
        return []
    shares = zip(encoder.names, encoder.missing_shares, strict=True)
    return [name for name, share in shares if share > 0]


def _json(value: Json, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a value as JSON, numbers with all digits; what JSON has no type for as text."""
    from starlette.responses import Response

    text = json.dumps(value, default=str, ensure_ascii=False)
    return Response(text, status, media_type=JSON, headers=dict(headers or {}))


# ------------------------------------------------------------------------------ processes


def serve(
    settings: Settings,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    *,
    say: Callable[[str], object] = lambda line: None,
) -> None:
    """Serve until a signal ends it.

    Parameters
    ----------
    settings : Settings
    host : str, default="127.0.0.1"
        Address to listen at; by default only programs on this machine reach it.
    port : int, default=8000
    workers : int, default=1
        Processes, each started afresh: nothing is forked.
    say : callable, optional
        Receives lines about the start.

    Raises
    ------
    ParameterError
        If the packages are not installed, the model takes no columns, or the port is taken.
    ModelFileError
        If the file is not a sound model.
    OSError
        If it cannot be read.
    """
    uvicorn = of_extra("uvicorn", "serve", PURPOSE)
    create_app(settings)  # errors are shown here, once
    _check_port(host, port)
    if not settings.is_local:
        say(f"warning: all that reaches {host} may score: there is no authentication")
    say(f"serving {settings.model} at http://{host}:{port}; Ctrl-C ends it")
    os.environ[ENVIRONMENT] = json.dumps(asdict(settings))
    uvicorn.run(
        f"{__name__}:{app_of_environment.__name__}",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        log_level="warning",
    )


def _check_port(host: str, port: int) -> None:
    """Raise if a port cannot be listened at."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as cause:
        raise ParameterError(
            f"Cannot listen at {host}, port {port}: {cause.strerror}. Choose another port or "
            f"address."
        ) from cause
