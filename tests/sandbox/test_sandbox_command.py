"""`onboard sandbox`: its options, its one line, its end."""

import json
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from click.testing import CliRunner

from worker.cli.sandbox import sandbox

START = "from worker.cli.sandbox import sandbox; sandbox()"


def start(*arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-c", START, "--port", "0", "--smtp-port", "0", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_is_and_ends_cleanly_on_a_signal(end):
    with start("--json", "--fault", "429:0.05,retry-after=1", "--limit", "50/second", "--latency", "1ms") as process:
        try:
            facts = json.loads(process.stdout.readline())
            with urllib.request.urlopen(facts["url"], timeout=10) as page:  # noqa: S310  # its own loopback address
                assert b"Sandbox" in page.read()
            with socket.create_connection(("127.0.0.1", facts["smtp_port"]), timeout=10) as mailbox:
                assert mailbox.recv(4) == b"220 "
            process.send_signal(end)
            rest, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, rest, errors) == (0, "", "")
    assert facts["base_urls"] == {name: f"{facts['url']}/{name}" for name in ("idenfy", "frankieone", "twilio")}


def test_for_people_it_says_it_in_one_line():
    with start() as process:
        try:
            line = process.stdout.readline()
            process.send_signal(signal.SIGINT)
            rest, _ = process.communicate(timeout=20)
        finally:
            process.kill()
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


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--fault", "429"], "expected KIND:SHARE"),
        (["--fault", "429:2"], "from 0 to 1"),
        (["--fault", "429:0.6", "--fault", "500:0.6"], "add up to more than 1"),
        (["--smtp-fault", "250:0.1"], "SMTP code from 400 to 599"),
        (["--limit", "fast"], "50/second"),
        (["--latency", "slow"], "80ms"),
        (["--smtp-auth", "user"], "colon"),
        (["--credits", "-1"], "--credits"),
        (["--limit-retry-after", "later"], "seconds"),
    ],
)
def test_a_bad_option_is_a_usage_error_that_says_what_is_expected(arguments, hint):
    ended = CliRunner().invoke(sandbox, arguments)
    assert ended.exit_code == 2
    assert hint in " ".join(ended.stderr.split())


def test_a_mistyped_login_is_not_repeated():
    ended = CliRunner().invoke(sandbox, ["--smtp-auth", "s3cret"])
    assert "s3cret" not in ended.output


def test_its_help_teaches_by_examples():
    ended = CliRunner().invoke(sandbox, ["--help"])
    assert ended.exit_code == 0
    assert "onboard sandbox --fault 429:0.05,retry-after=1" in ended.output
    assert "http://127.0.0.1:9200/idenfy" in ended.output
