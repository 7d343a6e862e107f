"""docs/troubleshooting.md: each message on it is one that the code prints."""

import ast
import re

import pytest

from tests.deploy.compose_file import ROOT

PAGE = (ROOT / "docs/troubleshooting.md").read_text("utf-8")
MESSAGES = re.findall(r"^\| `([^|]+)` \|", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def texts() -> str:
    """All texts of the code, each on a line, without backticks."""
    trees = [ast.parse(file.read_text("utf-8")) for file in (ROOT / "worker").rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return "\n".join(node.value for node in nodes if isinstance(node.value, str)).replace("`", "")


def test_the_page_has_messages():
    assert len(MESSAGES) > 20


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_of_the_page_is_one_of_the_code(message, texts):
    # The texts between the parts that change.
    parts = [part.strip(" ;:,") for part in re.split(r"…", message)]
    assert [part for part in parts if len(part) > 6 and part not in texts] == []
