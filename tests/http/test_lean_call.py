"""The lean call writes what ClientSession writes, and is used only where it is sure to fit."""

import asyncio
import re
from pathlib import Path

import aiohttp
import pytest

from tests.http.test_client import LONG, listening, post, read_request, says
from worker.http import lean_call
from worker.http.client import Http, open_http_session
from worker.http.lean_call import TESTED, lean_calls
from worker.http.messages import Broken, HttpAnswer, HttpRequest

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
JSON = {"Authorization": "Basic a2V5", "Content-Type": "application/json", "Accept": "application/json"}


async def written(request: HttpRequest, *, lean: bool) -> bytes:
    """The bytes that a server gets; `URL` in the request's address is the server's."""
    got = []

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await read_request(reader))
        writer.write(ANSWER)
        await writer.drain()

    async with listening(keep) as url, open_http_session() as session:
        asked = HttpRequest(request.method, request.url.replace("URL", url), request.headers, request.body)
        answer = await Http(session, lean=lean).call(asked, timeout=LONG)
    assert isinstance(answer, HttpAnswer)
    return got[0].replace(url.removeprefix("http://").encode(), b"PLACE")


@pytest.mark.parametrize(
    "request_",
    [
        HttpRequest("POST", "URL/api/v2/token", JSON, b'{"clientId":"C-1"}'),
        HttpRequest("POST", "URL", {}, b""),
        HttpRequest("POST", "URL/a%2Fb/%7e?q=%20&x=/?!$'()*,;:@", {"content-type": "text/plain"}, b"x" * 300_000),
        HttpRequest("POST", "URL/v2", {"api_key": "Zürich", "User-Agent": "own", "X": ""}, b"{}"),
        HttpRequest("GET", "URL/kyc/identifications/?clientId=C-1&page=1", {"Accept": "application/json"}),
    ],
    ids=["json", "no body", "odd path", "odd headers", "look-up"],
)
async def test_the_same_bytes_are_written_as_through_client_session(request_):
    lean, through_session = [await written(request_, lean=lean) for lean in (True, False)]

    head, _, body = lean.partition(b"\r\n\r\n")
    other_head, _, other_body = through_session.partition(b"\r\n\r\n")
    assert head.split(b"\r\n")[0] == other_head.split(b"\r\n")[0]
    assert sorted(head.split(b"\r\n")) == sorted(other_head.split(b"\r\n"))
    assert body == other_body


async def test_each_call_sends_the_headers_that_it_was_given():
    got = []

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            got.append(re.search(rb"\r\nkey: (.*?)\r\n", await read_request(reader))[1])
            writer.write(ANSWER)

    async with listening(keep) as url, open_http_session() as session:
        http, headers = Http(session), {"key": "old"}
        for key in ["old", "new", *map(str, range(lean_call.MOST_HEADS)), "old"]:
            headers["key"] = key
            await http.call(HttpRequest("POST", url, headers, b"{}"), timeout=LONG)

    assert got[:2] == [b"old", b"new"]
    assert got[-1] == b"old"


async def test_a_look_up_is_not_repeated_either():
    asked = []

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await read_request(reader))
        writer.write(ANSWER)
        asked.append(await read_request(reader))

    async with listening(once) as url, open_http_session() as session:
        http, look_up = Http(session), HttpRequest("GET", url, {})
        await http.call(look_up, timeout=LONG)
        second = await http.call(look_up, timeout=LONG)

    assert second == Broken(sent=True, detail="connection closed without an answer")
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("method", "address", "headers"),
    [
        ("PUT", "URL/", {}),
        ("GET", "URL/", {}),  # with a body
        ("POST", "http://LOCALHOST:PORT/", {}),
        ("POST", "URL/#part", {}),
        ("POST", "URL/é", {}),
        ("POST", "http://user:word@127.0.0.1:PORT/", {}),
        ("POST", "URL/", {"Host": "other.example"}),
        ("POST", "URL/", {"connection": "close"}),
        ("POST", "URL/", {"Cookie": "a=b"}),
    ],
)
async def test_a_request_that_is_not_usual_goes_through_client_session(method, address, headers, monkeypatch):
    through_session = []
    asked = aiohttp.ClientSession.request

    def counted(*arguments, **options):
        through_session.append(1)
        return asked(*arguments, **options)

    monkeypatch.setattr(aiohttp.ClientSession, "request", counted)
    async with listening(says(ANSWER)) as url, open_http_session() as session:
        address = address.replace("URL", url).replace("PORT", url.rpartition(":")[2])
        got = await Http(session).call(HttpRequest(method, address, headers, b"{}"), timeout=LONG)

    assert isinstance(got, HttpAnswer)
    assert len(through_session) == 1


@pytest.mark.parametrize(
    ("path", "headers"),
    [("/", {"X": "1\r\nInjected: 1"}), ("/", {"X\r\nInjected": "1"}), ("/ HTTP/1.1\r\nInjected: 1\r\nX: ", {})],
)
async def test_no_value_adds_a_header_to_the_request(path, headers):
    got = []

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.read(1000))

    async with listening(keep) as url, open_http_session() as session:
        answer = await Http(session).call(HttpRequest("POST", url + path, headers, b"{}"), timeout=LONG)

    assert isinstance(answer, Broken)
    assert b"\r\nInjected" not in b"".join(got)


async def test_the_locked_aiohttp_is_as_the_lean_call_expects():
    lock = (Path(__file__).parents[2] / "requirements.lock").read_text()
    locked = re.search(r"^aiohttp==(\S+)", lock, re.MULTILINE)

    assert locked[1].startswith(TESTED)
    async with open_http_session() as session:
        assert lean_calls(session, {}) is not None


@pytest.mark.parametrize("differs", ["version", "name", "parameter", "connector"])
async def test_another_aiohttp_or_session_is_called_through_client_session(differs, monkeypatch):
    if differs == "version":
        monkeypatch.setattr(aiohttp, "__version__", "3.15.0")
    if differs == "name":
        monkeypatch.setitem(lean_call.EXPECTED, "connector:Connection.gone", set())
    if differs == "parameter":
        monkeypatch.setitem(lean_call.EXPECTED, "connector:Connection.release", {"gone"})
    opened = aiohttp.ClientSession() if differs == "connector" else open_http_session()
    async with listening(says(ANSWER)) as url, opened as session:
        assert lean_calls(session, {}) is None
        assert isinstance(await Http(session).call(post(url), timeout=LONG), HttpAnswer)
