"""Public collections of bad input, sent through every door that takes text. BAD_INPUT names their folder.

tests/lists/test_bad_input.py sends them through the rules of a list.
"""

import csv
import io
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from onboarding_worker.core.foundation.notation import spreadsheet_safe
from onboarding_worker.core.model.customers import CustomerKind
from onboarding_worker.templates.render import Templates
from tests.conftest import SetClock
from tests.hostile.conftest import WEB
from tests.hostile.requests import event, raw, status_of
from tests.hostile.served import say
from tests.hostile.test_webhooks import VERIFIED, hook
from tests.suite.some import some
from tests.templates.test_render import LINK, NOW, Page, to
from tests.web.site import Site

BAD_INPUT = os.environ.get("BAD_INPUT", "")
pytestmark = pytest.mark.skipif(not BAD_INPUT, reason="BAD_INPUT names no folder with collections of bad input")
FOLDER = Path(BAD_INPUT)
CUSTOMER = {"customer_id": "C-1", "channel": "none"}


@pytest.fixture(scope="module")
def web(
    postgresql_url: str, empty_postgresql: Callable[[], None], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Over PostgreSQL, which refuses more texts than SQLite does."""
    empty_postgresql()
    yield Site(postgresql_url, tmp_path_factory.mktemp("corpora"), SetClock(), keys=WEB, scripted=False)
    empty_postgresql()


@pytest.fixture(scope="module")
def strings() -> list[str]:
    found: list[str] = json.loads((FOLDER / "blns" / "blns.json").read_text(encoding="utf-8"))
    assert len(found) > 500
    return found


def test_naughty_strings_in_events_are_taken_as_text_or_refused_unrepeated(port: int, strings: list[str]):
    answered: Counter[int] = Counter()
    for number, text in enumerate(strings):
        column = ("first_name", "email", "template", "purpose", "tags")[number % 5]
        answer = say(port, event(id=f"naughty {number}", data=CUSTOMER | {"customer_id": f"N-{number}", column: text}))
        answered[status_of(answer)] += 1
        assert len(text) < 12 or json.dumps(text).strip('"') not in answer.decode("utf-8", "replace")
    assert answered.keys() <= {202, 400, 422}
    assert answered[202] > 50
    assert answered[422] > 50


def test_naughty_strings_in_the_head_of_a_request_are_no_servers_fault(port: int, strings: list[str]):
    for text in some(strings):
        line = text.encode("utf-8", "surrogatepass")
        answer = say(port, raw(b"", method="GET", path="/healthz", Connection="close", head=b"X-A: " + line + b"\r\n"))
        assert status_of(answer) in (200, 400)


def test_naughty_strings_in_webhooks_are_kept_or_refused(port: int, strings: list[str]):
    for number, text in some(enumerate(strings[::4])):
        webhook = VERIFIED | {"clientId": text, "scanRef": f"scan-{number}", "status": {"overall": text}}
        assert status_of(say(port, hook(json.dumps(webhook).encode()))) == 200


def test_naughty_names_make_mails_with_our_two_links_alone(strings: list[str]):
    templates = Templates(None)
    for text in some(strings):
        for kind in CustomerKind:
            invitation = to("en", kind, first_name=text, last_name=text, company_name=text)
            rendered = templates.render(replace(invitation, sender_name=text), channel="email", now=NOW)
            page = Page(rendered.html)
            assert page.links == [LINK, LINK], text
            assert "script" not in {tag for tag, _ in page.tags}
            assert rendered.subject.isprintable()
            assert "\r" not in rendered.subject + rendered.text


def test_no_cell_of_any_collection_stays_a_formula(strings: list[str]):
    payloads = (FOLDER / "csv-injection" / "Intruder" / "csv-payload.txt").read_text(encoding="utf-8").splitlines()
    for text in [
        *payloads,
        *strings,
        *(f"x;{payload}" for payload in payloads),
        *(f" {payload}" for payload in payloads),
    ]:
        out = io.StringIO(newline="")
        csv.writer(out).writerow(["1", spreadsheet_safe(text)])
        for delimiter in ",;\t|":
            for row in some(csv.reader(io.StringIO(out.getvalue(), newline=""), delimiter=delimiter)):
                assert not [cell for cell in row if cell.lstrip(" \ufeff\0")[:1] in ("=", "@")], text


def test_addresses_that_isemail_calls_errors_are_refused_in_events(port: int):
    tests = ElementTree.parse(FOLDER / "isemail" / "test" / "tests.xml").getroot().findall("test")  # noqa: S314 -- ours
    written = [test.findtext("address") or "" for test in tests if test.findtext("category") == "ISEMAIL_ERR"]
    # The collection writes control signs as their pictures.
    errors = [re.sub("[\u2400-\u2421]", lambda sign: chr(ord(sign[0]) - 0x2400), address) for address in written]
    assert len(errors) > 60
    for number, address in enumerate(errors):
        if address and address == address.strip():  # blanks around a value are left out
            data = {"customer_id": f"E-{number}", "email": address}
            assert status_of(say(port, event(id=f"address {number}", data=data))) in (400, 422), address
