"""A real browser for pages: Debian's chromium, headless, driven over a pair of pipes.

The protocol is DevTools' (``--remote-debugging-pipe``): JSON messages, each
ended by a zero byte, read by the browser from descriptor 3 and written to 4.
No port is opened, and a page from a file asks the network for nothing.
"""

from __future__ import annotations

import base64
import json
import os
import re
import select
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

PATIENCE = 60.0
"""Seconds to wait for an answer, on a machine that is busy with other tests."""

OPTIONS = (
    *("--headless", "--remote-debugging-pipe", "--no-first-run", "--no-default-browser-check"),
    # A container has neither a sandbox's privileges nor, often, much shared memory.
    *("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--host-resolver-rules=MAP * ~NOTFOUND", "--lang=en-US"),
)


class Browser:
    """One page in a browser.

    Attributes
    ----------
    requests : list of str
        Addresses that the page asked for.
    complaints : list of str
        What the page wrote to the console, and exceptions that nothing caught.
    """

    def __init__(self, profile: Path) -> None:
        self._profile = profile
        self._number, self._rest, self._session = 0, b"", ""
        self.requests: list[str] = []
        self.complaints: list[str] = []

    def __enter__(self) -> Self:
        theirs_in, self._to = os.pipe()
        self._from, theirs_out = os.pipe()
        # The shell puts the two ends where the browser looks for them.
        command = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self._process = subprocess.Popen(
            ["bash", "-c", command, str(CHROMIUM), *OPTIONS, f"--user-data-dir={self._profile}"],
            pass_fds=(theirs_in, theirs_out),
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._call(f"{domain}.enable")
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._to)  # which ends the browser
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._from)

    def open(self, page: Path) -> None:
        """Go to a page and wait until it has run its scripts."""
        self._call("Page.navigate", url=page.as_uri())
        self._until(lambda: self.value("document.readyState") == "complete" and self._is_at(page))

    def value(self, expression: str) -> Any:
        """Ask the page for the value of an expression, or of what it promises."""
        answer = self._call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def show(self, width: int, scheme: str = "light") -> None:
        """Set the width of the page, and whether the user prefers "light" or "dark"."""
        size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
        self._call("Emulation.setDeviceMetricsOverride", **size)
        preferred = {"name": "prefers-color-scheme", "value": scheme}
        self._call("Emulation.setEmulatedMedia", features=[preferred])

    def pages_in_print(self) -> int:
        """Return how many sheets of A4 the page takes."""
        size = {"paperWidth": 8.27, "paperHeight": 11.69, "printBackground": True}
        printed = base64.b64decode(self._call("Page.printToPDF", **size)["data"])
        return len(re.findall(rb"/Type\s*/Page\b", printed))

    def press(self, key: str, times: int = 1) -> None:
        """Press and release a key."""
        for _ in range(times):
            for event in ("rawKeyDown", "keyUp"):
                text = {"text": "\r"} if (key, event) == ("Enter", "rawKeyDown") else {}
                self._call(
                    "Input.dispatchKeyEvent",
                    type="keyDown" if text else event,
                    key=key,
                    code=key,
                    windowsVirtualKeyCode=KEYS[key],
                    **text,
                )

    def click(self, selector: str) -> None:
        """Click into the middle of an element."""
        place = self.value(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"
            "return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for event in ("mousePressed", "mouseReleased"):
            self._call(
                "Input.dispatchMouseEvent",
                type=event,
                x=place[0],
                y=place[1],
                button="left",
                clickCount=1,
            )

    def _is_at(self, page: Path) -> bool:
        return bool(self.value("location.pathname").endswith(page.name))

    def _until(self, holds: Any) -> None:
        end = time.monotonic() + PATIENCE
        while not holds():
            if time.monotonic() > end:
                raise TimeoutError("the page does not come")
            time.sleep(0.05)

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                return dict(answer["result"])
            self._note(answer)

    def _read(self) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._from], [], [], max(0.0, end - time.monotonic()))
            part = os.read(self._from, 1 << 16) if ready else b""
            if not part:
                raise TimeoutError("the browser does not answer")
            self._rest += part
        message, self._rest = self._rest.split(b"\0", 1)
        return dict(json.loads(message))

    def _note(self, event: dict[str, Any]) -> None:
        parameters = event.get("params", {})
        if event["method"] == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif event["method"] in (
            *("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"),
        ):
            self.complaints.append(json.dumps(parameters))


KEYS = {
    "Enter": 13,
    "Home": 36,
    "End": 35,
    "ArrowLeft": 37,
    "ArrowRight": 39,
    "PageUp": 33,
    "PageDown": 34,
}
