"""What pages say of the commands and of the decisions."""

import pytest

from tests.docs.reference import DOCS, MADE, whole
from tests.suite.of_features import needs_all


@pytest.mark.parametrize("page", [pytest.param(page, marks=needs_all) if "commands" in page else page for page in MADE])
def test_a_page_has_what_the_commands_and_the_decisions_say(page):
    text = (DOCS / page).read_text(encoding="utf-8")

    assert text == whole(page), "run `python -m tests.docs.reference`"
