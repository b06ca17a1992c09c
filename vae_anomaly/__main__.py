"""Run the command line: ``python -m vae_anomaly``."""

from vae_anomaly.cli import main

if __name__ == "__main__":
    main()
