"""Mends of this feature that histories of the simulation can be played without (trials/simulation/mends.py)."""

from datetime import datetime, timedelta

from onboarding_worker.features.stable_links import visitors
from onboarding_worker.features.stable_links.landing import (
    Asks,
    Buy,
    Decision,
    Facts,
    LandingRules,
    Lead,
    Wait,
    at_landing,
)
from onboarding_worker.features.stable_links.store import landings


def _buys_at_each_press(rules: LandingRules, facts: Facts, *, asks: Asks | None, now: datetime) -> Decision:
    decision = at_landing(rules, facts, asks=asks, now=now)
    return Buy(replaces=False) if asks and isinstance(decision, Lead | Wait) else decision


MENDS = {
    # Each press buys a session, also one that finds that another has asked for it.
    "one-session-for-two-presses": ((landings, "at_landing", _buys_at_each_press),),
    # Who is not meant loses the link, and the messages and sessions of the row go on.
    "not-me": ((landings, "hold_back", lambda *_given, **_how: None),),
    # A press is believed however soon it comes: a robot's too.
    "time-before-a-press": ((visitors, "LEAST", timedelta(seconds=-5)),),
}
FOUND_BY = {"one-session-for-two-presses": (14419, 14423), "not-me": (12986,), "time-before-a-press": (12986,)}
