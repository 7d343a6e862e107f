"""Drives Debian's Chromium over its debugging protocol: no driver, no library."""

import asyncio
import base64
import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

from tests.suite.waiting import ENDS_WITHIN

EXECUTABLE = shutil.which("chromium") or shutil.which("chromium-browser") or ""
NO_BROWSER = "" if EXECUTABLE else "no chromium is installed here"


class Tab:
    """One page. Each call waits for its answer."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._numbers = socket, itertools.count(1)
        self.requests: list[str] = []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            answer = await self._socket.receive_json(timeout=ENDS_WITHIN)
            if answer.get("method") == "Network.requestWillBeSent":
                self.requests.append(answer["params"]["request"]["url"])
            if answer.get("id") == number:
                assert "error" not in answer, answer["error"]
                return dict(answer["result"])

    async def open(self, url: str, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        await self.call("Page.enable")
        await self.call("Network.enable")
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])
        # What is asked next must not be answered by the page that is left.
        await self.run("window.isLeft = true")
        await self.call("Page.navigate", url=url)
        await self.until("!window.isLeft && document.readyState != 'loading'")

    async def run(self, script: str) -> Any:
        """The value of the expression in the page."""
        answer = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def until(self, script: str) -> Any:
        """The value of the expression, once it is true. While a page loads, there may be nothing to ask yet."""
        with suppress(TimeoutError):
            async with asyncio.timeout(ENDS_WITHIN):
                while True:
                    with suppress(AssertionError):
                        if value := await self.run(script):
                            return value
                    await asyncio.sleep(0.02)
        shown = await self.run("`${location} ${document.readyState}: ${document.body.innerText}`")
        raise AssertionError(f"still not {script}, but {shown}")

    async def click_at(self, x: float, y: float) -> None:
        """Press and release the mouse there, also in a frame."""
        for kind in ("mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        await asyncio.sleep(0.1)

    async def picture(self, path: Path, *, whole: bool = False) -> None:
        """Write a picture of the page, small enough for a repository."""
        taken = await self.call("Page.captureScreenshot", format="webp", quality=80, captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(taken["data"]))  # noqa: ASYNC240 -- nothing else runs on this loop


@asynccontextmanager
async def browser(home: Path) -> AsyncIterator[Tab]:
    """A headless browser with one tab, ended with all its processes."""
    profile = home / "profile"
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
    options += ["--remote-debugging-port=0", f"--user-data-dir={profile}", "--no-first-run", "about:blank"]
    process = subprocess.Popen(  # noqa: ASYNC220 -- ended below
        [EXECUTABLE, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        port = await _port(profile / "DevToolsActivePort")
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                tabs = await answer.json()
            address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
            async with session.ws_connect(address, max_msg_size=0) as socket:
                yield Tab(socket)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(ENDS_WITHIN)


async def _port(file: Path) -> str:
    async with asyncio.timeout(ENDS_WITHIN):
        while True:
            with suppress(FileNotFoundError):
                if lines := file.read_text().splitlines():  # noqa: ASYNC240
                    return lines[0]
            await asyncio.sleep(0.05)
