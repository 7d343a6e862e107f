"""docs/reference/json.md: its documents have the keys that the commands print."""

import json
import re
from typing import Any

import pytest

from tests.desk.desk import Desk, Played
from tests.docs.shown import text_of
from tests.docs.test_shown_commands import PAGES

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
