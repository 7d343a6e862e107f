"""A list comes in: each line becomes a job or a refusal, once, however often the import was cut off."""

from datetime import date
from itertools import count

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import CustomerRow, Job, SkippedLine
from onboarding_worker.lists.formats.opening import content_digest
from onboarding_worker.lists.importing.judging import options_of
from onboarding_worker.lists.importing.list_import import (
    USUAL,
    CutOff,
    ImportChoices,
    TooManyRefused,
    import_list,
    list_age,
)
from onboarding_worker.lists.lines import ListRefused
from onboarding_worker.lists.options import ListOptions
from onboarding_worker.lists.store import added_lines, batches

OPTIONS = ListOptions(today=date(2026, 11, 20))
HEADER = "customer_id,email,country\n"
GOOD = "C-1,ona@example.org,LT\nC-2,jonas@example.org,LT\n"
AGAIN = ImportChoices(again=True)


def bring_in(world, file, choices=USUAL, **how):
    parts = world.parts
    return import_list(parts.intake.of(), parts.batches, file, OPTIONS, name=file.name, choices=choices, **how)


@pytest.fixture
def written(tmp_path):
    def write(text, name="list.csv"):
        file = tmp_path / name
        file.write_text(text)
        return file

    return write


async def test_each_line_becomes_a_job_or_a_refusal_under_its_own_row(make, written):
    world = make()
    bad, twice = "C-2,not an address,LT\n", "C-1,ona@example.org,LT\n"
    file = written(HEADER + twice + bad + twice + "C-4,x@example.org,LT\n")
    imported = bring_in(world, file)
    lines = [(line.row, line.state) for line in world.parts.facts.lines(imported.batch.id)]
    assert lines == [(2, "waiting"), (3, "rejected"), (4, "duplicate"), (5, "waiting")]
    assert world.job("C-1").account == "kyc"
    assert world.job("C-1").floor_seconds == 12 * 3600


async def test_a_line_keeps_the_others_of_its_route_and_what_the_route_asks_of_their_links(make, written):
    header = "customer_id,email,country,account\n"
    lines = "C-1,ona@example.org,LT,\nC-2,jonas@example.org,LT,kyc\n"
    world = make(route=["kyc", "au"], more='per_row = ["account"]', follow_up='[rights]\nlists = ["account"]')
    bring_in(world, written(header + lines))
    assert [(row.account, row.fallback_accounts, row.freshness_seconds) for row in world.rows(Job)] == [
        ("kyc", "au", None),
        ("kyc", "", None),  # the list says who serves it
    ]
    fresh = make(route=["kyc", "au"], more='[[routes]]\naccounts = ["au", "kyc"]\nfreshness = "2 hours"')
    bring_in(fresh, written(header + lines), AGAIN)
    bring_in(fresh, written(header + "C-3,rasa@example.org,LT,\n"))
    row = fresh.job("C-3")
    assert (row.account, row.fallback_accounts, row.freshness_seconds, row.floor_seconds) == ("au", "kyc", 7200, 7200)


async def test_a_floor_that_no_route_sets_follows_the_lifetime_that_the_row_asks_for(make, written):
    world = make()
    file = written("customer_id,email,idenfy-kyc.expiryTime\nC-1,ona@example.org,3600\n")
    import_list(world.parts.intake, world.parts.batches, file, options_of(world.parts.intake), name=file.name)
    assert world.job("C-1").floor_seconds == 30 * 60


async def test_the_same_list_again_is_the_same_batch_and_adds_nothing(make, written):
    world = make()
    first = bring_in(world, written(HEADER + GOOD))
    world.clock.advance(hours=30)
    second = bring_in(world, written(HEADER + GOOD, "renamed.csv"))
    assert (first.new, second.new, second.batch.id) == (True, False, first.batch.id)
    assert len(world.rows(Job)) == 2
    assert list_age(second.batch, now=world.clock()) == "1 day"


async def test_again_makes_a_new_batch_whose_jobs_join_the_first(make, written):
    world = make()
    first = bring_in(world, written(HEADER + GOOD))
    second = bring_in(world, written(HEADER + GOOD), AGAIN)
    assert second.new
    assert {row.batch_id: row.leader_id is not None for row in world.rows(Job)} == {
        first.batch.id: False,
        second.batch.id: True,
    }


@pytest.fixture
def at_once(monkeypatch):
    """A transaction adds few lines; returns how many."""
    monkeypatch.setattr(batches, "LINES_ALONE", 50)
    monkeypatch.setattr(batches, "LINES_AT_ONCE", 50)
    return 50


async def test_an_import_that_was_cut_off_goes_on_where_it_stopped(make, written, at_once, monkeypatch):
    chunks, add = count(1), added_lines.add_lines

    def interrupted(*arguments, **how):
        if next(chunks) == 2:
            raise KeyboardInterrupt
        return add(*arguments, **how)

    world = make()
    lines = [f"C-{number},c{number}@example.org,LT\n" for number in range(at_once + 20)]
    lines[7] = "C-7,not an address,LT\n"
    lines[at_once - 1] = "C-0,c0@example.org,LT\n"  # a duplicate at the seam
    file = written(HEADER + "".join(lines))
    whole = world.parts.batches
    monkeypatch.setattr(added_lines, "add_lines", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bring_in(world, file)
    cut = whole.find("latest")
    assert (cut.imported_at, whole.last_row(cut.id)) == (None, at_once + 1)

    imported = bring_in(world, file)
    assert (imported.new, imported.batch.id) == (False, cut.id)
    assert [line.row for line in world.parts.facts.lines(cut.id)] == list(range(2, at_once + 22))
    assert (len(world.rows(Job)), len(world.rows(SkippedLine))) == (at_once + 18, 2)
    assert whole.find("latest").imported_at == world.clock()


@pytest.fixture
def shaky(monkeypatch):
    """Lets the database go away as lines are added: before the commit is made, or before it is confirmed. Then it is
    there again."""
    add = added_lines.add_lines

    def fails(times, *, commits=False, before=lambda: None):
        left = [None] * times

        def add_lines(*arguments, **how):
            before()
            if left:
                left.pop()
                if commits:
                    add(*arguments, **how)
                raise sa.exc.OperationalError(None, None, ConnectionError("server closed the connection"))
            return add(*arguments, **how)

        monkeypatch.setattr(added_lines, "add_lines", add_lines)

    return fails


@pytest.mark.parametrize("commits", [False, True])
async def test_an_import_outlasts_a_database_that_restarts(make, written, commits, shaky):
    world = make()
    shaky(3, commits=commits)
    paused = []
    imported = bring_in(world, written(HEADER + GOOD + "C-3,not an address,LT\n"), pause=paused.append)
    assert (len(world.rows(Job)), len(world.rows(SkippedLine)), len(paused)) == (2, 1, 3)
    assert world.parts.batches.find(str(imported.batch.id)).imported_at is not None


async def test_an_import_is_cut_off_by_a_database_that_stays_away_and_goes_on_later(make, written, shaky):
    world = make()
    shaky(1000)
    with pytest.raises(CutOff, match="server closed"):
        bring_in(world, written(HEADER + GOOD), pause=lambda seconds: world.clock.advance(seconds=seconds))
    assert world.rows(Job) == []
    shaky(0)
    assert not bring_in(world, written(HEADER + GOOD)).new
    assert len(world.rows(Job)) == 2


async def test_an_import_goes_on_after_a_machine_that_slept_in_the_middle_of_a_step(make, written, shaky):
    world = make()
    shaky(1, before=lambda: world.clock.advance(hours=8))
    bring_in(world, written(HEADER + GOOD), pause=lambda _: None)
    assert len(world.rows(Job)) == 2


async def test_two_imports_of_one_list_at_once_both_end_with_each_row_once(make, written, monkeypatch):
    add = added_lines.add_lines

    def beaten(*arguments, **how):
        """Another import of the list is through before this one's first lot."""
        monkeypatch.setattr(added_lines, "add_lines", add)
        bring_in(world, file)
        return add(*arguments, **how)

    world = make()
    file = written(HEADER + GOOD + "C-3,not an address,LT\n")
    whole = world.parts.batches
    monkeypatch.setattr(added_lines, "add_lines", beaten)
    imported = bring_in(world, file)
    assert (len(world.rows(Job)), len(world.rows(SkippedLine))) == (2, 1)
    assert whole.find(str(imported.batch.id)).imported_at == world.clock()


async def test_an_import_that_was_cut_off_and_cancelled_is_left_as_it_is(make, written):
    world = make()
    file = written(HEADER + GOOD)
    batch, _ = world.parts.batches.open(name="list.csv", digest=content_digest(file), again=False, now=world.clock())
    world.parts.decisions.cancel(batch.id, now=world.clock())
    reported = []
    imported = bring_in(world, file, progress=reported.append)
    assert (imported.batch.id, imported.batch.imported_at) == (batch.id, None)
    assert imported.batch.cancelled_at is not None
    assert (reported, world.rows(Job), world.rows(CustomerRow)) == ([], [], [])


async def test_again_goes_on_with_a_batch_whose_import_was_cut_off(make, written):
    world = make()
    file = written(HEADER + GOOD)
    batch, _ = world.parts.batches.open(name="list.csv", digest=content_digest(file), again=False, now=world.clock())
    imported = bring_in(world, file, AGAIN)
    assert (imported.new, imported.batch.id, len(world.rows(Job))) == (False, batch.id, 2)
    assert bring_in(world, file, AGAIN).new


async def test_a_list_that_changes_while_it_is_read_is_not_taken_for_complete(make, written):
    world = make()
    file = written(HEADER + GOOD)

    def grow(_batch):
        with file.open("a") as stream:
            stream.write("C-3,rasa@example.org,LT\n")

    with pytest.raises(ListRefused, match="changed while it was read"):
        bring_in(world, file, opened=grow)
    assert world.parts.batches.find("latest").imported_at is None
    assert bring_in(world, file).new


async def test_a_list_that_was_worked_and_comes_again_asks_for_nothing_more(make, written):
    world = make()
    file = written(HEADER + GOOD)
    imported = bring_in(world, file)
    await world.work()
    again = bring_in(world, file)
    await world.work()
    assert again.batch.id == imported.batch.id
    assert len(world.asked) == len(world.senders["email"].messages) == 2


async def test_under_strict_one_refused_line_is_enough_to_take_none(make, written):
    world = make()
    file = written(HEADER + GOOD + "C-3,not an address,LT\n")
    with pytest.raises(TooManyRefused, match="1 of 3 rows"):
        bring_in(world, file, ImportChoices(strict=True))
    assert (world.parts.batches.all(), world.rows(CustomerRow)) == ([], [])
    assert bring_in(world, file).new


async def test_an_unreadable_list_makes_no_batch(make, written):
    world = make()
    with pytest.raises(ListRefused):
        bring_in(world, written("nonsense\n1\n"))
    assert world.parts.batches.all() == []


async def test_progress_is_reported_by_the_line_while_lines_are_left(make, written, at_once):
    """The last count is the import's own answer."""
    world = make()
    reported = []
    lines = "".join(f"C-{number},c{number}@example.org,LT\n" for number in range(at_once + 1))
    bring_in(world, written(HEADER + lines), progress=reported.append)
    assert reported == [at_once]


async def test_a_line_that_no_sender_can_reach_is_refused_with_what_to_do(make, written):
    world = make(senders={})
    imported = bring_in(world, written(HEADER + GOOD))
    (first, _) = world.parts.facts.lines(imported.batch.id)
    assert (first.state, first.detail) == ("rejected", "channel: no sender is configured for email")
