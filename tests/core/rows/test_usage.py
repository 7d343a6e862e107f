"""How many sessions and messages a customer has had: which rows count, and for whom."""

from datetime import timedelta
from uuid import uuid4

import sqlalchemy as sa

from onboarding_worker.core.database.tables import InvitationRow, ReissueCount, SessionRow
from onboarding_worker.core.model.states import InvitationState, SessionState
from onboarding_worker.core.rows.usage import Messages, messages_of, reissues_so_far, reissues_today, sessions_of
from onboarding_worker.core.rules.contact import COUNTED
from onboarding_worker.core.rules.limits import day_of
from tests.stored.shelf import customer

WAITING, WORKING, FAILED = InvitationState.WAITING, InvitationState.WORKING, InvitationState.FAILED


def copied(shelf, model, row, **changes):
    with shelf.database.write() as connection:
        connection.execute(sa.insert(model), row._asdict() | {"id": uuid4()} | changes)


def test_a_session_counts_for_its_customer_and_purpose_unless_it_was_not_bought_or_is_past(shelf):
    shelf.add(customer("Ona"), customer("Jonas"))
    shelf.issue()
    ona, _ = sorted(shelf.rows(SessionRow), key=lambda row: row.customer_id != "Ona")
    over = {"state": SessionState.EXPIRED, "token_digest": None}
    copied(shelf, SessionRow, ona, **over)
    copied(shelf, SessionRow, ona, **over, purpose="renewal")
    copied(shelf, SessionRow, ona, **over, past=True)
    copied(shelf, SessionRow, ona, token_digest=None, state=SessionState.DEFERRED)
    with shelf.database.read() as connection:
        assert sessions_of(connection, ["Ona"]) == {("Ona", "onboarding"): 2, ("Ona", "renewal"): 1}
        assert sessions_of(connection, ["Jonas", "Rasa"]) == {("Jonas", "onboarding"): 1}


def test_each_message_counts_as_sent_or_as_being_sent_by_its_state_and_its_unknown_hand_overs(shelf):
    shelf.add(customer("Ona"), customer("Jonas"))
    shelf.issue()
    unknown = uuid4()
    cases = [
        *((state, None, 0, (1, 0)) for state in COUNTED - {WORKING}),
        *((state, None, 0, (0, 0)) for state in {*InvitationState} - COUNTED),
        (WORKING, None, 0, (0, 1)),
        (WAITING, unknown, 0, (0, 1)),
        (WORKING, unknown, 0, (0, 1)),
        (FAILED, unknown, 0, (1, 0)),
        (InvitationState.SUPERSEDED, unknown, 2, (3, 0)),
        (WAITING, None, 2, (2, 0)),
        (WAITING, unknown, 2, (2, 1)),
        (WORKING, None, 2, (2, 1)),
        (FAILED, None, 1, (1, 0)),
        (InvitationState.SENT, None, 1, (2, 0)),
    ]
    of_ona = (
        InvitationRow.session_id == sa.select(SessionRow.id).where(SessionRow.customer_id == "Ona").scalar_subquery()
    )
    found = []
    for state, attempt, handovers, _ in cases:
        shelf.set(InvitationRow, of_ona, state=state, unknown_attempt=attempt, unknown_handovers=handovers)
        with shelf.database.read() as connection:
            found.append(messages_of(connection, ["Ona", "Jonas", "Rasa"]))
    expected = [{"Ona": Messages(*of_ona), "Jonas": Messages(), "Rasa": Messages()} for *_, of_ona in cases]
    assert [(case, got) for case, got, due in zip(cases, found, expected, strict=True) if got != due] == []


def test_messages_are_added_up_over_all_sessions_of_a_customer_but_those_before_the_last_approval(shelf):
    shelf.add(customer("Ona"))
    shelf.issue()
    shelf.send()
    session, message = shelf.row(SessionRow), shelf.row(InvitationRow)
    for purpose, past, state in [
        ("renewal", False, WORKING),
        ("card", False, message.state),
        ("old", True, message.state),
    ]:
        other = uuid4()
        copied(shelf, SessionRow, session, id=other, purpose=purpose, past=past, token_digest=None)
        copied(shelf, InvitationRow, message, session_id=other, state=state)
    copied(shelf, InvitationRow, message, kind="reminder-1", created_at=shelf.clock() + timedelta(days=1))
    with shelf.database.read() as connection:
        (had,) = messages_of(connection, ["Ona"]).values()
    assert (had, had.all) == (Messages(sent=3, sending=1), 4)


def test_only_a_count_that_is_locked_is_stored_before_anything_is_counted(shelf):
    with shelf.database.write() as connection:
        assert reissues_so_far(connection, [], day_of(shelf.clock())) == {}
        assert reissues_today(connection, "kyc", lock=False, now=shelf.clock()) == 0
    assert shelf.rows(ReissueCount) == []
    with shelf.database.write() as connection:
        assert reissues_today(connection, "kyc", lock=True, now=shelf.clock()) == 0
    assert [(row.account, row.day, row.count) for row in shelf.rows(ReissueCount)] == [
        ("kyc", day_of(shelf.clock()), 0)
    ]
