"""Facts of a customer, as the ledger has them, and the moments of one message."""

from datetime import timedelta
from uuid import UUID

from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.states import InvitationState, SessionState
from onboarding_worker.features.service_desk.timeline import History, Moment, timeline
from onboarding_worker.reporting.store.ledger import CustomerFacts, JobFacts, MessageFacts, SessionFacts
from onboarding_worker.reporting.waits import Circumstances
from tests.conftest import NOON

SOON = NOON + timedelta(hours=1)
CALM = Circumstances()
OF_LIST = {"name": "list.csv", "channel": Channel.EMAIL, "own_account": "kyc", "created_at": NOON, "changed_at": NOON}
ROW = JobFacts(1, 2, "onboarding", "invited", "", "", "", "kyc", None, joined=False, **OF_LIST)


def a_link(reference="r-1", state="completed", result="", because="first", **more) -> SessionFacts:
    what = (UUID(int=1), "onboarding", "kyc", reference, SessionState(state), result, because)
    return SessionFacts(*what, issued_at=NOON, expires_at=SOON, check_at=None, reasons=(), **more)


def a_message(channel: str, kind: str, state: str, reason: str = "", **more) -> MessageFacts:
    facts = {"due_at": None, "sent_at": None, "unknown_handovers": 0, "created_at": NOON}
    return MessageFacts(channel, kind, InvitationState(state), reason, **(facts | more))


def a_history(jobs=(), links=(), calls=(), stopped=None, customer_id="ID") -> History:
    return History(CustomerFacts(customer_id, False, jobs, links, {}, {}, 0), calls, stopped=stopped or {})


def of_message(message: MessageFacts, around=CALM, *, now=NOON, stopped=None, **session) -> list[Moment]:
    """The moments of a message, without those of its session."""
    link = a_link(**session)
    alone = timeline(a_history(links=[link]), around, now=now)
    both = timeline(a_history(links=[link._replace(messages=[message])], stopped=stopped), around, now=now)
    return [one for one in both if one not in alone]
