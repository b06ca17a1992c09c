"""Mutations of model files that respect the format and the checksum, to reach later checks."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from hostile.model_files import build, parts
from vae_anomaly.storage.container import canonical

BAD_VALUES: tuple[Any, ...] = (
    *(0, 1, -1, 2, 3, 7, 255, 2**31, 2**53 + 1, 2**63, 10**30, -(2**63)),
    *(0.0, 1.0, -1.0, 0.5, 1e-320, 1e300, -1e300, 1e38),
    *(
        None,
        True,
        False,
        "",
        "custom",
        "conv",
        "image",
        "table",
        "dense",
        "gaussian",
        "bernoulli",
        "normal",
        "elbo",
    ),
    *("../../x", "\x1b[31m", "\ud800", "\0", "a" * 300, "</script>", "os.system", "1"),
    *([], {}, [1], [[1]], {"a": 1}, [None], ["a", "a"], [1, 1, 1], [2**40, 2**40]),
)

NUMBERS = (0.0, -0.0, 1.0, -1.0, 1e-45, 3e38, -3e38, float("nan"), float("inf"), -float("inf"))

TOKENS = (b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"NaN", b"1e999", b"\xff", b"\0", b"u")


def mutated(raw: bytes, rng: random.Random) -> bytes:
    """Return a model file with one to three mutations, of its bytes if it cannot be parsed."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        try:
            raw = rng.choice((_settings, _settings, _header, _body, _bytes))(raw, rng)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
            raw = _bytes(raw, rng)
    return raw


def _settings(raw: bytes, rng: random.Random) -> bytes:
    """Change a value in the settings."""
    header, body = parts(raw)
    metadata = header["__metadata__"]
    config = json.loads(metadata["config"])
    _change_somewhere(config, rng)
    metadata["config"] = canonical(config)
    return build(header, body, sign=rng.random() < 0.95)


def encoder_mutated(raw: bytes, rng: random.Random) -> bytes:
    """Return a model file, signed, with one to three changes in the state of its encoder."""
    header, body = parts(raw)
    metadata = header["__metadata__"]
    config = json.loads(metadata["config"])
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        _change_somewhere(encoder_settings(config), rng)
    metadata["config"] = canonical(config)
    return build(header, body)


def encoder_settings(config: Any) -> Any:
    """Return the settings of the encoder; those of a time series are of its windows."""
    return config["encoder"] if "encoder" in config else config["network"]["encoder"]


def _header(raw: bytes, rng: random.Random) -> bytes:
    """Change a value in the header: names, dtypes, shapes and offsets of arrays."""
    header, body = parts(raw)
    _change_somewhere(header, rng)
    return build(header, body, sign=rng.random() < 0.95)


def _body(raw: bytes, rng: random.Random) -> bytes:
    """Overwrite a number, or cut or lengthen the body."""
    header, body = parts(raw)
    code = rng.choice("fd")
    number = struct.pack(f"<{code}", rng.choice(NUMBERS))
    start = rng.randrange(max(1, len(body) - len(number))) // len(number) * len(number)
    match rng.randrange(6):
        case 0:
            body = body[: rng.randrange(len(body) + 1)]
        case 1:
            body += bytes(rng.randrange(1, 64))
        case _:
            body = body[:start] + number + body[start + len(number) :]
    return build(header, body, sign=rng.random() < 0.95)


def _bytes(raw: bytes, rng: random.Random) -> bytes:
    """Flip, insert, remove or repeat bytes, mostly in the header."""
    content = bytearray(raw)
    i = rng.randrange(min(len(content), rng.choice((8, 64, 4096, 2**20))) + 1)
    match rng.randrange(5):
        case 0 if content:
            content[min(i, len(content) - 1)] ^= 1 << rng.randrange(8)
        case 1:
            content[i:i] = rng.choice(TOKENS) * rng.choice((1, 1, 2, 1000))
        case 2:
            del content[i : i + rng.choice((1, 4, 64))]
        case 3:
            content[i:i] = content[: rng.choice((1, 8, 64))]
        case _:
            del content[i:]
    return bytes(content)


def _change_somewhere(value: Any, rng: random.Random) -> None:
    """Replace, remove, add or copy a value anywhere in a tree."""
    nodes = list(_nodes(value))
    parent, key = rng.choice(nodes)
    match rng.randrange(8):
        case 0:
            del parent[key]
        case 1:
            other_parent, other_key = rng.choice(nodes)
            parent[key] = json.loads(json.dumps(other_parent[other_key]))
        case 2 if isinstance(parent, dict):
            parent[rng.choice(("x", "__metadata__", "../x", key + "x"))] = _bad_value(rng)
        case 3 if isinstance(parent, list):
            parent.extend(parent * rng.choice((1, 2, 50)))
        case 4 if isinstance(parent[key], int | float):
            parent[key] = parent[key] + rng.choice((-1, 1)) * rng.choice((1, 1, 2, 0.5, 10**9))
        case _:
            parent[key] = _bad_value(rng)


def _bad_value(rng: random.Random) -> Any:
    """Return a copy: a later mutation may extend a list."""
    return deepcopy(rng.choice(BAD_VALUES))


def _nodes(value: Any) -> Iterator[tuple[Any, Any]]:
    children = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in children:
        yield value, key
        if isinstance(child, dict | list):
            yield from _nodes(child)
