"""The words of messages that have left, made again from their templates, with nothing in them that opens a session."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from worker.core.messages.contact_times import Hours
from worker.core.messages.words import Invitation, Rendered
from worker.core.model.channels import address_of
from worker.core.model.masked import masked_opening
from worker.core.model.sessions import Opening
from worker.features.service_desk.store.sent_messages import SentMessage
from worker.templates.language import TemplateProblem
from worker.templates.render import Templates


class Origin(StrEnum):
    """Whether the present template is the one that a message left with."""

    SAME = "same"
    CHANGED = "changed"
    NOT_KNOWN = "not_known"


@dataclass(frozen=True, repr=False)
class MessageText:
    """Personal, so no repr. `text` None: `problem` says why it cannot be made. `to`: the customer's present address."""

    sent: SentMessage
    to: str
    text: Rendered | None
    origin: Origin
    problem: str = ""


def message_text(
    templates: Templates, hours: Hours, sender_name: Callable[[str], str], sent: SentMessage
) -> MessageText:
    """The words as they were when the message left, if neither the template nor the customer's details have changed."""
    customer, person = sent.customer, sent.customer.person
    to = address_of(person, sent.channel)
    opening = sent.opening or masked_opening(Opening(""))
    clock = hours.clock_of(timezone=customer.timezone, phone=person.phone, country=customer.country)
    name = sender_name(sent.channel)
    invitation = Invitation(customer, opening.link, sent.expires_at, name, sent.wording, clock, opening)
    try:
        made = templates.render(invitation, channel=sent.channel, now=sent.sent_at)
    except TemplateProblem as problem:
        return MessageText(sent, to, None, Origin.NOT_KNOWN, str(problem))
    if not sent.template:
        return MessageText(sent, to, made, Origin.NOT_KNOWN)
    return MessageText(sent, to, made, Origin.SAME if made.digest == sent.template else Origin.CHANGED)
