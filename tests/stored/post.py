"""A sender's side: a message on its way, and what is reported of it."""

from dataclasses import replace

from onboarding_worker.core.claim.flush import CallResult
from onboarding_worker.core.database.job_ids import new_id
from onboarding_worker.core.database.tables import InvitationRow
from onboarding_worker.core.model.channels import CHANNELS
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.endings import Done
from onboarding_worker.core.rows.suppressions import suppressed
from onboarding_worker.senders.contract import DeliveryUpdate
from onboarding_worker.settings.policies import fallbacks
from onboarding_worker.web.webhooks.store.delivery_reports import apply_delivery_updates
from onboarding_worker.web.webhooks.store.webhooks import KeptWebhook, given_of
from tests.stored.shelf import CONTACT, Shelf, customer

BOTH_WAYS = replace(CONTACT, fallbacks=fallbacks("sms", CHANNELS))
EMAIL = "ona@example.org"
TEXT = "+37060000001"


class Post:
    """A shelf with one customer's message on its way, and the sender's voice."""

    def __init__(self, shelf: Shelf, keyring) -> None:
        self.shelf, self.keyring, self.policy = shelf, keyring, CONTACT
        self.due = set()

    def send(self, *who, channel="email", sid="SM"):
        self.shelf.add(*who or [customer("Ona", channel=Channel(channel))])
        self.shelf.issue()
        messages = self.shelf.claim_messages(channel=channel)
        opened = self.shelf.open_messages(messages, policy=self.shelf.on(channel))
        results = [
            CallResult(item, self.shelf.clock(), Done(), reference=f"{sid}{index}") for index, item in enumerate(opened)
        ]
        self.shelf.finish_messages(*results, policy=self.shelf.on(channel))
        return messages[0].id.hex if channel == "email" else f"{sid}0"

    def report(self, reference, status=None, *, channel="email", **values):
        update = DeliveryUpdate("reported", reference, status=status, **values)
        with self.shelf.database.write() as connection:
            (result,) = self.deliver(connection, [update], channel=channel)
        return result

    def deliver(self, connection, updates, *, channel="email"):
        """What becomes of these updates, in their order; `due` has what they make due."""
        now = self.shelf.clock()
        ids = sorted(new_id(now) for _ in updates)
        webhooks = [
            KeptWebhook(id_, f"sender/{channel}", now, 0, given_of(one)) for id_, one in zip(ids, updates, strict=True)
        ]
        results = apply_delivery_updates(self.keyring, lambda: self.policy, connection, webhooks, self.due, now)
        return [results[one.id] for one in webhooks]

    def suppressed(self, *addresses):
        with self.shelf.database.write() as connection:
            return suppressed(connection, self.keyring, addresses)

    def message(self, channel="email"):
        return self.shelf.row(InvitationRow, channel=channel)
