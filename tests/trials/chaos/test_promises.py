"""The trials' own checks: they are content with what is right, and each finds what it is there for."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trials.case import ENDPOINTS, Cap, Case
from trials.customers import FAMILY, Listed, listed
from trials.evidence import Attempt, Evidence, Invitation, Job, Received, Session
from trials.leaks import leaks
from trials.promises import broken, most_within, second_copies

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
CUSTOMERS = listed(20)  # each account by each channel
CAPS = {
    "kyc": Cap(frozenset({"idenfy-kyc", "idenfy-kyc-list"}), 2),
    "kyb": Cap(frozenset({"idenfy-kyb"}), 2, credits=5, accounts=frozenset({"kyb"})),
}


class Told:
    """Evidence of a run in which every customer was invited, to be spoilt."""

    def __init__(self) -> None:
        self.jobs: dict[int, Job] = {}
        self.asked: dict[int, list[Attempt]] = {}
        self.handed: dict[int, list[Attempt]] = {}
        self.sessions: dict[int, list[Session]] = {}
        self.invitations: dict[int, list[Invitation]] = {}
        self.calls: dict[int, list[dict]] = {}
        self.mails: dict[int, list[dict]] = {}
        self.texts: dict[int, list[dict]] = {}
        self.used, self.stops = 4, 0
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
        self.texts[row] = [{"to": one.phone, "body": f"Open {link(one)}"}] if "sms" in one.channels else []

    def hold(self, one: Listed, *outcomes: str, reason: str = "unknown") -> None:
        """Without a session, after attempts that ended so; a look-up named the one that was opened."""
        for told in (self.sessions, self.invitations, self.handed, self.mails, self.texts):
            told[one.row] = []
        self.jobs[one.row] = replace(self.jobs[one.row], state="held", reason=reason, session_id="")
        self.jobs[one.row] = replace(self.jobs[one.row], detail=f"its token is lost: reference-{one.row}")
        self.asked[one.row] = [attempt(one.row, one.account, outcome=outcome) for outcome in outcomes]

    def case(self) -> Case:
        def flat(told):
            return [one for some in told.values() for one in some]

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
        )
        return Case(CUSTOMERS, evidence, CAPS, lease=12, reconcile_after=7, stops=self.stops)


def attempt(row: int, account: str, invitation: str | None = None, outcome: str = "done") -> Attempt:
    opened_at = NOON + timedelta(seconds=row)
    return Attempt(row, invitation, account, str(opened_at), str(opened_at + MINUTE), outcome, None, "")


def later(minutes: float) -> str:
    return str(NOON + minutes * MINUTE)


def link(one: Listed) -> str:
    return f"https://verify.example.com/start#token=token-{one.row}"


def call(one: Listed, **facts) -> dict:
    told = {
        "at": (NOON + timedelta(seconds=one.row)).isoformat(),
        "endpoint": ENDPOINTS[one.account],
        "status": 201,
        "fault": None,
        "processed": True,
        "client": one.entity_id or one.customer_id,
        "reference": f"reference-{one.row}",
        "token": f"token-{one.row}",
    }
    return told | facts


def mail(one: Listed, message_id: str = "<one@example>") -> dict:
    # Wrapped, as plain text in a mail is.
    return {"to": [one.email], "message_id": message_id, "text": f"Open\n{link(one)[:30]}\n{link(one)[30:]}"}


def the(account: str, channel: str = "email") -> Listed:
    return next(one for one in CUSTOMERS if (one.account, one.channel) == (account, channel))


@pytest.fixture
def told() -> Told:
    return Told()


def test_a_run_in_which_everybody_is_invited_once_breaks_no_promise(told: Told):
    assert broken(told.case()) == []


def test_a_row_held_for_a_call_in_doubt_breaks_none(told: Told):
    told.hold(the("kyc"), "transient", "unknown")
    told.calls[the("kyc").row] = [call(the("kyc")), call(the("kyc"), status=500, processed=False, token=None)]
    assert broken(told.case()) == []


def test_a_row_that_waits_for_credit_breaks_none_once_the_credits_are_used(told: Told):
    one = the("kyb")
    told.hold(one)
    told.jobs[one.row] = replace(told.jobs[one.row], state="waiting")
    told.calls[one.row] = []
    told.used = 5
    assert broken(told.case()) == []


def test_a_mail_repeated_after_a_hand_over_in_doubt_breaks_none_and_is_counted(told: Told):
    row = the("au").row
    told.mails[row] *= 2
    told.handed[row].insert(0, attempt(row, "email", told.invitations[row][0].id, "unknown"))
    assert broken(told.case()) == []
    assert second_copies(told.case()) == 15  # the fixture's mails all have the one Message-ID, but for the first


def test_a_mail_repeated_before_the_first_one_was_answered_breaks_none(told: Told):
    told.mails[2] *= 2
    told.handed[2].insert(0, replace(told.handed[2][0], opened_at=str(NOON), closed_at=str(NOON + MINUTE)))
    assert broken(told.case()) == []


def test_a_call_that_was_stopped_on_its_way_out_breaks_none(told: Told):
    told.stops = 1
    told.calls[2] = [call(CUSTOMERS[0], at=later(0.25))]
    assert broken(told.case()) == []


def test_a_look_up_is_no_call_for_a_session(told: Told):
    told.asked[2].append(replace(attempt(2, "kyc"), reconciles=True))
    assert broken(told.case()) == []


SPOILT = {}


def spoils(promise: str):
    def keep(spoil):
        SPOILT[spoil.__name__] = (promise, spoil)
        return spoil

    return keep


@spoils("every_row_is_accounted_for")
def a_row_is_lost(told):
    del told.jobs[the("kyc").row], told.sessions[the("kyc").row][:], told.calls[the("kyc").row]
    for kept in (told.asked, told.handed, told.invitations, told.mails, told.texts):
        kept[the("kyc").row] = []


@spoils("every_row_is_accounted_for")
def a_row_is_left_waiting(told):
    told.jobs[2] = replace(told.jobs[2], state="waiting")


@spoils("every_row_is_accounted_for")
def a_row_in_doubt_waits_for_credit(told):
    one = the("kyb")
    told.hold(one, "unknown")
    told.jobs[one.row] = replace(told.jobs[one.row], state="waiting")
    told.used = 5


@spoils("every_row_is_accounted_for")
def an_attempt_is_left_open(told):
    told.asked[2].append(attempt(2, "kyc", outcome=""))


@spoils("one_live_session_for_each_customer")
def a_customer_has_two_live_sessions(told):
    told.sessions[2].append(replace(told.sessions[2][0], id="another"))


@spoils("no_second_session_without_a_decision")
def a_second_session_was_opened_and_its_answer_dropped(told):
    told.asked[2].append(attempt(2, "kyc", outcome="unknown"))
    told.calls[2].append(call(CUSTOMERS[0], fault="drop-after", status="dropped", token="another"))


@spoils("no_second_session_without_a_decision")
def a_row_in_doubt_was_called_for_at_another_account(told):
    one = the("au-new")
    told.asked[one.row].append(attempt(one.row, "kyc"))
    told.calls[one.row].append(call(one, endpoint="idenfy-kyc", processed=False))


@spoils("no_second_session_without_a_decision")
def a_stranger_was_called_for(told):
    told.calls[0] = [call(CUSTOMERS[0], client="somebody")]


@spoils("who_is_invited_has_the_session_that_was_opened")
def an_invited_row_has_another_customers_session(told):
    told.calls[2][0]["token"] = "token-of-another"


@spoils("who_is_invited_has_the_session_that_was_opened")
def an_invited_row_has_an_ended_session(told):
    told.sessions[2] = [replace(told.sessions[2][0], state="superseded")]


@spoils("nothing_is_sent_twice")
def a_text_is_sent_twice(told):
    row = the("kyc", "sms").row
    told.texts[row] *= 2
    told.handed[row].append(attempt(row, "sms", told.invitations[row][0].id, "unknown"))


@spoils("nothing_is_sent_twice")
def a_mail_has_a_second_message_id(told):
    told.mails[2].append(mail(CUSTOMERS[0], "<two@example>"))
    told.handed[2].append(attempt(2, "email", told.invitations[2][0].id, "unknown"))


@spoils("nothing_is_sent_twice")
def a_mail_is_repeated_though_nothing_was_in_doubt(told):
    told.mails[2] *= 2
    told.handed[2].append(replace(told.handed[2][0], opened_at=later(2), closed_at=later(3)))


@spoils("each_message_is_the_customers_own")
def an_invited_row_was_sent_nothing(told):
    told.mails[2] = []


@spoils("each_message_is_the_customers_own")
def a_message_holds_another_link(told):
    told.mails[2] = [mail(CUSTOMERS[5])]
    told.mails[2][0]["to"] = [CUSTOMERS[0].email]


@spoils("each_message_is_the_customers_own")
def a_stranger_was_written_to(told):
    told.texts[0] = [{"to": "+4412", "body": ""}]


@spoils("each_message_is_the_customers_own")
def a_held_row_was_sent_a_message(told):
    mails = told.mails[2]
    told.hold(CUSTOMERS[0], "unknown")
    told.mails[2] = mails


@spoils("each_call_was_written_down")
def a_call_was_made_without_an_attempt(told):
    told.calls[2].append(call(CUSTOMERS[0], status=500, processed=False))


@spoils("each_call_was_written_down")
def an_answer_is_claimed_that_nobody_gave(told):
    told.asked[2].insert(0, replace(attempt(2, "kyc", outcome="transient"), status=500))


@spoils("each_call_was_written_down")
def a_text_was_sent_without_an_attempt(told):
    told.handed[the("kyc", "sms").row] = []


@spoils("limits_are_kept")
def the_provider_refused_what_was_over_its_limit(told):
    told.asked[2].insert(0, replace(attempt(2, "kyc", outcome="rate_limited"), status=429))
    told.calls[2].insert(0, call(CUSTOMERS[0], status=429, processed=False, token=None))


@spoils("limits_are_kept")
def a_second_holds_more_calls_than_two_seconds_allow(told):
    told.asked[2] += [replace(attempt(2, "kyc", outcome="transient"), status=500)] * 5
    told.calls[2] += [call(CUSTOMERS[0], status=500, fault="500", processed=False)] * 5


@spoils("credits_are_kept")
def more_sessions_than_credits(told):
    told.calls[2] += [call(the("kyb"), client=CUSTOMERS[0].customer_id)] * 2


@spoils("credits_are_kept")
def more_sessions_than_were_counted(told):
    told.used = 3


@spoils("credits_are_kept")
def rows_wait_though_there_is_credit(told):
    one = the("kyb")
    told.hold(one)
    told.jobs[one.row] = replace(told.jobs[one.row], state="waiting")
    told.calls[one.row] = []


@spoils("who_is_held_is_held_for_a_reason")
def a_row_is_held_though_all_its_calls_were_answered(told):
    told.hold(CUSTOMERS[0], "transient")


@spoils("who_is_held_is_held_for_a_reason")
def a_row_is_held_without_a_word(told):
    told.hold(CUSTOMERS[0], "unknown", reason="")


@spoils("who_is_held_is_held_for_a_reason")
def a_row_is_held_though_its_call_may_be_repeated(told):
    told.hold(the("au"), "unknown")


@spoils("who_is_held_is_held_for_a_reason")
def a_row_is_held_though_a_look_up_finds_nothing(told):
    told.hold(CUSTOMERS[0], "unknown")
    told.calls[2] = []


@spoils("who_is_held_is_held_for_a_reason")
def a_row_is_held_and_does_not_say_for_which_session(told):
    told.hold(CUSTOMERS[0], "unknown")
    told.jobs[2] = replace(told.jobs[2], detail="nobody knows")


@spoils("who_is_held_is_held_for_a_reason")
def a_text_is_held_though_it_can_be_looked_up(told):
    row = the("kyc", "sms").row
    told.jobs[row] = replace(told.jobs[row], state="held", reason="unknown")
    told.invitations[row] = [replace(told.invitations[row][0], state="held", reason="unknown")]
    told.handed[row] = [replace(told.handed[row][0], outcome="unknown")]


@spoils("no_call_is_made_after_its_lease")
def a_call_arrives_after_its_lease(told):
    told.calls[2] = [call(CUSTOMERS[0], at=later(1))]


@spoils("no_call_is_made_after_its_lease")
def a_call_arrives_a_little_after_its_lease_though_nobody_stood_still(told):
    told.calls[2] = [call(CUSTOMERS[0], at=later(0.25))]


@spoils("no_call_is_made_after_its_lease")
def a_call_that_was_stopped_on_its_way_out_arrives_when_it_may_be_looked_up(told):
    told.stops = 1
    told.calls[2] = [call(CUSTOMERS[0], at=later(1))]


@spoils("no_call_is_made_after_its_lease")
def a_text_arrives_after_its_lease(told):
    one = the("kyc", "sms")
    told.calls[0] = [call(one, endpoint="twilio", client=one.phone, at=later(5))]


@pytest.mark.parametrize("name", SPOILT)
def test_a_promise_that_is_broken_is_named(told: Told, name: str):
    promise, spoil = SPOILT[name]
    spoil(told)
    assert promise in {complaint.partition(":")[0] for complaint in broken(told.case())}


def test_a_window_holds_what_begins_in_it_and_not_what_begins_as_it_ends():
    assert most_within([0, 0.5, 1, 1.4, 3], 1) == 3
    assert most_within([], 1) == 0


@pytest.mark.parametrize(
    "words",
    [
        f"{CUSTOMERS[0].email} was refused",
        f"to {CUSTOMERS[0].phone}",
        f"Ann {FAMILY}",
        "token-with-sixteen-letters",
        "GET https://verify.example.com/start#token=x",
        "https://ivs.idenfy.com/api/v2/redirect?authToken=x",
    ],
)
def test_what_must_stand_in_no_log_is_found_there(words: str, tmp_path: Path):
    evidence = Evidence(received=Received(calls=[{"token": "token-with-sixteen-letters"}, {"token": None}]))
    (tmp_path / "clean.log").write_text("issue(kyc): 7 done, job 1: retry, http://127.0.0.1:9200/idenfy?x=1")
    (tmp_path / "leaky.log").write_text(f"12:00 INFO {words}.\n")
    files = [tmp_path / "clean.log", tmp_path / "leaky.log"]
    complaints = list(leaks(files, evidence))
    assert complaints
    assert all("leaky.log" in complaint and words not in complaint for complaint in complaints)
