"""Custom encoders and decoders: their requirements, and that fits leave them unchanged."""

from __future__ import annotations

import gc
import pickle
import weakref
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from hostile.model_files import array, number, settings
from keras import layers
from network_parts import spec_of
from sklearn.base import clone
from sklearn.datasets import load_digits

from vae_anomaly import ModelFileError, ParameterError, VAEDetector, inspect, load, save
from vae_anomaly.cli import run
from vae_anomaly.inference.network import Network
from vae_anomaly.networks.custom import CustomNetworks
from vae_anomaly.networks.vae import build_vae
from vae_anomaly.report import build_report, render_page
from vae_anomaly.report.summary import model_settings

# Keras' own way to pickle a model calls NumPy as older versions of it wished.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

QUICK: dict[str, Any] = {"n_members": 2, "max_steps": 150, "threshold": 0, "random_state": 0}


def networks(
    columns: int = 4, latent: int = 2, units: int = 16, dropout: float = 0.1
) -> tuple[keras.Model, keras.Model]:
    """Make an encoder with two outputs and a decoder, with normalisation and dropout."""
    keras.utils.set_random_seed(0)
    x = keras.Input((columns,))
    h = layers.BatchNormalization()(layers.Dense(units, activation="relu")(x))
    h = layers.Dropout(dropout)(h)
    encoder = keras.Model(x, [layers.Dense(latent)(h), layers.Dense(latent)(h)], name="mine")
    decoder = keras.Sequential(
        [
            keras.Input((latent,)),
            layers.Dense(units, activation="relu"),
            layers.Dropout(dropout),
            layers.Dense(columns),
        ]
    )
    return encoder, decoder


def values_of(*models: keras.Model) -> list[np.ndarray]:
    """Every variable, states of random layers included."""
    return [variable.numpy().copy() for model in models for variable in model.variables]


@pytest.fixture(scope="module")
def pair() -> tuple[keras.Model, keras.Model]:
    return networks()


@pytest.fixture(scope="module")
def custom(pair, rows: pd.DataFrame) -> VAEDetector:
    return VAEDetector(architecture=pair, **QUICK).fit(rows)


# ------------------------------------------------------------------------------------- fitting


def test_fit_leaves_the_models_as_they_were(rows: pd.DataFrame) -> None:
    pair = networks()
    before = values_of(*pair)
    detector = VAEDetector(architecture=pair, **QUICK).fit(rows)
    assert detector.history_.held_out[-1] < detector.history_.held_out[0]
    detector.score_samples(rows)
    detector.sample(3)
    for old, new in zip(before, values_of(*pair), strict=True):
        np.testing.assert_array_equal(new, old)
    assert all(weight.trainable for weight in pair[1].weights)


def test_the_first_weights_are_those_of_the_models(pair, rows: pd.DataFrame) -> None:
    X = rows.assign(constant=np.arange(300.0)).to_numpy(np.float32) / 100
    networks_ = CustomNetworks.of(pair, np.ones(4, dtype=bool), None)
    spec = spec_of(3, 4, (), 2, "gaussian", custom=networks_)
    weights = build_vae(spec).initial_weights(np.random.RandomState(0))
    assert weights.shape == (3, spec.n_weights)
    np.testing.assert_array_equal(weights[0], weights[2])
    network = Network(spec, weights)
    mean, log_variance = network.encode(X)
    rebuilt = network.decode(mean)
    encoder, decoder = pair
    their_mean, their_log_variance = encoder(X)
    for m in range(3):
        np.testing.assert_allclose(mean[:, m], their_mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(log_variance[:, m], their_log_variance, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(rebuilt, decoder(their_mean), rtol=1e-5, atol=1e-6)


def test_the_same_seed_gives_the_same_bits_through_dropout(custom, rows: pd.DataFrame) -> None:
    again = clone(custom)
    assert again.architecture[0] is not custom.architecture[0]
    np.testing.assert_array_equal(again.fit(rows).weights_, custom.weights_)
    other = clone(custom).set_params(random_state=1).fit(rows)
    assert not np.array_equal(other.weights_, custom.weights_)


def test_dropout_draws_anew_at_each_step_and_only_in_training(custom, rows: pd.DataFrame) -> None:
    vae = build_vae(custom.network_spec_)
    x = np.tile(custom.model_.encoder.encode(rows.to_numpy()).inputs[None], (2, 1, 1)).astype(
        np.float32
    )

    def means(seed: tuple[int, int], *, training: bool) -> np.ndarray:
        with vae.with_weights(custom.weights_, seed=seed):
            return np.asarray(vae.encode(x, training=training)[0])

    assert np.array_equal(means((1, 0), training=True), means((1, 0), training=True))
    assert not np.allclose(means((1, 0), training=True), means((1, 1), training=True))
    assert np.array_equal(means((1, 0), training=False), means((1, 1), training=False))
    # Members drop different units: with the same weights and rows they differ.
    same = np.repeat(custom.weights_[:1], 2, axis=0)
    with vae.with_weights(same, seed=(1, 0)):
        first, second = np.asarray(vae.encode(x, training=True)[0])
    assert not np.allclose(first, second)


def test_moving_statistics_move_and_scoring_uses_them(custom, rows: pd.DataFrame) -> None:
    arrays = custom.network_spec_.unpack(custom.weights_)
    assert arrays["encoder.005"].shape == (2, 16)
    assert (arrays["encoder.005"] != 1).all()
    assert (arrays["encoder.005"] > 0).all()
    scores = custom.score_samples(rows)
    assert custom.score_samples(rows[7:8])[0] == scores[7]
    np.testing.assert_array_equal(custom.score_samples(rows[::-1]), scores[::-1])


def test_frozen_layers_stay_and_the_others_learn(rows: pd.DataFrame) -> None:
    encoder, decoder = networks()
    encoder.layers[1].trainable = False
    detector = VAEDetector(architecture=(encoder, decoder), **QUICK).fit(rows)
    arrays = detector.network_spec_.unpack(detector.weights_)
    for m in range(2):
        np.testing.assert_array_equal(arrays["encoder.000"][m], encoder.weights[0].numpy())
        assert not np.array_equal(arrays["encoder.006"][m], encoder.weights[6].numpy())
    assert list(arrays)[-4:] == ["encoder.000", "encoder.001", "encoder.004", "encoder.005"]


def test_latent_dimensions_are_those_of_the_models(custom, rows: pd.DataFrame) -> None:
    assert custom.latent_dim is None
    assert custom.transform(rows).shape == (300, 4)
    assert custom.noise_.shape == (2, 2)
    assert custom.latent_kl_.shape == (2, 2)
    assert custom.decode(np.zeros((5, 2))).shape == (5, 4)
    assert custom.sample(3, random_state=0).shape == (3, 4)


def test_reports_show_the_latent_dimensions_of_the_models(custom) -> None:
    described = dict(model_settings(custom.model_))
    assert described["latent dimensions"] == "2"
    assert described["hidden units"] == "of custom networks"
    digits = load_digits().images[:120] / 16.0
    images = VAEDetector(
        architecture=(small((8, 8), 6), small((3,), 64)), max_steps=20, threshold=0, random_state=0
    ).fit(digits)
    page = render_page(build_report(images, digits, keys=[f"{i}.png" for i in range(120)]))
    assert "custom Keras models" in page


def test_a_constant_column_still_explains(custom, rows: pd.DataFrame) -> None:
    np.testing.assert_array_equal(custom.reconstruct(rows)["constant"], 7.0)
    assert custom.explain(rows[:1].assign(constant=8.0)).iloc[0].idxmax() == "constant"


@keras.saving.register_keras_serializable()
class Sampling(layers.Layer):
    """The layer of every Keras example of a VAE."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(1337)

    def call(self, inputs: Any) -> Any:
        mean, log_variance = inputs
        noise = keras.random.normal(keras.ops.shape(mean), seed=self.seed_generator)
        return mean + keras.ops.exp(0.5 * log_variance) * noise


def test_the_networks_of_the_usual_keras_example_fit_images() -> None:
    x = keras.Input((8, 8, 1))
    h = layers.Conv2D(8, 3, activation="relu", strides=2, padding="same")(x)
    h = layers.Dense(8, activation="relu")(layers.Flatten()(h))
    mean, log_variance = layers.Dense(2, name="m")(h), layers.Dense(2, name="v")(h)
    encoder = keras.Model(x, [mean, log_variance, Sampling()([mean, log_variance])])
    z = keras.Input((2,))
    h = layers.Reshape((4, 4, 8))(layers.Dense(4 * 4 * 8, activation="relu")(z))
    decoder = keras.Model(z, layers.Conv2DTranspose(1, 3, strides=2, padding="same")(h))

    digits = load_digits().images[:200] / 16.0
    detector = VAEDetector(
        architecture=(encoder, decoder), likelihood="bernoulli", max_steps=60, threshold=0,
        random_state=0,
    ).fit(digits)  # fmt: skip
    assert detector.image_shape_ == (8, 8, 1)
    assert detector.network_spec_.members == 1
    assert detector.network_spec_.n_inputs == 64
    assert detector.reconstruct(digits).shape == digits.shape
    assert detector.contribution_maps(digits[:2])[0].shape == (2, 8, 8)
    assert detector.history_.loss[-1] < 64 * np.log(2)
    # The same networks take the same images as rows, some of whose columns are constant.
    flat = clone(detector).fit(digits.reshape(200, 64))
    assert flat.image_shape_ is None
    assert flat.network_spec_.n_inputs < 64
    assert flat.score_samples(digits.reshape(200, 64)).shape == (200,)


def test_one_output_may_hold_both_halves_and_rows_any_shape() -> None:
    encoder = keras.Sequential([keras.Input((2, 3)), layers.Flatten(), layers.Dense(4)])
    decoder = keras.Sequential([keras.Input((2,)), layers.Dense(6), layers.Reshape((2, 3))])
    X = np.random.RandomState(0).normal(size=(50, 6))
    detector = VAEDetector(architecture=[encoder, decoder], **QUICK).fit(X)
    assert detector.network_spec_.latent == 2
    assert detector.reconstruct(X).shape == X.shape


def test_pickles_score_the_same(custom, rows: pd.DataFrame) -> None:
    again = pickle.loads(pickle.dumps(custom))
    np.testing.assert_array_equal(again.score_samples(rows), custom.score_samples(rows))
    assert again.architecture[0] is again.network_spec_.custom.encoder


def test_what_was_compiled_for_networks_goes_with_them() -> None:
    pair = small((3,), 4), small((2,), 3)
    X = np.random.RandomState(0).normal(size=(30, 3))
    detector = VAEDetector(architecture=pair, **QUICK | {"max_steps": 5}).fit(X)
    detector.score_samples(X)
    gone = [weakref.ref(thing) for thing in (*pair, detector.network_spec_.custom)]
    del pair, detector
    gc.collect()
    assert [ref() for ref in gone] == [None] * 3


# ------------------------------------------------------------------------------------ judging


def small(inputs: Any, *outputs: int, name: str = "small") -> keras.Model:
    x = keras.Input(inputs)
    made = [layers.Dense(units)(layers.Flatten()(x)) for units in outputs]
    return keras.Model(x, made if len(made) > 1 else made[0], name=name)


def sharing() -> tuple[keras.Model, keras.Model]:
    one = layers.Dense(4)
    x, z = keras.Input((4,)), keras.Input((4,))
    return keras.Model(x, [one(x), layers.Dense(4)(x)]), keras.Model(z, one(z))


def of_a_dict() -> keras.Model:
    x = keras.Input((4,))
    return keras.Model(x, {"mean": layers.Dense(2)(x), "log_variance": layers.Dense(2)(x)})


def of_two_inputs() -> keras.Model:
    x, y = keras.Input((4,)), keras.Input((4,))
    return keras.Model([x, y], layers.Dense(4)(x + y))


def in_float64() -> keras.Model:
    return keras.Sequential([keras.Input((4,)), layers.Dense(4, dtype="float64")])


def frozen(model: keras.Model) -> keras.Model:
    model.trainable = False
    return model


REFUSED = {
    "not models": (lambda: ("a", "b"), "or a pair (encoder, decoder) of Keras models. Got ('a',"),
    "three": (lambda: (small((4,), 2),) * 3, "or a pair (encoder, decoder) of Keras models. Got"),
    "a name": (lambda: "own", "of Keras models. Got 'own' instead."),
    "inputs": (
        lambda: (small((5,), 2, 2), small((2,), 4)),
        "The encoder takes inputs of shape (5,), fit was given rows of 4 columns. Give the "
        "encoder keras.Input((4,)), or fit on what it takes.",
    ),
    "unbuilt": (
        lambda: (keras.Sequential([layers.Dense(4)], name="s"), small((2,), 4)),
        "The encoder 's' must be a functional or Sequential model that starts from one "
        "keras.Input, so that its input_shape is known. Got none instead.",
    ),
    "two inputs": (lambda: (of_two_inputs(), small((2,), 4)), "starts from one keras.Input"),
    "odd": (
        lambda: (small((4,), 3), small((1,), 4)),
        "The encoder makes one output of shape (3,). Expected means and log-variances of the "
        "code: two outputs of shape (latent,) each, others after them are ignored, or one of "
        "shape (2 * latent,).",
    ),
    "halves differ": (
        lambda: (small((4,), 2, 3), small((2,), 4)),
        "The encoder makes outputs of shapes (2,), (3,). Expected means and log-variances",
    ),
    "dict": (lambda: (of_a_dict(), small((2,), 4)), "outputs of shapes (2,), (2,) in a dict."),
    "latent": (
        lambda: (small((4,), 2, 2), small((3,), 4)),
        "The encoder makes codes of 2 numbers, the decoder takes inputs of shape (3,). Give the "
        "decoder keras.Input((2,)), or the encoder outputs of the decoder's size.",
    ),
    "outputs": (
        lambda: (small((4,), 2, 2), small((2,), 5)),
        "The decoder makes one output of shape (5,). Expected one output of shape (4,) for each "
        "code: a mean for each number that the encoder takes, or its logit with "
        "likelihood='bernoulli'.",
    ),
    "many outputs": (
        lambda: (small((4,), 2, 2), small((2,), 4, 4)),
        "The decoder makes outputs of shapes (4,), (4,). Expected one output",
    ),
    "shared": (sharing, "The encoder and the decoder share weights."),
    "float64": (lambda: (in_float64(), small((2,), 4)), "Build the model with dtype='float32'"),
    "frozen": (
        lambda: (frozen(small((4,), 2, 2)), frozen(small((2,), 4))),
        "there is nothing to train. Set trainable=True on some layers.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_with_what_to_do(case: str) -> None:
    make, sentence = REFUSED[case]
    detector = VAEDetector(architecture=make(), variance=1.0, threshold=0)
    with pytest.raises(ParameterError) as caught:
        detector.fit(np.random.RandomState(0).normal(size=(20, 4)))
    assert sentence in str(caught.value)


def test_images_of_another_size_are_refused() -> None:
    detector = VAEDetector(architecture=(small((8, 8, 1), 4), small((2,), 64)), threshold=0)
    with pytest.raises(ParameterError, match=r"fit was given a grid of shape \(4, 16, 1\)"):
        detector.fit(np.random.RandomState(0).uniform(size=(20, 4, 16)))


# ------------------------------------------------------------------------------------- saving


@pytest.fixture
def model(custom: VAEDetector, tmp_path: Path) -> Path:
    save(custom, tmp_path / "m.vae")
    return tmp_path / "m.vae"


def test_scores_after_load_are_the_same_bits(custom, model: Path, rows: pd.DataFrame) -> None:
    other = networks()
    other[0].layers[1].trainable = False
    for weight in other[0].weights:
        weight.assign(weight + 1)
    again = load(model, networks=other)
    np.testing.assert_array_equal(again.score_samples(rows), custom.score_samples(rows))
    np.testing.assert_array_equal(again.sample(3, 0), custom.sample(3, 0))
    save(again, model.with_name("n.vae"))
    assert model.with_name("n.vae").read_bytes() == model.read_bytes()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            lambda: None,
            "was fitted with custom networks, which a model file does not hold. "
            "Use it in Python: load(path, networks=(encoder, decoder)).",
        ),
        (lambda: "mine", "networks must be None or a pair (encoder, decoder) of Keras models. Got"),
        (
            lambda: networks(units=5),
            "Weight 0 of the encoder was fitted with shape (4, 16), in the one given it has "
            "(4, 5). Give the networks that were fitted.",
        ),
        (
            lambda: networks(latent=3),
            "The networks were fitted with 2 latent dimensions, those given have 3.",
        ),
        (
            lambda: (small((4,), 2, 2), networks()[1]),
            "The encoder was fitted with 10 weight arrays, the one given has 4.",
        ),
        (lambda: networks(columns=5), "The encoder takes inputs of shape (5,), fit was given rows"),
    ],
)
def test_load_asks_for_the_networks_that_were_fitted(model: Path, given, sentence: str) -> None:
    with pytest.raises(ParameterError) as caught:
        load(model, networks=given())
    assert sentence in str(caught.value)


def adjustable(
    activation: str = "relu", decoder: str = "relu", scale: float = 1.0, epsilon: float = 1e-3
) -> tuple[keras.Model, keras.Model]:
    """Make networks whose weights do not depend on these settings."""
    encoder = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Rescaling(scale),
            layers.Dense(8, activation=activation),
            layers.LayerNormalization(epsilon=epsilon),
            layers.Dense(4),
        ]
    )
    made = [keras.Input((2,)), layers.Dense(8, activation=decoder), layers.Dense(4)]
    return encoder, keras.Sequential(made)


@pytest.mark.parametrize("given", [{}, {"likelihood": "bernoulli"}, {"beta": 0.0}], ids=str)
def test_networks_of_the_same_weights_and_other_outputs_are_refused(
    given: dict[str, Any], rows: pd.DataFrame, tmp_path: Path
) -> None:
    table = rows.iloc[:, :4]
    detector = VAEDetector(architecture=adjustable(), **QUICK | given).fit(table)
    save(detector, tmp_path / "m.vae")
    again = load(tmp_path / "m.vae", networks=adjustable())
    np.testing.assert_array_equal(again.score_samples(table), detector.score_samples(table))
    others: list[dict[str, Any]] = [
        *({"activation": "tanh"}, {"decoder": "tanh"}, {"activation": "leaky_relu"}),
        *({"scale": 1.1}, {"epsilon": 0.5}),
    ]
    for other in others:
        with pytest.raises(ParameterError) as caught:
            load(tmp_path / "m.vae", networks=adjustable(**other))
        assert str(caught.value) == (
            f"{tmp_path / 'm.vae'}: the networks have the weights of those that were fitted, but "
            f"other outputs: an activation, or another setting without weights, is a different "
            f"one. Give the networks of the fit."
        )


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_networks_of_images_are_compared_with_those_of_the_fit(
    likelihood: str, tmp_path: Path
) -> None:
    """Smooth images, too, whose targets are not pixels of a file."""

    def pair(activation: str) -> tuple[keras.Model, keras.Model]:
        sizes = [layers.Flatten(), layers.Dense(8, activation=activation), layers.Dense(4)]
        decoder = keras.Sequential([keras.Input((2,)), layers.Dense(64), layers.Reshape((8, 8, 1))])
        return keras.Sequential([keras.Input((8, 8, 1)), *sizes]), decoder

    digits = load_digits().images[:60] / 16.0
    detector = VAEDetector(
        architecture=pair("relu"), likelihood=likelihood, smoothing=1.0, **QUICK
    ).fit(digits)
    save(detector, tmp_path / "m.vae")
    again = load(tmp_path / "m.vae", networks=pair("relu"))
    np.testing.assert_array_equal(again.score_samples(digits), detector.score_samples(digits))
    for other in ("tanh", "elu", "gelu"):
        with pytest.raises(ParameterError, match="an activation, or another setting without"):
            load(tmp_path / "m.vae", networks=pair(other))


def test_networks_are_needless_for_other_architectures(fitted, pair, tmp_path: Path) -> None:
    save(fitted, tmp_path / "m.vae")
    with pytest.raises(ParameterError, match="architecture='auto', which needs no networks"):
        load(tmp_path / "m.vae", networks=pair)


def test_networks_changed_after_fit_are_not_saved(custom, rows, tmp_path: Path) -> None:
    for changed in ("dense", networks()):
        detector = pickle.loads(pickle.dumps(custom)).set_params(architecture=changed)
        with pytest.raises(
            ParameterError,
            match=r"^Parameters were set after fit: architecture=.* Fit again, or set them back",
        ):
            save(detector, tmp_path / "m.vae")


def test_files_are_described_without_the_networks(custom, model: Path, capfd) -> None:
    described = inspect(model)
    assert described["parameters"]["architecture"] == "custom"
    assert described["networks"]["latent"] == 2
    assert described["networks"]["decoder"][0] == [[2, 16], True]
    assert described["weights"] == custom.weights_.size
    assert run(["inspect", str(model)]) == 0
    out, _ = capfd.readouterr()
    assert "networks     custom Keras models, for load(path, networks=...)" in out


def test_the_command_line_says_that_it_is_for_python(model: Path, capfd) -> None:
    data = model.with_name("d.csv")
    data.write_text("t,square,constant,count\n1,2,3,4\n")
    assert run(["score", str(model), str(data), "-o", "-"]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(f"error: {model} was fitted with custom networks")
    assert "Use it in Python" in err
    assert err.count("\n") == 1


def described(**values: Any):
    """Forge the description of the networks."""
    plain = {
        "latent": 2,
        "encoder": CustomNetworks.of(networks(), np.ones(4, bool), None).as_plain()["encoder"],
        "decoder": CustomNetworks.of(networks(), np.ones(4, bool), None).as_plain()["decoder"],
    }
    return settings(networks=plain | values)


HOSTILE = {
    "none": (
        lambda: settings(networks=None),
        "its networks do not match its parameter architecture",
    ),
    "text": (lambda: settings(networks="os.system"), "described by latent, encoder and decoder"),
    "extra": (lambda: described(code="x"), "described by latent, encoder and decoder"),
    "latent 0": (lambda: described(latent=0), "latent dimensions of networks must be an int >= 1"),
    "latent true": (lambda: described(latent=True), "must be an int >= 1"),
    "latent forged": (lambda: described(latent=10**9), "bytes of arrays"),
    "weights a dict": (lambda: described(encoder={}), "Each weight of the encoder must be"),
    "no flag": (lambda: described(decoder=[[[2, 16]]]), "Each weight of the decoder must be"),
    "flag 1": (lambda: described(decoder=[[[2, 16], 1]]), "Each weight of the decoder must be"),
    "side 0": (lambda: described(decoder=[[[0], True]]), "Each weight of the decoder must be"),
    "side true": (lambda: described(decoder=[[[True], True]]), "Each weight of the decoder"),
    "side 2.0": (lambda: described(decoder=[[[2.0], True]]), "Each weight of the decoder must"),
    "rank 9": (lambda: described(decoder=[[[1] * 9, True]]), "Each weight of the decoder must be"),
    "shape of 2^80": (lambda: described(decoder=[[[2**40, 2**40], True]]), "bytes of arrays"),
    "no weights": (lambda: described(encoder=[], decoder=[]), "bytes of arrays"),
    "renamed": (lambda: array("encoder.000", shape=[2, 16, 4]), "arrays are not those"),
    "NaN": (lambda: number("encoder.000", np.nan), "holds NaN or infinity"),
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("read", [inspect, lambda path: load(path, networks=networks())])
def test_hostile_descriptions_are_refused_in_one_sentence(model: Path, case: str, read) -> None:
    make, sentence = HOSTILE[case]
    model.write_bytes(make()(model.read_bytes()))
    with pytest.raises(ModelFileError) as caught:
        read(model)
    message = str(caught.value)
    assert message.startswith(f"{model}: not a sound vae-anomaly model: ")
    assert sentence in message
    assert "\n" not in message
