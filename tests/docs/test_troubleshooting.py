"""docs/troubleshooting.md: each message on it is one that the code prints. That of a feature leads to its page."""

import ast
import re

from tests.suite.packages import CODE, ROOT
from worker.core.features import FEATURES

PAGE = (ROOT / "docs/troubleshooting.md").read_text("utf-8")
MESSAGES = re.findall(r"^\| `([^|]+)` \|(.*)", PAGE, re.MULTILINE)
FEATURE = re.compile(r"\(features/(\w+)\.md")


def test_the_page_has_messages():
    assert len(MESSAGES) > 20


def test_each_message_of_the_page_is_one_of_the_code():
    trees = [ast.parse(file.read_text("utf-8")) for file in CODE]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    texts = "\n".join(node.value for node in nodes if isinstance(node.value, str)).replace("`", "")
    # The texts between the parts that change.
    here = [message for message, rest in MESSAGES if {*FEATURE.findall(rest)} <= FEATURES.here.keys()]
    parts = [(message, part.strip(" ;:,")) for message in here for part in message.split("…")]
    assert [(message, part) for message, part in parts if len(part) > 6 and part not in texts] == []
