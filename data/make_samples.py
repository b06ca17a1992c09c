"""Write the sample tables of this folder anew: ``python data/make_samples.py``."""

from pathlib import Path

from vae_anomaly.samples import write_samples

if __name__ == "__main__":
    write_samples(Path(__file__).parent)
