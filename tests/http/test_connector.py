"""What the connector needs of aiohttp besides what is documented. `make newest` runs it with the newest aiohttp."""

import asyncio

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler

from onboarding_worker.http.client import Connector, check_aiohttp, open_http_session
from onboarding_worker.settings.problems import SettingsError
from onboarding_worker.wiring.opening import check_configuration
from tests.http.talks import listening, says
from tests.settings.samples import loaded, tree

OWN = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nown"
OTHER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother"


async def test_this_aiohttp_is_as_the_connector_needs_it():
    await check_aiohttp()


@pytest.fixture(params=["another name for connect", "no should_close", "a should_close that is always false"])
def another_aiohttp(request, monkeypatch):
    match request.param:
        case "another name for connect":
            monkeypatch.delattr(Connector, "connect")
        case "no should_close":
            monkeypatch.delattr(ResponseHandler, "should_close")
        case _:
            monkeypatch.setattr(ResponseHandler, "should_close", False)


@pytest.mark.usefixtures("another_aiohttp")
async def test_no_session_is_opened_with_another_aiohttp():
    with pytest.raises(SettingsError, match=r"^aiohttp "):
        async with open_http_session():
            pass


@pytest.mark.usefixtures("another_aiohttp")
def test_no_worker_starts_with_another_aiohttp(tmp_path):
    with pytest.raises(SettingsError, match=r"^aiohttp "):
        check_configuration(loaded(tmp_path, tree()))


async def test_without_the_connector_a_stray_answer_is_the_next_requests():
    """When this fails, aiohttp drops such a connection itself, and the connector need not."""
    bodies = []
    async with listening(stray) as url, aiohttp.ClientSession() as session:
        for _ in range(2):
            async with session.post(url) as answer:
                bodies.append(await answer.read())
            await asyncio.sleep(0.05)

    assert bodies == [b"own", b"other"]


async def test_with_the_connector_no_request_gets_a_stray_answer():
    bodies = []
    async with listening(stray) as url, aiohttp.ClientSession(connector=Connector()) as session:
        for _ in range(3):
            async with session.post(url) as answer:
                bodies.append(await answer.read())
            await asyncio.sleep(0.05)

    assert bodies == [b"own"] * 3


async def stray(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers, and then sends an answer that nobody has asked for."""
    await says(OWN)(reader, writer)
    await asyncio.sleep(0.01)
    writer.write(OTHER)
    await writer.drain()
    await reader.read()
