"""What the texts of a list are charged as: a long text is sent in segments, and each costs the price of one."""

from collections.abc import Mapping

from worker.cli.exits import CannotStart
from worker.cli.sample_message import example, rendered
from worker.core.customers.customers import Channel
from worker.core.messages.segments import segments
from worker.core.messages.wording import Wording
from worker.lists.importing.judging import Judged
from worker.wiring.container import Parts

# As long as iDenfy's; our own stable links are shorter.
LINK = f"https://verify.example.com/{'x' * 62}"
MOST_WORDINGS = 100  # of a list with more templates and languages the others count as the last one does


def segments_of(parts: Parts, due: Judged) -> tuple[int, int]:
    """The segments of the texts that leave now; and those of the longest text that a row may get."""
    if parts.settings.texting(Channel.SMS) is None:
        return 0, 1
    now, each, most = 0, 1, 1
    for number, ((template, locale), texts) in enumerate(due.wordings.items()):
        each = _each(parts, template, locale) if number < MOST_WORDINGS else each
        now, most = now + texts * each, max(most, each)
    return now, most


def charged(messages: Mapping[str, int], texts: int) -> Mapping[str, int]:
    """These messages by channel, with so many segments in place of the texts."""
    return {**messages, Channel.SMS: texts} if Channel.SMS in messages else messages


def _each(parts: Parts, template: str, locale: str) -> int:
    try:
        customer = example(locale=locale, template=template)
        made = rendered(parts.settings, parts.templates, customer, Channel.SMS, Wording.INVITATION, link=LINK)
    except CannotStart:
        return 1  # the template's own problem is named elsewhere
    return segments(made.text).count
