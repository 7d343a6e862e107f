"""`onboard demo`: what it refuses. That it plays is shown by tests/deploy/test_wheel.py."""

import json
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from rich.console import Console

from onboarding_sandbox.demo.play import _summary
from onboarding_worker.cli.registry import main_group
from tests.conftest import AMQP, POSTGRESQL


def demo(*arguments: str):
    return CliRunner().invoke(main_group, ["demo", *arguments])


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")

    refused = demo("--folder", str(tmp_path))

    assert "the demo would remove them" in refused.output
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_without_a_database_server_it_says_what_to_name(tmp_path):
    refused = demo("--folder", str(tmp_path / "demo"), "--broker", "amqp", "--database", "postgresql://x@127.0.0.1:9/x")

    assert "--database postgresql://user:password@host/postgres" in refused.output


def test_a_database_is_only_for_a_broker(tmp_path):
    refused = demo("--folder", str(tmp_path / "demo"), "--database", "postgresql://x@127.0.0.1:9/x")

    assert refused.exit_code == 2
    assert "--database is for --broker" in refused.output


@pytest.mark.parametrize("on_server", [False, True])
def test_it_leads_to_a_database_only_if_that_is_still_there_after_it(tmp_path, capsys, on_server):
    facts = {"rows": {"total": 4, "invited": 0, "rejected": 3, "duplicate": 1}, "invitations": {"sent": 0}}
    stage = SimpleNamespace(folder=tmp_path, onboard=lambda *_, **__: SimpleNamespace(stdout=json.dumps(facts)))
    sandbox = SimpleNamespace(mailbox=(), texts=())

    assert _summary(stage, sandbox, Console(), 1.0, on_server=on_server)

    assert ("look around" in capsys.readouterr().out) is not on_server


@pytest.mark.long
def test_two_workers_send_the_same_list(tmp_path):
    ended = demo("--folder", str(tmp_path / "demo"), "--broker", AMQP, "--database", POSTGRESQL)

    assert ended.exit_code == 0, ended.output
    assert (tmp_path / "demo/report.html").is_file()
