"""What the corrected addresses of a list get, if the old ones have links that open, and what that costs."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from worker.cli.lists.cost import in_json
from worker.cli.lists.text_costs import segments_of
from worker.core.foundation.plural import counted
from worker.core.foundation.timestamps import written_if_any
from worker.core.lifecycle.given_links import CorrectedRule, GivenLink, NewSession, SameLink, after_corrected_address
from worker.lists.importing.judging import Judged
from worker.reporting.prices import Prices
from worker.wiring.container import Parts


def corrected(parts: Parts, judged: Judged) -> dict[str, Any]:
    """By account the sessions that are asked for at once; how many get the same link; how many wait for the end of the
    old one, and until when. By channel the messages to the new addresses that go with the first two, and what both
    cost; each text as the longest of the list. The caps are not asked: they may leave some of them out."""
    rule, now = CorrectedRule(parts.settings.follow_up.corrected_address), parts.clock()
    sessions: Counter[str] = Counter()
    messages: Counter[str] = Counter()
    same, waits, last = 0, 0, None
    for (account, ends, channels, corrected_ones), rows in judged.old_links.items():
        provider = parts.intake.providers.get(account)
        allowed_from = ends if provider is None else provider.reissue_at(ends)
        match after_corrected_address(GivenLink(True, ends, allowed_from), rule, now=now):
            case NewSession():
                sessions[account] += rows
                messages.update(dict.fromkeys(channels, rows))
            case SameLink():
                same += rows
                messages.update(dict.fromkeys(corrected_ones, rows))
            case _:
                waits, last = waits + rows, max(last or ends, ends)
    _, longest = segments_of(parts, judged)
    cost = Prices.of(parts.settings).with_texts_of(longest).total(sessions, messages)
    return {
        "sessions": dict(sorted(sessions.items())),
        "messages": dict(sorted(messages.items())),
        **({"cost": in_json(cost)} if cost else {}),
        "same_link": same,
        "wait": waits,
        "until": written_if_any(last),
    }


def corrected_in_words(facts: Mapping[str, Any]) -> list[str]:
    """Lines about them."""
    asked = ", ".join(f"{name} {rows:,}" for name, rows in facts["sessions"].items())
    cost = ", ".join(f"{amount} {currency}" for currency, amount in facts.get("cost", {}).items())
    messages = ", ".join(f"{number:,} {channel}" for channel, number in facts["messages"].items())
    lines = [f"  another session at once, one credit each: {asked}"] if asked else []
    if facts["same_link"]:
        lines.append(f"  the same link goes to the new address: {counted(facts['same_link'], 'row')}")
    if messages:
        lines.append(f"  messages to the new addresses: {messages}")
    if cost:
        lines.append(f"  cost of both: {cost}")
    if facts["wait"]:
        lines.append(
            f"  nothing before the end of the link that the old address has: {counted(facts['wait'], 'row')}, the last"
            f" until {facts['until']}"
        )
    return lines
