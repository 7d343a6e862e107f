"""A large list is judged in a child process: what is stored is the same, whatever becomes of the child."""

import gzip
import json
import os
import random
import re
import shutil
import signal
import sys
from datetime import date
from pathlib import Path

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.encrypted_values import decrypt_line, decrypt_person
from onboarding_worker.core.database.tables import CustomerRow, Job, SkippedLine
from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.lists.importing import forked, list_import
from onboarding_worker.lists.importing.list_import import ImportChoices, import_list, judging_child
from onboarding_worker.lists.listing import open_list
from onboarding_worker.lists.options import ListOptions
from onboarding_worker.lists.store import batches
from onboarding_worker.lists.store.batches import Batches
from tests.simulated.world import KEY, World

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a child is made on Linux alone")
OPTIONS = ListOptions(today=date(2026, 11, 20))
HEADER = "customer_id,email,phone,country,first_name,date_of_birth,purpose,external_ref,tags\n"
MADE = {"id", "encrypted", "email_digest", "phone_digest", "leader_id"}


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path_factory):
    """Small lists have a child, and chunks of seven lines. The tests' runner has threads, which no child needs."""
    threads = tmp_path_factory.mktemp("threads")
    (threads / "1").touch()
    monkeypatch.setattr(forked, "_THREADS", threads)
    monkeypatch.setattr(list_import, "LARGE", 1)
    monkeypatch.setattr(batches, "LINES_ALONE", 7)
    monkeypatch.setattr(batches, "LINES_AT_ONCE", 7)


@pytest.fixture
async def two(sqlite_url, tmp_path, clock, request):
    """Two worlds with a database each, which are alike. The second may be on PostgreSQL."""
    file = Path(sa.make_url(sqlite_url).database)
    other = f"sqlite:///{shutil.copy(file, file.with_name('other.db'))}"
    if getattr(request, "param", "") == "postgresql":
        other = request.getfixturevalue("empty_postgresql_url")
    with World(sqlite_url, tmp_path, clock) as alone, World(other, tmp_path, clock) as shared:
        yield alone, shared


def a_list(seed, rows=60):
    """Lines of which some are refused, some are blank, and some have the customer of an earlier line."""
    chance = random.Random(seed)  # noqa: S311 -- no secret is made of it
    lines = []
    for _ in range(rows):
        number = chance.randrange(rows)
        email = chance.choice([f"c{number}@example.org", f"c{number}@example.org", "not an address", ""])
        phone = chance.choice(["", "+37060012345", "860012345", "12"])
        born = chance.choice(["1990-12-31", "31/12/1990", ""])
        more = f"{chance.choice(['', 'renewal'])},{chance.choice(['', 'R-1'])},{chance.choice(['', 'a;b'])}"
        lines.append(f"C-{number},{email},{phone},{chance.choice(['LT', 'DE', '??'])},Ona,{born},{more}\n")
        if chance.random() < 0.1:
            lines.append("\n")
    return HEADER + "".join(lines)


def bring_in(world, file, *, with_child, **how):
    parts = world.parts
    if not with_child:
        return import_list(parts.intake, parts.batches, file, OPTIONS, name=file.name, **how)
    reading = open_list(file, OPTIONS)
    with judging_child(parts.intake, parts.batches, file, reading) as child:
        how |= {"reading": reading, "child": child}
        imported = import_list(parts.intake, parts.batches, file, OPTIONS, name=file.name, **how)
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)
    return imported


def stored(world):
    """All that the lists have become; what is encrypted is decrypted, and the first batch has the number 0."""
    found = []
    first = min(batch.id for batch in world.parts.batches.all())
    with world.parts.database.read() as connection:
        for model in (CustomerRow, Job, SkippedLine):
            rows = connection.execute(sa.select(model.__table__)).mappings().all()
            for row in rows:
                plain = {name: value for name, value in row.items() if name not in MADE}
                if model is CustomerRow:
                    plain["person"] = vars(decrypt_person(world.parts.keyring, row["customer_id"], row["encrypted"]))
                elif model is Job:
                    plain["line"] = vars(
                        decrypt_line(world.parts.keyring, row["batch_id"], row["row"], row["encrypted"])
                    )
                    plain["joined"] = row["leader_id"] is not None
                if "batch_id" in plain:
                    plain["batch_id"] -= first
                text = f"{model.__name__} {sorted(plain.items())}"
                found.append(re.sub(r"batch (\d+)", lambda named: f"batch {int(named[1]) - first}", text))
    return sorted(found)


@pytest.mark.parametrize("two", ["sqlite", "postgresql"], indirect=True)
async def test_the_same_is_stored_with_a_child_and_without(two, tmp_path):
    files = [tmp_path / f"{number}.csv" for number in range(2)]
    for seed, file in enumerate(files):  # of the customers of the later lists, many are known
        file.write_text(a_list(seed))
    ends = []
    for world, with_child in zip(two, (False, True), strict=True):
        world.parts.batches = Batches(world.parts.database, Keyring([KEY]), wide=())
        found = [bring_in(world, file, with_child=with_child) for file in files]
        facts = [(end.refusals.rows, end.refusals.top(9), end.warnings) for end in found]
        ends.append((stored(world), facts))
    assert ends[1] == ends[0]
    assert len(ends[0][0]) > 100


async def test_a_child_that_is_killed_leaves_its_rows_to_its_parent(two, tmp_path, monkeypatch, caplog):
    here, judge = os.getpid(), list_import.judge

    def dies(intake, line):
        if os.getpid() != here and line.row > 30:
            os.kill(os.getpid(), signal.SIGKILL)
        return judge(intake, line)

    file = tmp_path / "list.csv"
    file.write_text(a_list(seed=7))
    alone, killed = two
    first = bring_in(alone, file, with_child=False)
    monkeypatch.setattr(list_import, "judge", dies)
    end = bring_in(killed, file, with_child=True)
    assert "the import goes on in one process" in caplog.text
    assert killed.parts.batches.find(str(end.batch.id)).imported_at is not None
    assert (stored(killed), end.refusals.rows) == (stored(alone), first.refusals.rows)


async def test_an_import_that_was_interrupted_leaves_no_child_and_goes_on_with_another(two, tmp_path):
    file = tmp_path / "list.csv"
    file.write_text(a_list(seed=8))
    alone, cut = two
    bring_in(alone, file, with_child=False)

    def interrupt(_rows):
        raise KeyboardInterrupt

    parts = cut.parts
    with (
        pytest.raises(KeyboardInterrupt),
        judging_child(parts.intake, parts.batches, file, open_list(file, OPTIONS)) as child,
    ):
        import_list(parts.intake, parts.batches, file, OPTIONS, name=file.name, child=child, progress=interrupt)
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)
    assert parts.batches.find("latest").imported_at is None
    bring_in(cut, file, with_child=True)
    assert stored(cut) == stored(alone)


async def test_a_compressed_list_is_read_by_both_at_a_place_of_its_own(two, tmp_path):
    file = tmp_path / "list.jsonl.gz"
    rows = ({"customer_id": f"C-{number}", "email": f"c{number}@example.org"} for number in range(1_500))
    file.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    strict = ImportChoices(strict=True)  # the parent reads all of it, and then its child
    for world, with_child in zip(two, (False, True), strict=True):
        world.parts.batches.lines_at_once = 500
        bring_in(world, file, with_child=with_child, choices=strict)
    assert stored(two[1]) == stored(two[0])
    assert len(stored(two[0])) == 3_000


async def test_a_small_list_has_no_child(make, tmp_path, monkeypatch):
    file = tmp_path / "list.csv"
    file.write_text(a_list(seed=9))
    monkeypatch.setattr(list_import, "LARGE", file.stat().st_size + 1)
    world = make()
    with judging_child(world.parts.intake, world.parts.batches, file, open_list(file, OPTIONS)) as child:
        assert child is None
