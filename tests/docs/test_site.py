"""`make docs`: the site that is made of the pages."""

import pytest
from markdown import markdown

from deploy.docs_hooks import COMMON, difference

# Reads as MkDocs does, and as a site of repositories does.
EXTENSIONS = ("tables", "pymdownx.superfences")
TABLE = "| a | b |\n|---|---|\n| c | d |\n"
OTHERWISE = {
    "a heading straight after a table": f"{TABLE}## Heading\n",
    "a list straight after a paragraph": "Words:\n- one\n- two\n",
    "code in a list, three columns in": "1. Copy it:\n\n       cp a b\n\n   Then go on.\n2. Done.\n",
    "a list in a list, two columns in": "- one\n  - two\n",
    "a line that begins with a number": "- one, else\n  21. Two\n",
    "a fence that is not closed": "Words\n\n```\ncode\n",
}


@pytest.mark.parametrize("what", OTHERWISE)
def test_what_the_site_reads_otherwise_than_the_repository_is_found(what):
    text = OTHERWISE[what]

    assert difference(markdown(text, extensions=EXTENSIONS), COMMON.render(text))


def test_what_both_read_alike_is_no_difference():
    text = f"# Title\n\n{TABLE}\n## Heading\n\n1. Copy:\n\n    ```\n    cp a b\n    ```\n\n    Then.\n\n2. Done.\n"

    assert difference(markdown(text, extensions=EXTENSIONS), COMMON.render(text)) == ""
