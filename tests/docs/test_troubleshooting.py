"""docs/troubleshooting.md: each message on it is one that the code prints."""

import ast
import re

from tests.suite.of_features import needs_all
from tests.suite.packages import CODE, ROOT

PAGE = (ROOT / "docs/troubleshooting.md").read_text("utf-8")
MESSAGES = re.findall(r"^\| `([^|]+)` \|", PAGE, re.MULTILINE)


def test_the_page_has_messages():
    assert len(MESSAGES) > 20


@needs_all
def test_each_message_of_the_page_is_one_of_the_code():
    trees = [ast.parse(file.read_text("utf-8")) for file in CODE]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    texts = "\n".join(node.value for node in nodes if isinstance(node.value, str)).replace("`", "")
    # The texts between the parts that change.
    parts = [(message, part.strip(" ;:,")) for message in MESSAGES for part in message.split("…")]
    assert [(message, part) for message, part in parts if len(part) > 6 and part not in texts] == []
