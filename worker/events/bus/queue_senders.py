"""Decides who sent a message: the user that RabbitMQ vouches for, else the sender that the queue belongs to. Pure.

RabbitMQ compares the property `user_id` with the login of the connection that publishes, but only if the property is
set. On Redis any producer may write it, so there it says nothing.

A refused message is put back with our login, and RabbitMQ would not take another user's name with it. So a message
whose user was known keeps the sender's name in a header, with a keyed digest of the message that only we can make.
"""

import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from worker.core.model.incoming import OPERATOR, EventSender
from worker.events.bus.dead_lettering import SENDER, message_id
from worker.events.bus.messages import Message
from worker.events.cloudevents import Unreadable
from worker.settings.event_senders import SenderOfEvents

UNKNOWN_USER = "its user_id is of no sender in [web.senders]"
NO_USER = "it has no user_id, and no sender in [web.senders] has this queue"
NO_PROOF = "it was put back, and which sender it is from can no longer be proved: its sender must send it again"

PURPOSE = "sender of a message"
Digests = Callable[[str, str], tuple[str, ...]]  # `Keyring.digests`


@dataclass(frozen=True)
class QueueSenders:
    """The senders of one queue. Without any sender in the configuration, all messages are this installation's own.

    `of_queue`: the sender of messages without a user; None: such messages are refused.
    """

    queue: str = ""
    by_user: Mapping[str, EventSender] = field(default_factory=dict)
    of_queue: EventSender | None = OPERATOR

    @property
    def is_open(self) -> bool:
        """True if each producer of the queue may do everything: the configuration names no sender."""
        return self.of_queue is OPERATOR

    @property
    def has_any(self) -> bool:
        """False if every message would be refused."""
        return bool(self.by_user) or self.of_queue is not None

    def of(self, message: Message, digests: Digests) -> EventSender | Unreadable:
        """The sender of a message; or why it has none."""
        if self.is_open:
            return OPERATOR
        if self.by_user and (user := message.properties.get("user_id")):
            return self.by_user.get(user if isinstance(user, str) else "") or Unreadable(UNKNOWN_USER)
        if self.by_user and SENDER in message.headers:
            return self._vouched(message, digests)
        return self.of_queue or Unreadable(NO_USER)

    def vouch(self, message: Message, digests: Digests) -> dict[str, str]:
        """The header that names the sender of a message whose user is known, for when it is put back."""
        user = message.properties.get("user_id")
        if not self.by_user or not user:
            return {}
        sender = self.by_user.get(user) if isinstance(user, str) else None
        if sender is None:
            return {SENDER: ""}  # put back, it must not become the queue's sender's
        return {SENDER: f"{sender.name} {digests(PURPOSE, self._identity(sender, message))[0]}"}

    def _vouched(self, message: Message, digests: Digests) -> EventSender | Unreadable:
        name, _, digest = str(message.headers[SENDER]).partition(" ")
        sender = next((one for one in self.by_user.values() if one.name == name), None)
        if sender is None or not digest.isascii():
            return Unreadable(NO_PROOF)
        # A list: all are compared.
        fits = [hmac.compare_digest(digest, one) for one in digests(PURPOSE, self._identity(sender, message))]
        return sender if any(fits) else Unreadable(NO_PROOF)

    def _identity(self, sender: EventSender, message: Message) -> str:
        return json.dumps([self.queue, sender.name, message_id(message)])


def senders_of_queue(senders: Mapping[str, SenderOfEvents], queue: str, *, on_amqp: bool) -> QueueSenders:
    """The senders of this queue, by the configuration."""
    if not senders:
        return QueueSenders(queue)
    by_user = {user: sender.rights(name) for name, sender in senders.items() for user in sender.users if on_amqp}
    of_queue = next((sender.rights(name) for name, sender in senders.items() if queue in sender.queues), None)
    return QueueSenders(queue, by_user, of_queue)
