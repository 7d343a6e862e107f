"""People are alerted once, whatever processes look, and whenever one of them is killed."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa

from tests.store.shelf import POLICY, Shelf, customer
from tests.store.webhook_feed import COMPLETED, WebhookFeed, update
from tests.suite.waiting import ENDS_WITHIN
from worker.domain.events.refused import RefusedMessage
from worker.domain.limits.budgets import BudgetRule
from worker.domain.limits.rate_limits import Limit
from worker.domain.model.audit import Act
from worker.domain.model.operation import Running
from worker.domain.model.reasons import Reason
from worker.domain.model.states import JobState, PauseCause
from worker.store.audit.entries import note
from worker.store.audit.sealing import Seals
from worker.store.inbox.refused_events import RefusedEvents
from worker.store.maintenance.alerts import LOOK_EVERY, Alerts
from worker.store.operators.processes import Processes
from worker.store.outbox import relay
from worker.store.tables import AlertRow, AuditHead, Batch, Budget, Job, Outbox, Webhook
from worker.store.webhooks.webhook_list import WebhookList

MINUTE = timedelta(minutes=1)
KINDS = frozenset(
    {
        "account_stopped",
        "batch_done",
        "calls_failing",
        "batch_paused",
        "rows_held",
        "nobody_working",
        "audit_broken",
        "events_refused",
        "webhooks_to_check",
    }
)


HOURLY = BudgetRule("sender/email", (Limit(5, timedelta(hours=1)),), 4, None, POLICY)


def alerts(shelf: Shelf, keyring, **changed) -> Alerts:
    how = {"accounts": {"kyc": shelf.policy.rule}, "channels": {"email": HOURLY}, "every": MINUTE} | changed
    return Alerts(shelf.database, keyring, **{"wanted": {"alert/ops": KINDS}} | how)


@pytest.fixture
def watch(shelf, keyring):
    """Looks at one time after another, and says what people are told."""
    looks = alerts(shelf, keyring)

    def look(after: timedelta = LOOK_EVERY) -> list[tuple[str, str, str]]:
        shelf.clock.now += after
        before = {row.id for row in shelf.rows(Outbox)}
        told = looks.look(now=shelf.clock())
        new = [row for row in shelf.rows(Outbox) if row.id not in before]
        assert told == bool(new)
        return [
            (part, one["kind"], one["name"]) for row in new for part in ("raised", "over") for one in row.data[part]
        ]

    look()  # alerts are on from here
    return look


def stop(shelf: Shelf, *, stopped: bool = True) -> None:
    shelf.set(Budget, Budget.name == "kyc", stopped_at=shelf.clock() if stopped else None)


def test_a_stop_is_told_once_and_its_end_once(shelf, watch):
    stop(shelf)
    assert watch() == [("raised", "account_stopped", "kyc")]
    assert watch(MINUTE) == watch(MINUTE) == []
    stop(shelf, stopped=False)
    assert watch(MINUTE) == [("over", "account_stopped", "kyc")]
    assert watch(MINUTE) == []
    stop(shelf)
    assert watch(MINUTE) == [("raised", "account_stopped", "kyc")]


def test_a_list_is_done_once_its_last_message_is_out_and_a_list_from_before_is_not_told(shelf, keyring, watch):
    batch = shelf.add(customer("Ona"))
    shelf.set(Batch, Batch.id == batch, imported_at=shelf.clock())
    assert watch() == []
    shelf.issue()
    assert watch() == []
    shelf.send()
    assert watch() == [("raised", "batch_done", str(batch))]
    assert watch(MINUTE) == watch(timedelta(hours=1)) == []
    shelf.set(AlertRow, sa.true(), seen_at=shelf.clock())  # alerts are switched on after the batch
    with shelf.database.write() as connection:
        connection.execute(sa.delete(AlertRow).where(AlertRow.kind == "batch_done"))
    assert watch(MINUTE) == []


def test_a_list_whose_rows_are_held_is_not_said_to_have_nothing_left_to_send(shelf, watch):
    batch = shelf.add(customer("Ona"))
    shelf.set(Batch, Batch.id == batch, imported_at=shelf.clock())
    shelf.set(Job, Job.batch_id == batch, state=JobState.HELD)
    assert watch() == [("raised", "batch_done", str(batch))]
    (told,) = shelf.rows(Outbox)[-1].data["raised"]
    assert told["text"].endswith("is sent: the first message of each row is out, or the row has ended or is held.")


def test_held_rows_are_one_alert_for_each_batch_after_a_minute(shelf, watch):
    batch = shelf.add(*(customer(f"C{number}") for number in range(3)))
    shelf.set(Job, Job.batch_id == batch, state=JobState.HELD)
    assert [one for one in watch() if one[1] == "rows_held"] == []
    assert ("raised", "rows_held", str(batch)) in watch(MINUTE)
    data = shelf.rows(Outbox)[-1].data
    assert "3 rows are held" in next(one["text"] for one in data["raised"] if one["kind"] == "rows_held")


def test_a_batch_that_paused_itself_is_told_and_one_that_a_person_paused_is_not(shelf, watch):
    first, second = shelf.add(customer("Ona")), shelf.add(customer("Jonas"))
    shelf.set(Batch, Batch.id == first, pause_cause=PauseCause.PERSON)
    shelf.set(Batch, Batch.id == second, pause_cause=PauseCause.ITSELF)
    assert [one for one in watch() if "paused" in one[1]] == [("raised", "batch_paused", str(second))]


def test_a_batch_that_its_pilot_paused_is_not_said_to_have_bad_addresses(shelf, watch):
    batch = shelf.add(customer("Ona"))
    shelf.set(Batch, Batch.id == batch, pause_cause=PauseCause.ITSELF)
    watch()
    (told,) = shelf.rows(Outbox)[-1].data["raised"]
    assert told["text"] == f"Batch {batch} has paused itself. Its status says why."


def test_due_work_without_a_process_is_told_after_a_minute_and_over_when_one_works(shelf, watch):
    shelf.add(customer("Ona"))
    assert watch(MINUTE) == []
    assert watch(MINUTE) == [("raised", "nobody_working", "")]
    now = shelf.clock() + MINUTE
    Processes(shelf.database).started("w", Running("worker", "host", 1, "0", None, now, now))
    assert ("over", "nobody_working", "") in watch(MINUTE)


def test_rows_and_messages_of_what_was_taken_out_of_the_configuration_are_told_after_a_minute(shelf, keyring):
    shelf.add(customer("Ona"))
    shelf.issue()
    shelf.add(customer("Jonas"))  # one row waits for its message, and one for its call
    wanted = {"wanted": {"alert/ops": {"not_configured"}}}
    before, after = alerts(shelf, keyring, **wanted), alerts(shelf, keyring, accounts={}, channels={}, **wanted)

    def look(looks: Alerts) -> list[tuple[str, str]]:
        shelf.clock.now += MINUTE
        told = looks.look(now=shelf.clock())
        data = shelf.rows(Outbox)[-1].data if told else {}
        return [(part, one["name"]) for part, named in data.items() if part != "at" for one in named]

    assert look(before) == look(after) == []
    assert look(after) == [("raised", "email"), ("raised", "kyc")]
    assert look(after) == []
    assert look(before) == [("over", "email"), ("over", "kyc")]


def test_a_bus_process_that_is_missing_is_told_after_a_minute_where_senders_publish(shelf, keyring):
    wanted = {"alert/ops": {"bus_missing"}}
    looks = alerts(shelf, keyring, wanted=wanted, event_queues=["requests"])

    def look(after: timedelta) -> list[str]:
        shelf.clock.now += after
        if not looks.look(now=shelf.clock()):
            return []
        return [part for part in ("raised", "over") if shelf.rows(Outbox)[-1].data[part]]

    assert look(MINUTE) == []
    assert look(MINUTE) == ["raised"]
    now = shelf.clock() + MINUTE
    Processes(shelf.database).started("b", Running("bus", "host", 1, "0", None, now, now))
    assert look(MINUTE) == ["over"]
    without = alerts(shelf, keyring, wanted=wanted)  # no sender publishes to a queue
    Processes(shelf.database).ended("b")
    for _ in range(3):
        shelf.clock.now += MINUTE
        assert not without.look(now=shelf.clock())


def test_due_work_of_a_paused_account_is_told_only_after_the_pause(shelf, watch):
    shelf.add(customer("Ona"))
    shelf.set(Budget, Budget.name == "kyc", blocked_until=shelf.clock() + timedelta(hours=1))
    assert watch(MINUTE) == watch(MINUTE) == watch(MINUTE) == []
    assert watch(timedelta(hours=1)) == []
    assert watch(MINUTE) == [("raised", "nobody_working", "")]


def test_calls_that_fail_for_minutes_are_told_once_and_their_end_when_one_succeeds(shelf, watch):
    minutes = timedelta(minutes=5)
    began_at = shelf.clock()
    pause = {"blocked_until": began_at + 2 * minutes, "pause_reason": "6 calls in a row failed"}
    shelf.set(Budget, Budget.name == "kyc", opened_at=began_at, **pause)
    assert watch(minutes - LOOK_EVERY) == []
    assert watch() == [("raised", "calls_failing", "kyc")]
    assert watch(minutes + MINUTE) == []  # the pause is over, and no call was made yet: nothing has succeeded
    shelf.set(Budget, Budget.name == "kyc", opened_at=None, blocked_until=None, pause_reason="")
    assert watch() == [("over", "calls_failing", "kyc")]


def test_a_row_of_failures_after_which_nothing_is_tried_is_not_told(shelf, watch):
    shelf.set(Budget, Budget.name == "kyc", opened_at=shelf.clock())
    assert watch(timedelta(hours=1)) == watch() == []


def test_due_rows_that_wait_for_a_shut_sender_are_told_only_after_its_pause(shelf, watch):
    shelf.add(customer("Ona"))
    shelf.set(Job, sa.true(), reason=Reason.WAITS_FOR_SENDER)
    shelf.set(Budget, Budget.name == "sender/email", blocked_until=shelf.clock() + timedelta(hours=1))
    assert watch(MINUTE) == watch(MINUTE) == watch(MINUTE) == []
    assert watch(timedelta(hours=1)) == []
    assert watch(MINUTE) == [("raised", "nobody_working", "")]


def test_due_rows_of_a_sender_whose_limit_is_used_up_are_told_only_once_it_allows_more(shelf, watch):
    shelf.add(customer("Ona"))
    shelf.set(Job, sa.true(), reason=Reason.WAITS_FOR_SENDER)
    shelf.set(Budget, Budget.name == "sender/email", next_at=shelf.clock() + timedelta(minutes=10))
    assert watch(MINUTE) == watch(MINUTE) == watch(MINUTE) == []
    assert watch(timedelta(minutes=10)) == []
    assert watch(MINUTE) == [("raised", "nobody_working", "")]


def test_a_head_of_the_audit_log_that_no_key_has_signed_is_told(shelf, watch):
    shelf.set(AuditHead, sa.true(), number=7, digest="0" * 64)
    assert ("raised", "audit_broken", "") in watch()


def test_an_older_head_of_the_audit_log_that_comes_back_is_told_though_we_have_signed_it(shelf, keyring, watch):
    def sealed() -> dict[str, object]:
        with shelf.database.write() as connection:
            note(connection, "batch 1", now=shelf.clock(), act=Act("ona", "cancel"))
        Seals(shelf.database, keyring).seal()
        with shelf.database.read() as connection:
            return dict(connection.execute(sa.select(AuditHead.__table__)).mappings().one())

    older = sealed()
    sealed()
    assert watch() == []

    shelf.set(AuditHead, sa.true(), **older)

    assert ("raised", "audit_broken", "") in watch(MINUTE)


def test_a_target_that_accepts_no_event_for_a_minute_is_told_and_its_answer_too(shelf, keyring):
    kinds = frozenset({"events_not_accepted"})
    looks = alerts(shelf, keyring, targets=["subscriber/crm"], wanted={"alert/ops": kinds})

    def look(after: timedelta, *, fails: bool) -> list[tuple[str, str]]:
        shelf.clock.now += after
        shelf.set(Budget, Budget.name.in_(["subscriber/crm", "kyc"]), opened_at=shelf.clock() if fails else None)
        if not looks.look(now=shelf.clock()):
            return []
        data = shelf.rows(Outbox)[-1].data
        return [(part, one["text"]) for part in ("raised", "over") for one in data[part]]

    shelf.budgets.ensure(["subscriber/crm"])
    assert look(MINUTE, fails=True) == look(MINUTE / 2, fails=True) == []
    assert look(MINUTE / 2, fails=True) == [("raised", "subscriber/crm accepts no events.")]
    assert look(MINUTE, fails=False) == [("over", "subscriber/crm answers again.")]


def test_refused_events_of_a_queue_are_told_after_a_minute_and_over_once_they_are_dropped(shelf, keyring, watch):
    refused = RefusedEvents(shelf.database, keyring, kept=timedelta(days=14))
    refused.keep([RefusedMessage("requests", "m-1", "why", "", "", 2, "", {})], now=shelf.clock())
    assert watch() == []
    assert watch(MINUTE) == [("raised", "events_refused", "requests")]
    refused.drop(None, now=shelf.clock())
    assert watch(MINUTE) == [("over", "events_refused", "requests")]


def test_webhooks_to_check_are_told_after_a_minute_and_over_once_a_person_has_looked_at_them(shelf, keyring, watch):
    WebhookFeed(shelf).receive(update(COMPLETED, alert=True))
    shelf.set(Webhook, sa.true(), state="broken", due_at=None)
    assert watch() == []
    assert watch(MINUTE) == [("raised", "webhooks_to_check", "")]
    WebhookList(shelf.database, keyring).done([shelf.row(Webhook).id], now=shelf.clock())
    assert watch(MINUTE) == [("over", "webhooks_to_check", "")]


def test_a_storm_is_one_message_in_a_minute(shelf, watch):
    stop(shelf)
    assert watch() == [("raised", "account_stopped", "kyc")]
    batch = shelf.add(customer("Ona"))
    shelf.set(Batch, Batch.id == batch, pause_cause=PauseCause.ITSELF)
    stop(shelf, stopped=False)
    assert watch() == []
    assert watch(MINUTE) == [("raised", "batch_paused", str(batch)), ("over", "account_stopped", "kyc")]


def test_of_processes_that_look_at_once_one_tells(shelf, keyring, watch):
    stop(shelf)
    shelf.clock.now += LOOK_EVERY
    with ThreadPoolExecutor(4) as threads:
        ready = threading.Barrier(4)

        def look() -> bool:
            one = alerts(shelf, keyring)
            ready.wait(ENDS_WITHIN)
            return one.look(now=shelf.clock())

        told = [threads.submit(look) for _ in range(4)]
        assert sorted(one.result() for one in told) == [False, False, False, True]
    assert len(shelf.rows(Outbox)) == 1


def test_a_kill_leaves_it_for_the_next_look_or_leaves_the_message(shelf, keyring, watch):
    class Killed(Exception):
        pass

    def kill(*_arguments: object, **_now: object) -> None:
        raise Killed

    stop(shelf)
    shelf.clock.now += LOOK_EVERY
    broken = alerts(shelf, keyring)
    broken._write = kill  # type: ignore[method-assign]
    with pytest.raises(Killed):
        broken.look(now=shelf.clock())
    assert shelf.rows(Outbox) == []

    assert watch() == [("raised", "account_stopped", "kyc")]
    # The process is gone now. Whichever publishes next finds the message.
    assert relay.due(shelf.database, ["alert/ops"], now=shelf.clock()) == ["alert/ops"]


def test_each_target_gets_what_it_wants_in_an_event_of_its_own(shelf, keyring, watch):
    stop(shelf)
    shelf.clock.now += LOOK_EVERY
    wanted = {"alert/ops": {"account_stopped"}, "alert/desk": {"batch_done"}, "alert/all": KINDS}
    assert alerts(shelf, keyring, wanted=wanted).look(now=shelf.clock())
    assert {row.target for row in shelf.rows(Outbox)} == {"alert/ops", "alert/all"}


def test_nothing_personal_is_in_a_message(shelf, watch):
    batch = shelf.add(customer("Quirin"))
    shelf.set(Batch, Batch.id == batch, name="quirin-smith.csv", pause_cause=PauseCause.ITSELF, pause_reason="Quirin")
    shelf.set(Budget, Budget.name == "kyc", stopped_at=shelf.clock(), stop_reason="Quirin is not welcome")
    assert len(watch()) == 2
    (row,) = shelf.rows(Outbox)
    assert "quirin" not in str(row.data).lower()
    assert row.customer_id == ""
