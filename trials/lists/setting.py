"""What a history is played with: the configuration of an installation, drawn at the beginning."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from worker.domain.contact.caps import Caps
from worker.domain.contact.contact_times import Hours
from worker.domain.contact.fallback_channel import fallbacks
from worker.domain.contact.quiet_hours import QuietHours

NIGHT = Hours({"email": QuietHours.parse("22:00-07:00"), "sms": QuietHours.parse("21:00-08:00")})
DAYTIME = Hours({"email": QuietHours.parse("07:00-19:00"), "sms": QuietHours.parse("20:00-12:00")})
SENDERS = ("email", "sms")


@dataclass(frozen=True)
class Setting:
    accounts: tuple[str, ...]  # with two, each takes over the rows of the other when that one is stopped
    lists_sessions: bool  # whether the provider can be asked after a lost answer
    purposes: tuple[str, ...]
    own_links: bool  # messages carry our own link
    on_click: bool  # and sessions are bought by those who open it
    fallbacks: Mapping[str, str]
    hours: Hours
    caps: Caps

    def __str__(self) -> str:
        on = [name for name in ("lists_sessions", "own_links", "on_click") if getattr(self, name)]
        on += ["failover"] * (len(self.accounts) > 1)
        on += ["fallback"] * bool(self.fallbacks) + ["quiet hours"] * bool(self.hours.quiet)
        return ", ".join([*on, f"{len(self.purposes)} purposes", str(self.caps)])


def drawn(chance: random.Random) -> Setting:
    own_links = chance.random() < 0.35
    return Setting(
        accounts=("kyc", "au") if chance.random() < 0.4 else ("kyc",),
        lists_sessions=chance.random() < 0.6,
        purposes=("onboarding", "renewal") if chance.random() < 0.5 else ("onboarding",),
        own_links=own_links,
        on_click=own_links and chance.random() < 0.5,
        fallbacks=fallbacks("sms", SENDERS) if chance.random() < 0.5 else {},
        hours=NIGHT if chance.random() < 0.2 else Hours(),
        caps=Caps(chance.choice((1, 3, 3)), chance.choice((4, 60, 60))),
    )
