"""Units of pixels: they belong to the model, and numbers mean the same in every container."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from images import GREY_8x16, read, save
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import roc_auc_score

from vae_anomaly import DataError, ParameterError, VAEDetector, load
from vae_anomaly import save as save_detector
from vae_anomaly.cli import run
from vae_anomaly.data.image.layout import Layout
from vae_anomaly.data.image.source import open_source
from vae_anomaly.data.image.units import (
    PixelRange,
    PixelRangeWarning,
    PixelValues,
    RangeCheck,
    chosen_range,
)
from vae_anomaly.pipeline.fit import fit

QUICK = {"max_steps": 20, "n_members": 1, "false_alarm_rate": 0.1, "random_state": 0}
FAST = ["--max-steps", "20", "--members", "1", "--false-alarm-rate", "0.1"]

Numbers = NDArray[np.generic]


def ramps(n: int, seed: int, *, flaw: bool = False) -> NDArray[np.uint8]:
    """Return noisy ramps of 8 bits, (n, 8, 16), with a dark spot if they are to have a flaw."""
    rng = np.random.RandomState(seed)
    images = np.linspace(60, 200, 16) + rng.normal(scale=3, size=(n, 8, 16))
    if flaw:
        images[:, 2:6, 9:12] -= 60
    return images.astype(np.uint8)


def png16(numbers: Numbers, colour: int) -> bytes:
    """Return a PNG of 16 bits, of a colour type of the format."""
    height, width = numbers.shape[:2]
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in numbers)

    def chunk(name: bytes, data: bytes) -> bytes:
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(lines))
    return b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def bytes_detector() -> VAEDetector:
    """A detector of images of 8 bits."""
    return VAEDetector(**QUICK).fit(ramps(60, 0))


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Run a command line in an empty folder: exit code and lines of standard error."""
    monkeypatch.chdir(tmp_path)

    def command(line, *further):
        code = run([*line.split(), *further])
        return code, capsys.readouterr().err.splitlines()

    return command


def folder(path: Path, images: Numbers, suffix: str = "png") -> Path:
    """Save images as files of a folder."""
    for i, image in enumerate(images):
        save(path / f"{i:03}.{suffix}", image)
    return path


def scores_of(path: str) -> list[float]:
    lines = Path(path).read_text().splitlines()
    return [float(line.split(",")[1]) for line in lines[1:]]


# --------------------------------------------------- decided once in fit, said and kept


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0, 1, True), "0 to 1"),
        ((0.2, 0.9, False), "0 to 1"),
        ((0, 16, True), "0 to 16"),
        ((3, 17, True), "0 to 255"),
        ((0, 255, True), "0 to 255"),
        ((0, 256, True), "0 to 1023"),
        ((0, 4095, True), "0 to 4095"),
        ((0, 4096, True), "0 to 16383"),
        ((0, 60_000, True), "0 to 65535"),
        ((0, 100_000, True), "0 to 100000"),
        ((-1000, 3071, True), "-1000 to 3100"),
        ((0.5, 254.9, False), "0 to 260"),
        ((288.31, 311.72, False), "288 to 312"),
        ((-0.0312, 1.02, False), "-0.1 to 1.1"),
        ((5.5, 5.5, False), "5.5 to 11"),
        ((-1e308, 1e308, False), "-1e+300 to 1e+300"),
    ],
)
def test_the_range_is_that_of_the_numbers(values, expected) -> None:
    low, high, whole = values
    pixel_range = chosen_range(PixelValues(float(low), float(high), whole))
    assert str(pixel_range) == expected
    assert pixel_range.holds(max(low, -1e300), min(high, 1e300))


def test_a_range_scales_and_scales_back() -> None:
    numbers = np.array([290.0, 300.5, 312.0])
    for pixel_range in (PixelRange(288.0, 312.0), PixelRange(0.0, 65535.0), PixelRange(-5.0, 1e6)):
        scaled = pixel_range.scaled(numbers)
        by_hand = [(x - pixel_range.low) / (pixel_range.high - pixel_range.low) for x in numbers]
        np.testing.assert_allclose(scaled, by_hand, rtol=1e-15)
        np.testing.assert_allclose(pixel_range.unscaled(scaled), numbers, rtol=1e-12)
    assert PixelRange(0.0, 1.0).scaled(numbers) is numbers


def test_numbers_that_are_not_finite_do_not_count() -> None:
    assert PixelValues.of(np.array([np.nan, 3.5, -np.inf])) == (3.5, 3.5, False)
    assert PixelValues.of(np.full(3, np.nan)) == (0.0, 0.0, True)
    assert PixelValues.of(np.array([True, False])) == (0.0, 1.0, True)


def test_a_fit_says_the_range_and_the_model_keeps_it(tmp_path, command) -> None:
    folder(tmp_path / "ten", ramps(40, 0).astype(np.uint16) * 4)
    code, lines = command("fit ten -o ten.vae", *FAST)
    assert code == 0
    assert "pixels: 0 to 1023" in lines
    detector = load("ten.vae")
    assert detector.pixel_range_ == (0.0, 1023.0)
    again = VAEDetector.from_model(detector.model_)
    save_detector(again, "again.vae")
    assert Path("again.vae").read_bytes() == Path("ten.vae").read_bytes()
    assert run(["inspect", "again.vae"]) == 0


def test_the_range_may_be_chosen(tmp_path, command, capsys) -> None:
    folder(tmp_path / "ten", ramps(40, 0).astype(np.uint16) * 4)
    code, lines = command("fit ten -o m.vae --pixel-range 0:65535", *FAST)
    assert code == 0
    assert "pixels: 0 to 65535" in lines
    assert load("m.vae").get_params()["pixel_range"] == (0.0, 65535.0)
    code, lines = command("fit ten -o m.vae --pixel-range 0:255", *FAST)
    assert code == 0
    (warning,) = [line for line in lines if line.startswith("warning: 40 of 40")]
    assert "are beyond the range of the training images, 0 to 255" in warning
    for text in ("9:1", "a:b", "5", "0:inf", "nan:1", "1:2:3"):
        code, lines = command(f"fit ten -o m.vae --pixel-range {text}")
        assert code == 2
        assert "expected the numbers of black and white, such as 0:1023, got" in lines[-1]
    np.savetxt("t.csv", np.random.RandomState(0).rand(40, 2), delimiter=",", header="a,b")
    code, lines = command("fit t.csv -o m.vae --pixel-range 0:1")
    assert (code, lines[-1]) == (
        2,
        "error: --pixel-range is for images; t.csv holds a table.",
    )


@pytest.mark.parametrize("given", [(1, 0), (0, 0), (0, np.inf), (0,), "01", [0, "1"], 5])
def test_a_range_that_is_none_is_refused(given) -> None:
    with pytest.raises(ParameterError, match=r"'pixel_range' parameter .* must be None or a pair"):
        VAEDetector(pixel_range=given).fit(ramps(9, 0))


# -------------------------------------------------- the same whatever the container is

CONTAINERS = ["bool", "int8", "uint16", ">u2", "int32", "int64", "uint64", "float16", "float32"]
CONTAINERS += ["float64", "object"]


@pytest.mark.parametrize("dtype", [d for d in CONTAINERS if d not in ("bool", "int8")])
def test_the_same_numbers_have_the_same_scores(bytes_detector, dtype) -> None:
    images = ramps(20, 1, flaw=True)
    scores = bytes_detector.score_samples(images)
    np.testing.assert_array_equal(bytes_detector.score_samples(images.astype(dtype)), scores)
    flat = images.astype(dtype).reshape(20, -1)
    np.testing.assert_array_equal(bytes_detector.score_samples(flat), scores)
    np.testing.assert_array_equal(
        bytes_detector.reconstruct(flat), bytes_detector.reconstruct(images).reshape(20, -1)
    )


@pytest.mark.parametrize("dtype", ["int64", "float64"])
def test_the_same_numbers_are_fitted_alike(bytes_detector, dtype) -> None:
    fitted = VAEDetector(**QUICK).fit(ramps(60, 0).astype(dtype))
    assert fitted.pixel_range_ == bytes_detector.pixel_range_ == (0.0, 255.0)
    np.testing.assert_array_equal(fitted.weights_, bytes_detector.weights_)
    assert fitted.offset_ == bytes_detector.offset_


def test_files_and_arrays_of_the_same_numbers_are_fitted_alike(tmp_path, bytes_detector) -> None:
    images = ramps(60, 0)
    folder(tmp_path / "png8", images)
    folder(tmp_path / "png16", images.astype(np.uint16))
    folder(tmp_path / "float", images.astype(np.float32), "tif")
    np.save(tmp_path / "a.npy", images.astype(np.int64))
    for name in ("png8", "png16", "float", "a.npy"):
        model = fit(QUICK, open_source(str(tmp_path / name), fitting=True)).model
        np.testing.assert_array_equal(model.network.weights, bytes_detector.weights_, err_msg=name)
        assert model.calibration.threshold == -bytes_detector.offset_
        assert model.encoder.pixel_range == (0.0, 255.0)


def test_files_and_arrays_of_the_same_numbers_have_the_same_scores(tmp_path, command) -> None:
    images = ramps(12, 1)
    folder(tmp_path / "train", ramps(40, 0))
    assert command("fit train -o m.vae", *FAST)[0] == 0
    folder(tmp_path / "png8", images)
    folder(tmp_path / "png16", images.astype(np.uint16))
    folder(tmp_path / "tif16", images.astype(np.uint16), "tif")
    folder(tmp_path / "tif32", images.astype(np.int32), "tif")
    folder(tmp_path / "float", images.astype(np.float32), "tif")
    for dtype in ("uint8", "int64", "float32", "float64"):
        np.save(tmp_path / f"{dtype}.npy", images.astype(dtype))
    names = ["png8", "png16", "tif16", "tif32", "float", *(p.name for p in tmp_path.glob("*.npy"))]
    scores = {}
    for name in names:
        code, lines = command(f"score m.vae {name} -o {name}.csv")
        assert code == 0
        assert not any(line.startswith("warning: " + name) for line in lines)
        scores[name] = scores_of(f"{name}.csv")
    assert all(found == scores["png8"] for found in scores.values())
    assert scores["png8"] == (-load("m.vae").score_samples(images)).tolist()


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
def test_resized_images_are_the_same_in_every_container(tmp_path, resize) -> None:
    images = ramps(3, 0)
    layouts = {channels: Layout(9, 7, channels, resize) for channels in (1, 3)}
    folder(tmp_path / "a", images)
    folder(tmp_path / "b", images.astype(np.uint16))
    np.save(tmp_path / "c.npy", images.astype(np.float64))
    for layout in layouts.values():
        expected, _ = read(tmp_path / "a", layout)
        for name in ("b", "c.npy"):
            pixels, _ = read(tmp_path / name, layout, pixel_range=PixelRange(0.0, 255.0))
            np.testing.assert_array_equal(pixels, expected)


def test_deep_images_are_resized_as_those_of_8_bits(tmp_path) -> None:
    images = ramps(3, 0)
    folder(tmp_path / "a", images)
    folder(tmp_path / "b", images.astype(np.uint16) * 257)
    for layout in (Layout(5, 9, 1), Layout(9, 9, 3, "letterbox"), Layout(20, 30, 1)):
        shallow, _ = read(tmp_path / "a", layout)
        deep, _ = read(tmp_path / "b", layout, pixel_range=PixelRange(0.0, 65535.0))
        np.testing.assert_allclose(deep / 257, shallow, atol=1.01)


def test_the_background_of_letterboxed_images_is_mid_grey_of_the_model(tmp_path) -> None:
    numbers = ramps(30, 0).astype(np.uint16) * 4
    folder(tmp_path / "a", numbers)
    source = open_source(str(tmp_path / "a"), fitting=True, image_size=(16, 16), resize="letterbox")
    model = fit(QUICK, source).model
    assert model.encoder.pixel_range == (0.0, 1023.0)
    save(tmp_path / "b/dark.png", np.full((8, 16), 200, np.uint8))
    save(tmp_path / "b/deep.png", np.full((8, 16), 200, np.uint16))
    save(tmp_path / "b/light.png", np.full((8, 16), 900, np.uint16))
    (batch,) = open_source(str(tmp_path / "b"), model.encoder).batches()
    assert (batch.records[:, [0, -1]] == 1023 * 128 / 255).all()
    assert batch.records[:, 8, 0, 0].tolist() == [200, 200, 900]


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (6, 4), (4, 2)])
def test_colours_of_16_bits_keep_their_numbers(tmp_path, colour, channels) -> None:
    numbers = np.random.RandomState(0).randint(0, 1024, size=(8, 16, channels))
    if channels != 3:
        numbers[..., -1] = 65535
    (tmp_path / "a.png").write_bytes(png16(numbers, colour))
    pixels, _ = read(tmp_path / "a.png", Layout(8, 16, 3), strict=True)
    expected = numbers[..., :3] if channels > 2 else np.repeat(numbers[..., :1], 3, axis=2)
    np.testing.assert_array_equal(pixels[0], expected)
    if channels == 3:
        return
    numbers[0, 0, -1] = 9
    hidden = numbers * np.array([1] * (channels - 1) + [0])
    for transparent in (numbers, hidden):
        (tmp_path / "a.png").write_bytes(png16(transparent, colour))
        with pytest.raises(DataError, match="transparent pixels in more than 8 bits, which are no"):
            read(tmp_path / "a.png", strict=True)


# ---------------------------------------------------------- the range, not the type


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_few_bits_in_a_file_of_16_are_not_squeezed(tmp_path, command, bits) -> None:
    def numbers(images: Numbers) -> Numbers:
        return images.astype(np.uint16) * 2 ** (bits - 8)

    folder(tmp_path / "train", numbers(ramps(60, 0)))
    folder(tmp_path / "test/good", numbers(ramps(12, 1)))
    folder(tmp_path / "test/spot", numbers(ramps(12, 2, flaw=True)))
    assert command("fit train -o m.vae --max-steps 100 --members 1 --false-alarm-rate 0.1")[0] == 0
    assert command("score m.vae test -o s.csv")[0] == 0
    assert roc_auc_score([0] * 12 + [1] * 12, scores_of("s.csv")) == 1.0


def test_temperatures_in_kelvin_are_learned(tmp_path, command) -> None:
    def kelvin(images: Numbers) -> NDArray[np.float32]:
        return (280 + images / 10).astype(np.float32)

    folder(tmp_path / "train", kelvin(ramps(60, 0)), "tif")
    folder(tmp_path / "test", kelvin(np.concatenate([ramps(9, 1), ramps(9, 2, flaw=True)])), "tif")
    code, lines = command("fit train -o m.vae --max-steps 100 --members 1 --false-alarm-rate 0.1")
    assert code == 0
    assert "pixels: 285 to 301" in lines
    assert command("score m.vae test -o s.csv")[0] == 0
    assert roc_auc_score([0] * 9 + [1] * 9, scores_of("s.csv")) == 1.0


def test_no_image_picks_a_range_of_its_own(tmp_path) -> None:
    dark, light = np.full((8, 16), 0.5, np.float32), np.full((8, 16), 300.5, np.float32)
    whole = np.full((8, 16), 1, np.int32)
    for name, image in {"a.tif": dark, "b.tif": light, "c.tif": whole}.items():
        save(tmp_path / name, image)
    pixels, _ = read(tmp_path, GREY_8x16)
    assert pixels[:, 0, 0, 0].tolist() == [0.5, 300.5, 1.0]
    negative = np.arange(-3.0, 5.0).reshape(1, 2, 4)
    np.save(tmp_path / "d.npy", np.concatenate([negative, negative + 70_000]))
    pixels, _ = read(tmp_path / "d.npy", Layout(2, 4, 1))
    np.testing.assert_array_equal(pixels[0, :, :, 0], negative[0])
    assert pixels[1].max() == 70_004


def test_files_whose_numbers_do_not_mean_the_same_are_refused(tmp_path, command) -> None:
    folder(tmp_path / "mixed", ramps(20, 0))
    save(tmp_path / "mixed/deep.png", ramps(1, 0)[0].astype(np.uint16) * 257)
    code, lines = command("fit mixed -o m.vae", *FAST)
    assert code == 3
    assert lines[-1] == (
        "error: mixed: 000.png has 8 bits, and the numbers of others, such as deep.png, are 0 to "
        "65535: do they mean the same? Convert them to one type, or give the range of all, as in "
        "--pixel-range 0:65535."
    )
    assert command("fit mixed -o m.vae --pixel-range 0:65535", *FAST)[0] == 0
    save(tmp_path / "mixed/deep.png", ramps(1, 0)[0].astype(np.uint16))
    code, lines = command("fit mixed -o m.vae", *FAST)
    assert code == 0
    assert "pixels: 0 to 255" in lines


# ------------------------------------------------------- images that leave the range


def test_images_that_leave_the_range_are_counted(tmp_path, command) -> None:
    folder(tmp_path / "train", ramps(40, 0))
    assert command("fit train -o m.vae", *FAST)[0] == 0
    folder(tmp_path / "new", ramps(5, 1))
    save(tmp_path / "new/001.png", ramps(1, 1)[0].astype(np.uint16) * 257)
    save(tmp_path / "new/003.png", ramps(1, 1)[0].astype(np.uint16) * 20)
    expected = (
        "warning: new: 2 of 5 images are beyond the range of the training images, 0 to 255, first "
        "001.png: the numbers are 0 to 51143. Bring them into the unit of the training images, or "
        "fit a model on such images."
    )
    highest = int(ramps(1, 1).max()) * 257
    expected = expected.replace("51143", str(highest))
    for line in ("score m.vae new -o s.csv", "evaluate m.vae new -o report"):
        code, lines = command(line)
        assert code == 0
        assert expected in lines, lines


def test_images_of_a_smaller_unit_are_named(tmp_path, command, bytes_detector) -> None:
    folder(tmp_path / "train", ramps(40, 0))
    assert command("fit train -o m.vae", *FAST)[0] == 0
    folder(tmp_path / "new", ramps(3, 1).astype(np.float32) / 256, "tif")
    code, lines = command("score m.vae new -o s.csv")
    assert code == 0
    (warning,) = [line for line in lines if line.startswith("warning: new")]
    assert "those of the training images 0 to 255: another unit? Bring them into" in warning
    with pytest.warns(PixelRangeWarning, match="the numbers of 3 images are .* another unit"):
        bytes_detector.predict(ramps(3, 1) / 256)


def test_arrays_that_leave_the_range_are_warned_of(bytes_detector) -> None:
    images = ramps(4, 1).astype(np.int32)
    images[2, 3, 3], images[3, 0, 0] = 256, -1
    words = (
        "2 of 4 images are beyond the range of the training images, 0 to 255: the numbers are "
        "-1 to 256. Bring them into the unit"
    )
    with pytest.warns(PixelRangeWarning, match=words) as caught:
        bytes_detector.score_samples(images)
    assert caught[0].filename == __file__
    fractions = VAEDetector(**QUICK).fit(ramps(40, 0) / 255)
    with pytest.warns(PixelRangeWarning, match="4 of 4 images are beyond .*, 0 to 1: the numbers"):
        fractions.score_samples(ramps(4, 1))


def test_images_within_the_range_are_not_warned_of() -> None:
    check = RangeCheck(PixelRange(0.0, 255.0))
    check.add_array(np.zeros((3, 4, 4)))
    check.add_array(np.full((3, 4, 4), 255))
    assert (check.notes(), check.n_beyond) == ([], 0)
    assert RangeCheck(PixelRange(0.0, 1.0)).notes() == []


# ---------------------------------------------------------------------- channels first


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_first_are_refused_with_what_to_do(channels) -> None:
    words = (
        rf"Expected images, \(n, height, width\[, channels\]\), got an array of shape "
        rf"\(5, {channels}, 8, 16\), whose channels come first. Move them to the end: "
        rf"numpy.moveaxis\(X, 1, -1\)."
    )
    images = np.zeros((5, channels, 8, 16))
    with pytest.raises(DataError, match=words):
        VAEDetector().fit(images)
    fitted_on = np.random.RandomState(0).rand(20, 8, 16, channels)
    detector = VAEDetector(max_steps=2, n_members=1, threshold=0).fit(fitted_on)
    with pytest.raises(DataError, match=words):
        detector.predict(images)


def test_channels_last_are_read_whatever_their_number() -> None:
    for shape in ((9, 4, 4, 8), (9, 8, 16, 10), (9, 3, 16, 3)):
        images = np.random.RandomState(0).rand(*shape)
        detector = VAEDetector(max_steps=2, n_members=1, threshold=0).fit(images)
        assert detector.image_shape_ == shape[1:]


def test_images_that_hold_no_numbers_are_refused() -> None:
    with pytest.raises(DataError, match=r"Expected images of numbers, got object: could not conv"):
        VAEDetector().fit(np.full((5, 4, 4), "red", dtype=object))
    with pytest.raises(ValueError, match="NaN"):
        VAEDetector().fit(np.full((5, 4, 4), np.nan))


def test_portraits_of_two_views_are_read(tmp_path) -> None:
    photo = Image.fromarray(np.repeat(ramps(1, 0)[0][..., None], 3, axis=2))
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[photo], exif=exif)
    photo.save(tmp_path / "b.mpo", "MPO", save_all=True, append_images=[photo])
    pixels, source = read(tmp_path, Layout(16, 16, 3))
    assert (len(pixels), source.skipped, source.animated) == (2, [], [])
    assert source.reader.survey().median_size == (12, 12)  # of 16 x 8 and 8 x 16
    assert np.abs(pixels[0].astype(float) - np.rot90(pixels[1], -1)).mean() < 4
