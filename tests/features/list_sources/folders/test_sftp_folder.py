"""A folder of an SFTP server: a real server on this machine."""

import os
import stat
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from onboarding_worker.core.database.tables import Job
from onboarding_worker.features.list_sources import remote_folders as calls
from onboarding_worker.features.list_sources.drop_box import place_of
from onboarding_worker.features.list_sources.place import Away, NotTaken
from onboarding_worker.features.list_sources.settings import Intake
from onboarding_worker.settings.secrets import Secret
from tests.features.list_sources.folders.box import BAD, GOOD, HEADER, Box, in_thread
from tests.features.list_sources.folders.servers import PASSWORD, Sftp, log_in, loop, server

__all__ = ["loop", "server"]  # fixtures
NOW = datetime(2026, 11, 22, tzinfo=UTC)
LARGEST = 1 << 20


def place(server: Sftp, **options):
    return place_of(Intake(folder=server.at("/in"), **log_in(server) | options))


def why_away(one) -> str:
    with pytest.raises(Away) as away:
        in_thread(lambda: one.found(now=NOW))
    return str(away.value)


def copy_of(one, name: str, step=lambda: None) -> bytes:
    def read() -> bytes:
        stamp = one.found(now=NOW).stamps[name]
        with one.copied(name, stamp, largest=LARGEST, step=step) as copy:
            return copy.content.read()

    return in_thread(read)


async def test_a_list_is_taken_once_from_a_server_and_its_reports_appear_there(world, server):
    here = Box(world, server.root / "in", at=server.at("/in"), **log_in(server))
    here.put("list.csv", HEADER + GOOD)
    here.look()
    here.put("list.csv", HEADER + GOOD + BAD)
    here.look(after=11)
    assert here.waits_for == "list.csv: taken when it has not changed for 10 s"
    here.look(after=11)
    assert [row.customer_id for row in world.rows(Job)] == ["C-1", "C-2"]
    assert here.beside("list.csv.errors.csv")[1].endswith(BAD.strip())
    await world.work()
    here.put("copy.csv", HEADER + GOOD + BAD)
    here.look(after=31)
    here.look(after=31)
    assert here.files["copy.csv"] == ("imported", "the same list as list.csv")
    assert len(world.parts.batches.all()) == 1
    assert [line.split(",")[2] for line in here.beside("list.csv.report.csv")[1:]] == ["invited", "invited", "rejected"]
    world.parts.decisions.cancel(1, now=world.clock())
    server.knows_posix_rename = False
    here.look(after=31)
    assert [line.split(",")[2] for line in here.beside("list.csv.report.csv")[1:]] == ["cancelled"] * 2 + ["rejected"]
    written = [here.folder / f"list.csv.{name}.csv" for name in ("errors", "report")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o600}
    names = [f"{name}{end}" for name in ("copy.csv", "list.csv") for end in ("", ".errors.csv", ".report.csv")]
    assert sorted(os.listdir(here.folder)) == names


@pytest.mark.parametrize(("readers", "mode"), [("owner", 0o600), ("group", 0o640)])
async def test_the_group_can_read_what_is_written_there_if_that_is_wanted(server, tmp_path, readers, mode):
    (tmp_path / "here").mkdir()
    here = place_of(Intake(folder=tmp_path / "here", readable_by=readers))
    in_thread(lambda: here.write("list.csv.errors.csv", lambda stream: stream.write("row\n")))
    ours = os.umask(0o022)  # the server's
    try:
        in_thread(lambda: place(server, readable_by=readers).write("list.csv.errors.csv", lambda stream: None))
    finally:
        os.umask(ours)
    written = (tmp_path / "here" / "list.csv.errors.csv", server.root / "in" / "list.csv.errors.csv")
    assert [stat.S_IMODE(path.stat().st_mode) for path in written] == [mode, mode]


async def test_a_server_whose_disk_is_full_gets_the_errors_and_the_report_later(world, server):
    here = Box(world, server.root / "in", at=server.at("/in"), **log_in(server))
    here.put("list.csv", HEADER + GOOD)
    here.look()
    server.refuses_writes = True
    here.look(after=11)
    assert "list.csv.errors.csv cannot be written: the server refused it" in here.waits_for
    assert len(world.rows(Job)) == 2
    server.refuses_writes = False
    here.look(after=70)
    assert here.files["list.csv"] == ("imported", "")
    assert len(here.beside("list.csv.errors.csv")) == 1
    assert [name for name in os.listdir(here.folder) if name.startswith(".")] == []
    assert len(world.rows(Job)) == 2


def test_the_servers_key_is_always_checked(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    unknown = "the server's key is not the one of `known_hosts`, or none is known"
    # Not even where the user's own configuration switches it off.
    (tmp_path / "home" / ".ssh" / "config").write_text(
        "Host *\n  UserKnownHostsFile none\n  StrictHostKeyChecking no\n"
    )
    assert why_away(place(server, known_hosts=None)) == unknown
    assert why_away(place(server, known_hosts=server.known_hosts.replace("127.0.0.1", "192.0.2.1"))) == unknown
    (tmp_path / "home" / ".ssh" / "known_hosts").write_text(server.known_hosts)
    assert in_thread(lambda: place(server, known_hosts=None).found(now=NOW)).stamps == {}


def test_it_logs_in_with_the_key_or_the_password_and_with_nothing_of_the_user(server, tmp_path, monkeypatch):
    (server.root / "in" / "list.csv").write_text(HEADER)
    assert copy_of(place(server), "list.csv") == HEADER.encode()
    assert copy_of(place(server, key=None, password=Secret(PASSWORD)), "list.csv") == HEADER.encode()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    (tmp_path / "home" / ".ssh" / "id_ed25519").write_text(server.private_key)
    (tmp_path / "home" / ".ssh" / "id_ed25519").chmod(0o600)
    denied = why_away(place(server, key=None, password=Secret("hemlig-other")))
    assert denied == "the server accepted neither the key nor the password"
    assert why_away(place(server, key=Secret("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA"))) == "the key cannot be read"


def test_a_replaced_file_of_a_password_is_read_again(server, tmp_path):
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    file.chmod(0o600)
    one = place(server, key=None, password=Secret("old", file=file))
    assert why_away(one) == "the server accepted neither the key nor the password"
    assert in_thread(lambda: one.found(now=NOW)).stamps == {}


def test_why_a_folder_cannot_be_read_is_said_without_its_address(server, monkeypatch):
    for folder, why in (
        (server.at("/gone"), "there is no such file"),
        ("sftp://bank@127.0.0.1:1/in", "the server cannot be reached"),
    ):
        assert why_away(place_of(Intake(folder=folder, **log_in(server)))) == why
    monkeypatch.setitem(sys.modules, "asyncssh", None)
    assert why_away(place(server)).endswith("pip install 'onboarding-worker[sftp]'")


def test_hostile_names_and_links_are_harmless(server):
    there = server.root / "in"
    (server.root / "secret.csv").write_text("hemlig")
    (there / "link.csv").symlink_to("../secret.csv")
    os.mkfifo(there / "pipe.csv")
    (there / "directory.csv").mkdir()
    long = "x" * 245
    for name in ("a\nb.csv", "a\u202egpj.csv", "..csv", ".hidden", long, "x.report.csv", "good.csv"):
        (there / name).write_text(HEADER)
    Path(os.fsdecode(os.fsencode(there) + b"/\xff.csv")).write_text(HEADER)
    left = there / f".onboard-{'0' * 32}.part"
    left.write_text("")
    os.utime(left, (NOW.timestamp() - 7200,) * 2)
    found = in_thread(lambda: place(server).found(now=NOW))
    assert list(found.stamps) == ["good.csv"]
    # Each with a part of its hash, so that none has the name of another file.
    unseen = {".csv", "a b.csv", "agpj.csv"}
    assert {name.partition("…")[0] for name in found.odd} == unseen | {"link.csv", "pipe.csv", "x" * 200}
    assert found.left_over == [left.name]
    in_thread(lambda: place(server).remove(left.name))
    assert not left.exists()


def test_a_file_that_changes_or_is_swapped_while_it_is_read_is_left(server):
    file = server.root / "in" / "list.csv"
    file.write_text(HEADER)
    (server.root / "secret.csv").write_text("x" * len(HEADER))

    def swap() -> None:
        file.unlink()
        file.symlink_to("../secret.csv")

    for meanwhile in (lambda: file.write_text(HEADER + GOOD), swap):
        with pytest.raises(NotTaken, match="it still changes") as refused:
            copy_of(place(server), "list.csv", meanwhile)
        assert not refused.value.for_good
    file.unlink()
    file.write_bytes(b"x" * (LARGEST + 1))
    with pytest.raises(NotTaken, match="largest") as refused:
        copy_of(place(server), "list.csv")
    assert refused.value.for_good


def test_a_server_that_sends_a_file_too_slowly_gets_no_more_time(server, monkeypatch):
    (server.root / "in" / "list.csv").write_text(HEADER)
    monkeypatch.setattr(calls, "FILE_SECONDS", 0.0)
    with pytest.raises(NotTaken, match="the server sends it too slowly") as refused:
        copy_of(place(server), "list.csv")
    assert not refused.value.for_good


def test_what_the_process_raises_while_it_reads_ends_the_reading_as_it_is(server):
    (server.root / "in" / "list.csv").write_text(HEADER)

    class Ends(Exception):
        pass

    def end() -> None:
        raise Ends

    with pytest.raises(Ends):
        copy_of(place(server), "list.csv", end)
