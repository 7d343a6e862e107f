"""The main path of Start and How-to: run as it stands there, from top to bottom, and each customer has one mail.

A block of ```sh is run here. `test_pages_run.py` runs the other commands of all pages.
"""

import re
import shlex
from collections.abc import Iterator

import pytest

from tests.desk.desk import Desk, Played
from tests.docs.shown import text_of
from tests.suite.of_features import needs
from tests.suite.some import some

PAGES = ("start/quickstart.md", "how-to/send-a-list.md", "how-to/correct-a-list.md", "how-to/stop-everything.md")
GOES_ON = (0, 1, 3)  # done; a row needs a person; rows wait


def said_in(page: str) -> list[str]:
    """The lines that a page shows as what a command prints."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text_of(page), re.MULTILINE | re.DOTALL)
    lines = [line for kind, block in blocks if not kind for line in block.splitlines()]
    return [line for line in lines if not line.startswith("onboard ")]


def commands_of(page: str) -> Iterator[list[str]]:
    for block in re.findall(r"^```sh\n(.*?)^```$", text_of(page), re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            program, *arguments = shlex.split(line, comments=True)
            assert program == "onboard"
            yield arguments


# A report that comes back is read by a feature.
CASES = [
    pytest.param(page, marks=needs("service_desk")) if page == "how-to/correct-a-list.md" else page for page in PAGES
]


@pytest.mark.parametrize("page", CASES)
def test_the_commands_of_a_page_work_from_top_to_bottom(page: str, bare: Desk, played: Played):
    desk, errors = bare, bare.path / "errors.csv"
    ports = ["--port", str(played.sandbox.port), "--smtp-port", str(played.sandbox.smtp_port)]
    listed = re.search(r"^```csv\n(.*?)^```$", text_of(PAGES[0]), re.MULTILINE | re.DOTALL)
    desk.write("customers.csv", listed[1])
    if page != PAGES[0]:
        assert desk.onboard("init", "--sandbox", *ports).code == 0
        assert desk.onboard("run", "customers.csv", "--yes").code in GOES_ON

    printed = ""
    for arguments in some(commands_of(page)):
        if errors.exists() and "errors.csv" in arguments and arguments[0] == "run":
            errors.write_text(errors.read_text("utf-8").replace("max@example,", "max@example.com,"), "utf-8")
        ended = desk.onboard(*arguments, *(ports if arguments[0] == "init" else ()))
        assert ended.code in GOES_ON, (arguments, ended.out, ended.err)
        printed += ended.out + ended.err

    assert [line for line in said_in(page) if line not in printed.splitlines()] == []
    invited = {"ona@example.com", "jonas@example.com", "emma@example.com"}
    assert invited <= played.message_ids.keys()
    assert ("max@example.com" in played.message_ids) == errors.exists()
    assert all(sum(ids.values()) == 1 for ids in some(played.message_ids.values()))
