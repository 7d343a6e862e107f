"""The trials' own checks: they accept a correct run, and each finds its own mistake."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from trials.case import ENDPOINTS, Cap, Case, Restore
from trials.customers import Listed, listed
from trials.evidence import Attempt, Evidence, Invitation, Job, Received, Session
from trials.promises import broken, most_within, second_copies

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
CUSTOMERS = listed(20)  # each account by each channel
CAPS = {
    "kyc": Cap(frozenset({"idenfy-kyc", "idenfy-kyc-list"}), 2),
    "kyb": Cap(frozenset({"idenfy-kyb"}), 2, credits=5, accounts=frozenset({"kyb"})),
}


class Run:
    """The evidence of a run in which every customer was invited; each test spoils it."""

    def __init__(self) -> None:
        self.jobs: dict[int, Job] = {}
        self.asked: dict[int, list[Attempt]] = {}
        self.handed: dict[int, list[Attempt]] = {}
        self.sessions: dict[int, list[Session]] = {}
        self.invitations: dict[int, list[Invitation]] = {}
        self.calls: dict[int, list[dict]] = {}
        self.mails: dict[int, list[dict]] = {}
        self.texts: dict[int, list[dict]] = {}
        self.used, self.uncounted, self.stops = 4, 0, 0
        self.restores: list[Restore] = []
        self.inbox = ["one", "two"]
        for one in CUSTOMERS:
            self.invite(one)

    def invite(self, one: Listed) -> None:
        row, session = one.row, f"session-{one.row}"
        self.jobs[row] = Job(row, row, one.customer_id, one.account, "invited", "", "", session)
        self.sessions[row] = [Session(session, one.customer_id, "onboarding", row, one.account, "ref", "waiting")]
        self.asked[row] = [attempt(row, one.account)]
        self.calls[row] = [call(one)]
        self.invitations[row] = [
            Invitation(f"{row}-{channel}", session, row, channel, "invitation", "sent", "") for channel in one.channels
        ]
        self.handed[row] = [attempt(row, message.channel, message.id) for message in self.invitations[row]]
        self.mails[row] = [mail(one)] if "email" in one.channels else []
        self.texts[row] = [text(one)] if "sms" in one.channels else []

    def hold(self, one: Listed, *outcomes: str, reason: str = "unknown") -> None:
        """Hold the customer's row: no session, attempts with these outcomes; a look-up named the opened session."""
        for run in (self.sessions, self.invitations, self.handed, self.mails, self.texts):
            run[one.row] = []
        self.jobs[one.row] = replace(self.jobs[one.row], state="held", reason=reason, session_id="")
        self.jobs[one.row] = replace(self.jobs[one.row], detail=f"its token is lost: reference-{one.row}")
        self.asked[one.row] = [attempt(one.row, one.account, outcome=outcome) for outcome in outcomes]

    def case(self) -> Case:
        def flat(run):
            return [one for some in run.values() for one in some]

        received = Received(flat(self.calls), flat(self.mails), flat(self.texts))
        lines = [{"row": one.row, "link": link(one)} for one in CUSTOMERS if self.sessions[one.row]]
        evidence = Evidence(
            jobs=list(self.jobs.values()),
            attempts=flat(self.asked) + flat(self.handed),
            sessions=flat(self.sessions),
            invitations=flat(self.invitations),
            credits_used={"kyb": self.used},
            received=received,
            report=lines + [{"row": one.row, "link": ""} for one in CUSTOMERS if not self.sessions[one.row]],
            inbox=self.inbox,
        )
        caps = CAPS | {"kyb": replace(CAPS["kyb"], uncounted=self.uncounted)}
        return Case(CUSTOMERS, evidence, caps, 12, 7, self.stops, events=["one", "two"], restores=self.restores)

    def restore(self, *left_alone: Listed) -> None:
        """A restore before all that this run did: the database does not know the minute from -4 to -3."""
        names = frozenset(one.customer_id for one in left_alone)
        self.restores.append(Restore(NOON - 4 * MINUTE, NOON - 3 * MINUTE, NOON - MINUTE, names))

    def invite_before(self, one: Listed, at: str) -> None:
        """What was done for this customer at another time, besides."""
        self.calls[one.row].append(call(one, at=at, reference="before", token="before"))
        if "email" in one.channels:
            body = "Open https://verify.example.com/start#token=before"
            self.mails[one.row].append(mail(one, "<before@example>") | {"at": at, "text": body})
        if "sms" in one.channels:
            self.texts[one.row].append({"to": one.phone, "body": "Open #token=before", "at": at})


def attempt(row: int, account: str, invitation: str | None = None, outcome: str = "done") -> Attempt:
    opened_at = NOON + timedelta(seconds=row)
    return Attempt(row, invitation, account, str(opened_at), str(opened_at + MINUTE), outcome, None, "")


def later(minutes: float) -> str:
    return str(NOON + minutes * MINUTE)


def link(one: Listed) -> str:
    return f"https://verify.example.com/start#token=token-{one.row}"


def call(one: Listed, **facts) -> dict:
    run = {
        "at": (NOON + timedelta(seconds=one.row)).isoformat(),
        "endpoint": ENDPOINTS[one.account],
        "status": 201,
        "fault": None,
        "processed": True,
        "client": one.entity_id or one.customer_id,
        "reference": f"reference-{one.row}",
        "token": f"token-{one.row}",
    }
    return run | facts


def mail(one: Listed, message_id: str = "<one@example>") -> dict:
    # Wrapped, as plain text in a mail is.
    words = f"Open\n{link(one)[:30]}\n{link(one)[30:]}"
    return {"to": [one.email], "message_id": message_id, "text": words, "at": later(0)}


def text(one: Listed) -> dict:
    return {"to": one.phone, "body": f"Open {link(one)}", "at": later(0)}


def the(account: str, channel: str = "email") -> Listed:
    return next(one for one in CUSTOMERS if (one.account, one.channel) == (account, channel))


@pytest.fixture
def run() -> Run:
    return Run()


def test_a_run_in_which_every_customer_is_invited_once_breaks_no_promise(run: Run):
    assert broken(run.case()) == []


def test_a_row_held_for_an_unknown_outcome_breaks_none(run: Run):
    run.hold(the("kyc"), "transient", "unknown")
    run.calls[the("kyc").row] = [call(the("kyc")), call(the("kyc"), status=500, processed=False, token=None)]
    assert broken(run.case()) == []


def test_a_row_that_waits_for_credit_breaks_none_once_the_credits_are_used(run: Run):
    one = the("kyb")
    run.hold(one)
    run.jobs[one.row] = replace(run.jobs[one.row], state="waiting")
    run.calls[one.row] = []
    run.used = 5
    assert broken(run.case()) == []


def test_a_mail_repeated_after_an_unknown_outcome_breaks_none_and_is_counted(run: Run):
    row = the("au").row
    run.mails[row] *= 2
    run.handed[row].insert(0, attempt(row, "email", run.invitations[row][0].id, "unknown"))
    assert broken(run.case()) == []
    assert second_copies(run.case()) == 15  # the fixture's mails all have the one Message-ID, but for the first


def test_a_mail_repeated_before_the_first_one_was_answered_breaks_none_whatever_time_was_written(run: Run):
    """A worker that stood still may write an answer with a time before the repeat."""
    run.mails[2] *= 2
    run.handed[2].insert(0, replace(run.handed[2][0], outcome="late", opened_at=str(NOON), closed_at=str(NOON)))
    assert broken(run.case()) == []


def test_a_call_that_was_stopped_on_its_way_out_breaks_none(run: Run):
    run.stops = 1
    run.calls[2] = [call(CUSTOMERS[0], at=later(0.25))]
    assert broken(run.case()) == []


def test_a_look_up_is_no_call_for_a_session(run: Run):
    run.asked[2].append(replace(attempt(2, "kyc"), reconciles=True))
    assert broken(run.case()) == []


def test_what_a_restored_database_did_not_know_may_be_done_again(run: Run):
    run.restore()
    run.uncounted = 1
    for one in (the("kyc"), the("kyb"), the("kyc", "sms")):
        run.invite_before(one, later(-3.5))
    assert broken(run.case()) == []


def test_a_restore_of_a_later_copy_leaves_what_came_before_it_known(run: Run):
    run.restore()
    run.invite_before(CUSTOMERS[0], later(-5))
    assert broken(run.case())


def test_who_is_left_alone_is_neither_invited_nor_held(run: Run):
    run.restore(CUSTOMERS[0])
    run.hold(CUSTOMERS[0])
    run.jobs[2], run.calls[2] = replace(run.jobs[2], state="cancelled"), []
    run.invite_before(CUSTOMERS[0], later(-3.5))
    assert broken(run.case()) == []


SPOILT = {}


def spoils(promise: str):
    def keep(spoil):
        SPOILT[spoil.__name__] = (promise, spoil)
        return spoil

    return keep


@spoils("every_row_is_accounted_for")
def a_row_is_lost(run):
    del run.jobs[the("kyc").row], run.sessions[the("kyc").row][:], run.calls[the("kyc").row]
    for kept in (run.asked, run.handed, run.invitations, run.mails, run.texts):
        kept[the("kyc").row] = []


@spoils("every_row_is_accounted_for")
def a_row_is_left_waiting(run):
    run.jobs[2] = replace(run.jobs[2], state="waiting")


@spoils("every_row_is_accounted_for")
def a_row_with_an_unknown_outcome_waits_for_credit(run):
    one = the("kyb")
    run.hold(one, "unknown")
    run.jobs[one.row] = replace(run.jobs[one.row], state="waiting")
    run.used = 5


@spoils("every_row_is_accounted_for")
def an_attempt_is_left_open(run):
    run.asked[2].append(attempt(2, "kyc", outcome=""))


@spoils("every_event_is_stored_once")
def an_event_is_lost(run):
    run.inbox = ["one"]


@spoils("every_event_is_stored_once")
def an_event_is_stored_again(run):
    run.inbox.append("one")


@spoils("one_live_session_for_each_customer")
def a_customer_has_two_live_sessions(run):
    run.sessions[2].append(replace(run.sessions[2][0], id="another"))


@spoils("no_second_session_without_a_decision")
def a_second_session_was_opened_and_its_answer_dropped(run):
    run.asked[2].append(attempt(2, "kyc", outcome="unknown"))
    run.calls[2].append(call(CUSTOMERS[0], fault="drop-after", status="dropped", token="another"))


@spoils("no_second_session_without_a_decision")
def a_row_with_an_unknown_outcome_was_called_for_at_another_account(run):
    one = the("au-new")
    run.asked[one.row].append(attempt(one.row, "kyc"))
    run.calls[one.row].append(call(one, endpoint="idenfy-kyc", processed=False))


@spoils("no_second_session_without_a_decision")
def a_stranger_was_called_for(run):
    run.calls[0] = [call(CUSTOMERS[0], client="somebody")]


@spoils("an_invited_row_has_the_session_that_was_opened")
def an_invited_row_has_another_customers_session(run):
    run.calls[2][0]["token"] = "token-of-another"


@spoils("an_invited_row_has_the_session_that_was_opened")
def an_invited_row_has_an_ended_session(run):
    run.sessions[2] = [replace(run.sessions[2][0], state="superseded")]


@spoils("nothing_is_sent_twice")
def a_text_is_sent_twice(run):
    row = the("kyc", "sms").row
    run.texts[row] *= 2
    run.handed[row].append(attempt(row, "sms", run.invitations[row][0].id, "unknown"))


@spoils("nothing_is_sent_twice")
def a_mail_has_a_second_message_id(run):
    run.mails[2].append(mail(CUSTOMERS[0], "<two@example>"))
    run.handed[2].append(attempt(2, "email", run.invitations[2][0].id, "unknown"))


@spoils("nothing_is_sent_twice")
def a_mail_is_repeated_though_no_outcome_was_unknown(run):
    run.mails[2] *= 2
    run.handed[2].append(replace(run.handed[2][0], opened_at=later(2), closed_at=later(3)))


@spoils("each_message_is_the_customers_own")
def an_invited_row_was_sent_nothing(run):
    run.mails[2] = []


@spoils("each_message_is_the_customers_own")
def a_message_holds_another_link(run):
    run.mails[2] = [mail(CUSTOMERS[5])]
    run.mails[2][0]["to"] = [CUSTOMERS[0].email]


@spoils("each_message_is_the_customers_own")
def a_stranger_was_written_to(run):
    run.texts[0] = [{"to": "+4412", "body": ""}]


@spoils("each_message_is_the_customers_own")
def a_held_row_was_sent_a_message(run):
    mails = run.mails[2]
    run.hold(CUSTOMERS[0], "unknown")
    run.mails[2] = mails


@spoils("each_call_was_written_down")
def a_call_was_made_without_an_attempt(run):
    run.calls[2].append(call(CUSTOMERS[0], status=500, processed=False))


@spoils("each_call_was_written_down")
def an_answer_is_claimed_that_the_provider_did_not_give(run):
    run.asked[2].insert(0, replace(attempt(2, "kyc", outcome="transient"), status=500))


@spoils("each_call_was_written_down")
def a_text_was_sent_without_an_attempt(run):
    run.handed[the("kyc", "sms").row] = []


@spoils("limits_are_kept")
def the_provider_refused_what_was_over_its_limit(run):
    run.asked[2].insert(0, replace(attempt(2, "kyc", outcome="rate_limited"), status=429))
    run.calls[2].insert(0, call(CUSTOMERS[0], status=429, processed=False, token=None))


@spoils("limits_are_kept")
def a_second_holds_more_calls_than_two_seconds_allow(run):
    run.asked[2] += [replace(attempt(2, "kyc", outcome="transient"), status=500)] * 5
    run.calls[2] += [call(CUSTOMERS[0], status=500, fault="500", processed=False)] * 5


@spoils("credits_are_kept")
def more_sessions_than_credits(run):
    run.calls[2] += [call(the("kyb"), client=CUSTOMERS[0].customer_id)] * 2


@spoils("credits_are_kept")
def more_sessions_than_were_counted(run):
    run.used = 3


@spoils("credits_are_kept")
def rows_wait_though_there_is_credit(run):
    one = the("kyb")
    run.hold(one)
    run.jobs[one.row] = replace(run.jobs[one.row], state="waiting")
    run.calls[one.row] = []


@spoils("a_held_row_has_a_reason")
def a_row_is_held_though_all_its_calls_were_answered(run):
    run.hold(CUSTOMERS[0], "transient")


@spoils("a_held_row_has_a_reason")
def a_row_is_held_without_a_reason(run):
    run.hold(CUSTOMERS[0], "unknown", reason="")


@spoils("a_held_row_has_a_reason")
def a_row_is_held_though_its_call_may_be_repeated(run):
    run.hold(the("au"), "unknown")


@spoils("a_held_row_has_a_reason")
def a_row_is_held_though_a_look_up_finds_nothing(run):
    run.hold(CUSTOMERS[0], "unknown")
    run.calls[2] = []


@spoils("a_held_row_has_a_reason")
def a_row_is_held_without_naming_its_session(run):
    run.hold(CUSTOMERS[0], "unknown")
    run.jobs[2] = replace(run.jobs[2], detail="unknown")


@spoils("a_held_row_has_a_reason")
def a_text_is_held_though_it_can_be_reconciled(run):
    row = the("kyc", "sms").row
    run.jobs[row] = replace(run.jobs[row], state="held", reason="unknown")
    run.invitations[row] = [replace(run.invitations[row][0], state="held", reason="unknown")]
    run.handed[row] = [replace(run.handed[row][0], outcome="unknown")]


@spoils("no_call_is_made_after_its_lease")
def a_call_arrives_after_its_lease(run):
    run.calls[2] = [call(CUSTOMERS[0], at=later(1))]


@spoils("no_call_is_made_after_its_lease")
def a_call_arrives_a_little_after_its_lease_though_no_worker_stood_still(run):
    run.calls[2] = [call(CUSTOMERS[0], at=later(0.25))]


@spoils("no_call_is_made_after_its_lease")
def a_call_that_was_stopped_on_its_way_out_arrives_when_it_may_be_reconciled(run):
    run.stops = 1
    run.calls[2] = [call(CUSTOMERS[0], at=later(1))]


@spoils("no_call_is_made_after_its_lease")
def a_text_arrives_after_its_lease(run):
    one = the("kyc", "sms")
    run.calls[0] = [call(one, endpoint="twilio", client=one.phone, at=later(5))]


@spoils("no_second_session_without_a_decision")
def two_sessions_are_opened_before_a_restore(run):
    run.restore()
    run.invite_before(CUSTOMERS[0], later(-3.5))
    run.invite_before(CUSTOMERS[0], later(-3.4))


@spoils("nothing_is_sent_twice")
def a_text_is_sent_twice_before_a_restore(run):
    run.restore()
    run.invite_before(the("kyc", "sms"), later(-3.5))
    run.invite_before(the("kyc", "sms"), later(-3.4))


@spoils("each_message_is_the_customers_own")
def a_message_holds_another_link_before_a_restore(run):
    run.restore()
    run.invite_before(CUSTOMERS[0], later(-3.5))
    run.calls[2].pop()


@spoils("credits_are_kept")
def credits_are_spent_again_after_a_restore(run):
    run.restore()
    run.invite_before(the("kyb"), later(-3.5))


@spoils("nothing_is_sent_after_a_restore_before_a_person_resumes")
def a_mail_is_sent_before_a_person_resumes(run):
    run.restore()
    run.mails[2].append(mail(CUSTOMERS[0]) | {"at": later(-2)})


@spoils("who_was_erased_or_suppressed_before_a_restore_gets_nothing")
def an_erased_customer_is_invited_after_a_restore(run):
    run.restore(CUSTOMERS[0])


@pytest.mark.parametrize("name", SPOILT)
def test_a_promise_that_is_broken_is_named(run: Run, name: str):
    promise, spoil = SPOILT[name]
    spoil(run)
    assert promise in {complaint.partition(":")[0] for complaint in broken(run.case())}


def test_a_window_holds_what_begins_in_it_and_not_what_begins_as_it_ends():
    assert most_within([0, 0.5, 1, 1.4, 3], 1) == 3
    assert most_within([], 1) == 0
