"""Counts refused log-ins by the machine that they came from, logs them, and slows that machine's next ones.

A right key is never delayed, whichever machine it comes from: others may share the address. A key of 32 characters
cannot be guessed at any speed; the delay keeps a machine that tries from costing much, and the log line names it.
A password can be guessed. So the guesses at one name are slowed too, whichever machines they come from.
"""

import logging
from collections import Counter, OrderedDict

EVERY_SECONDS = 60.0
# As many peers are named in a line.
NAMED = 5
# So many refusals of a peer are answered at once; each next one waits twice as long.
FREE = 10
FIRST_DELAY, LONGEST_DELAY = 0.25, 4.0
# A peer that was not refused for so long begins anew.
FORGET_SECONDS = 600.0
# So many peers, and names, are remembered; the one that was refused longest ago is forgotten.
MOST_PEERS = 10_000
# So many answers wait at a time. Further ones do not, but for guesses at a password: a waiting answer costs a
# connection.
MOST_WAITING = 100
Refused = OrderedDict[str, tuple[int, float]]  # by peer or name: how often, and when last


class Refusals:
    """Belongs to one loop. Times are monotonic seconds."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._since: Counter[str] = Counter()  # by peer, since the last line
        self._why = ""
        self._logged_at: float | None = None
        self._peers: Refused = OrderedDict()
        self._names: Refused = OrderedDict()
        self.waiting = 0

    def refused(self, peer: str, why: str, now: float, *, name: str = "") -> float:
        """Count a refusal; how many seconds its answer should wait. `why` holds nothing of the request.

        `name`: a digest of the name whose password was guessed. Its answer waits however many others do: else refusals
        at other doors would let guesses through. The checks of passwords bound how many such answers there are.
        """
        self._since[peer] += 1
        self._why = why
        if self._logged_at is None or now - self._logged_at >= EVERY_SECONDS:
            self.write(now)
        delay = _delay(self._peers, peer, now)
        if name:
            return max(delay, _delay(self._names, name, now))
        return delay if self.waiting < MOST_WAITING else 0.0

    def write(self, now: float) -> None:
        """Log what was not logged. Called each minute too, and at the end: the last ones are not left out."""
        if self._since:
            self._log.warning("%d refused (%s); the last for %s", self._since.total(), self._named(), self._why)
            self._logged_at = now
            self._since.clear()

    def _named(self) -> str:
        named = [f"{count} from {peer}" for peer, count in self._since.most_common(NAMED)]
        others = len(self._since) - len(named)
        return ", ".join(named) + (f", and others from {others} addresses" if others else "")


def _delay(refused: Refused, who: str, now: float) -> float:
    """Count a refusal of this peer or name; how many seconds its answer should wait."""
    times, last = refused.pop(who, (0, now))
    times = 1 if now - last > FORGET_SECONDS else times + 1
    refused[who] = (times, now)
    if len(refused) > MOST_PEERS:
        refused.popitem(last=False)
    return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(times - FREE - 1, 10)) if times > FREE else 0.0
