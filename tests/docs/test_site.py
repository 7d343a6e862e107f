"""`make docs`: the site that is made of the pages."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from markdown import markdown

from deploy.docs_hooks import COMMON, difference
from tests.deploy.compose_file import ROOT
from tests.desk.chromium import NO_BROWSER, browser

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


@pytest.fixture
def site(tmp_path: Path) -> Path:
    site = tmp_path / "site"
    command = [Path(sys.executable).parent / "mkdocs", "build", "--quiet", "--no-strict", "--site-dir", site]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, check=True, capture_output=True)
    return site


@pytest.mark.skipif(bool(NO_BROWSER), reason=NO_BROWSER)
async def test_the_site_is_searched_from_its_folder_and_asks_no_other_host(site: Path, tmp_path: Path):
    async with browser(tmp_path) as tab:
        await tab.open((site / "index.html").as_uri())
        await tab.run("document.querySelector('[data-md-component=search-query]').focus()")
        await tab.call("Input.insertText", text="quiet hours")
        found = await tab.until("document.querySelector('.md-search-result__link')?.href")

        assert found.startswith(site.as_uri())
        assert [url for url in tab.requests if not url.startswith(("file:", "data:", "about:", "blob:"))] == []
