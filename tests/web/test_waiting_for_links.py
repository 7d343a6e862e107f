"""Over the real receiving and the real store; the worker is played by the store's own steps."""

import asyncio
import uuid
from datetime import timedelta

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import Audit, Job, SessionRow
from onboarding_worker.core.model.endings import Cancel, Hold, Kind
from onboarding_worker.core.model.states import JobState, SessionState
from onboarding_worker.events.store.event_status import LinkStatus
from onboarding_worker.runtime.web_application import WAITING
from onboarding_worker.web.turns import Waiting
from tests.stored.shelf import Shelf
from tests.web.site import EVENT, bytes_of, until


@pytest.fixture
async def site(start, url):
    return await start(url, scripted=False)


@pytest.fixture
def shelf(site):
    return Shelf(site.parts.database, site.parts.keyring, site.clock)


def rows(site, query):
    with site.parts.database.read() as connection:
        return connection.execute(query).all()


def jobs(site):
    return rows(site, sa.select(Job.id, Job.state, Job.leader_id))


async def asking(site, event=EVENT, **headers):
    """A request that waits, once its event is in."""
    before = len(jobs(site))
    task = asyncio.create_task(site.post(event, **({"Prefer": "wait=10"} | headers)))
    await until(lambda: len(jobs(site)) > before)
    return task


async def test_who_waits_gets_the_link_as_soon_as_there_is_one(site, shelf, caplog):
    caplog.set_level("DEBUG")
    task = await asking(site)
    assert not task.done()
    shelf.issue()
    answer = await task
    (job,) = jobs(site)
    assert answer.status == 200
    assert answer.body["link"] == "https://verify.test/token-0001"
    assert answer.body["expires_at"] == "2026-11-27T12:00:00Z"
    assert answer.body["job"] == {"id": job.id, "state": "issued", "reason": ""}
    assert answer.headers["Location"] == answer.body["href"]
    assert (answer.headers["Preference-Applied"], answer.headers["Cache-Control"]) == ("wait=10", "no-store")
    assert not any(word in caplog.text for word in ("token-0001", "ona@", "C-1"))


async def test_each_link_that_is_handed_out_is_noted(site, shelf):
    task = await asking(site)
    shelf.issue()
    await task
    await site.post(Prefer="wait=1")
    (job,) = jobs(site)
    noted = rows(site, sa.select(Audit.actor, Audit.action, Audit.subject, Audit.reason).where(Audit.action == "link"))
    assert noted == [("signup", "link", "customer C-1", f"job {job.id}")] * 2
    (sent,) = rows(site, sa.select(Audit.actor, Audit.subject).where(Audit.action == "onboarding.requested"))
    assert sent == ("signup", "customer C-1")


async def test_who_asks_again_or_for_a_customer_who_has_one_gets_the_same_link(site, shelf):
    task = await asking(site)
    shelf.issue()
    first = await task
    again = await site.post(Prefer="wait=1")
    joined = await site.post(EVENT | {"id": "8"}, Prefer="wait=1")
    assert (again.status, again.body["link"], again.body["duplicate"]) == (200, first.body["link"], True)
    assert (joined.status, joined.body["link"]) == (200, first.body["link"])
    assert again.body["href"] == first.body["href"] != joined.body["href"]
    own, joining = sorted(jobs(site), key=lambda job: bool(job.leader_id))
    assert (own.leader_id, joining.leader_id) == (None, own.id)
    assert len(rows(site, sa.select(SessionRow.id))) == 1


@pytest.mark.both_databases
async def test_a_copy_of_a_signed_message_gets_no_link_and_who_signs_it_anew_does(site, shelf):
    body = bytes_of(EVENT)
    message = site.signed(body)
    assert (await site.post(body, key=None, **message)).status == 202
    shelf.issue()
    site.clock.advance(seconds=2)
    copied = await site.post(body, key=None, Prefer="wait=1", **message)
    assert (copied.status, copied.body["duplicate"], "link" in copied.body) == (202, True, False)
    anew = await site.post(body, key=None, Prefer="wait=1", **site.signed(body))
    assert (anew.status, anew.body["link"]) == (200, "https://verify.test/token-0001")


@pytest.mark.parametrize("late", [-120.0, 120.0], ids=["a clock that is ahead", "a clock that is behind"])
async def test_a_copy_is_known_as_a_copy_by_its_senders_own_clock(site, shelf, late):
    body = bytes_of(EVENT)
    first = site.signed(body, late=late)
    assert (await site.post(body, key=None, **first)).status == 202
    shelf.issue()
    site.clock.advance(seconds=1)
    again = site.signed(body, late=late)
    assert "link" not in (await site.post(body, key=None, Prefer="wait=1", **first)).body
    assert "link" in (await site.post(body, key=None, Prefer="wait=1", **again)).body
    for copied in (first, again):
        assert "link" not in (await site.post(body, key=None, Prefer="wait=1", **copied)).body


async def test_a_copy_of_a_newer_message_without_a_wish_to_wait_gets_no_link_either(site, shelf):
    body = bytes_of(EVENT)
    await site.post(body, key=None, **site.signed(body))
    shelf.issue()
    site.clock.advance(seconds=1)
    newer = site.signed(body)
    assert (await site.post(body, key=None, **newer)).status == 202
    assert "link" not in (await site.post(body, key=None, Prefer="wait=1", **newer)).body


async def test_one_who_joins_a_customer_whose_session_is_being_opened_waits_for_it(site, shelf):
    first, joined = await asking(site), await asking(site, EVENT | {"id": "8"})
    shelf.issue()
    assert (await first).body["link"] == (await joined).body["link"]


@pytest.mark.parametrize(
    ("kind", "ending", "state"),
    [(Kind.BAD_INPUT, Cancel("bad_input", "no"), "failed"), (Kind.UNKNOWN, Hold("unknown", "who knows"), "held")],
)
async def test_a_wait_for_a_job_that_ends_without_a_link_is_answered_at_once(site, shelf, kind, ending, state):
    task = await asking(site)
    (opened,) = shelf.open(shelf.claim())
    shelf.finish(shelf.failed(opened, kind, ending))
    answer = await task
    assert answer.status == 202
    assert (answer.body["job"]["state"], answer.body["job"]["reason"]) == (state, kind.value)
    assert "link" not in answer.body


async def test_a_link_with_less_life_than_its_route_asks_for_is_not_handed_out(site, shelf):
    task = await asking(site)
    shelf.issue(lifetime=timedelta(hours=1))
    answer = await task
    assert (answer.status, answer.body["job"]["state"]) == (202, "issued")
    assert rows(site, sa.select(Audit.id).where(Audit.action == "link")) == []


async def test_the_link_of_a_session_that_was_opened_during_a_cancellation_is_not_handed_out(site, shelf):
    task = await asking(site)
    (opened,) = shelf.open(shelf.claim())
    cancelled = await site.post(EVENT | {"type": "onboarding.cancelled", "id": "8", "data": {"customer_id": "C-1"}})
    assert cancelled.status == 202
    shelf.finish(shelf.got(opened))
    for answer in (await task, await site.post(Prefer="wait=10")):
        assert (answer.status, answer.body["job"]["state"], "link" in answer.body) == (202, "cancelled", False)
    assert rows(site, sa.select(SessionRow.state)) == [(SessionState.WAITING,)]
    assert rows(site, sa.select(Audit.id).where(Audit.action == "link")) == []
    requested_again = await asking(site, EVENT | {"id": "9"})
    assert shelf.claim() == []  # the session that is open is taken
    assert (await requested_again).body["link"] == "https://verify.test/token-0001"


async def test_who_is_in_review_through_an_earlier_session_gets_no_newer_link(site, shelf):
    task = await asking(site)
    shelf.issue()
    await task
    present = shelf.row(SessionRow)
    before = {"id": uuid.uuid4(), "state": SessionState.SUPERSEDED, "reference": "before", "result": "review"}
    before |= {"token_digest": None}
    with site.parts.database.write() as connection:
        connection.execute(sa.insert(SessionRow).values(present._asdict() | before))
    shelf.set(SessionRow, SessionRow.id == present.id, replaces=before["id"])
    answer = await site.post(Prefer="wait=10")
    assert (answer.status, "link" in answer.body) == (202, False)
    shelf.set(SessionRow, SessionRow.id == before["id"], result="")
    assert (await site.post(Prefer="wait=10")).body["link"] == "https://verify.test/token-0001"


@pytest.mark.parametrize("encrypted", [b"", b"no key opens this"])
async def test_a_link_that_was_erased_or_cannot_be_opened_is_not_waited_for(site, shelf, encrypted):
    task = await asking(site)
    shelf.issue()
    await task
    with site.parts.database.write() as connection:
        connection.execute(sa.update(SessionRow).values(encrypted=encrypted))
    answer = await site.post(Prefer="wait=10")
    assert (answer.status, "link" in answer.body) == (202, False)


async def test_an_event_that_asks_for_no_session_is_answered_at_once(site, shelf):
    answer = await site.post(EVENT | {"type": "customer.erased", "data": {"customer_id": "C-1"}}, Prefer="wait=10")
    assert (answer.status, "Preference-Applied" in answer.headers) == (202, False)


async def test_who_waits_when_the_server_ends_is_answered(site, shelf):
    task = await asking(site)
    await site.app.shutdown()
    answer = await task
    assert (answer.status, answer.body["state"]) == (202, "taken")
    assert "job" not in answer.body
    (job,) = jobs(site)
    async with asyncio.timeout(60):  # of the ten minutes
        assert await site.app[WAITING].wait(job.id, 600, caller="crm") is None


async def test_the_same_id_with_other_content_is_a_conflict_and_bad_data_is_listed_by_column(site):
    await site.post()
    other = await site.post(EVENT | {"data": {"customer_id": "C-1", "email": "other@example.com"}})
    assert "with different content" in other.problem(409)
    bad = await site.post(EVENT | {"id": "8", "data": {"customer_id": "C-2", "email": "other"}})
    assert bad.problem(422)
    assert [one["column"] for one in bad.body["problems"]] == ["email"]
    assert "other" not in str(bad.body["problems"])


async def test_what_became_of_an_event_can_be_asked_for(site, shelf):
    address = (await site.post(EVENT | {"time": "2026-11-20T11:00:00Z"})).headers["Location"]
    (job,) = jobs(site)
    before = (await site.get(address)).body
    assert (before["type"], before["state"], before["href"]) == ("onboarding.requested", "taken", address)
    assert (before["occurred_at"], before["received_at"]) == ("2026-11-20T11:00:00Z", "2026-11-20T12:00:00Z")
    assert (before["job"]["id"], before["job"]["state"], before["job"]["session"]) == (job.id, "waiting", None)
    assert before["job"]["due_at"] == "2026-11-20T12:00:00Z"
    shelf.issue()
    answer = await site.get(address)
    after = answer.body["job"]
    assert (after["state"], after["session"]["state"]) == ("issued", "waiting")
    assert after["session"]["expires_at"] == "2026-11-27T12:00:00Z"
    assert not any(word in str(answer.body) for word in ("verify.test", "token", "ona@", "C-1"))
    assert answer.headers["Cache-Control"] == "no-store"


async def test_a_job_that_joins_another_stands_where_that_one_stands(site, shelf):
    await site.post()
    joined = (await site.post(EVENT | {"id": "8"})).headers["Location"]
    (opened,) = shelf.open(shelf.claim())
    shelf.finish(shelf.failed(opened, Kind.UNKNOWN, Hold("unknown", "who knows")))
    job = (await site.get(joined)).body["job"]
    assert (job["state"], job["reason"]) == ("held", "unknown")


async def test_a_job_that_was_purged_leaves_its_event(site):
    address = (await site.post()).headers["Location"]
    (job,) = jobs(site)
    with site.parts.database.write() as connection:
        connection.execute(sa.delete(Job))
    assert (await site.get(address)).body["job"] == {"id": job.id, "state": "purged"}
    assert (await site.post(Prefer="wait=10")).status == 202  # a duplicate, whose job is not worked any more


@pytest.mark.parametrize("id_", ["0192f000-0000-7000-8000-000000000000", "17", "..%2Fhealthz", "x" * 300])
async def test_an_event_that_is_not_there_is_not_found(site, id_):
    assert (await site.get(f"/events/{id_}")).problem(404) == "there is no such event"


# Waiting requests, without a database.


class Board:
    """The link status of jobs, and how often it was read. `raises`: what the next reads raise instead."""

    def __init__(self):
        self.link_statuses = {}
        self.looks = []
        self.raises = []

    def __call__(self, wanted):
        self.looks.append(list(wanted))
        if self.raises:
            raise self.raises.pop()
        return dict(self.link_statuses)


@pytest.fixture
def board():
    return Board()


@pytest.fixture
def waiting(board):
    return Waiting(board, asyncio.to_thread, pause=0.001)


ON_ITS_WAY, ISSUED = LinkStatus(JobState.WORKING, "", False), LinkStatus(JobState.ISSUED, "", True, "https://x.test")


async def test_one_look_serves_all_who_wait(board, waiting):
    board.link_statuses = {number: ON_ITS_WAY for number in range(50)}
    tasks = [asyncio.create_task(waiting.wait(number, 60, caller="crm")) for number in (*range(50), 7)]
    await until(lambda: any(len(look) == 51 for look in board.looks))
    board.link_statuses = {number: ISSUED for number in range(50)}
    assert await asyncio.gather(*tasks) == [ISSUED] * 51
    assert max(map(len, board.looks)) == 51


async def test_no_query_is_made_while_no_request_waits(board, waiting):
    board.link_statuses = {1: ISSUED}
    assert await waiting.wait(1, 60, caller="crm") == ISSUED
    looked = len(board.looks)
    await asyncio.sleep(0.02)
    assert len(board.looks) == looked
    assert await waiting.wait(1, 60, caller="crm") == ISSUED  # and it begins again


async def test_waiting_ends_with_its_time_and_for_a_job_that_is_gone(board, waiting):
    board.link_statuses = {1: ON_ITS_WAY}
    assert await waiting.wait(1, 0.01, caller="crm") is None
    assert await waiting.wait(2, 60, caller="crm") is None


async def test_a_database_that_is_away_is_waited_for(board, waiting):
    board.raises = [sa.exc.OperationalError(None, None, Exception("gone"))]
    board.link_statuses = {1: ISSUED}
    assert await waiting.wait(1, 60, caller="crm") == ISSUED


async def test_a_bug_in_looking_answers_those_who_wait(board, waiting):
    board.raises = [ValueError()]
    assert await waiting.wait(1, 60, caller="crm") is None


async def test_no_request_waits_at_a_server_that_stops(board, waiting):
    board.link_statuses = {1: ON_ITS_WAY}
    task = asyncio.create_task(waiting.wait(1, 60, caller="crm"))
    await until(lambda: board.looks)
    await waiting.close()
    assert await task is None
    assert await waiting.wait(1, 60, caller="crm") is None
