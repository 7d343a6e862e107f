"""Makes a failing plan smaller: faults and people are left out as long as the same rule is broken."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from trials.simulation.plan import Plan

MOST_TRIES = 60


def shrink(plan: Plan, still_fails: Callable[[Plan], bool]) -> Plan:
    tries = 0
    smaller = True
    while smaller:
        smaller = False
        for candidate in _smaller(plan):
            tries += 1
            if tries > MOST_TRIES:
                return plan
            if still_fails(candidate):
                plan, smaller = candidate, True
                break
    return plan


def _smaller(plan: Plan) -> Iterator[Plan]:
    for index in range(len(plan.faults)):
        yield replace(plan, faults=plan.faults[:index] + plan.faults[index + 1 :])
    for index in range(len(plan.acts) - 1):  # the last one has all go on
        yield replace(plan, acts=plan.acts[:index] + plan.acts[index + 1 :])
    if plan.ahead:
        yield replace(plan, ahead=0.0)
    if plan.tries_again:
        yield replace(plan, tries_again=False)
    if plan.renews_for:
        yield replace(plan, renews_for=0.0)
    if plan.operator:
        yield replace(plan, operator="")
    if len(plan.people) > 1:
        for index in range(len(plan.people)):
            yield replace(plan, people=plan.people[:index] + plan.people[index + 1 :])
