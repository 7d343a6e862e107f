"""A folder of S3: a server on this machine that speaks its protocol."""

import ssl
import sys
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest
import trustme

from onboarding_worker.core.database.tables import Job
from onboarding_worker.features.list_sources import place as bounds
from onboarding_worker.features.list_sources.drop_box import place_of
from onboarding_worker.features.list_sources.place import Away, NotTaken
from onboarding_worker.features.list_sources.settings import Intake
from onboarding_worker.settings.secrets import Secret
from tests.features.list_sources.folders.box import BAD, GOOD, HEADER, Box, in_thread
from tests.features.list_sources.folders.servers import S3
from tests.web.server_loop import loop

__all__ = ["loop"]  # a fixture
NOW = datetime(2026, 11, 22, tzinfo=UTC)
LARGEST = 1 << 20
KEYS = {"access_key": Secret("AKIAEXAMPLE"), "secret_key": Secret("hemlig")}


@pytest.fixture
def server(loop, monkeypatch):
    # What the user of the machine has set says nothing: only the configuration does.
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://192.0.2.1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "other")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "other")
    with ExitStack() as opened:
        yield opened.enter_context(S3().served(loop))


def options(server: S3, **more):
    return {"endpoint": f"http://127.0.0.1:{server.port}"} | KEYS | more


def place(server: S3, at: str = "s3://bucket/in", **more):
    return place_of(Intake(folder=at, **options(server, **more)))


def why_away(one) -> str:
    with pytest.raises(Away) as away:
        in_thread(lambda: one.found(now=NOW))
    assert "hemlig" not in str(away.value)
    return str(away.value)


async def test_a_list_is_taken_once_from_a_bucket_and_its_reports_appear_there(world, server, tmp_path):
    here = Box(world, tmp_path, at="s3://bucket/in", **options(server))
    server.objects["in/list.csv"] = (HEADER + GOOD + BAD).encode()
    server.objects["other/list.csv"] = server.objects["in/deeper/list.csv"] = b"x"
    here.look()
    here.look(after=31)
    assert [row.customer_id for row in world.rows(Job)] == ["C-1", "C-2"]
    assert server.objects["in/list.csv.errors.csv"].decode().splitlines()[1].endswith(BAD.strip())
    await world.work()
    here.look(after=31)
    server.objects["in/again.csv"] = (HEADER + GOOD + BAD).encode()
    here.look(after=31)
    here.look(after=31)
    assert here.files["again.csv"] == ("imported", "the same list as list.csv")
    assert len(world.parts.batches.all()) == 1
    del server.objects["in/again.csv"]
    world.parts.decisions.cancel(1, now=world.clock())
    here.look(after=31)
    report = server.objects["in/list.csv.report.csv"].decode().splitlines()
    assert [line.split(",")[2] for line in report[1:]] == ["cancelled"] * 2 + ["rejected"]
    assert here.files["list.csv"] == ("imported", "")
    assert server.keys == {"AKIAEXAMPLE"}

    server.code = "AccessDenied"
    here.look(after=31)
    assert here.waits_for == "the folder cannot be read: access was denied"
    server.code = ""
    here.look(after=31)
    assert here.waits_for == "waits for a file"


def test_exactly_the_version_that_was_listed_is_read(server):
    server.objects["in/list.csv"] = HEADER.encode()
    one = place(server)

    def read(meanwhile: bytes, *, largest: int = LARGEST) -> bytes:
        stamp = one.found(now=NOW).stamps["list.csv"]
        server.objects["in/list.csv"] = meanwhile
        with one.copied("list.csv", stamp, largest=largest, step=lambda: None) as copy:
            return copy.content.read()

    assert in_thread(lambda: read(HEADER.encode())) == HEADER.encode()
    with pytest.raises(NotTaken, match="it still changes"):
        in_thread(lambda: read((HEADER + GOOD).encode()))
    with pytest.raises(NotTaken, match="largest") as refused:
        in_thread(lambda: read((HEADER + GOOD).encode(), largest=10))
    assert refused.value.for_good


def test_hostile_names_are_harmless_and_a_bucket_with_too_many_objects_is_full(server, monkeypatch):
    long = "x" * 1000
    for name in ("a\u202eb.csv", "..", "../up.csv", long, "<&>.csv", ".hidden", "x.errors.csv", ""):
        server.objects[f"in/{name}"] = b"x"
    server.page = 3
    found = in_thread(lambda: place(server).found(now=NOW))
    assert list(found.stamps) == ["<&>.csv"]
    assert [(name[:4], len(name) <= 255) for name in found.odd] == [("ab.c", True), ("xxxx", True)]
    monkeypatch.setattr(bounds, "MOST_ENTRIES", 4)
    server.asked.clear()
    assert in_thread(lambda: place(server).found(now=NOW)).is_full
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("AccessDenied", "access was denied"),
        ("InvalidAccessKeyId", "the server does not know the access key"),
        ("SignatureDoesNotMatch", "the secret key does not fit the access key"),
        ("SomethingNew", "the server answered 403"),
    ],
)
def test_why_a_bucket_cannot_be_read_is_said_in_our_words(server, code, reason):
    server.code = code
    assert why_away(place(server)) == reason
    with pytest.raises(NotTaken, match=f"^x.csv cannot be written: {reason}$"):
        in_thread(lambda: place(server).write("x.csv", lambda out: out.write("x")))


def test_a_bucket_that_is_not_there_and_a_missing_extra_are_named(server, monkeypatch):
    assert why_away(place(server, "s3://no-bucket")) == "there is no such bucket"
    monkeypatch.setitem(sys.modules, "aiobotocore.session", None)
    assert why_away(place(server)).endswith("pip install 'onboarding-worker[s3]'")


def test_a_server_is_verified_by_the_authorities_of_this_machine(loop, tmp_path, monkeypatch):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(tls)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    with S3().served(loop, tls) as server:
        at = f"https://localhost:{server.port}"
        unknown = "its authority is unknown here, or the server leaves out a certificate between"
        assert why_away(place(server, endpoint=at)) == f"certificate not trusted ({unknown})"
        by_number = f"https://127.0.0.1:{server.port}"
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        assert why_away(place(server, endpoint=by_number)) == "certificate for another host name"
        assert server.asked == []
        assert in_thread(lambda: place(server, endpoint=at).found(now=NOW)).stamps == {}
