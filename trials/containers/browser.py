"""A person with a browser: keeps cookies, fills in the last form of a page, and uploads a file."""

import asyncio
import html
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

FROM_HERE = {"Sec-Fetch-Site": "same-origin"}
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Seen:
    """A page as it was answered."""

    status: int
    text: str
    path: str

    @property
    def words(self) -> str:
        body = re.sub(r"<(script|style|svg).*?</\1>", " ", self.text.partition("<body")[2], flags=re.DOTALL)
        return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))).strip()

    @property
    def form(self) -> dict[str, str]:
        """The values that its last form has."""
        form = self.text[self.text.rindex("<form") :]
        found = re.findall(r'<input [^>]*?name="([^"]*)"[^>]*? value="([^"]*)"', form)
        return {name: html.unescape(value) for name, value in found}

    @property
    def links(self) -> list[str]:
        return [html.unescape(one) for one in re.findall(r'href="([^"]*)"', self.text)]


class Browser:
    def __init__(self, client: aiohttp.ClientSession) -> None:
        self._client = client

    async def get(self, path: str) -> Seen:
        async with self._client.get(path) as answer:
            return Seen(answer.status, await answer.text(), answer.url.path_qs)

    async def post(self, path: str, form: Any) -> Seen:
        async with self._client.post(path, data=form, headers=FROM_HERE) as answer:
            return Seen(answer.status, await answer.text(), answer.url.path_qs)

    async def log_in(self, name: str, password: str) -> Seen:
        page = await self.get("/dashboard/log-in")
        return await self.post("/dashboard/log-in", page.form | {"name": name, "password": password})

    async def upload(self, file: Path) -> Seen:
        form = aiohttp.FormData()
        form.add_field("token", (await self.get("/dashboard/lists")).form["token"])
        with file.open("rb") as content:
            form.add_field("file", content, filename=file.name, content_type="text/csv")
            return await self.post("/dashboard/lists", form)


def visiting(address: str, play: Callable[[Browser], Awaitable[Answer]]) -> Answer:
    """What a visit of the pages at an address found."""

    async def visit() -> Answer:
        jar = aiohttp.CookieJar(unsafe=True)  # the address is a number
        patience = aiohttp.ClientTimeout(total=300)
        async with aiohttp.ClientSession(address, cookie_jar=jar, timeout=patience) as client:
            return await play(Browser(client))

    return asyncio.run(visit())


def answer(address: str, form: Mapping[str, str] | bytes | None = None) -> Seen:
    """One request: of a page, or of a form that is sent."""

    async def ask(browser: Browser) -> Seen:
        return await (browser.get(path) if form is None else browser.post(path, form))

    root, path = re.match(r"(http://[^/]+)(.*)", address).groups()  # type: ignore[union-attr]
    return visiting(root, ask)
