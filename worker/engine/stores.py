"""Builds the store's objects over one database."""

from collections.abc import Callable
from functools import cached_property

from worker.domain.verification.session_chain import Again
from worker.foundation.keyring import Keyring
from worker.providers.registry import webhook_peers
from worker.settings import Settings
from worker.store.audit.reading import AuditLog
from worker.store.audit.sealing import Seals
from worker.store.base.database import Database
from worker.store.inbox.dropped_files import DroppedFiles
from worker.store.inbox.inbox import Inboxes
from worker.store.inbox.refused_events import RefusedEvents
from worker.store.inbox.subject_requests import SubjectRequests
from worker.store.issuing.claim_jobs import Jobs
from worker.store.limits.budgets import Budgets
from worker.store.limits.standstill import Standstills
from worker.store.links.not_me import NotMe
from worker.store.maintenance.expired_leases import ExpiredLeases
from worker.store.maintenance.expired_sessions import Expiring
from worker.store.maintenance.look import Looks
from worker.store.maintenance.takeover import Failover
from worker.store.messages.address_places import AddressPlaces
from worker.store.messages.claim_invitations import Invitations
from worker.store.messages.do_not_contact import DoNotContact
from worker.store.messages.fallback import DeliveryPolicy
from worker.store.onboarding.batches import Batches
from worker.store.onboarding.details.released import ReleasedDetails
from worker.store.operators.batch_rows import BatchRows
from worker.store.operators.decisions import Decisions
from worker.store.operators.ledger import Ledger
from worker.store.operators.log_ins import LogIns
from worker.store.operators.pilots import Pilots
from worker.store.operators.processes import Processes
from worker.store.operators.report_rows import Facts
from worker.store.operators.spending import SpendingFacts
from worker.store.privacy.erasure import Erasing
from worker.store.privacy.expired_links import ExpiredLinks
from worker.store.privacy.inbox_retention import InboxRetention
from worker.store.privacy.key_rotation import KeyRotation
from worker.store.privacy.key_use import KeyUse
from worker.store.privacy.purge import Purging
from worker.store.service_desk.finding import Finder
from worker.store.service_desk.sent_messages import SentMessages
from worker.store.webhooks.delivery_updates import DeliveryUpdates
from worker.store.webhooks.provider_updates import ProviderUpdates
from worker.store.webhooks.results import ACCOUNT, SENDER
from worker.store.webhooks.webhook_list import WebhookList
from worker.store.webhooks.webhooks import Webhooks


class Stores:
    """The store's objects of one process. They open no connection before they are used."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        keyring: Keyring,
        *,
        delivery: Callable[[], DeliveryPolicy],
        jitter: Callable[[], float],
    ) -> None:
        """`delivery` returns what becomes of messages that come back; it is called for each chunk of webhooks."""
        self.database, self.keyring = database, keyring
        self.jobs = Jobs(database, keyring, jitter=jitter)
        self.invitations = Invitations(database, keyring, jitter=jitter)
        wide = {name for name, sender in settings.web.senders.items() if sender.rights(name).every_customer}
        self.batches = Batches(database, keyring, wide=wide)
        self.dropped_files = DroppedFiles(database)
        self.budgets = Budgets(database)
        self.decisions = Decisions(database)
        self.pilots = Pilots(database)
        self.released_details = ReleasedDetails(database, keyring)
        self.standstills = Standstills(database)
        self.facts = Facts(database, keyring)
        self.spending = SpendingFacts(database)
        self.batch_rows = BatchRows(database)
        self.processes = Processes(database)
        self.log_ins = LogIns(database)
        self.ledger = Ledger(database, keyring)
        self.finder = Finder(database, keyring)
        self.sent_messages = SentMessages(database, keyring)
        self.audit_log, self.seals = AuditLog(database, keyring), Seals(database, keyring)
        self.expired_leases = ExpiredLeases(database, jitter=jitter)
        self.looks = Looks(database)
        self.failover = Failover(database)
        self.expiring = Expiring(database, keyring)
        self.erasing, self.purging = Erasing(database), Purging(database)
        self.inboxes = Inboxes(database, keyring)
        self.refused_events = RefusedEvents(database, keyring)
        self.subject_requests = SubjectRequests(database, keyring)
        self.inbox_retention = InboxRetention(database)
        self.expired_links = ExpiredLinks(database)
        self.address_places = AddressPlaces(database)
        self.do_not_contact = DoNotContact(database, keyring)
        self.key_use, self.key_rotation = KeyUse(database, keyring), KeyRotation(database, keyring)
        self.webhook_list = WebhookList(database, keyring)
        self.not_me = NotMe(database, keyring)
        self._accounts, self._delivery = settings.accounts, delivery
        self._again = Again(settings.reissue.most, settings.reissue.spacing)

    @cached_property
    def webhooks(self) -> Webhooks:
        """Built when first used: which accounts are one at the provider is known by their credentials."""
        peers = webhook_peers(self._accounts)
        provider_updates = ProviderUpdates(self.keyring, peers, again=self._again)
        delivery_updates = DeliveryUpdates(self.keyring, self._delivery)
        return Webhooks(self.database, self.keyring, {ACCOUNT: provider_updates, SENDER: delivery_updates})
