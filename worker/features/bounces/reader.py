"""Takes in the mails of the mailbox for bounces, from time to time, in a thread of its own: each report is stored like
a callback of a mail system, exactly once.

A mail is removed after its report is committed. A process that dies in between reads it again, and the same bytes have
the same digest: nothing is stored twice. Several processes may read one mailbox.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256

from onboarding_worker.core.foundation.clock import Clock, monotonic
from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.core.foundation.notation import counted
from onboarding_worker.core.foundation.outage_log import Outage
from onboarding_worker.features.bounces import bounce_mails
from onboarding_worker.features.bounces.mailbox import CannotRead, Imap, Mail, Mailbox, Maildir
from onboarding_worker.features.bounces.return_path import ReturnPath, return_path_of
from onboarding_worker.features.bounces.section import Bounces
from onboarding_worker.senders.contract import DeliveryUpdate, NotUnderstood
from onboarding_worker.settings.model import Settings
from onboarding_worker.web.webhooks.sources import of_sender
from onboarding_worker.web.webhooks.store.webhooks import EMAIL, Webhooks
from onboarding_worker.wiring.background import Looks, Work
from onboarding_worker.wiring.container import Parts

log = logging.getLogger(__name__)
CHUNK = 50  # mails in one transaction
# After so long a smaller chunk is taken: a connection that then breaks has not read all its mails for nothing.
CHUNK_SECONDS = 10.0
MOST = 2_000  # mails in one look: the next look reads the others
EVERY_SECONDS = 60.0
END_SECONDS = 5.0  # a thread that waits for the mail server for longer is left: it changes nothing before an answer


@dataclass
class BouncesRead:
    """What one look found. `reports`: by event (bounced, delayed, delivered, complained), those that were new.
    `again`: reports that were stored before. `left`: mails that are no report, by reason; they stay, marked as read.
    A mail that cannot be read stays as it is: it may be readable later."""

    reports: Counter[str] = field(default_factory=Counter)
    again: int = 0
    left: Counter[str] = field(default_factory=Counter)


@dataclass
class BounceReader:
    """Reads one mailbox. Blocking."""

    open_mailbox: Callable[[], Mailbox]
    return_path: ReturnPath
    webhooks: Webhooks
    keyring: Keyring
    clock: Clock
    _unreadable: set[str] = field(default_factory=set)  # the ids that were logged

    @classmethod
    def of(cls, settings: Settings, webhooks: Webhooks, keyring: Keyring, clock: Clock) -> "BounceReader | None":
        """None where no mailbox is configured."""
        bounces, return_path = settings.section(Bounces), return_path_of(settings, keyring)
        if bounces.url is None or return_path is None:
            return None

        def open_mailbox() -> Mailbox:
            if bounces.maildir is not None:
                return Maildir(bounces.maildir)
            return Imap(bounces.server, bounces.protection.context() if bounces.protection else None)

        return cls(open_mailbox, return_path, webhooks, keyring, clock)

    def read(self, *, stopping: Callable[[], bool] = lambda: False) -> BouncesRead:
        """Take in what is there. Raises CannotRead: what was read before is stored."""
        result = BouncesRead()
        mailbox = self.open_mailbox()
        chunk: list[Mail] = []
        unreadable: list[Mail] = []
        take_at = monotonic() + CHUNK_SECONDS
        try:
            for mail in mailbox.unread(most=MOST):
                (unreadable if mail.unreadable else chunk).append(mail)
                if len(chunk) == CHUNK or monotonic() >= take_at:
                    self._take(mailbox, chunk, result)
                    take_at = monotonic() + CHUNK_SECONDS
                if stopping():
                    break
            self._take(mailbox, chunk, result)
        except CannotRead:
            with suppress(CannotRead):  # it is stored, and removed if the mailbox still answers
                self._take(mailbox, chunk, result)
            raise
        finally:
            mailbox.close()
            self._leave(unreadable, result)
        return result

    def _leave(self, mails: list[Mail], result: BouncesRead) -> None:
        new = Counter(mail.unreadable for mail in mails if mail.id not in self._unreadable)
        for why, number in sorted(new.items()):
            log.warning("%s left unread in the mailbox for bounces: %s", counted(number, "mail"), why)
        self._unreadable = {mail.id for mail in mails}
        result.left.update(mail.unreadable for mail in mails)

    def _take(self, mailbox: Mailbox, mails: list[Mail], result: BouncesRead) -> None:
        """Take these mails in, once."""
        updates = [(mail, bounce_mails.read(mail.content, self.return_path.key_in)) for mail in mails]
        mails.clear()
        reports = [(mail, update) for mail, update in updates if isinstance(update, DeliveryUpdate)]
        if reports:
            arrived = [
                of_sender(EMAIL, self.keyring.digests("bounce", sha256(mail.content).hexdigest()), update)
                for mail, update in reports
            ]
            receipts = self.webhooks.keep(arrived, now=self.clock())
            new = [update.event for (_, update), is_new in zip(reports, receipts, strict=True) if is_new]
            result.reports.update(new)
            result.again += len(reports) - len(new)
        # Only now: what is removed is committed.
        mailbox.remove([mail.id for mail, _ in reports])
        others = [(mail, why) for mail, why in updates if isinstance(why, NotUnderstood)]
        mailbox.keep([mail.id for mail, _ in others])
        result.left.update(why.reason for _, why in others)


def _opened(parts: Parts) -> Looks | None:
    reader = BounceReader.of(parts.settings, parts.webhooks, parts.keyring, parts.clock)
    if reader is None:
        return None
    ends, outage = threading.Event(), Outage(log, logging.WARNING)

    def look() -> None:
        try:
            read = reader.read(stopping=ends.is_set)
        except CannotRead as error:
            outage.lasts(f"the mailbox for bounces cannot be read: {error}", monotonic())
        except Exception as error:
            if not ends.is_set():
                outage.lasts(f"reading bounces ended with {type(error).__name__}", monotonic())
        else:
            outage.over("the mailbox for bounces is read again")
            if read.reports:
                said = ", ".join(f"{number} {event}" for event, number in sorted(read.reports.items()))
                log.info("reports of mails: %s", said)

    return Looks("bounces", look, EVERY_SECONDS, ends, END_SECONDS)


WORK = Work(_opened, in_run=True)
