"""Providers' updates of sessions, and the webhooks that bring them."""

from functools import partial
from hashlib import sha256

from onboarding_worker.core.model.incoming import ACCOUNT
from onboarding_worker.core.model.states import Result, SessionState
from onboarding_worker.providers.webhooks.contract import Key, SessionUpdate
from onboarding_worker.web.webhooks.session_chain import Again
from onboarding_worker.web.webhooks.store.provider_updates import apply_provider_updates
from onboarding_worker.web.webhooks.store.webhooks import Arrived, Webhooks, update_as_json

STARTED, COMPLETED, FAILED = SessionState.STARTED, SessionState.COMPLETED, SessionState.FAILED
EXPIRED, SUPERSEDED = SessionState.EXPIRED, SessionState.SUPERSEDED


class WebhookFeed:
    """Brings a provider's updates to the shelf as webhooks."""

    def __init__(self, shelf):
        self.shelf = shelf
        provider_updates = partial(
            apply_provider_updates,
            shelf.keyring,
            {"kyc": frozenset({"kyc", "kyc-narrow"}), "au": frozenset({"au"})},
            Again(3),
        )
        self.webhooks = Webhooks(shelf.database, shelf.keyring, {ACCOUNT: provider_updates})
        self.number = 0

    def arrived(self, update, *, account="kyc", body=None):
        self.number += 1
        digests = self.shelf.keyring.digests("webhook", sha256(body or str(self.number).encode()).hexdigest())
        return Arrived(f"account/{account}", digests, update.event, update_as_json(update))

    def keep(self, *updates, **how):
        arrived = [self.arrived(update, **how) for update in updates]
        return self.webhooks.keep(arrived, now=self.shelf.clock())

    def work(self):
        return self.webhooks.process(now=self.shelf.clock())

    def receive(self, *updates, **how):
        self.keep(*updates, **how)
        return self.work()


def update(state=None, result=None, *, match=((Key.SCAN_REF, "scan-1"),), **more):
    final = state in (COMPLETED, FAILED) and result is not None
    return SessionUpdate("EVENT", match, state, final=more.pop("final", final), result=result, **more)


APPROVED = update(COMPLETED, Result.APPROVED)
DENIED = update(FAILED, Result.DENIED)
REVIEW = update(STARTED, Result.REVIEW)
OVER = update(EXPIRED)
GONE = update(FAILED, gone=True, note="deleted at the provider")
