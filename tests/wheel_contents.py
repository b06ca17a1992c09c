"""Check what the distributions in a folder hold: `python tests/wheel_contents.py FOLDER`."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

IN_WHEEL = ("vae_anomaly/py.typed", "vae_anomaly/report/templates/report.html.j2")
IN_SOURCE = (
    *("README.md", "CHANGELOG.md", "LICENSE", "Makefile", "cli.py"),
    *("data/labelled.csv", "docs/conf.py", "examples/table.py", "tests/conftest.py"),
    *(f"vae_anomaly/{name}" for name in ("py.typed", "report/templates/report.html.j2")),
)


def problems(wheel: list[str], source: list[str]) -> list[str]:
    """Return what is missing, or should not be there."""
    root = source[0].split("/")[0]
    found = [f"the wheel lacks {name}" for name in IN_WHEEL if name not in wheel]
    found += [
        f"the wheel holds {name}"
        for name in wheel
        if not name.startswith("vae_anomaly/") and ".dist-info/" not in name
    ]
    found += [f"the source lacks {name}" for name in IN_SOURCE if f"{root}/{name}" not in source]
    found += [f"the source holds {name}" for name in source if "/generated/" in name]
    return found


def main(folder: Path) -> str | None:
    """Return a message for each problem, or None."""
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = archive.namelist()
    with tarfile.open(source) as tar:
        in_source = tar.getnames()
    return "\n".join(problems(in_wheel, in_source)) or None


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
