"""What pages read and actions change: the store's objects, the reports, and the configuration."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from worker.core.database.audit_entries import Act
from worker.core.database.database import Database
from worker.core.foundation.clock import Clock
from worker.core.messages.contact import ContactPolicy
from worker.events.store.refused_events import PutRefusedBack
from worker.features.dashboard.users import Person
from worker.features.outbox.outbox_report import OutboxReport
from worker.features.service_desk.opened import MessageText, desk_of, message_texts
from worker.features.service_desk.store.desk import ServiceDesk
from worker.features.service_desk.store.sent_messages import SentMessage
from worker.reporting.batch_report import Reporting
from worker.reporting.operation_report import AccountReport, Operation
from worker.settings.accounts import Account
from worker.settings.model import Settings
from worker.settings.policies import BudgetRules
from worker.wiring.container import Parts
from worker.wiring.stores import Stores


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
    delivery: Callable[[], ContactPolicy]
    desk: Callable[[Database], ServiceDesk]  # over a database: whose changes are the person's, see `acting`
    jitter: Callable[[], float]
    message_texts: Callable[[Sequence[SentMessage]], list[MessageText]]
    put_back: PutRefusedBack | None = None  # None: this process reaches no queue

    @property
    def accounts(self) -> Mapping[str, Account]:
        return self.settings.accounts

    @property
    def outbox(self) -> OutboxReport:
        return OutboxReport.of(self.settings, self.stores.database)

    def acting(self, person: Person, action: str, reason: str) -> Stores:
        """The store's objects, whose changes the audit log ascribes to this person, action and reason."""
        act = Act(person.actor, action, reason)
        stores = self.stores
        database = stores.database.acting(act)
        return Stores(self.settings, database, stores.keyring, delivery=self.delivery, jitter=self.jitter)


def sources_of(parts: Parts, put_back: PutRefusedBack | None) -> Sources:
    return Sources(
        stores=parts,
        settings=parts.settings,
        clock=parts.clock,
        database_clock=parts.database_clock,
        rules=parts.budget_rules,
        channels=parts.channels,
        reporting=parts.reporting,
        operation=parts.operation,
        account_report=parts.account_report,
        delivery=lambda: parts.contact,
        desk=partial(desk_of, parts),
        jitter=parts.jitter,
        message_texts=partial(message_texts, parts),
        put_back=put_back,
    )
