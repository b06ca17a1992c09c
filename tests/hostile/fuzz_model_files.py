"""Fuzz the reader of model files: nothing but errors of this package may come out of it.

    python tests/hostile/fuzz_model_files.py --runs 1000000

With atheris the run is guided by coverage, without it by chance alone. Inputs start
from `corpus`, which `--new-corpus` writes anew when the format has changed.
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
LARGEST = 2**20


class Target:
    """Loads inputs, and counts how that ends.

    Parameters
    ----------
    folder : Path
        Where inputs lie while they are loaded; best in memory.
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
                raise AssertionError(f"not one sentence about the file: {error}") from error
            self.counts["refused"] += 1
        self.slowest = max(self.slowest, time.process_time() - start)

    def __str__(self) -> str:
        loaded, refused = self.counts["loaded"], self.counts["refused"]
        return (
            f"{loaded + refused:,} inputs: {refused:,} refused, {loaded:,} loaded, 0 foreign "
            f"exceptions; slowest {self.slowest:.3f} s of one processor"
        )


def by_chance(target: Target, runs: int, seed: int) -> None:
    """Load inputs of which each is a mutation of the corpus."""
    rng = random.Random(seed)
    from hostile.mutation import mutated

    seeds = [path.read_bytes() for path in sorted(CORPUS.iterdir())]
    for _ in range(runs):
        target(mutated(rng.choice(seeds), rng)[:LARGEST])


def by_coverage(target: Target, runs: int, seed: int) -> None:
    """Load inputs that libFuzzer chooses by what they reach; ends the process."""
    import atheris

    with atheris.instrument_imports(
        include=["vae_anomaly.storage.container", "vae_anomaly.persistence"]
    ):
        import vae_anomaly.persistence  # noqa: F401
    from hostile.mutation import mutated

    def mutator(content: bytes, largest: int, number: int) -> bytes:
        return mutated(content, random.Random(number))[:largest]

    def one(content: bytes) -> None:
        target(content)
        if target.counts.total() == runs:  # libFuzzer's own end would skip this sentence
            print(f"fuzzed model files: {target}", flush=True)  # noqa: T201
            os._exit(0)

    options = [f"-seed={seed}", f"-max_len={LARGEST}", "-timeout=60"]
    with tempfile.TemporaryDirectory() as found:
        atheris.Setup(
            [sys.argv[0], *options, "-rss_limit_mb=4096", "-verbosity=0", found, str(CORPUS)],
            one,
            custom_mutator=mutator,
        )
        atheris.Fuzz()


def write_corpus() -> None:
    """Write small models of several kinds."""
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
    parser.add_argument("--by-chance", action="store_true", help="do without atheris")
    parser.add_argument("--new-corpus", action="store_true", help="write the corpus anew, and end")
    given = parser.parse_args()
    if given.new_corpus:
        write_corpus()
        return
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        target = Target(Path(folder))
        if not given.by_chance:
            try:
                by_coverage(target, given.runs, given.seed)
                return
            except ImportError:
                print("atheris is not installed: inputs are made by chance alone")  # noqa: T201
        by_chance(target, given.runs, given.seed)
        print(f"fuzzed model files: {target}")  # noqa: T201


if __name__ == "__main__":
    main()
