"""A word that this release does not know (a newer one wrote it) stops only its own row, wherever rows are read.

The words are those of an enumeration: a state, a channel, a kind. The bad row stands among good rows of one chunk.
"""

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.database import known
from onboarding_worker.core.database.tables import Attempt, Batch, CustomerRow, InvitationRow, Job
from onboarding_worker.core.database.tables.types import NotKnown, UnknownWord, Words
from onboarding_worker.core.model.customers import Channel, CustomerKind
from onboarding_worker.core.model.states import BatchState, InvitationState, JobState, WebhookState
from onboarding_worker.core.rows.message_rows import set_job_states
from onboarding_worker.core.rules.reissue import SETTLES
from onboarding_worker.core.upkeep.expired_sessions import check
from onboarding_worker.providers.webhooks.contract import Key
from onboarding_worker.reporting.batch_report import state_of
from onboarding_worker.reporting.report_lines import Columns, line_values
from onboarding_worker.reporting.store.counts import totals_of
from onboarding_worker.senders.contract import DeliveryStatus, DeliveryUpdate
from tests.core.rows.test_poison_rows import EXPIRY, NAMES, held
from tests.stored.post import Post
from tests.stored.shelf import WEEK, customer
from tests.stored.takeovers import add, stop, takeover
from tests.stored.webhook_feed import APPROVED, update

WORD = "queued"


def write(shelf, table, column, where, word=WORD):
    """As another release does: past the enumeration."""
    statement = sa.update(sa.table(table, sa.column(column))).where(sa.text(where)).values({column: word})
    with shelf.database.write() as connection:
        connection.execute(statement)


def others():
    return set(NAMES) - {"Rasa"}


@pytest.fixture
def served(shelf):
    """Five customers with a session and a sent message. Returns their batch."""
    batch = shelf.add(*map(customer, NAMES))
    shelf.issue()
    shelf.send()
    return batch


def test_an_unknown_word_is_read_as_no_member_and_written_back_as_it_was(shelf):
    shelf.add(customer("Ona"))
    write(shelf, "customer", "kind", "customer_id = 'Ona'", "trust")
    kind = shelf.row(CustomerRow).kind
    assert isinstance(kind, UnknownWord)
    assert (kind.value, kind == "trust", kind in {*CustomerKind}) == ("trust", True, False)
    shelf.set(CustomerRow, kind=kind)
    assert shelf.row(CustomerRow).kind == "trust"
    with pytest.raises(ValueError, match="partnership"):
        Words(CustomerKind).process_bind_param("partnership", None)


def test_the_fault_names_no_value(shelf):
    shelf.add(customer("Ona"))
    write(shelf, "job", "channel", "1 = 1", "pigeon")
    with pytest.raises(NotKnown) as caught:
        known(shelf.job("Ona"))
    assert "pigeon" not in str(caught.value)


@pytest.mark.both_databases
@pytest.mark.parametrize(("table", "column"), [("job", "channel"), ("customer", "kind")])
def test_a_job_is_held_alone_when_it_is_claimed(shelf, table, column):
    batch = shelf.add(*map(customer, NAMES))
    write(shelf, table, column, "customer_id = 'Rasa'", "pigeon")
    assert {job.customer.customer_id for job in shelf.claim()} == others()
    held(shelf, "Rasa", "NotKnown")
    assert shelf.rows(Attempt) == []
    assert shelf.facts.counts(batch).jobs[JobState.HELD] == 1


@pytest.mark.both_databases
@pytest.mark.parametrize(("table", "column"), [("session", "state"), ("customer", "kind"), ("job", "channel")])
def test_a_message_is_held_alone_when_it_is_claimed(shelf, table, column):
    shelf.add(*map(customer, NAMES))
    shelf.issue()
    write(shelf, table, column, "customer_id = 'Rasa'", "pigeon")
    assert {item.customer.customer_id for item in shelf.claim_messages()} == others()
    row = shelf.row(InvitationRow, job_id=shelf.job("Rasa").id)
    assert (row.state, row.reason) == (InvitationState.HELD, "cannot_work")
    assert "NotKnown" in row.detail


@pytest.mark.both_databases
@pytest.mark.parametrize(("table", "column"), [("session", "state"), ("job", "channel")])
def test_a_session_is_set_aside_alone_when_it_is_checked(shelf, served, table, column):
    write(shelf, table, column, "customer_id = 'Rasa'")
    shelf.clock.now += WEEK + SETTLES
    assert check(shelf.database, shelf.keyring, EXPIRY, now=shelf.clock()).reissued == len(others())
    held(shelf, "Rasa", "NotKnown")
    assert check(shelf.database, shelf.keyring, EXPIRY, now=shelf.clock()).sessions == 0


@pytest.mark.both_databases
def test_a_row_in_an_unknown_state_is_never_claimed_nor_ended_nor_moved(shelf, failover):
    add(shelf, *map(customer, NAMES))
    write(shelf, "job", "state", "customer_id = 'Rasa'")
    stop(shelf)
    assert failover.move(takeover(), now=shelf.clock()) == len(others())
    assert {job.customer.customer_id for job in shelf.claim(policy=shelf.ruled())} == set()
    shelf.expired_leases.end(shelf.policy.rule.retry, now=shelf.clock(), all_of_them=True)
    row = shelf.job("Rasa")
    assert (row.state, row.account, row.reason) == (WORD, "kyc", "")


@pytest.mark.both_databases
def test_a_webhook_for_an_unknown_state_is_broken_alone(shelf, served, feed):
    write(shelf, "session", "state", "customer_id = 'Rasa'")
    updates = [update(APPROVED.state, APPROVED.result, match=((Key.SCAN_REF, f"scan-{n}"),)) for n in range(1, 6)]
    feed.receive(*updates)
    assert {row.customer_id for row in shelf.rows(Job, state=JobState.COMPLETED)} == others()
    assert shelf.job("Rasa").state == JobState.INVITED
    for _ in range(30):
        shelf.clock.advance(hours=6)
        listed = feed.work().listed
        if listed:
            break
    ((_, _, state, detail),) = listed
    assert (state, detail) == (WebhookState.BROKEN, "processing it ended with NotKnown")


def test_a_delivery_report_for_an_unknown_state_raises_for_itself(shelf, served, keyring):
    row = shelf.row(InvitationRow, job_id=shelf.job("Rasa").id)
    write(shelf, "invitation", "state", f"job_id = {row.job_id}")
    report = DeliveryUpdate("delivered", row.id.hex, status=DeliveryStatus.DELIVERED)
    with pytest.raises(NotKnown), shelf.database.write() as connection:
        Post(shelf, keyring).deliver(connection, [report])


def test_a_job_stays_undecided_while_a_message_has_an_unknown_state(shelf):
    """Nobody knows if the customer got it: the job has neither failed nor been invited."""
    shelf.add(customer("Ona", channel=Channel.BOTH))
    shelf.issue()
    shelf.set(InvitationRow, InvitationRow.channel == "sms", state=InvitationState.FAILED)
    write(shelf, "invitation", "state", "channel = 'email'")
    with shelf.database.write() as connection:
        set_job_states(connection, [shelf.job("Ona").id], now=shelf.clock())
    assert shelf.job("Ona").state == JobState.ISSUED


def test_status_and_report_show_the_word_and_say_what_it_is(shelf, served):
    write(shelf, "job", "state", "customer_id = 'Rasa'")
    write(shelf, "invitation", "state", f"job_id = {shelf.job('Jonas').id}", "posted")
    counts = shelf.facts.counts(served)
    assert counts.jobs == {JobState.INVITED: 4, WORD: 1}
    assert counts.invitations == {InvitationState.SENT: 4, "posted": 1}
    lines = {one.customer_id: line_values(one, Columns(shelf.clock())) for one in shelf.facts.lines(served)}
    assert (lines["Rasa"]["state"], lines["Rasa"]["action"]) == (WORD, "upgrade")
    assert lines["Rasa"]["error"].startswith("this release does not know the row's state")
    assert (lines["Jonas"]["invitation"], lines["Jonas"]["error"]) == ("posted", "")
    shelf.set(Batch, Batch.id == served, totals=totals_of(counts), imported_at=shelf.clock())
    assert shelf.facts.counts(served).jobs == counts.jobs
    batch = shelf.batches.find(str(served))
    assert state_of(batch, counts) == BatchState.BEGUN
