"""The model of a month in which messages have our own link (docs/reference/links.md): sessions follow visits.

Written from the documentation, as `model.py` is. A customer's story is its messages and its visits in order of time.
Scanners are in no story: what they do may change nothing.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from tests.trials.month.model import (
    AFTER_A_REMINDER,
    DAY,
    HOUR,
    IN_REVIEW,
    MINUTE,
    UNTIL_BOUNCE,
    UNTIL_STOP,
    Behaviour,
    Customer,
    Rules,
    Story,
    awake,
)

# How long a customer reads the page before it presses the button, and is busy with the provider.
READS, DOES_ITS_PART = timedelta(seconds=5), 5 * MINUTE
# Customers with these behaviours leave the session of their first visit.
COMES_BACK = (Behaviour.LAST_DAY, Behaviour.SECOND_LINK, Behaviour.TWICE)
NEVER_COMES = (Behaviour.NEVER, Behaviour.STOPS, Behaviour.AFTER_REMINDER)


def stable_story_of(
    customer: Customer, rules: Rules, *, on_click: bool, start: datetime, until: datetime, fallback: bool = False
) -> Story:
    """One customer's story. `on_click`: a session is bought by a press alone; else one before the first message, and
    each next one by a visit."""
    life = _Life(customer, rules, on_click, until, Story())
    return life.live(start, fallback=fallback)


@dataclass
class _Life:
    customer: Customer
    rules: Rules
    on_click: bool
    until: datetime
    story: Story
    comes: datetime | None = None  # its next visit
    visits: int = 0
    link_ends: datetime | None = None
    done: datetime | None = None  # it has done its part

    def live(self, start: datetime, *, fallback: bool) -> Story:
        story, behaviour = self.story, self.customer.behaviour
        invited = sent = self._awake(start)
        if not self._message(story.invitations, invited):
            return story
        if not self.on_click:
            story.sessions.append(invited)
        if behaviour is Behaviour.BOUNCES:
            returned = invited + UNTIL_BOUNCE
            if not story.before(returned, self.until):
                return story
            if not (fallback and self.customer.phone):
                return story.end("failed", "bounced")
            sent = self._awake(returned)
            if not self._message(story.invitations, sent):
                return story
        if behaviour not in NEVER_COMES:
            self.comes = sent + HOUR
        self._reminders(sent)
        self._visits(self.until)
        return self._ended()

    def _reminders(self, sent: datetime) -> None:
        story, behaviour = self.story, self.customer.behaviour
        times = [sent + span for span in self.rules.reminders]
        for index, time in enumerate(times):
            due = self._awake(time)
            self._visits(due)
            if index + 1 < len(times) and not story.before(due, times[index + 1]):
                continue  # the next one is due too: one reminder is enough
            if behaviour is Behaviour.STOPS and story.before(story.invitations[0] + UNTIL_STOP, due):
                return
            finished = self.done is not None and story.before(self.done, due)
            if finished or story.ending == "held" or story.messages >= self.rules.messages:
                return
            expires, spent = self._expires(), len(story.sessions) > self.rules.reissues
            if spent and expires is not None and story.before(expires, due):
                return  # the page could only say no
            if not self._message(story.reminders, due):
                return
            if behaviour is Behaviour.AFTER_REMINDER and len(story.reminders) == 1:
                self.comes = due + AFTER_A_REMINDER

    def _message(self, kind: list[datetime], at: datetime) -> bool:
        """Add a message, which puts the link's end off; False: the month has ended before."""
        if not self.story.before(at, self.until):
            return False
        kind.append(at)
        if self.link_ends is None or self.link_ends + DAY < at + self.rules.valid:
            self.link_ends = at + self.rules.valid
        return True

    # At the door.

    def _visits(self, until: datetime) -> None:
        while self.comes is not None and self.story.before(self.comes, until):
            at, self.comes = self.comes, None
            assert self.link_ends is not None
            if self.story.before(at, self.link_ends):
                self._visit(at)

    def _visit(self, at: datetime) -> None:
        story, behaviour = self.story, self.customer.behaviour
        if behaviour is Behaviour.NOT_ME:
            story.end("held", "not_me")
            return
        expires = self._expires()
        if expires is None or not story.before(at, expires):
            if len(story.sessions) > self.rules.reissues:
                return
            if expires is not None and not story.before(expires + self.rules.settles, at):
                story.margin = timedelta(0)  # a result may still come: when the door opens is not modelled
            story.sessions.append(at + READS if self.on_click else at)
            expires = self._expires()
            assert expires is not None
        self.visits += 1
        if behaviour is Behaviour.SPENDS:
            self.comes = expires + HOUR
        elif behaviour in COMES_BACK and self.visits == 1:
            lives = self.customer.endpoint.lifetime
            self.comes = expires - lives / 10 if behaviour is Behaviour.LAST_DAY else expires + HOUR
        else:
            self.done = at + DOES_ITS_PART

    def _expires(self) -> datetime | None:
        """When the last session ends."""
        return self.story.sessions[-1] + self.customer.endpoint.lifetime if self.story.sessions else None

    # The end.

    def _ended(self) -> Story:
        story, behaviour = self.story, self.customer.behaviour
        if story.ending != "open":
            return story
        if self.done is not None:
            ends = self.done + (IN_REVIEW if behaviour is Behaviour.REVIEWED else timedelta(0))
            if not story.before(ends, self.until):
                return story
            return story.end("completed", "denied" if behaviour is Behaviour.DENIED else "approved")
        assert self.link_ends is not None
        # By the link's end, or a little later, when no result can come for its last session.
        over = max(self.link_ends, self._expires() or self.link_ends)
        story.before(over + self.rules.settles, self.until)
        return story.end("lapsed", "link_ended") if story.before(over, self.until) else story

    def _awake(self, moment: datetime) -> datetime:
        return awake(self.customer, self.rules, moment, self.story)
