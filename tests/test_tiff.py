"""TIFF images of every type of numbers, written here byte by byte."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from images import read

from vae_anomaly.data.image.layout import Layout

RNG = np.random.RandomState(0)

LETTERS = {"u": 1, "i": 2, "f": 3}


def tiff(
    numbers: np.ndarray,
    *,
    order: str = "<",
    deflate: bool = False,
    predictor: int = 1,
    tile: int | None = None,
    planar: bool = False,
    orientation: int = 1,
    compression: int | None = None,
) -> bytes:
    """Return a TIFF of numbers, (h, w) or (h, w, channels), in strips of 5 rows or in tiles."""
    pixels = numbers.reshape(*numbers.shape[:2], -1)
    height, width, channels = pixels.shape
    rows, columns = (tile, tile) if tile else (5, width)
    blocks = []
    for plane in [pixels[:, :, i : i + 1] for i in range(channels)] if planar else [pixels]:
        for top in range(0, height, rows):
            for left in range(0, width, columns):
                block = plane[top : top + rows, left : left + columns]
                if tile:
                    bottom, right = rows - block.shape[0], columns - block.shape[1]
                    block = np.pad(block, ((0, bottom), (0, right), (0, 0)))
                data = differences(block, order, predictor)
                blocks.append(zlib.compress(data) if deflate else data)
    tags = {
        256: width,
        257: height,
        258: (8 * pixels.itemsize,) * channels,
        259: compression or (8 if deflate else 1),
        262: 1 if channels == 1 else 2,
        274: orientation,
        277: channels,
        284: 2 if planar else 1,
        317: predictor,
        339: (LETTERS[pixels.dtype.kind],) * channels,
    }
    tags |= {322: columns, 323: rows} if tile else {278: rows}
    starts, counts = (324, 325) if tile else (273, 279)
    offsets = np.cumsum([8, *map(len, blocks)])
    tags |= {starts: tuple(offsets[:-1].tolist()), counts: tuple(map(len, blocks))}
    return _file(tags, b"".join(blocks), order)


def differences(block: np.ndarray, order: str, predictor: int) -> bytes:
    """Return the bytes of a strip or tile, as differences if a predictor says so."""
    if predictor == 2:
        block = np.diff(block, axis=1, prepend=np.zeros_like(block[:, :1]))
    if predictor == 3:
        height, columns, channels = block.shape
        planes = block.astype(block.dtype.newbyteorder(">")).view(np.uint8)
        planes = planes.reshape(height, columns * channels, -1).swapaxes(1, 2)
        planes = planes.reshape(height, -1, channels)
        block = np.diff(planes, axis=1, prepend=np.zeros_like(planes[:, :1]))
        return np.ascontiguousarray(block).tobytes()
    return np.ascontiguousarray(block).astype(block.dtype.newbyteorder(order)).tobytes()


def _file(tags: dict[int, int | tuple[int, ...]], data: bytes, order: str) -> bytes:
    entries, further = [], b""
    start = 8 + len(data)
    place = start + 2 + 12 * len(tags) + 4
    for tag, value in sorted(tags.items()):
        values = value if isinstance(value, tuple) else (value,)
        content = struct.pack(f"{order}{len(values)}I", *values)
        if len(content) > 4:
            content, further = (
                struct.pack(f"{order}I", place + len(further)),
                further + content,
            )
        entries.append(struct.pack(f"{order}HHI", tag, 4, len(values)) + content)
    directory = struct.pack(f"{order}H", len(tags)) + b"".join(entries) + bytes(4)
    head = b"II" if order == "<" else b"MM"
    return head + struct.pack(f"{order}HI", 42, start) + data + directory + further


TYPES = ["i1", "u2", "i2", "f2", "u4", "i4", "f4", "u8", "i8", "f8"]

WAYS = [
    {},
    {"order": ">"},
    {"deflate": True, "order": ">"},
    {"deflate": True, "tile": 16},
    {"tile": 16},
]


def numbers_of(dtype: str, channels: int) -> np.ndarray:
    """Return numbers of a type, (11, 19) or (11, 19, channels), that 8 bits do not hold."""
    shape = (11, 19) if channels == 1 else (11, 19, channels)
    values = RNG.uniform(-100, 100, size=shape)
    if dtype[0] == "u":
        values = values + 1000
    return values.astype(dtype) * np.array(2**40 if dtype in ("u8", "i8") else 1, dtype)


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", TYPES)
def test_numbers_of_every_type_are_read(
    tmp_path: Path, dtype: str, channels: int, way: dict[str, object]
) -> None:
    numbers = numbers_of(dtype, channels)
    (tmp_path / "a.tif").write_bytes(tiff(numbers, **way))
    pixels, source = read(tmp_path / "a.tif", Layout(11, 19, channels))
    assert source.skipped == []
    np.testing.assert_array_equal(pixels[0].reshape(numbers.shape), numbers.astype(np.float64))


@pytest.mark.parametrize(
    ("dtype", "way"),
    [
        ("u2", {"predictor": 2, "deflate": True, "order": ">"}),
        ("u2", {"planar": True}),
        ("u2", {"planar": True, "deflate": True, "tile": 16}),
        ("i8", {"predictor": 2, "deflate": True}),
        ("f4", {"predictor": 3, "deflate": True}),
        ("f8", {"predictor": 3, "deflate": True, "tile": 16, "order": ">"}),
        ("f8", {"planar": True, "predictor": 3, "deflate": True}),
    ],
    ids=str,
)
def test_predictors_and_planes(tmp_path: Path, dtype: str, way: dict[str, object]) -> None:
    numbers = numbers_of(dtype, 3)
    (tmp_path / "a.tif").write_bytes(tiff(numbers, **way))
    pixels, _ = read(tmp_path / "a.tif", Layout(11, 19, 3), strict=True)
    np.testing.assert_array_equal(pixels[0], numbers.astype(np.float64))


def test_images_are_turned_upright(tmp_path: Path) -> None:
    numbers = numbers_of("f8", 1)
    stored = {1: numbers, 3: numbers[::-1, ::-1], 6: np.rot90(numbers), 5: numbers.T}
    for orientation, turned in stored.items():
        (tmp_path / "a.tif").write_bytes(tiff(turned, orientation=orientation))
        pixels, _ = read(tmp_path / "a.tif", Layout(11, 19, 1), strict=True)
        np.testing.assert_array_equal(pixels[0, :, :, 0], numbers, err_msg=str(orientation))


BIG = b"MM\0+\0\x08\0\0" + bytes(7) + b"\x10" + bytes(40)

REFUSED = {
    "lzw": (
        tiff(numbers_of("f8", 1), compression=5),
        "a TIFF of grey in 64-bit floating-point numbers with LZW, expected Deflate or none",
    ),
    "cut": (tiff(numbers_of("f8", 1))[:400], "damaged"),
    "short": (
        tiff(numbers_of("u8", 3)).replace(struct.pack("<HHI", 257, 4, 1), bytes(8)),
        "damaged, its header cannot be understood",
    ),
    "huge": (
        tiff(np.zeros((2, 2))).replace(
            struct.pack("<HHII", 256, 4, 1, 2), struct.pack("<HHII", 256, 4, 1, 10**9)
        ),
        "too large, 1000000000 x 2 pixels: at most 25 million are read",
    ),
    "tiles": (
        tiff(np.zeros((2, 2)), tile=16).replace(
            struct.pack("<HHII", 322, 4, 1, 16), struct.pack("<HHII", 322, 4, 1, 10**8)
        ),
        "damaged (its tiles are larger than the image)",
    ),
    "big": (BIG, "a BigTIFF with the most significant byte first, which is not read"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_read_is_refused_for_its_reason(tmp_path: Path, case: str) -> None:
    content, reason = REFUSED[case]
    (tmp_path / "a.tif").write_bytes(content)
    ((_, said),) = read(tmp_path / "a.tif")[1].skipped
    assert said.startswith(reason)


def test_every_cut_and_flip_is_read_or_reported(tmp_path: Path) -> None:
    whole = tiff(numbers_of("f8", 3), deflate=True, predictor=3)
    for i in range(60):
        data = bytearray(whole)
        data[RNG.randint(len(data))] ^= 1 << RNG.randint(8)
        (tmp_path / f"{i}.tif").write_bytes(data if i % 2 else data[: RNG.randint(len(data))])
    pixels, source = read(tmp_path)
    assert len(pixels) + len(source.skipped) == 60
