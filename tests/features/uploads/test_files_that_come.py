"""A file that comes in the form of the page: what is no such form, is too large or stops is refused, and not kept."""

import logging

import pytest

from onboarding_worker.core.database.tables import UploadedList, UploadedPart
from onboarding_worker.features.dashboard import files
from onboarding_worker.features.dashboard import site as site_module
from tests.features.dashboard.conftest import rows
from tests.features.dashboard.visitor import FROM_HERE
from tests.features.uploads.conftest import GOOD, give
from tests.web.site import until

HEADERS = FROM_HERE | {"Content-Type": "multipart/form-data; boundary=b"}
MANY = b"".join(b"X-%d: 1\r\n" % number for number in range(10_000))


def state(site):
    return [one for (one,) in rows(site, UploadedList.state)]


@pytest.fixture
async def before_the_file(ona):
    """The form up to the headers of its file."""
    token = (await ona.get("/dashboard/lists")).form["token"]
    return f'--b\r\nContent-Disposition: form-data; name="token"\r\n\r\n{token}\r\n--b\r\n'.encode()


@pytest.mark.parametrize(
    "headers",
    [
        *(
            b'Content-Disposition: form-data; name="file"; filename="%s"\r\n' % name
            for name in (b"a\x07b.csv", b"a\x00b.csv", b"a\r\nb.csv", b"a\x7fb.csv", b"a\x1b[0m.csv")
        ),
        b"no header\r\n",
        b"X y: 1\r\n",
        b" folded: 1\r\n",
        b"Content-Type: text/csv\r\nContent-Type: text/html\r\n",
        b"X: " + b"1" * 100_000 + b"\r\n",
        MANY,
    ],
)
async def test_a_file_whose_headers_are_none_is_refused_and_is_no_bug_of_ours(
    site, ona, before_the_file, headers, caplog
):
    named = b"" if b"filename" in headers else b'Content-Disposition: form-data; name="file"; filename="l.csv"\r\n'
    form = before_the_file + named + headers + b"\r\n" + GOOD + b"\r\n--b--\r\n"

    async with ona.client.post("/dashboard/lists", data=form, headers=HEADERS) as answer:
        assert (answer.status, "the form is broken" in await answer.text()) == (400, True)

    assert [one for one in caplog.records if one.levelno >= logging.ERROR] == []
    assert rows(site, UploadedList.id) == []


async def test_a_file_that_is_too_large_is_not_kept(site, ona, monkeypatch):
    monkeypatch.setattr(site_module, "receive", lambda *given, most: files.receive(*given, most=2000))
    monkeypatch.setattr(files, "CHUNK", 500)

    answer = await give(ona, GOOD * 50)

    assert answer.status == 413
    assert rows(site, UploadedPart.id) == []


async def test_a_file_that_stops_coming_is_not_kept(site, ona, before_the_file, monkeypatch):
    monkeypatch.setattr(files, "IDLE_SECONDS", 1.0)

    async def stops():
        yield before_the_file + b'Content-Disposition: form-data; name="file"; filename="l.csv"\r\n\r\n' + GOOD * 20
        await until(lambda: state(site) == ["discarded"])

    async with ona.client.post("/dashboard/lists", data=stops(), headers=HEADERS) as answer:
        assert answer.status == 408

    assert state(site) == ["discarded"]
    assert rows(site, UploadedPart.id) == []


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\lists\\a b.csv", "a b.csv"),
        ("a\nb\x1b[0m.csv", "a b [0m.csv"),
        ("/", "list"),
    ],
)
def test_a_file_keeps_its_name_without_folders(given, name):
    assert files.named(given) == name
