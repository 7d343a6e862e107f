"""Keeps each approval in the transaction that makes it, also while nothing is renewed: `every` may be set later."""

from worker.features.renew.store import renewals
from worker.wiring.watching import Observer


class Approvals:
    targets = ()
    observe = staticmethod(renewals.observe)


OBSERVER = Observer(lambda _settings: Approvals())
