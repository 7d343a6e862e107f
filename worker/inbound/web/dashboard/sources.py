"""What pages read and actions change: the store's objects, the reports, and the configuration."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from worker.domain.events.refused import PutBack
from worker.domain.model.audit import Act
from worker.domain.model.people import Person
from worker.engine.reporting.account_report import AccountReport
from worker.engine.reporting.batch_report import Reporting
from worker.engine.reporting.message_texts import MessageText
from worker.engine.reporting.operation_report import Operation
from worker.engine.reporting.outbox_report import OutboxReport
from worker.engine.steps.policies import BudgetRules
from worker.engine.stores import Stores
from worker.foundation.clock import Clock
from worker.settings import Account, Settings
from worker.store.base.database import Database
from worker.store.inbox.refused_events import KeptMessage, RefusedEvents
from worker.store.messages.fallback import DeliveryPolicy
from worker.store.service_desk.desk import ServiceDesk
from worker.store.service_desk.sent_messages import SentMessage

# Puts a refused event back into its queue, or all that were refused until a time. The database's changes have a
# person's name. Raises refused.NotPutBack.
PutRefusedBack = Callable[[Database, RefusedEvents, KeptMessage | None, datetime], PutBack]


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Blocking: pages and actions call it in a thread, where the site runs them."""

    stores: Stores
    settings: Settings
    clock: Clock
    database_clock: Clock
    rules: BudgetRules
    channels: tuple[str, ...]
    reporting: Reporting
    operation: Operation
    account_report: AccountReport
    outbox: OutboxReport
    delivery: Callable[[], DeliveryPolicy]
    desk: Callable[[Database], ServiceDesk]  # over a database: whose changes are the person's, see `acting`
    jitter: Callable[[], float]
    message_texts: Callable[[Sequence[SentMessage]], list[MessageText]]
    put_back: PutRefusedBack | None = None  # None: this process reaches no queue

    @property
    def accounts(self) -> Mapping[str, Account]:
        return self.settings.accounts

    def acting(self, person: Person, action: str, reason: str) -> Stores:
        """The store's objects, whose changes the audit log ascribes to this person, action and reason."""
        act = Act(person.actor, action, reason)
        stores = self.stores
        database = stores.database.acting(act)
        return Stores(self.settings, database, stores.keyring, delivery=self.delivery, jitter=self.jitter)
