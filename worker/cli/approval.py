"""What a `run` would send, shown on a terminal before it asks."""

from collections import Counter
from dataclasses import replace

import click

from onboarding_worker.cli.lists.foreseen import (
    Costs,
    ListCost,
    beside_corrected,
    corrected_in_words,
    costs_in_words,
    costs_of,
    end_in_words,
    foreseen,
    mix_in_words,
)
from onboarding_worker.cli.lists.found_rows import read_through
from onboarding_worker.cli.lists.listed import Listed, lines_of
from onboarding_worker.cli.running.summary import changed_in_words, changes_in_words, show_warned
from onboarding_worker.cli.sample_message import rendered
from onboarding_worker.cli.shared_options import confirm
from onboarding_worker.core.foundation.notation import counted
from onboarding_worker.core.model.channels import CHANNELS
from onboarding_worker.core.model.customers import invitation_channels
from onboarding_worker.core.rules.contact import Wording
from onboarding_worker.lists.formats.opening import content_digest
from onboarding_worker.lists.importing.judging import Judged
from onboarding_worker.lists.importing.list_import import ImportChoices
from onboarding_worker.lists.lines import AcceptedLine
from onboarding_worker.lists.listing import open_list
from onboarding_worker.lists.options import ListOptions
from onboarding_worker.lists.returned import ReturnedReport
from onboarding_worker.lists.warned import Warned
from onboarding_worker.plans.pilot import pilot_size
from onboarding_worker.plans.store.plans import Plan
from onboarding_worker.wiring.container import Parts

SHOWN_LINES = 12  # of the first message


def approve(parts: Parts, listed: Listed, options: ListOptions, choices: ImportChoices) -> bool:
    """Show what would leave, and ask. Raises Stopped if the answer is no; nothing was changed then. A list that
    has begun to leave goes on without a question: it was approved. False: this one did."""
    digest = content_digest(listed.content)
    known = None if choices.again else parts.batches.of_content(digest)
    if known is not None and parts.facts.counts(known.id).sessions:
        return False
    reading = open_list(listed.content, options)
    found, report = read_through(parts, listed, options, choices, reading, digest)
    judged, cost = found.judged, found.cost
    of_rows = ((row, one) for row, one, severity in found.in_order() if severity == "warning" and row is not None)
    show_warned(Warned(of_rows), listed.name)
    if report is not None:
        click.echo("\n".join(changes_in_words(report, judged.known)), err=True)
    planned = parts.batches.plan(known) if known is not None else None
    plan = choices.plan or (planned.plan if planned is not None else None)
    pilot = None
    if plan is not None and plan.first and cost.due.accepted:
        first = ListCost(parts, cost.calls, most=pilot_size(plan.first, cost.due.accepted))
        # The list is read again up to the last of them: a share of it is known at its end.
        lines, _ = lines_of(parts, listed, options, choices, open_list(listed.content, options))
        for line in lines:
            if isinstance(line, AcceptedLine):
                first.add(line)
            if first.due.accepted == first.most:
                break
        first.finish()
        pilot = first.due
    summary = _summary(parts, listed, judged, cost, report, plan, pilot)
    sample = _sample(parts, cost.first) if cost.first is not None else []
    click.echo("\n".join([*summary, *sample]), err=True)
    confirm("send?")
    return True


def _summary(
    parts: Parts,
    listed: Listed,
    judged: Judged,
    cost: ListCost,
    report: ReturnedReport | None,
    plan: Plan | None,
    pilot: Judged | None,
) -> list[str]:
    settings, due = parts.settings, cost.due
    countries = [country for country in due.countries if country]
    facts = foreseen(parts, judged, due, (), apart=cost.beyond_cap(), batch=cost.calls.batch, report=report)
    leaving = Counter(due.messages) + Counter(facts.get("corrected", {}).get("messages", {}))
    messages = " and ".join(counted(number, CHANNELS[channel].counted) for channel, number in sorted(leaving.items()))
    senders = [one.from_ for channel, one in settings.sending.items() if channel in leaving]
    to = f" to {counted(len(countries), 'country', 'countries')}" if countries else ""
    lines = [
        f"{listed.name}: {counted(judged.total, 'row')}, {judged.rejected:,} rejected, {judged.duplicate:,} duplicate",
        f"  {messages or 'no message'}{to}, from {', '.join(senders) or 'no sender'}",
    ]
    lines += [f"  {line}" for line in mix_in_words(facts)]
    if changed := facts["changed_addresses"]:
        lines.append(f"  {changed_in_words(changed)}")
    lines += [f"  {one}" for one in corrected_in_words(facts.get("corrected", {}))]
    calls = ", ".join(f"{name} {number:,}" for name, number in facts["now"].items() if number)
    worst = ", ".join(f"{name} {number:,}" for name, number in facts["credits"].items() if number)
    now = "now" if pilot is None else "in all"
    said = f"sessions {now}{beside_corrected(facts)}: {calls or 'none'}"
    lines.append(f"  {said}; at most, with every reissue: {worst or 'none'}")
    lines += [f"  {line}" for line in costs_in_words(facts, now=now)]
    if plan is not None:
        lines.append(f"  {plan.in_words}")
    calls_now = sum(facts["now"].values())
    if plan is not None and plan.most_credits is not None and plan.most_credits < calls_now:
        lines.append(f"  {counted(calls_now - plan.most_credits, 'row waits', 'rows wait')} for more --most-credits")
    if pilot is not None:
        lines += _pilot_and_rest(costs_of(parts, due), due.accepted, costs_of(parts, pilot), pilot.accepted)
    sent = "without the plan, sent" if plan is not None else "sent"
    lines += [f"  {line}" for line in end_in_words(facts["forecast"], sent=sent, without_end="cannot finish")]
    for channel, quiet in sorted(settings.invitations.quiet.items()):
        lines.append(f"  quiet hours on {channel}: {quiet}, in the recipient's time zone")
    return lines


def _pilot_and_rest(whole: Costs, rows: int, pilot: Costs, first: int) -> list[str]:
    """What the pilot costs of the whole, and what is left for the rest."""
    left = {
        words: {currency: amount - pilot.get(words, {}).get(currency, 0) for currency, amount in amounts.items()}
        for words, amounts in whole.items()
    }
    return [
        "; ".join([f"  pilot: {counted(first, 'row')}", *costs_in_words({"cost": pilot})]),
        "; ".join([f"  rest: {counted(rows - first, 'row')}", *costs_in_words({"cost": left}, now="later")]),
    ]


def _sample(parts: Parts, line: AcceptedLine) -> list[str]:
    channel = next(iter(invitation_channels(line.customer.channel)), None)
    if channel is None:
        return []
    customer = replace(line.customer, account=line.account)
    words = rendered(parts.settings, parts.templates, customer, channel, Wording.INVITATION.value)
    text = [f"Subject: {words.subject}", "", *words.text.splitlines()] if words.subject else words.text.splitlines()
    shown = [f"  | {one}".rstrip() for one in text[:SHOWN_LINES]]
    rest = ["  | …"] if len(text) > SHOWN_LINES else []
    return [f"the first one (row {line.row}, {channel}, {words.language}):", *shown, *rest]
