"""`onboard demo`: what it refuses. That it plays is shown by tests/deploy/test_wheel.py."""

import pytest
from click.testing import CliRunner

from tests.conftest import AMQP, POSTGRESQL
from worker.cli.registry import main_group


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


@pytest.mark.long
def test_two_workers_send_the_same_list(tmp_path):
    ended = demo("--folder", str(tmp_path / "demo"), "--broker", AMQP, "--database", POSTGRESQL)

    assert ended.exit_code == 0, ended.output
    assert (tmp_path / "demo/report.html").is_file()
