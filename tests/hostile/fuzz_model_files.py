"""Fuzzing of the model file reader, which may only raise exceptions of this package.

    python tests/hostile/fuzz_model_files.py --runs 1000000

Fuzzing is guided by coverage with atheris, and random without it. Inputs are mutations of
`corpus`, which `--new-corpus` writes again after a change of the format, which needs a new
`FORMAT_VERSION` as well.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent.parent.parent)]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

CORPUS = Path(__file__).parent / "corpus"
MAX_INPUT_BYTES = 2**20


class Target:
    """Loader of fuzzed inputs that counts outcomes.

    Parameters
    ----------
    folder : Path
        Directory of the current input, preferably in memory.
    """

    def __init__(self, folder: Path) -> None:
        self.counts: Counter[str] = Counter()
        self.slowest = 0.0
        self._path = folder / "input.vae"

    def __call__(self, content: bytes) -> None:
        from vae_anomaly import VAEAnomalyError, load

        self._path.write_bytes(content)
        start = time.process_time()
        try:
            load(self._path)
            self.counts["loaded"] += 1
        except VAEAnomalyError as error:
            if "\n" in str(error) or not str(error).startswith(str(self._path)):
                raise AssertionError(f"not one line about the file: {error}") from error
            # All of a sound file is read but a Keras model, which it does not hold.
            is_sound = "features of a Keras model" in str(error)
            self.counts["loaded" if is_sound else "refused"] += 1
        self.slowest = max(self.slowest, time.process_time() - start)

    def __str__(self) -> str:
        loaded, refused = self.counts["loaded"], self.counts["refused"]
        return (
            f"{loaded + refused:,} inputs: {refused:,} refused, {loaded:,} loaded, 0 other "
            f"exceptions; slowest {self.slowest:.3f} s of one processor"
        )


def random_fuzzing(target: Target, runs: int, seed: int, *, encoders: bool = False) -> None:
    """Load random mutations of the corpus, or only of the states of encoders in it."""
    rng = random.Random(seed)
    from hostile.mutation import encoder_mutated, mutated

    mutate = encoder_mutated if encoders else mutated
    seeds = [path.read_bytes() for path in sorted(CORPUS.iterdir())]
    for _ in range(runs):
        target(mutate(rng.choice(seeds), rng)[:MAX_INPUT_BYTES])


def coverage_guided_fuzzing(target: Target, runs: int, seed: int) -> None:
    """Load inputs that libFuzzer selects by coverage; ends the process."""
    import atheris

    with atheris.instrument_imports(
        include=[
            "vae_anomaly.storage.container",
            "vae_anomaly.model.file",
            "vae_anomaly.model.file_schema",
            "vae_anomaly.data.scaling",
            "vae_anomaly.data.table.encoder",
            "vae_anomaly.data.image.encoder",
            "vae_anomaly.data.image.patches",
            "vae_anomaly.model.patch_file",
            "vae_anomaly.series.file",
        ]
    ):
        import vae_anomaly.persistence  # noqa: F401
    from hostile.mutation import mutated

    def mutator(content: bytes, max_bytes: int, number: int) -> bytes:
        return mutated(content, random.Random(number))[:max_bytes]

    def load_input(content: bytes) -> None:
        target(content)
        if target.counts.total() == runs:  # libFuzzer would exit without printing this
            print(f"fuzzed model files: {target}", flush=True)  # noqa: T201
            os._exit(0)

    options = [f"-seed={seed}", f"-max_len={MAX_INPUT_BYTES}", "-timeout=60"]
    with tempfile.TemporaryDirectory() as new_inputs:
        atheris.Setup(
            [sys.argv[0], *options, "-rss_limit_mb=4096", "-verbosity=0", new_inputs, str(CORPUS)],
            load_input,
            custom_mutator=mutator,
        )
        atheris.Fuzz()


def write_corpus() -> None:
    """Write the small models of `small_detectors`."""
    from hostile.model_files import small_detectors
    from vae_anomaly import save

    CORPUS.mkdir(exist_ok=True)
    for path in CORPUS.iterdir():
        path.unlink()
    for name, detector in small_detectors().items():
        save(detector, CORPUS / f"{name}.model")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--random", action="store_true", help="do not use atheris")
    parser.add_argument("--encoders", action="store_true", help="random states of encoders only")
    parser.add_argument("--new-corpus", action="store_true", help="only write the corpus")
    given = parser.parse_args()
    if given.new_corpus:
        write_corpus()
        return
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        target = Target(Path(folder))
        if not given.random and not given.encoders:
            try:
                coverage_guided_fuzzing(target, given.runs, given.seed)
                return
            except ImportError:
                print("atheris is not installed: inputs are random")  # noqa: T201
        random_fuzzing(target, given.runs, given.seed, encoders=given.encoders)
        print(f"fuzzed model files: {target}")  # noqa: T201


if __name__ == "__main__":
    main()
