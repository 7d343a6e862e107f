"""`onboard sandbox`: its options, its one line, its end."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from click.testing import CliRunner

from onboarding_sandbox.command import sandbox
from tests.sandbox.customers import basic
from tests.suite.waiting import ENDS_WITHIN, wait_until

START = "from onboarding_sandbox.command import sandbox; sandbox()"


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen]:
    command = [sys.executable, "-c", START, "--port", "0", "--smtp-port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_its_addresses_and_ends_cleanly_on_a_signal(end):
    with started("--json", "--fault", "429:0.05,retry-after=1", "--limit", "50/second", "--latency", "1ms") as process:
        facts = json.loads(process.stdout.readline())
        with urllib.request.urlopen(facts["url"], timeout=ENDS_WITHIN) as page:  # noqa: S310  # its own loopback address
            assert b"Sandbox" in page.read()
        with socket.create_connection(("127.0.0.1", facts["smtp_port"]), timeout=10) as mailbox:
            assert mailbox.recv(4) == b"220 "
        process.send_signal(end)
        rest, errors = process.communicate(timeout=ENDS_WITHIN)
    assert (process.returncode, rest, errors) == (0, "", "")
    assert facts["base_urls"] == {name: f"{facts['url']}/{name}" for name in ("idenfy", "frankieone", "twilio")}


def test_for_people_it_prints_one_line():
    with started() as process:
        line = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=ENDS_WITHIN)
    assert "http://127.0.0.1:" in line
    assert "smtp://127.0.0.1:" in line
    assert rest == ""


@pytest.mark.parametrize("option", ["--port", "--smtp-port"])
def test_a_taken_port_is_one_clear_line_and_exit_2(option):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = CliRunner().invoke(sandbox, ["--port", "0", "--smtp-port", "0", option, str(port)])
    assert ended.exit_code == 2
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert str(port) in line
    assert "in use" in line


def test_a_bad_option_is_a_usage_error_with_what_is_expected(subtests):
    cases = [
        (["--fault", "429"], "expected KIND:SHARE"),
        (["--fault", "429:2"], "from 0 to 1"),
        (["--fault", "429:0.6", "--fault", "500:0.6"], "add up to more than 1"),
        (["--smtp-fault", "250:0.1"], "SMTP code from 400 to 599"),
        (["--limit", "fast"], "50/second"),
        (["--latency", "slow"], "80ms"),
        (["--smtp-auth", "user"], "colon"),
        (["--credits", "-1"], "--credits"),
        (["--limit-retry-after", "later"], "seconds"),
        (["--customers", "dance:0.5"], "known are finish, deny"),
        (["--customers", "finish:0.6,deny:0.6"], "more than 1"),
        (["--customers-after", "2h..1h"], "shorter"),
        (["--review-after", "soon"], "expected a time"),
        (["--time-scale", "0"], "--time-scale"),
        (["--time-scale", "1e12"], "at most 1,000,000,000"),
        (["--webhooks", "127.0.0.1:8080"], "expected an address"),
        (["--webhooks", "twilio=http://127.0.0.1:8080/x"], "expected an address"),
        (["--webhook-trouble", "lost:0.1"], "late, twice, swapped, forged"),
        (["--webhook-jwt-key", "/does/not/exist"], "does not exist"),
        (["--texts", "eaten:0.1"], "known are delivered"),
        (["--mails", "eaten:0.1"], "known are delivered"),
        (["--mail-webhook", "idenfy-kyc=http://127.0.0.1"], "without an endpoint"),
    ]
    for arguments, hint in cases:
        with subtests.test(arguments=arguments):
            ended = CliRunner().invoke(sandbox, arguments)
            assert ended.exit_code == 2
            assert hint in " ".join(ended.stderr.split())


def test_an_invalid_key_for_tokens_is_a_usage_error(tmp_path):
    key = tmp_path / "key.pem"
    key.write_text("s3cret")
    ended = CliRunner().invoke(sandbox, ["--webhook-jwt-key", str(key)])
    assert ended.exit_code == 2
    assert "RSA private key" in ended.stderr
    assert "s3cret" not in ended.output


def test_an_address_with_a_secret_in_it_or_a_mistyped_login_is_not_repeated():
    for typed in (["--webhooks", "frankie=http://127.0.0.1/webhooks/au/s3cret"], ["--smtp-auth", "s3cret"]):
        ended = CliRunner().invoke(sandbox, typed)
        assert ended.exit_code == 2
        assert "s3cret" not in ended.output


async def test_its_customers_behave_as_the_options_say(receiver, tmp_path):
    """From outside, like a user: sessions are opened, and the webhooks arrive."""
    log = tmp_path / "log.jsonl"
    played = ["--customers", "review:1", "--customers-after", "1h..2h", "--time-scale", "100000", "--seed", "7"]
    sent = ["--webhooks", f"idenfy-kyc={receiver.url}/webhooks/kyc", "--webhook-key", "k", "--log-file", str(log)]

    def play() -> tuple[int, str]:
        with started("--json", *played, *sent) as process:
            base = json.loads(process.stdout.readline())["base_urls"]["idenfy"]
            headers = basic() | {"Content-Type": "application/json"}
            call = urllib.request.Request(f"{base}/api/v2/token", b'{"clientId": "c-1"}', headers)  # noqa: S310
            urllib.request.urlopen(call, timeout=ENDS_WITHIN).close()  # noqa: S310  # its own loopback address
            wait_until(lambda: len(receiver.received) == 2, "both webhooks")
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=ENDS_WITHIN)
        return process.returncode, errors

    assert await asyncio.to_thread(play) == (0, "")
    events = [webhook.headers["idenfy-event-type"] for webhook in receiver.received]
    assert events == ["IDENTIFICATION_AUTO_FINISHED", "IDENTIFICATION_MANUAL_FINISHED"]
    for webhook in receiver.received:
        assert webhook.path == "/webhooks/kyc"
        assert webhook.is_idenfys(b"k")
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert [entry["status"] for entry in entries if entry["endpoint"] == "webhooks"][:1] == [200]


def test_its_help_teaches_by_examples():
    ended = CliRunner().invoke(sandbox, ["--help"])
    assert ended.exit_code == 0
    assert "onboard sandbox --fault 429:0.05,retry-after=1" in ended.output
    assert "http://127.0.0.1:9200/idenfy" in ended.output
