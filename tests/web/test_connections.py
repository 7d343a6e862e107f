"""Bytes of strangers: what is no HTTP has an answer and an end, and no answer names the versions that run."""

import asyncio

from aiohttp import web

from onboarding_worker.web.server import listening

NO_HTTP = [
    b"GARBAGE\r\n\r\n",
    b"GET / HTTP/1.1\r\nname name: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: a\x00\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: " + b"long" * 5000 + b"\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00",  # TLS on a plain port
]


async def test_what_is_no_http_is_refused_and_its_connection_closed(subtests):
    for sent in NO_HTTP:
        with subtests.test(sent=sent):
            async with listening(web.Application(), host="127.0.0.1", port=0) as port:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(sent)
                answer = await reader.read()
                writer.close()

            assert answer.split()[1] == b"400"
            assert b"Traceback" not in answer


async def test_no_answer_names_the_versions_that_run(site):
    for path in ("/healthz", "/nothing", "/events"):
        async with site.client.get(path) as response:
            assert response.headers["Server"] == "onboard"


async def test_who_came_by_tls_is_told_to_come_by_nothing_else(start, sqlite_url):
    site = await start(sqlite_url, keys='[web]\ntrusted_proxies = ["127.0.0.1"]')
    for path in ("/healthz", "/nothing", "/s/x"):
        for proto, told in (("https", True), ("http", False), (None, False)):
            headers = {"X-Forwarded-Proto": proto} if proto else {}
            async with site.client.get(path, headers=headers) as response:
                assert ("Strict-Transport-Security" in response.headers) is told


async def test_a_proxy_that_nobody_named_is_warned_of_once_and_not_believed(start, sqlite_url, caplog):
    site = await start(sqlite_url, keys="")
    for _ in range(2):
        headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}
        async with site.client.get("/healthz", headers=headers) as response:
            assert "Strict-Transport-Security" not in response.headers
    async with site.client.get("/healthz"):
        pass
    (warned,) = [one.message for one in caplog.records if "trusted_proxies" in one.message]
    assert "127.0.0.1" in warned
    assert "203.0.113.9" not in warned
