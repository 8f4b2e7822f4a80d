"""A headless Chromium on the DevTools protocol over pipes: no driver and no network needed."""

import base64
import importlib.util
import json
import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-prefers-reduced-motion",
    "--remote-debugging-pipe",
)
KEYS = {" ": ("Space", 32), "ArrowLeft": ("ArrowLeft", 37), "ArrowRight": ("ArrowRight", 39)}
KEYS |= {"Home": ("Home", 36), "End": ("End", 35), "ArrowDown": ("ArrowDown", 40)}
KEYS |= {"Enter": ("Enter", 13), "Escape": ("Escape", 27), "Tab": ("Tab", 9)}
TYPED = {" ": " ", "Enter": "\r"}


class Browser:
    """One tab; keeps what the console said and what was requested."""

    def __init__(self, to_browser, from_browser):
        self._out, self._in, self._number, self._session = to_browser, from_browser, 0, None
        self.logs, self.requests, self._loaded = [], [], False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        self._out.flush()
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, page):
        """Go to a file, or to an address."""
        self._loaded = False
        url = page if isinstance(page, str) else page.as_uri()
        self.call("Page.navigate", url=url)
        while not self._loaded:
            self._read()

    def evaluate(self, expression):
        made = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in made, made["exceptionDetails"]
        return made["result"].get("value")

    def press(self, key):
        code, number = KEYS[key]
        common = {"key": key, "code": code, "windowsVirtualKeyCode": number}
        text = {"text": TYPED[key]} if key in TYPED else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **common, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text):
        """Into what has the focus."""
        self.call("Input.insertText", text=text)

    def click(self, selector):
        """With the mouse, where a person would."""
        place = f"document.querySelector({json.dumps(selector)})"
        self.evaluate(f"{place}.scrollIntoView({{block: 'center'}})")
        box = self.evaluate(f"{place}.getBoundingClientRect().toJSON()")
        at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **at)

    def wait(self, expression, seconds=20):
        """Until an expression is true; what it is then."""
        end = time.monotonic() + seconds
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < end, f"not in {seconds} s: {expression}"
            time.sleep(0.02)
        return value

    def axe(self):
        """What axe-core finds against the page as it is: rule and places."""
        found = importlib.util.find_spec("axe_core_python")
        script = Path(found.origin).parent / "axe.min.js"
        self.evaluate(script.read_text(encoding="utf-8") + ";0")
        faults = self.evaluate("axe.run(document).then(result => result.violations)")
        return [(one["id"], one["impact"], one["nodes"][0]["target"]) for one in faults]

    def look(self, width, dark=False, media="screen"):
        """Set the window's width, the colours and the medium."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=900, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip

    def screenshot(self, path):
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        Path(path).write_bytes(base64.b64decode(shot["data"]))

    def _read(self):
        data = bytearray()
        while (byte := self._in.read(1)) != b"\0":
            assert byte, "the browser has gone"
            data += byte
        message = json.loads(data)
        method, params = message.get("method"), message.get("params", {})
        if method == "Runtime.consoleAPICalled":
            self.logs.append(params["args"])
        elif method == "Runtime.exceptionThrown":
            self.logs.append(params["exceptionDetails"])
        elif method == "Log.entryAdded":
            self.logs.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Page.loadEventFired":
            self._loaded = True
        return message


@contextmanager
def chromium(folder):
    """A browser that lives as long as the block."""
    inward, outward = os.pipe(), os.pipe()

    def wire():  # Chromium reads from descriptor 3 and writes to 4
        read, write = os.dup(inward[0]), os.dup(outward[1])
        os.dup2(read, 3)
        os.dup2(write, 4)

    process = subprocess.Popen(
        [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}"],
        close_fds=False, preexec_fn=wire, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(inward[0])
    os.close(outward[1])
    with os.fdopen(inward[1], "wb") as to_browser, os.fdopen(outward[0], "rb") as from_browser:
        try:
            yield Browser(to_browser, from_browser)
        finally:
            process.kill()
            process.wait()
