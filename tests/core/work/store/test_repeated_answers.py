"""An answer with a token or an id that another customer has: it is not believed, and both rows are held."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from onboarding_worker.core.claim.flush import CallResult, Flush
from onboarding_worker.core.database.job_ids import row_of
from onboarding_worker.core.database.tables import Attempt, Budget, InvitationRow, Job, SessionRow
from onboarding_worker.core.model.endings import Cancel, Done, Kind, Reconcile
from onboarding_worker.core.model.states import ENDED_JOBS, InvitationState, JobState, SessionState
from onboarding_worker.core.rules.reconciliation import UnknownCall, Unmatched
from onboarding_worker.events.store.event_customers import erase
from onboarding_worker.lists.decisions.store.decisions import Verdict
from onboarding_worker.lists.decisions.store.settlement import Which
from tests.stored.row_locks import wait_until_blocked
from tests.stored.row_locks import waiting as waiting_for
from tests.stored.shelf import customer

E1, E2 = "7b0d2f6e-9c51-4a8e-8f0a-2d1c5e4b9a77", "00000000-9c51-4a8e-8f0a-2d1c5e4b9a77"


@pytest.fixture
def opened(shelf):
    """The rows of these customers, opened for their calls, in their order."""

    def of(*names, **changes):
        shelf.add(*(customer(name, **changes) for name in names))
        found = {item.customer.customer_id: item for item in shelf.open(shelf.claim())}
        return [found[name] for name in names]

    return of


def held(shelf):
    return {row.customer_id: row.detail for row in shelf.rows(Job) if row.reason == "answer_repeated"}


def waiting(shelf):
    names = {row.id: row.customer_id for row in shelf.rows(Job)}
    return [names[row.job_id] for row in shelf.rows(InvitationRow) if row.state is InvitationState.WAITING]


SAME = {
    "the token": lambda one: {"token": one.token, "link": one.link},
    "the reference": lambda one: {"reference": one.reference},
    "the whole answer": lambda one: {"token": one.token, "link": one.link, "reference": one.reference},
}


@pytest.mark.both_databases
@pytest.mark.parametrize("same", SAME.values(), ids=SAME)
@pytest.mark.parametrize("flushes", [1, 2])
def test_an_answer_for_two_customers_is_sent_to_neither(shelf, opened, same, flushes):
    first, second, third = opened("Ona", "Jonas", "Rasa")
    session = shelf.session()
    results = [shelf.got(first, session), shelf.got(second, shelf.session(**same(session))), shelf.got(third)]
    if flushes == 1:
        shelf.finish(*results)
    else:
        shelf.finish(results[0])
        shelf.finish(*results[1:])
    assert set(held(shelf)) == {"Ona", "Jonas"}
    assert waiting(shelf) == ["Rasa"]
    assert {row.customer_id: row.state for row in shelf.rows(SessionRow)} == {
        "Ona": SessionState.SUPERSEDED,
        "Rasa": SessionState.WAITING,
    }
    # The call was made, and its credit is spent.
    assert [row.outcome for row in shelf.rows(Attempt)] == ["done"] * 3
    assert shelf.row(Budget, name="kyc").credits_used == 3
    assert shelf.job("Jonas").entity_id == ""
    assert held(shelf)["Ona"].endswith("its message has not left")


def test_the_held_row_says_whose_answer_it_was_and_that_a_message_may_have_left(shelf, ona):
    shelf.add(customer("Jonas"))
    shelf.issue(token="token-0001")
    assert f"row {row_of(shelf.job('Ona').id)}" in held(shelf)["Jonas"]
    assert held(shelf)["Ona"].endswith("its message may have left")


def test_a_token_is_known_again_when_it_is_the_same_customers(shelf):
    shelf.add(customer("Ona"))
    shelf.issue(lifetime=timedelta(minutes=1))
    shelf.set(Job, state=JobState.WAITING, due_at=shelf.clock())
    shelf.clock.advance(minutes=2)
    shelf.issue(token="token-0001", reference="scan-1")
    assert shelf.job("Ona").state is JobState.ISSUED
    assert [row.token_digest is None for row in shelf.rows(SessionRow)] == [False, True]


def named(shelf, opened, names, entity):
    """The rows of customers whose lines name an entity, with the session that FrankieOne gives for it."""
    found = opened(*names, entity_id=entity)
    return [(item, shelf.session(reference=entity, references={"entityId": entity})) for item in found]


@pytest.mark.both_databases
def test_rows_that_name_the_same_entity_may_get_the_same_token(shelf, opened):
    (one, session), (two, _) = named(shelf, opened, ["Ona", "Jonas"], E1)
    shelf.finish(shelf.got(one, session), shelf.got(two, session))
    ((three, _),) = named(shelf, opened, ["Rasa"], E1.upper())
    shelf.finish(shelf.got(three, session))
    assert held(shelf) == {}
    assert sorted(waiting(shelf)) == ["Jonas", "Ona", "Rasa"]


def test_the_token_of_an_entity_is_not_believed_for_another_one(shelf, opened):
    ((one, session),) = named(shelf, opened, ["Ona"], E1)
    ((two, other),) = named(shelf, opened, ["Jonas"], E2)
    shelf.finish(shelf.got(one, session), shelf.got(two, replace(other, token=session.token)))
    assert set(held(shelf)) == {"Ona", "Jonas"}


def test_an_entity_that_another_customer_has_is_not_believed_to_be_new(shelf, opened):
    one, two = opened("Ona", "Jonas")
    new = {"reference": E1, "references": {"entityId": E1}}
    shelf.finish(shelf.got(one, shelf.session(**new)), shelf.got(two, shelf.session(**new)))
    assert set(held(shelf)) == {"Ona", "Jonas"}
    assert (shelf.job("Ona").entity_id, shelf.job("Jonas").entity_id) == (E1, "")


def test_companies_with_one_external_ref_are_not_taken_for_one(shelf, opened):
    one, two = opened("Ona", "Jonas")
    ours = {"reference": "our-ref", "references": {"externalRef": "our-ref"}}
    shelf.finish(shelf.got(one, shelf.session(**ours)), shelf.got(two, shelf.session(**ours)))
    assert held(shelf) == {}


@pytest.mark.both_databases
def test_a_token_is_known_after_its_customer_was_erased(shelf, ona):
    with shelf.database.write() as connection:
        erase(connection, ["Ona"], now=shelf.clock())
    shelf.add(customer("Jonas"))
    shelf.issue(token="token-0001")
    assert "Jonas" in held(shelf)
    assert "Jonas" not in waiting(shelf)


@pytest.mark.postgresql_alone
def test_of_two_processes_that_write_one_token_at_once_the_database_refuses_the_second(shelf, database, opened):
    first, second = opened("Ona", "Jonas")
    session = shelf.session()
    result = shelf.got(second, replace(session, reference="scan-of-jonas"))

    def write():
        with pytest.raises(sa.exc.IntegrityError):
            shelf.finish(result)

    with waiting_for(database, write) as connection:
        flush = Flush(connection, shelf.keyring, shelf.policy, shelf.clock())
        shelf.jobs.record(flush, [shelf.got(first, session)])
    assert held(shelf) == {}
    shelf.finish(result)  # as the dispatcher does with results that could not be written
    assert set(held(shelf)) == {"Ona", "Jonas"}


@pytest.mark.postgresql_alone
def test_a_row_is_held_only_once_its_message_is_locked(shelf, database, opened):
    """As a dispatcher locks them: in another order the two transactions could wait for each other."""
    first, second = opened("Ona", "Jonas")
    session = shelf.session()
    shelf.finish(shelf.got(first, session))
    result = shelf.got(second, replace(session, reference="scan-of-jonas"))
    thread = threading.Thread(target=shelf.finish, args=[result])
    with database.write() as connection:
        connection.execute(sa.select(InvitationRow.id).with_for_update())
        thread.start()
        wait_until_blocked(database, thread)
        connection.execute(sa.select(Job.id).where(Job.id == first.id).with_for_update(nowait=True))
    thread.join()
    assert set(held(shelf)) == {"Ona", "Jonas"}


@pytest.mark.both_databases
def test_a_result_whose_acknowledgement_was_lost_repeats_nobody(shelf, opened):
    result = shelf.got(*opened("Ona"))
    shelf.finish(result)
    shelf.finish(result)
    assert held(shelf) == {}
    assert waiting(shelf) == ["Ona"]
    assert shelf.row(SessionRow).token_digest


def test_a_customer_who_has_another_session_by_now_is_not_held_for_an_old_answer(shelf):
    shelf.add(customer("Ona"))
    shelf.issue(lifetime=timedelta(minutes=1))
    shelf.set(Job, state=JobState.WAITING, due_at=shelf.clock())
    shelf.clock.advance(minutes=2)
    shelf.issue()
    shelf.add(customer("Jonas"))
    shelf.issue(token="token-0001")
    assert set(held(shelf)) == {"Jonas"}


@pytest.mark.both_databases
def test_a_list_with_another_customers_session_holds_the_row_and_its_outcome_stays_unknown(shelf, ona, opened):
    (looks_up,) = opened("Jonas")
    call = UnknownCall(looks_up.attempt_id, shelf.clock())
    asked = replace(looks_up, unknown_call=call)
    found = Unmatched(("scan-1",), "the provider has a session")
    shelf.finish(CallResult(asked, shelf.clock(), Done(), found=found))
    job = shelf.job("Jonas")
    assert (job.state, job.reason, job.unknown_attempt) == (JobState.HELD, "unknown", call.attempt_id)
    assert shelf.job("Ona").state is JobState.INVITED


@pytest.mark.both_databases
@pytest.mark.parametrize("verdict", Verdict)
def test_a_person_decides_about_both_rows(shelf, opened, decide, verdict):
    one, two = opened("Ona", "Jonas")
    session = shelf.session()
    shelf.finish(shelf.got(one, session), shelf.got(two, session))
    batch = one.batch_id
    assert decide.resolve(Which(batch), verdict, now=shelf.clock()).rows == 2
    if verdict is Verdict.ABANDON:
        assert {row.state for row in shelf.rows(Job)} == {JobState.CANCELLED}
    else:
        shelf.issue()
        assert {row.state for row in shelf.rows(Job)} == {JobState.ISSUED}
        assert sorted(waiting(shelf)) == ["Jonas", "Ona"]
        assert {message.opening.link for message in shelf.claim_messages()} == {
            "https://verify.test/token-0002",
            "https://verify.test/token-0003",
        }


def test_a_message_that_was_under_way_and_did_not_leave_is_not_sent_again(shelf):
    shelf.add(customer("Ona"))
    shelf.issue()
    (message,) = shelf.open_messages(shelf.claim_messages())
    shelf.add(customer("Jonas"))
    shelf.issue(token="token-0001")
    shelf.finish_messages(CallResult(message, shelf.clock(), None))
    assert shelf.claim_messages() == []
    assert shelf.job("Ona").reason == "answer_repeated"


def repeats(shelf, *names, apart=timedelta(0)):
    """Ona's answer again for each of these customers, one after the other."""
    shelf.add(customer("Ona"))
    shelf.issue()
    for name in names:
        shelf.clock.advance(seconds=apart.total_seconds())
        shelf.add(customer(name))
        shelf.issue(token="token-0001")
    return shelf.row(Budget, name="kyc")


def test_the_third_such_answer_within_an_hour_stops_the_account_until_a_person_acts(shelf):
    assert repeats(shelf, "Jonas", "Rasa").stopped_at is None
    shelf.add(customer("Asta"))
    shelf.issue(token="token-0001")
    budget = shelf.row(Budget, name="kyc")
    assert budget.stopped_at == shelf.clock()
    assert "cache or a proxy" in budget.stop_reason
    shelf.add(customer("Vita"))
    shelf.clock.advance(hours=1)
    assert shelf.claim() == []
    assert shelf.budgets.resume("kyc") == []  # as a starting worker does
    assert shelf.budgets.resume("kyc", by_person_at=shelf.clock()) == ["stop"]
    assert len(shelf.claim()) == 1


def test_three_such_answers_in_more_than_an_hour_stop_nothing(shelf):
    assert repeats(shelf, "Jonas", "Rasa", "Asta", apart=timedelta(minutes=31)).stopped_at is None


@pytest.mark.both_databases
def test_several_such_answers_in_one_flush_stop_the_account(shelf, opened):
    session = shelf.session()
    shelf.finish(*(shelf.got(item, session) for item in opened("Ona", "Jonas", "Rasa", "Asta")))
    assert shelf.row(Budget, name="kyc").stopped_at == shelf.clock()
    assert waiting(shelf) == []


@pytest.mark.parametrize(("account", "repeats_it"), [("kyc", True), ("au", False)])
@pytest.mark.parametrize("listed", [False, True])
def test_an_id_that_another_account_gave_is_another_session(shelf, opened, account, repeats_it, listed):
    shelf.finish(shelf.got(*opened("Ona"), shelf.session(reference="same")))
    shelf.set(SessionRow, account=account)
    (job,) = opened("Jonas")
    if listed:
        call = UnknownCall(job.attempt_id, shelf.clock())
        found = Unmatched(("same",), "the provider has a session")
        again = Reconcile(shelf.clock(), "orphan", "")
        shelf.finish(CallResult(replace(job, unknown_call=call), shelf.clock(), again, found=found))
    else:
        shelf.finish(shelf.got(job, shelf.session(reference="same")))
    assert (shelf.job("Jonas").state is JobState.HELD) is repeats_it
    assert (shelf.job("Ona").state is JobState.HELD) is (repeats_it and not listed)


def test_an_id_of_any_length_is_known_again(shelf):
    for name in ("Ona", "Jonas"):
        shelf.add(customer(name))
        shelf.issue(reference="r" * 300)
    assert set(held(shelf)) == {"Ona", "Jonas"}


LEFT = ("sent", "delivered", "working", "held")


@pytest.mark.parametrize("state", InvitationState)
def test_a_held_row_says_whether_its_own_message_may_have_left(shelf, state):
    shelf.add(customer("Ona"), customer("Lina"))
    shelf.issue()
    shelf.set(InvitationRow, state=InvitationState.SENT if state not in LEFT else InvitationState.WAITING)
    shelf.set(InvitationRow, InvitationRow.job_id == shelf.job("Ona").id, state=state)
    shelf.add(customer("Jonas"))
    shelf.issue(token="token-0001")
    assert held(shelf)["Ona"].endswith("may have left" if state in LEFT else "has not left")
    assert set(held(shelf)) == {"Ona", "Jonas"}


@pytest.mark.parametrize("changes", [{"leader_id": 1}, *({"state": state} for state in JobState)], ids=str)
def test_only_an_open_row_of_its_own_is_held_for_an_answer_that_repeats_its_sessions(shelf, changes):
    shelf.add(customer("Ona"), customer("Lina"))
    shelf.issue()
    shelf.set(Job, Job.customer_id == "Ona", **changes)
    before, lina = shelf.job("Ona"), shelf.job("Lina")
    shelf.add(customer("Jonas"))
    shelf.finish(*(shelf.got(job, shelf.session(token="token-0001")) for job in shelf.open(shelf.claim())))
    own = "leader_id" in changes or before.state in (JobState.HELD, *ENDED_JOBS)
    if own:
        assert shelf.job("Ona") == before
    else:
        assert set(held(shelf)) == {"Ona", "Jonas"}
    assert shelf.job("Lina") == lina


def test_a_failed_call_beside_an_answer_for_two_customers_is_written_too(shelf, opened):
    first, second, third = opened("Ona", "Jonas", "Rasa")
    session = shelf.session()
    failed = shelf.failed(third, Kind.BAD_INPUT, Cancel("bad_input", "HTTP 400"))
    shelf.finish(shelf.got(first, session), failed, shelf.got(second, session))
    assert set(held(shelf)) == {"Ona", "Jonas"}
    assert (shelf.job("Rasa").state, shelf.job("Rasa").reason) == (JobState.FAILED, "bad_input")


@pytest.mark.parametrize(
    ("of_call", "of_row", "stops"),
    [
        ({}, {}, True),
        ({"account": "au"}, {}, False),
        ({"code": "another"}, {}, False),
        ({"closed_at": timedelta(hours=-1)}, {}, False),
        ({"closed_at": timedelta(hours=-1, seconds=1)}, {}, True),
        ({}, {"state": JobState.CANCELLED}, False),
    ],
    ids=str,
)
def test_only_recent_answers_of_the_account_whose_rows_are_still_held_stop_it(shelf, of_call, of_row, stops):
    repeats(shelf, "Jonas", "Rasa")
    jonas = shelf.job("Jonas")
    values = {name: shelf.clock() + value if name == "closed_at" else value for name, value in of_call.items()}
    shelf.set(Attempt, Attempt.job_id == jonas.id, **({"detail": ""} | values))
    shelf.set(Job, Job.id == jonas.id, **({"detail": ""} | of_row))
    shelf.add(customer("Asta"))
    shelf.issue(token="token-0001")
    assert (shelf.row(Budget, name="kyc").stopped_at is not None) is stops
