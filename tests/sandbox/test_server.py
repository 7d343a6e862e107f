"""The sandbox as a whole: its log, its pages, and that it ends completely."""

import asyncio
import json
from pathlib import Path

import aiohttp
import aiosmtplib
import pytest

from onboarding_sandbox import Fault, Sandbox, SandboxOptions
from onboarding_sandbox.wire import Log


async def lines(caller, **query: str) -> list[dict]:
    _, headers, text = await caller.ask("GET", "/_sandbox/log", params=query)
    assert headers["Content-Type"].startswith("application/x-ndjson")
    return [json.loads(line) for line in text.splitlines()]


async def test_the_log_has_received_calls_in_order(caller, clock):
    _, _, session = await caller.idenfy({"clientId": "c-1"})
    await caller.frankieone(entity="nobody")
    await caller.idenfy(login="a:b")

    first, second, third = await lines(caller)
    assert first == {
        "n": 1,
        "at": clock.now.isoformat(),
        "endpoint": "idenfy-kyc",
        "status": 201,
        "fault": None,
        "processed": True,
        "client": "c-1",
        "reference": session["scanRef"],
        "token": session["authToken"],
        "request": {"clientId": "c-1"},
    }
    assert (second["n"], second["endpoint"], second["status"], second["client"]) == (2, "frankieone-v2", 400, "nobody")
    assert (third["n"], third["status"], third["processed"]) == (3, 401, False)
    assert [entry["n"] for entry in caller.sandbox.log] == [1, 2, 3]


def test_the_log_keeps_the_newest_requests_alone(clock):
    log = Log(bodies=2)
    for body in (b'{"clientId": "c-1"}', b"To=%2B370", b""):
        log.open("idenfy-kyc", clock.now, body)

    assert [json.loads(line)["request"] for line in log.lines()] == [None, "To=%2B370", None]


async def test_the_log_can_be_of_one_endpoint(caller):
    await caller.idenfy()
    await caller.frankieone()
    assert [entry["n"] for entry in await lines(caller, endpoint="frankieone-v2")] == [2]


async def test_the_log_of_an_unknown_endpoint_is_an_error(caller):
    status, _, body = await caller.ask("GET", "/_sandbox/log", params={"endpoint": "idenfy"})
    assert status == 400
    assert "idenfy-kyc" in body["error"]


async def test_a_call_to_an_unknown_path_is_in_the_log(caller):
    assert (await caller.ask("POST", "/idenfy/api/v2/token/"))[0] == 404
    (entry,) = caller.sandbox.log
    assert (entry["endpoint"], entry["status"], entry["path"]) == ("unknown", 404, "/idenfy/api/v2/token/")


async def test_a_reset_clears_sessions_credits_log_and_mail(start):
    caller = await start(credits=1, conflict=True)
    await caller.idenfy()
    await aiosmtplib.send(
        b"Subject: x\r\n\r\n",
        sender="a@example.com",
        recipients=["b@example.com"],
        hostname="127.0.0.1",
        port=caller.sandbox.smtp_port,
        start_tls=False,
    )
    _, _, before = await caller.frankieone()

    assert (await caller.ask("POST", "/_sandbox/reset"))[0] == 200
    assert (caller.sandbox.log, len(caller.sandbox.mailbox)) == ([], 0)
    assert (await caller.idenfy())[0] == 201
    assert (await caller.frankieone())[2]["token"] != before["token"]


async def test_the_front_page_counts_and_links(caller):
    await caller.idenfy()
    status, headers, page = await caller.ask("GET", "/")
    assert status == 200
    assert headers["Content-Type"].startswith("text/html")
    assert "1 × 201" in page
    assert "/idenfy/api/v2/token" in page
    assert f"port {caller.sandbox.smtp_port}" in page


async def test_the_log_file_holds_the_same_lines_for_its_owner_alone(start, tmp_path: Path):
    path = tmp_path / "sandbox.jsonl"
    async with Sandbox(SandboxOptions(log_file=path)) as sandbox:
        caller = await start()
        caller.sandbox = sandbox
        await caller.idenfy()
        await caller.frankieone()
        logged = await lines(caller)
    assert [json.loads(line) for line in path.read_text().splitlines()] == logged
    assert path.stat().st_mode & 0o077 == 0


async def test_after_the_end_nothing_listens_and_no_task_is_left(start):
    before = asyncio.all_tasks()
    sandbox = Sandbox(SandboxOptions(faults=(Fault("hang", 1),)))
    caller = await start()
    async with sandbox:
        kept = aiosmtplib.SMTP(hostname="127.0.0.1", port=sandbox.smtp_port, start_tls=False)
        await kept.connect()
        caller.sandbox = sandbox
        hung = asyncio.create_task(caller.idenfy())
        while not sandbox.log:  # noqa: ASYNC110  # until the call has arrived
            await asyncio.sleep(0.005)
    with pytest.raises(aiohttp.ClientConnectionError):
        await hung
    for port in (sandbox.port, sandbox.smtp_port):
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
    kept.close()
    await asyncio.sleep(0.01)
    assert asyncio.all_tasks() <= before


async def test_a_mail_port_in_use_leaves_the_web_server_closed(caller):
    taken = Sandbox(SandboxOptions(smtp_port=caller.sandbox.smtp_port))
    with pytest.raises(OSError, match="in use"):
        await taken.start()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", taken.port)


async def test_stopping_twice_is_harmless():
    sandbox = Sandbox()
    await sandbox.start()
    await sandbox.stop()
    await sandbox.stop()


async def test_it_listens_on_loopback_only_by_default(caller):
    assert caller.sandbox.url.startswith("http://127.0.0.1:")


def test_no_secret_is_in_the_options_repr():
    options = SandboxOptions(idenfy_secret="s3cret", smtp_password="s3cret", frankieone_key="s3cret")
    assert "s3cret" not in repr(options)
