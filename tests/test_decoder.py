"""Decoding of images: every mode and format, and broken files."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from images import COLOURS, RAMP, GREY_8x16, read, save
from ordinary_user import needs_permissions
from PIL import Image

from vae_anomaly import DataError
from vae_anomaly.data.image.decoder import GREY
from vae_anomaly.data.image.source import open_source

# Pillow warns about optional features; images are read, or not, with any filter.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

SUFFIXES = {"PNG": "png", "JPEG": "jpg", "BMP": "bmp", "TIFF": "tif", "WEBP": "webp", "GIF": "gif"}


def png(width, height, chunks=()):
    """A PNG in which nothing but the size need be true."""

    def chunk(name, data):
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = b"".join(chunk(name, data) for name, data in chunks)
    return b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b"")


def encoded(pixels, form):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


# ------------------------------------------------------------------- formats and modes


@pytest.mark.parametrize("form", SUFFIXES)
def test_formats(tmp_path, form):
    pixels, source = read(save(tmp_path / f"a.{SUFFIXES[form]}", COLOURS, form).parent)
    lossless = form in ("PNG", "BMP", "TIFF")
    assert abs(pixels[0].astype(int) - COLOURS).max() <= (0 if lossless else 80)
    assert (source.reader.names, source.skipped, source.reader.categories) == (
        ["a." + SUFFIXES[form]],
        [],
        None,
    )


@pytest.mark.parametrize("form", SUFFIXES)
def test_the_content_decides_and_not_the_suffix(tmp_path, form):
    save(tmp_path / "wrong.jpeg", RAMP, form)
    save(tmp_path / "none", RAMP, form)
    (tmp_path / "notes").write_text("BMW and II* are no images")
    pixels, source = read(tmp_path, GREY_8x16)
    assert source.reader.names == ["none", "wrong.jpeg"]
    assert source.reader.notes == ("passed over 1 file of another type",)
    assert np.array_equal(pixels[0], pixels[1])
    assert abs(pixels[0, :, :, 0].astype(int) - RAMP).max() < 16


MODES = {
    "1": (Image.fromarray(RAMP > 127), np.where(RAMP > 127, 255, 0)),
    "L": (Image.fromarray(RAMP), RAMP),
    "P": (Image.fromarray(COLOURS).quantize(16), None),
    "RGB": (Image.fromarray(COLOURS), COLOURS),
    "I;16": (Image.fromarray(RAMP.astype(np.uint16) * 257), RAMP * 257.0),
    "I;16, of 8 bits": (Image.fromarray(RAMP.astype(np.uint16)), RAMP),
    "I": (Image.fromarray(RAMP.astype(np.int32) * -257), RAMP * -257.0),
    "F": (Image.fromarray(RAMP.astype(np.float32) / 255), np.float32(RAMP) / np.float32(255)),
    "F, of 8 bits": (Image.fromarray(RAMP.astype(np.float32)), RAMP),
    "CMYK": (Image.fromarray(COLOURS).convert("CMYK"), COLOURS),
    "LAB": (Image.fromarray(COLOURS).convert("LAB"), None),
    "YCbCr": (Image.fromarray(COLOURS).convert("YCbCr"), None),
}


@pytest.mark.parametrize("mode", MODES)
def test_modes(tmp_path, mode):
    image, expected = MODES[mode]
    form = "TIFF" if mode[0] in "FCY" or mode in ("I", "LAB") else "PNG"
    pixels, source = read(save(tmp_path / "a.x", image, form).parent)
    assert source.skipped == []
    if expected is None:
        assert abs(pixels[0].astype(int) - COLOURS).max() < 20
    else:
        assert np.array_equal(pixels[0], np.broadcast_to(np.atleast_3d(expected), (8, 16, 3)))
        assert (pixels.dtype == np.uint8) == (expected.min() >= 0 and expected.max() in (240, 255))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_lies_on_mid_grey(tmp_path, mode):
    if mode == "P":
        image = Image.fromarray(RAMP).convert("P")
        image.info["transparency"] = 0
        clear, shown = RAMP == 0, RAMP
    else:
        alpha = np.where(RAMP < 128, 0, 255).astype(np.uint8)
        planes = [RAMP] * (3 if mode == "RGBA" else 1)
        image = Image.fromarray(np.stack([*planes, alpha], axis=2))
        clear, shown = alpha == 0, RAMP
    assert image.mode == mode
    pixels, _ = read(save(tmp_path / "a.png", image).parent, GREY_8x16)
    assert np.array_equal(pixels[0, :, :, 0], np.where(clear, GREY, shown))


@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_rotation_is_applied(tmp_path, turn):
    stored = {
        1: RAMP[::, ::],
        2: RAMP[:, ::-1],
        3: RAMP[::-1, ::-1],
        4: RAMP[::-1],
        5: RAMP.T,
        6: np.rot90(RAMP, 1),
        7: np.rot90(RAMP, 2).T,
        8: np.rot90(RAMP, -1),
    }[turn]
    exif = Image.Exif()
    exif[0x0112] = turn
    for name in ("a.png", "a.tif"):
        save(tmp_path / name, np.ascontiguousarray(stored), exif=exif)
    pixels, source = read(tmp_path, GREY_8x16)
    assert np.array_equal(pixels[0, :, :, 0], RAMP)
    assert np.array_equal(pixels[1, :, :, 0], RAMP)
    assert source.reader.survey() == ((8, 16), True)


def test_a_broken_exif_block_does_not_hide_the_image(tmp_path):
    save(tmp_path / "a.jpg", RAMP, exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    _, source = read(tmp_path)
    assert source.skipped == []


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_animations_the_first_frame_is_read(tmp_path, form):
    frames = [Image.fromarray(RAMP), Image.fromarray(255 - RAMP)]
    options = {"lossless": True} if form == "WEBP" else {}
    path = tmp_path / "a.png"
    frames[0].save(path, form, save_all=True, append_images=frames[1:], **options)
    pixels, source = read(tmp_path, GREY_8x16)
    assert abs(pixels[0, :, :, 0].astype(int) - RAMP).max() <= 2
    assert source.animated == ["a.png"]


def test_large_jpegs_are_read_at_a_fraction_of_their_size(tmp_path):
    smooth = np.linspace(0, 255, 1600).astype(np.uint8)
    save(tmp_path / "a.jpg", np.tile(smooth, (1200, 1)), quality=95)
    save(tmp_path / "a.png", np.tile(smooth, (1200, 1)))
    pixels, source = read(tmp_path, GREY_8x16)
    assert abs(pixels[0].astype(int) - pixels[1]).max() <= 4
    assert source.reader.survey() == ((1200, 1600), True)


# ------------------------------------------------------------------------- broken files

SOUND = encoded(np.random.RandomState(0).randint(0, 256, (40, 40, 3), np.uint8), "PNG")
SOUND_JPEG = encoded(np.random.RandomState(0).randint(0, 256, (40, 40, 3), np.uint8), "JPEG")
ONLY = "expected PNG, JPEG, BMP, TIFF, WebP or GIF"

BROKEN = {
    "empty.png": (b"", "it is empty"),
    "text.png": (b"This is no image.", f"not an image that we know, {ONLY}"),
    "noise.jpg": (bytes(range(1, 200)), f"not an image that we know, {ONLY}"),
    "cut.png": (SOUND[: len(SOUND) // 2], "damaged (image file is truncated"),
    "cut.jpg": (SOUND_JPEG[: len(SOUND_JPEG) // 2], "damaged (image file is truncated"),
    "cut.gif": (encoded(RAMP, "GIF")[:30], "damaged"),
    "cut.bmp": (encoded(COLOURS, "BMP")[:100], "damaged (image file is truncated"),
    "cut.tif": (encoded(COLOURS, "TIFF")[:60], "damaged"),
    "cut.webp": (encoded(COLOURS, "WEBP")[:40], "damaged"),
    "head.png": (SOUND[:12], "damaged, its header cannot be understood"),
    "flipped.png": (SOUND[:60] + bytes([SOUND[60] ^ 1]) + SOUND[61:], "damaged ("),
    "nothing.png": (png(0, 0), "damaged, its header cannot be understood"),
    "bare.png": (png(9, 9), "damaged"),
    "bomb.png": (png(6000, 5000), "too large, 6000 x 5000 pixels: at most 25 million are read"),
    "huge.png": (png(2**31 - 1, 2**31 - 1), "too large, as its header says: at most 25"),
    "text_bomb.png": (
        png(4, 4, [(b"zTXt", b"k\0\0" + zlib.compress(b"x" * 2_000_000))]),
        "damaged (Decompressed data too large",
    ),
    "a.svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', f"an SVG drawing, {ONLY}"),
    "a.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", f"an EPS drawing, {ONLY}"),
    "eps.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", f"an EPS drawing, {ONLY}"),
    "a.pdf": (b"%PDF-1.7\n", f"a PDF document, {ONLY}"),
    "a.mp4": (b"\0\0\0\x18ftypmp42\0\0\0\0", f"a video, {ONLY}"),
    "a.heic": (b"\0\0\0\x18ftypheic\0\0\0\0", f"a HEIC image, {ONLY}"),
    "b.heic": (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", f"a HEIC image, {ONLY}"),
    "named.jpg": (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", f"an AVIF image, {ONLY}"),
    "a.jxl": (b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl ", f"a JPEG XL image, {ONLY}"),
    "b.jxl": (b"\xff\x0a\xfa\x7f", f"a JPEG XL image, {ONLY}"),
    "a.jp2": (b"\0\0\0\x0cjP  \r\n\x87\n", f"a JPEG 2000 image, {ONLY}"),
    "a.exr": (b"v/1\x01\2\0\0\0", f"an OpenEXR image, {ONLY}"),
    "a.psd": (b"8BPS\0\1", f"a Photoshop file, {ONLY}"),
    "zip.png": (b"PK\x03\x04\x14\0", f"a zip archive, {ONLY}"),
    "a.ppm": (b"P6 2 2 255\n" + bytes(12), f"not an image that we know, {ONLY}"),
}


@pytest.fixture
def broken(tmp_path):
    """A folder of broken images with a sound one among them."""
    for name, (data, _) in BROKEN.items():
        (tmp_path / name).write_bytes(data)
    save(tmp_path / "nan.tif", np.full((8, 16), np.nan, np.float32))
    save(tmp_path / "infinite.tif", np.full((8, 16), -np.inf, np.float32))
    (tmp_path / "many.png").write_bytes(SOUND)
    return tmp_path


def test_broken_images_are_skipped_with_a_reason(broken):
    pixels, source = read(broken)
    reasons = dict(source.skipped)
    assert len(pixels) == 1
    assert len(reasons) == source.n_records - 1 == len(BROKEN) + 2
    assert source.reader.names == sorted(source.reader.names)
    for name, (_, reason) in BROKEN.items():
        assert reasons[name].startswith(reason), (name, reasons[name])
    for name in ("nan.tif", "infinite.tif"):
        assert reasons[name] == "it holds NaN or infinite numbers, expected finite ones"


def test_batches_hold_the_positions_and_faults_of_images(broken):
    _, source = read(broken)
    (batch,) = source.batches()
    (found,) = batch.positions
    assert batch.keys[int(found)].as_py() == source.reader.names[found] == "many.png"
    assert set(batch.faults) == set(range(source.n_records)) - {found}
    assert batch.start == 0
    assert (len(batch.keys), len(batch.records)) == (source.n_records, 1)


def test_strict_stops_at_the_first(broken):
    with pytest.raises(DataError) as error:
        read(broken, strict=True)
    assert str(error.value) == (
        f"{broken / 'a.eps'}: an EPS drawing, {ONLY}. Replace the image or remove it."
    )


def test_a_folder_of_broken_images_alone_has_no_size(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"none of 1 images can be read. The first: .*a.png: it"):
        open_source(tmp_path)


def test_every_cut_and_flip_of_an_image_is_read_or_reported(tmp_path):
    rng = np.random.RandomState(0)
    for form, suffix in SUFFIXES.items():
        whole = encoded(COLOURS, form)
        for i in range(12):
            data = bytearray(whole)
            data[rng.randint(len(data))] ^= 1 << rng.randint(8)
            (tmp_path / f"flip{i}.{suffix}").write_bytes(data)
            (tmp_path / f"cut{i}.{suffix}").write_bytes(whole[: rng.randint(len(whole))])
    pixels, source = read(tmp_path)
    assert len(pixels) + len(source.skipped) == source.n_records == 144
    assert len(source.skipped) > 60


def test_an_image_that_vanishes_is_reported(tmp_path):
    for name in "abc":
        save(tmp_path / f"{name}.png", RAMP)
    source = open_source(tmp_path)
    (tmp_path / "b.png").unlink()
    (batch,) = source.batches()
    assert (len(batch.records), batch.positions.tolist()) == (2, [0, 2])
    assert source.skipped == [("b.png", "there is no such file any more")]


@needs_permissions
def test_an_image_without_permission_is_reported(tmp_path):
    save(tmp_path / "a.png", RAMP).chmod(0)
    assert read(tmp_path)[1].skipped == [("a.png", "no permission to read it")]
