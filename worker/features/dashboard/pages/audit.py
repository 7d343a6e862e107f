"""The audit log: who did what, searched and in pages; and whether its chain is whole."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from onboarding_worker.features.audit.store.reading import AuditLog, Wanted
from onboarding_worker.features.audit.store.sealing import NotSigned, seals_of
from onboarding_worker.features.dashboard.contract import Asked, Page, Refused, Sources
from onboarding_worker.features.dashboard.users import Role

PATH = "/dashboard/audit"
SHOWN = 50
TEXTS = ("actor", "action", "subject")
# A check reads each entry. Longer logs are checked by the command, which says how far it is.
MOST_CHECKED = 200_000


def read(sources: Sources, asked: Asked) -> Mapping[str, Any]:
    given = {name: asked.text(name) for name in (*TEXTS, "since", "until")}
    before = asked.number("before", least=1)
    since, until = _day(given["since"]), _day(given["until"], after=True)
    actor, action, subject = (given[name] or None for name in TEXTS)
    wanted = Wanted(since, until, actor, action, subject, before=before, begins=True)
    log = AuditLog(sources.parts.database, sources.parts.keyring)
    found = log.newest(wanted, most=SHOWN + 1)
    shown = list(reversed(found))[:SHOWN]
    filled = {name: text for name, text in given.items() if text}
    try:  # the end of the chain, as its head says, and whether a key of ours has signed it
        head = {"end": str(log.end()), "why_not": ""}
    except NotSigned as error:
        head = {"end": "", "why_not": str(error)}
    return {
        "given": given,
        "searched": bool(filled),
        "entries": shown,
        "newest": f"{PATH}?{urlencode(filled)}" if before is not None else "",
        "older": f"{PATH}?{urlencode(filled | {'before': shown[-1].id})}" if len(found) > SHOWN else "",
        "head": head,
    }


def _day(text: str, *, after: bool = False) -> datetime | None:
    """The day's beginning, UTC; `after`: its end. None for what is no day."""
    with suppress(ValueError, OverflowError):
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=after)
    return None


def check(sources: Sources, asked: Asked) -> Mapping[str, Any]:
    log, seals = AuditLog(sources.parts.database, sources.parts.keyring), sources.parts.once(seals_of)
    with suppress(NotSigned):  # the check says it
        if log.end().number > MOST_CHECKED:
            raise Refused("The log is long: check it with `onboard audit verify`, which says how far it is.")
        seals.seal()
    return {"found": log.verify()}


TITLE = "The audit log's chain"
PAGES = (
    Page(path=PATH, template="audit.html", read=read, title="Audit", navigation="Audit"),
    Page(path=f"{PATH}/check", template="audit_check.html", read=check, title=TITLE, least=Role.OPERATOR),
)
