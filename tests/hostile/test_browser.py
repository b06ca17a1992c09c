"""Reports in a real browser: no content from data is executed, and no request is sent."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vae_anomaly import VAEDetector, save
from vae_anomaly.cli import run

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--virtual-time-budget=4000"),
)

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium")


class Canary:
    """A local server that should receive no requests."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        canary = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                canary.requests.append(self.path)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def canary():
    canary = Canary()
    yield canary
    canary.close()


def payloads(address: str) -> list[str]:
    """Return texts that, if executed, change the title and send a request to the canary."""
    script = f"document.title='EXECUTED';new Image().src='{address}/executed'"
    quoted = script.replace("'", "&#39;")
    return [
        f"<script>{script}</script>",
        f"</title><script>{script}</script>",
        f"</style><script>{script}</script>",
        f'"><img src=x onerror="{script}">',
        f'\'><svg onload="{script}">',
        f'<img src="{address}/image">',
        f'<link rel=stylesheet href="{address}/style">',
        f'<style>@import "{address}/import"; body {{ background: url({address}/url) }}</style>',
        f'<iframe srcdoc="<script>{quoted}</script>">',
        f"<meta http-equiv=refresh content='0;url={address}/refresh'>",
        f"<base href='{address}/'>",
        f"<object data='{address}/object'></object>",
        f"javascript:{script}",
        "{{ 7 * 7 }}{% raw %}",
        "<!--",
        "]]>&lt;&#x3c;script&#x3e;",
        "\u202egnp.exe\u2066",
        "\ud800<b>",
        "=cmd|'/C calc'!A0",
        "$\\frac{$",
    ]


def visited(page: Path, folder: Path, *options: str) -> tuple[str, str]:
    """Open a page; return its final DOM and the browser's log."""
    done = subprocess.run(
        [BROWSER, *OPTIONS, *options, "--enable-logging=stderr", "--v=0",
         f"--user-data-dir={folder}", "--dump-dom", page.as_uri()],
        capture_output=True, timeout=240, check=False,
        env={**os.environ, "HOME": str(folder)},
    )  # fmt: skip
    return done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def check(page: Path, folder: Path, canary: Canary) -> None:
    dom, log = visited(page, folder)
    assert "</html>" in dom, log
    assert canary.requests == []
    assert "<title>EXECUTED</title>" not in dom
    assert "Content Security Policy" not in log  # nothing had to be blocked
    assert not re.search('<(iframe|object|link|base|img src="http)', dom)


def test_payloads_are_executed_in_an_unprotected_page(tmp_path, canary):
    """Without this the other tests would prove nothing."""
    page = tmp_path / "open.html"
    page.write_text(f"<title>x</title><body>{payloads(canary.address)[0]}</body>")
    dom, _ = visited(page, tmp_path / "profile")
    assert "<title>EXECUTED</title>" in dom
    assert "/executed" in canary.requests


def test_a_report_on_a_table_executes_and_requests_nothing(tmp_path, canary):
    texts = payloads(canary.address)
    names = [text for text in texts if text.isprintable()][:12]
    rng = np.random.RandomState(0)
    X = pd.DataFrame(rng.normal(size=(40, len(names))), columns=names)
    options = {"max_steps": 5, "n_members": 1, "contamination": 0.1, "random_state": 0}
    model = tmp_path / "<img src=x onerror=1>.vae"
    save(VAEDetector(**options).fit(X), model)
    ids = [texts[i % len(texts)].encode("utf-8", "replace").decode() for i in range(40)]
    rows = X.assign(id=ids, label=["good", *ids[1:]])
    data = tmp_path / "<svg onload=alert(1)>.csv"
    rows.to_csv(data, index=False)
    line = ["evaluate", str(model), str(data), "-o", str(tmp_path / "report"), "--top", "40"]
    line += ["--id-column", "id", "--label-column", "label", "--title", texts[0] + texts[2]]
    assert run([*line, "--keep-learned"]) == 0
    check(tmp_path / "report" / "report.html", tmp_path / "profile", canary)


def test_a_report_on_images_executes_and_requests_nothing(place, canary):
    from PIL import Image

    for i, text in enumerate(payloads(canary.address)):
        name = re.sub("[/\0]", "_", text)[:80].encode("utf-8", "replace").decode()
        pixels = np.random.RandomState(i).randint(100, 156, (12, 16), np.uint8)
        folder = place / "photos" / ("good" if i % 2 else name)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{name}.png", "PNG")
        (folder / f"{name}.bad.png").write_bytes(b"")
    assert run(["evaluate", "plate.vae", "photos", "-o", "report", "--top", "30"]) == 6
    check(place / "report" / "report.html", place / "profile", canary)


def test_the_policy_of_a_page_blocks_scripts_added_to_it(place, canary):
    """A script added to the page is blocked by its Content-Security-Policy."""
    assert run(["evaluate", "flow.vae", "good.csv", "-o", "report"]) == 0
    page = place / "report" / "report.html"
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("</body>", "".join(payloads(canary.address)[:8]) + "</body>"))
    dom, _ = visited(page, place / "profile")
    assert "<title>EXECUTED</title>" not in dom
    assert canary.requests == []
