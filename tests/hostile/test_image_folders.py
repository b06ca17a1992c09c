"""Invalid images and image folders on the command line: cases 57 to 79.

`tests/test_image_sources.py` tests decoding: modes, alpha, rotation, animations.
"""

from __future__ import annotations

import csv
import io
import os
import struct
import tracemalloc
import zlib
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vae_anomaly.data.image.files import open_images
from vae_anomaly.data.image.layout import Layout
from vae_anomaly.data.image.source import ImageSource

SCORE = "score plate.vae photos -o out.csv"
ONLY = "expected PNG, JPEG, BMP, TIFF, WebP or GIF"


def encoded(pixels, form="PNG", **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG file with arbitrary dimensions in its header."""

    def chunk(name, data):
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = b"".join(chunk(*one) for one in chunks)
    return b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b"")


NOISE = np.random.RandomState(0).randint(100, 156, size=(12, 16), dtype=np.uint8)
SOUND, JPEG = encoded(NOISE), encoded(NOISE, "JPEG")

BAD = {
    "58 empty.png": (b"", "it is empty"),
    "59 text.png": (b"no image", f"not an image that we know, {ONLY}"),
    "60 cut.png": (SOUND[: len(SOUND) // 2], "damaged (image file is truncated"),
    "60 cut.jpg": (JPEG[: len(JPEG) - 40], "damaged (image file is truncated"),
    "60 flipped.png": (SOUND[:60] + bytes([SOUND[60] ^ 1]) + SOUND[61:], "damaged ("),
    "61 nothing.png": (png(0, 0), "damaged, its header cannot be understood"),
    "62 large.png": (png(6000, 5000), "too large, 6000 x 5000 pixels: at most 25 million are read"),
    "62 huge.png": (png(2**31 - 1, 2**31 - 1), "too large, as its header says"),
    "63 text bomb.png": (
        png(4, 4, (b"zTXt", b"k\0\0" + zlib.compress(b"x" * 2_000_000))),
        "damaged (Decompressed data too large",
    ),
    "64 a.svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', f"an SVG drawing, {ONLY}"),
    "64 a.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", f"an EPS drawing, {ONLY}"),
    "64 eps.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", f"an EPS drawing, {ONLY}"),
    "64 a.mp4": (b"\0\0\0\x18ftypmp42\0\0\0\0", f"a video, {ONLY}"),
    "64 a.pdf": (b"%PDF-1.7\n", f"a PDF document, {ONLY}"),
}


@pytest.fixture
def photos(place):
    """A folder with two valid images."""
    (place / "photos").mkdir()
    for name in ("a.png", "b.png"):
        (place / "photos" / name).write_bytes(SOUND)
    return place / "photos"


def rows() -> list[dict[str, str]]:
    with Path("out.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", BAD)
def test_an_invalid_image_is_reported_and_the_others_are_scored(photos, vae, name):
    content, reason = BAD[name]
    (photos / name).write_bytes(content)
    outcome = vae(SCORE)
    assert outcome.code == 6
    assert "skipped 1 of 3 images:" in outcome.lines
    assert outcome.lines[-1].startswith(f"  {name}: {reason}")
    found = {row["file"]: row for row in rows()}
    assert list(found) == sorted(["a.png", "b.png", name])
    assert found[name]["status"].startswith(reason)
    assert (found[name]["anomaly_score"], found[name]["is_anomaly"]) == ("", "")
    assert found["a.png"]["status"] == "ok"
    outcome = vae(f"{SCORE} --strict")
    assert outcome.code == 3
    assert outcome.error.startswith(f"photos/{name}: {reason}")
    assert outcome.error.endswith("Replace the image or remove it.")


def test_an_empty_folder_case_57(place, vae):
    (place / "photos").mkdir()
    for command in (SCORE, "fit photos -o out.vae", "evaluate plate.vae photos -o report"):
        outcome = vae(command)
        assert outcome.code == 3
        assert outcome.error.startswith("photos holds no images: no PNG, JPEG, BMP, TIFF")


@pytest.mark.parametrize("shape", [(1, 1), (1, 100_000), (12, 16, 3), (100, 3)])
def test_other_sizes_are_resized_cases_61_71(photos, vae, shape):
    (photos / "c.png").write_bytes(encoded(np.full(shape, 128, np.uint8)))
    assert vae(SCORE).code == 0
    assert [row["status"] for row in rows()] == ["ok"] * 3


def test_image_modes_are_equivalent_cases_65_to_70(photos, vae):
    frames = [Image.fromarray(NOISE), Image.fromarray(255 - NOISE)]
    files = {
        "bmp named.jpg": encoded(NOISE, "BMP"),
        "colour": encoded(np.stack([NOISE] * 3, axis=2)),
        "opaque": encoded(np.stack([NOISE, np.full_like(NOISE, 255)], axis=2)),
        "sixteen": encoded(NOISE.astype(np.uint16)),
        "float.tif": encoded(NOISE.astype(np.float32), "TIFF"),
        "four bytes": encoded(NOISE.astype(np.int32), "TIFF"),
    }
    for name, content in files.items():
        (photos / f"{name}.png").write_bytes(content)
    exif = Image.Exif()
    exif[0x0112] = 3
    (photos / "turned.png").write_bytes(encoded(NOISE[::-1, ::-1], exif=exif))
    frames[0].save(photos / "moving.gif", save_all=True, append_images=frames[1:])
    outcome = vae(SCORE)
    assert outcome.code == 0
    assert outcome.lines[-1] == "note: only the first frame of 1 image was read: moving.gif ..."
    scores = {row["file"]: float(row["anomaly_score"]) for row in rows()}
    assert len(scores) == 10
    moving = scores.pop("moving.gif")
    assert len(set(scores.values())) == 1
    assert moving == pytest.approx(scores["a.png"], rel=0.05)  # its palette rounds colours


def test_hidden_files_links_and_pipes_are_ignored_cases_72_73_79(photos, vae):
    for name in (".hidden.png", "Thumbs.db", "__MACOSX/c.png", "sub/.x.png"):
        (photos / name).parent.mkdir(exist_ok=True)
        (photos / name).write_bytes(b"")
    (photos / "loop").symlink_to("loop")
    (photos / "circle").symlink_to(photos)
    (photos / "passwd.png").symlink_to("/etc/passwd")
    (photos / "null.png").symlink_to("/dev/null")
    os.mkfifo(photos / "pipe.png")
    (photos / "passwd.png").unlink()
    outcome = vae(SCORE)
    assert outcome.code == 0
    assert outcome.lines[0] == (
        "note: photos: passed over 2 hidden images, 2 pipes or devices, 1 link to a folder in it, "
        "1 broken link"
    )
    assert [row["file"] for row in rows()] == ["a.png", "b.png"]
    (photos / "passwd.png").symlink_to("/etc/passwd")
    outcome = vae(SCORE)
    assert outcome.code == 6
    link = "a link that leads out of the folder, not followed without --follow-links"
    assert outcome.lines[1] == f"note: photos: not read: 1 image, {link}"
    assert [row["status"] for row in rows()] == ["ok", "ok", link]


NAMES = {
    "new\nline.png": "'new\\nline.png'",
    "esc\x1b[31m.png": "'esc\\x1b[31m.png'",
    "\u202egnp.a": "'\\u202egnp.a'",
    "\udcff.png": "\\xff.png",
    "a,\"b';=1.png": "a,\"b';=1.png",
    "=cmd|'C calc'!A0.png": "=cmd|'C calc'!A0.png",
    "<script>alert(1)<": "<script>alert(1)<",
}


def test_unusual_file_names_cases_75_76(photos, vae):
    for name in NAMES:
        (photos / name).write_bytes(b"\x89PNG broken")
    outcome = vae(SCORE)
    assert outcome.code == 6
    assert sorted(line[2:].split(": ")[0] for line in outcome.lines[-len(NAMES) :]) == sorted(
        NAMES.values()
    )
    assert not any(c in line for line in outcome.lines for c in "\x1b\u202e")
    found = [row["file"] for row in rows()]
    assert "'=cmd|'C calc'!A0.png" in found
    assert "a,\"b';'=1.png" in found
    assert "\\xff.png" in found
    assert "new\nline.png" in found


def test_a_removed_file_and_one_without_permission_cases_74_78(photos, vae, monkeypatch):
    opened = Path.open

    def failing(self, *args, **kwargs):
        if self.name == "a.png" and args:
            raise PermissionError(13, "Permission denied", str(self))
        if self.name == "b.png" and args:
            raise FileNotFoundError(2, "No such file or directory", str(self))
        return opened(self, *args, **kwargs)

    (photos / "c.png").write_bytes(SOUND)
    monkeypatch.setattr(Path, "open", failing)
    outcome = vae(SCORE)
    assert outcome.code == 6
    assert [row["status"] for row in rows()] == [
        "no permission to read it",
        "there is no such file any more",
        "ok",
    ]


def test_many_files_are_read_in_order_with_bounded_memory_case_77(tmp_path):
    count = 20_000
    content = encoded(np.zeros((2, 2), np.uint8))
    for i in range(count):
        (tmp_path / f"{i * 7919 % count:06}.png").write_bytes(content)
    tracemalloc.start()
    try:
        source = ImageSource(open_images(tmp_path), Layout(64, 64, 3))
        read = sum(len(batch.records) for batch in islice(source.batches(), 8))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert source.n_records == count
    assert [source.reader.names[i] for i in (0, 1, count - 1)] == [
        f"{i:06}.png" for i in (0, 1, count - 1)
    ]
    assert peak < count * 64 * 64 * 3 / 4
    assert 0 < read < count
