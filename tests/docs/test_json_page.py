"""docs/reference/json.md: its documents have the keys that the commands print."""

import json
import re
from collections.abc import Iterator
from typing import Any

import click
import pytest

from onboarding_worker.cli.registry import main_group
from tests.desk.desk import Desk, Played
from tests.docs.shown import text_of
from tests.docs.test_shown_commands import PAGES
from tests.suite.of_features import is_missing

PAGE = text_of("reference/json.md")
SHOWN = {
    command: json.loads(document)
    for command, document in re.findall(r"^    onboard (.+?)$.*?^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
}


@pytest.fixture
def ran(bare: Desk, played: Played) -> Desk:
    """A desk that has sent the quickstart's list."""
    ports = ["--port", str(played.sandbox.port), "--smtp-port", str(played.sandbox.smtp_port)]
    listed = re.search(r"^```csv\n(.*?)^```$", text_of(PAGES[0]), re.MULTILINE | re.DOTALL)
    bare.write("customers.csv", listed[1])
    bare.onboard("init", "--sandbox", *ports)
    bare.onboard("run", "customers.csv", "--yes")
    return bare


def form(value: Any) -> Any:
    """The keys of a document, and the kinds of its values; numbers and texts may differ."""
    if isinstance(value, dict):
        return {key: form(one) for key, one in value.items()}
    if isinstance(value, list):
        return [form(one) for one in value]
    return type(value).__name__


def test_the_page_shows_two_documents():
    assert list(SHOWN) == ["check customers.csv --json", "status latest --json"]


def test_the_documents_have_the_keys_that_the_commands_print(ran: Desk):
    status = ran.onboard("status", "latest", "--json").facts
    (ran.path / "onboarding.db").unlink()  # so that `check` finds no customer that is served
    checked = ran.onboard("check", "customers.csv", "--json").facts

    assert form(status) == form(SHOWN["status latest --json"])
    assert form(checked) == form(SHOWN["check customers.csv --json"])
    assert checked["rows"] == SHOWN["check customers.csv --json"]["rows"]


def test_the_page_names_each_key_of_a_paused_batch_with_a_plan(ran: Desk):
    ran.onboard("import", "customers.csv", "--again", "--known", "invite", "--first", "1", "--per-hour", "5")
    ran.onboard("pause", "latest")
    facts = ran.onboard("status", "latest", "--json").facts

    assert {"plan", "pause_reason"} <= facts.keys()
    table = PAGE.partition("\n## status")[2]
    assert [key for key in (*facts, *facts["plan"]) if f"`{key}`" not in table and key not in ("batch", "name")] == []


def without_json(command: click.Command, context: click.Context) -> Iterator[str]:
    """The commands below this one that have no --json."""
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from without_json(below, click.Context(below, parent=context, info_name=name))
    if isinstance(command, click.Group) and not command.invoke_without_command:
        return
    if context.parent is not None and not any("--json" in one.opts for one in command.params):
        yield context.command_path.removeprefix("onboard ")


def test_the_page_names_each_command_that_has_no_json():
    table = PAGE.partition("These commands have no `--json`:")[2].partition("\n## ")[0]
    first = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = {name for cell in first for name in re.findall(r"`([a-z -]+)`", cell)}
    assert {name for name in named if not is_missing(name.split())} == set(
        without_json(main_group, click.Context(main_group, info_name="onboard"))
    )
