"""Screenshot in the README: the first screen of the report of a new demo, by chromium.

`make screenshot` writes docs/report.png.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

TARGET = Path(__file__).parent / "report.png"
SIZE = (1280, 616)


def main() -> str | None:
    """Write the screenshot, and return a message if that is impossible."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        return "The screenshot needs chromium: apt install chromium."
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        demo = [sys.executable, "-m", "vae_anomaly", "demo", "-q", "-o", str(folder)]
        subprocess.run(demo, check=True)
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        size = f"--window-size={SIZE[0]},{SIZE[1]}"
        image, page = folder / "report.png", folder / "report" / "report.html"
        command = [browser, *options, size, f"--screenshot={image}", page.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        Image.open(image).convert("RGB").save(TARGET, optimize=True)
    return None


if __name__ == "__main__":
    sys.exit(main())
