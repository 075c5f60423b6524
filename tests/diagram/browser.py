"""A headless browser, driven over a pipe (the DevTools protocol): no library, no port, no network."""

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")

WAIT_S = 120
"""For an answer: far more than it takes, so that a browser that hangs fails the test."""

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--host-resolver-rules=MAP * ~NOTFOUND",  # it would ask for its maker's hosts, at every start
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)

# The browser speaks on descriptors 3 and 4, which this process cannot spare: a small program in between renumbers them.
_RENUMBER = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execvp(sys.argv[3], sys.argv[3:])"
)


class Browser:
    """One page.  `errors` are what its script did not catch and what the browser complained of."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to = to_browser
        self._from = from_browser
        self._heard = b""
        self._count = 0
        self._session: str | None = None
        self._target: str | None = None
        self.errors: list[str] = []
        self._loaded = False

    def greet(self) -> str:
        """Who it is, as soon as it has started.  Raises EOFError if it ends instead."""
        version: str = self._ask("Browser.getVersion")["product"]
        return version

    def open(self, path: Path, fragment: str = "") -> None:
        """Load a file, in place of the one before."""
        before, self._target = self._target, self._ask("Target.createTarget", url="about:blank")["targetId"]
        if before is not None:
            self._ask("Target.closeTarget", targetId=before)
        self._session = self._ask("Target.attachToTarget", targetId=self._target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._ask(f"{domain}.enable")
        self._loaded = False
        self._ask("Page.navigate", url=path.as_uri() + fragment)
        while not self._loaded:
            self._hear()

    def run(self, expression: str) -> Any:
        """The value of an expression, or of what it promises."""
        answer = self._ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def size(self, width: int, height: int) -> None:
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def prefer(self, colours: str) -> None:
        """ "light" or "dark"."""
        self._ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": colours}])

    def press(self, key: str, *, shift: bool = False) -> None:
        """A key, as its name in DOM events says."""
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        code = {"Enter": 13, "Escape": 27}.get(key, 0)
        for kind in ("keyDown", "keyUp"):
            shown = {"text": text} if text and kind == "keyDown" else {}
            held = 8 if shift else 0
            self._ask("Input.dispatchKeyEvent", type=kind, key=key, modifiers=held, windowsVirtualKeyCode=code, **shown)

    def type(self, text: str) -> None:
        self._ask("Input.insertText", text=text)

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """ "mouseMoved", "mousePressed", "mouseReleased", "mouseWheel"."""
        self._ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def click(self, x: float, y: float) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            self.mouse(kind, x, y, button="left", clickCount=1)

    def picture(self) -> bytes:
        """As a PNG."""
        return base64.b64decode(self._ask("Page.captureScreenshot", format="png")["data"])

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._count += 1
        wanted = self._count
        request: dict[str, Any] = {"id": wanted, "method": method, "params": parameters}
        if self._session is not None and not method.startswith("Target."):
            request["sessionId"] = self._session
        try:
            os.write(self._to, json.dumps(request).encode() + b"\0")
        except BrokenPipeError:
            raise EOFError("the browser ended") from None
        while True:
            heard = self._hear()
            if heard.get("id") == wanted:
                assert "error" not in heard, f"{method}: {heard['error']}"
                result: dict[str, Any] = heard["result"]
                return result

    def _hear(self) -> dict[str, Any]:
        end = time.monotonic() + WAIT_S
        while b"\0" not in self._heard:
            assert select.select([self._from], [], [], max(0, end - time.monotonic()))[0], "the browser says nothing"
            more = os.read(self._from, 1 << 20)
            if not more:
                raise EOFError("the browser ended")
            self._heard += more
        text, _, self._heard = self._heard.partition(b"\0")
        heard: dict[str, Any] = json.loads(text)
        match heard.get("method"):
            case "Page.loadEventFired":
                self._loaded = True
            case "Runtime.exceptionThrown":
                self.errors.append(json.dumps(heard["params"]["exceptionDetails"]))
            case "Log.entryAdded":
                self.errors.append(json.dumps(heard["params"]["entry"]))
            case _:
                pass
        return heard


@contextlib.contextmanager
def browser(place: Path) -> Iterator[Browser]:
    """A browser that keeps its things in that directory.  Skips the test where there is none, or one that does not start:
    a name in PATH may be a stand-in that only tells how to install it."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"no browser is installed: none of {', '.join(BROWSERS)} is in PATH (Debian: apt install chromium)")
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    passed = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (theirs_in, theirs_out)]
    for fd in (theirs_in, theirs_out):
        os.close(fd)
    command = [sys.executable, "-c", _RENUMBER, *map(str, passed), program, *FLAGS, f"--user-data-dir={place}"]
    complaints = place / "stderr"
    with complaints.open("wb") as stderr:
        process = subprocess.Popen(
            command, pass_fds=passed, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr
        )
    for fd in passed:
        os.close(fd)
    try:
        found = Browser(ours_out, ours_in)
        try:
            found.greet()
        except EOFError:
            said = complaints.read_text(encoding="utf-8", errors="replace").strip()
            pytest.skip(f"{program} does not start: {said[-500:] or 'it says nothing'}")
        yield found
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(ours_out)
        os.close(ours_in)
