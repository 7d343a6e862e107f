"""Each line of the table of mail servers' answers (docs/reference/refusals.md) is what the sender makes of them."""

import re
from pathlib import Path

from onboarding_worker.core.model.endings import AddressIs, Kind, Problem
from onboarding_worker.senders.smtp_answers import GREYLISTING, Phase, refused

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "refusals.md"
CONNECTION = (Phase.CONNECT, Phase.GREETING, Phase.TLS, Phase.AUTH)
STAGES = {
    "connection": CONNECTION,
    "MAIL": (Phase.MAIL,),
    "RCPT": (Phase.RCPT,),
    "message": (Phase.DATA, Phase.END),
    "any": (Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.END),
}


def lines():
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and cells[0] in STAGES:
            stage, replies, about, follows = cells
            follows = follows.removeprefix("greylisting: ")
            for reply in re.findall(r"`([^`]+)`", replies):
                yield stage, reply, about, follows


def said(problem: Problem) -> tuple[str, str]:
    """The columns `about` and `what follows` of an answer."""
    match problem:
        case Problem(kind=Kind.AUTH, unclear=False):
            return "us", "the sender stops"
        case Problem(kind=Kind.RATE_LIMITED, unclear=False) | Problem(kind=Kind.TRANSIENT, unreachable=True):
            return "us", "the sender pauses"
        case Problem(kind=Kind.TRANSIENT, unclear=unclear, retry_after=wait):
            after = "tried again after five minutes" if wait == GREYLISTING else "tried again"
            return ("second look", f"alone: {after}") if unclear else ("row", after)
        case Problem(unclear=True, address=None):
            return "second look", "alone: the message is refused"
        case Problem(address=address, unclear=unclear):
            gone = " and suppressed" if address is AddressIs.GONE else ""
            follows = f"bounced{gone}; the fallback follows"
            return ("second look", f"alone: {follows}") if unclear else ("address", follows)


def test_each_line_of_the_table_holds(subtests):
    found = list(lines())
    assert len(found) > 50
    for stage, reply, about, follows in found:
        status, _, text = reply.partition(" ")
        for phase in STAGES[stage]:
            with subtests.test(phase=phase, reply=reply):
                about_whom, what = said(refused(phase, int(status), text))
                assert about_whom == about
                assert follows.startswith(what)
