"""The service desk of a shelf of rows, and what the audit log and the history say of one customer."""

from datetime import timedelta

from onboarding_worker.core.database.tables import Audit
from onboarding_worker.core.rules.contact import Caps, ContactPolicy
from onboarding_worker.core.rules.quiet_hours import Hours
from onboarding_worker.features.service_desk.case import DeskRules, Refused
from onboarding_worker.features.service_desk.store.desk import ServiceDesk
from onboarding_worker.features.service_desk.store.finding import Finder
from onboarding_worker.features.service_desk.timeline import Moment, timeline
from onboarding_worker.reporting.waits import Circumstances
from tests.stored.shelf import Shelf, changed

AT_ONCE = {"kyc": lambda _expires_at: _expires_at - timedelta(days=365)}
AT_ITS_END = {"kyc": lambda expires_at: expires_at}
RULES = DeskRules(contact=ContactPolicy(Caps(3, 6)), channels=("email", "sms"), allowed_from=AT_ITS_END)


def desk_of(shelf: Shelf, hours: Hours | None = None, **rules) -> ServiceDesk:
    return ServiceDesk(shelf.database, shelf.keyring, changed(RULES, hours=hours or Hours(), **rules))


def refusal(answer: object) -> Refused:
    assert isinstance(answer, Refused), answer
    return answer


def told(shelf: Shelf) -> list[str]:
    return [entry.reason for entry in shelf.rows(Audit) if entry.subject == "customer Ona"]


def moments(shelf: Shelf, who: str = "Ona", **around) -> list[Moment]:
    history = Finder(shelf.database, shelf.keyring).history(who)
    return timeline(history, Circumstances(**around), now=shelf.clock())


def sentences(shelf: Shelf, who: str = "Ona") -> list[str]:
    return [one.text for one in moments(shelf, who)]
