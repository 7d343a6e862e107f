"""docs/troubleshooting.md: each message on it is one that the code prints. That of a feature leads to its page."""

import ast
import re

from onboarding_worker.core.foundation.features import FEATURES
from tests.suite.packages import CODE, ROOT

PAGE = (ROOT / "docs/troubleshooting.md").read_text("utf-8")
MESSAGES = re.findall(r"^\| `([^|]+)` \|(.*)", PAGE, re.MULTILINE)
NEXT_LINE = re.compile(r'"\s*\n\s*f?"(?!")')
FEATURE = re.compile(r"\(features/(\w+)\.md")


def test_the_page_has_messages():
    assert len(MESSAGES) > 20


def test_each_message_of_the_page_is_one_of_the_code():
    # The texts between the parts that change.
    here = [message for message, rest in MESSAGES if {*FEATURE.findall(rest)} <= FEATURES.here.keys()]
    parts = [part.strip(" ;:,") for message in here for part in message.split("…")]
    # Only files that have one are parsed. A text may go on in the next line.
    files = [NEXT_LINE.sub("", file.read_text("utf-8")).replace("`", "") for file in CODE]
    trees = [ast.parse(text) for text in files if any(part in text for part in parts if len(part) > 6)]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    texts = "\n".join(node.value for node in nodes if isinstance(node.value, str))
    assert [part for part in parts if len(part) > 6 and part not in texts] == []
