"""Run the command line from a checkout: ``python cli.py fit normal.csv -o pump.vae``."""

from vae_anomaly.cli import main

if __name__ == "__main__":
    main()
