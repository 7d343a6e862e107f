"""Pause, resume and cancel a batch; try its failed rows again; decide its held rows; send a row's message to an address
of one's own, as a test."""

from onboarding_worker.core.database.encrypted_values import Erased
from onboarding_worker.core.foundation.notation import are, counted
from onboarding_worker.core.model.customers import Customer
from onboarding_worker.core.model.states import JobState
from onboarding_worker.core.rules.contact import Wording
from onboarding_worker.features.dashboard.contract import Action, Asked, Done, Field, NotThere, Plan, Refused, Sources
from onboarding_worker.features.dashboard.store.batch_rows import customer_of_row
from onboarding_worker.lists.decisions.row_addresses import LONGEST, read_rows
from onboarding_worker.lists.decisions.store.decisions import RepeatCost, Verdict
from onboarding_worker.lists.decisions.store.settlement import Which
from onboarding_worker.lists.store.batches import BatchFacts
from onboarding_worker.reporting.batch_report import rows_left, staying, what_ends, worst_cost
from onboarding_worker.settings.policies import buys_on_click
from onboarding_worker.settings.problems import SettingsError
from onboarding_worker.wiring.message_tests import NotSent, hand_over, written
from onboarding_worker.wiring.store.message_tests import ACTION, begin
from onboarding_worker.wiring.templates import templates_of

ON_ITS_WAY = "Calls in flight are finished first."
FROM_NOW = "now"  # `from` in links of the first page; without it, the batch's page is meant
ROWS = Field("row", "Only these rows, as 3, 7, 12-20. Empty: all of them.", most=LONGEST, linked=True)
MOST_TESTS = 20  # in an hour, by all persons: a test goes to any address, in the company's name
TO = Field("to", "Your own email address, or phone number with +")


def batch_of(sources: Sources, asked: Asked) -> BatchFacts:
    """The batch that a request names. Raises NotThere."""
    number = asked.number("batch", least=1)
    batch = sources.parts.batches.find(str(number)) if number is not None else None
    if batch is None:
        raise NotThere("There is no such batch.")
    return batch


def _going(sources: Sources, asked: Asked) -> BatchFacts:
    batch = batch_of(sources, asked)
    if batch.cancelled_at is not None:
        raise Refused(f"Batch {batch.id} was cancelled, which cannot be undone. Its list can be run again.")
    return refuse_purged(batch)


def refuse_purged(batch: BatchFacts) -> BatchFacts:
    if batch.purged_at is not None:
        raise Refused(f"The rows of batch {batch.id} were removed by retention; its totals are left.")
    return batch


def page_of(batch_id: int | str) -> str:
    return f"/dashboard/batches/{batch_id}"


def _back(asked: Asked) -> str:
    """The page that the person came from. The request names it by a word: an address could lead to another site."""
    number = asked.number("batch", least=1)
    return "/" if number is None or asked.text("from") == FROM_NOW else page_of(number)


def _plan_pause(sources: Sources, asked: Asked) -> Plan:
    batch = _going(sources, asked)
    if batch.is_paused:
        raise Refused(f"Batch {batch.id} is paused already: {batch.pause_reason}.")
    return Plan(
        title=f"Pause batch {batch.id}, {batch.name}?",
        button=f"Pause batch {batch.id}",
        does=(
            "No session is requested for its rows and no message is sent to its customers until you resume it.",
            ON_ITS_WAY,
            "Sessions that are open stay open, and results are stored.",
        ),
    )


def _pause(sources: Sources, asked: Asked, reason: str) -> Done:
    batch = _going(sources, asked)
    # The reason is the pause's own, which all viewers see: the audit log has it from there.
    stores = sources.acting(asked, "pause", "")
    stores.decisions.pause(batch.id, by=f"{asked.person.name} (dashboard)", why=reason, now=asked.now)
    return Done(f"Batch {batch.id} is paused: {rows_left(stores.facts.left(batch.id))}.")


def _plan_resume(sources: Sources, asked: Asked) -> Plan:
    batch = _going(sources, asked)
    if not batch.is_paused:
        raise Refused(f"Batch {batch.id} is not paused.")
    counts = sources.parts.facts.counts(batch.id)
    # Bought on click, only a row without a message is paid for before its customer comes.
    calls_left = counts.silent if buys_on_click(sources.parts.settings) else counts.waiting
    due = {name: number for name, number in sorted(calls_left.items()) if number}
    calls = ", ".join(f"{name} {number:,}" for name, number in due.items())
    return Plan(
        title=f"Resume batch {batch.id}, {batch.name}?",
        button=f"Resume batch {batch.id}",
        does=(
            f"It was paused: {batch.pause_reason}.",
            "Its rows go on where they stood. Messages that come back are counted from zero again.",
        ),
        cost=(f"Sessions that are still to be paid for, by account: {calls}.",) if calls else (),
        at_most=due,
    )


def _resume(sources: Sources, asked: Asked, reason: str) -> Done:
    batch = _going(sources, asked)
    stores = sources.acting(asked, "resume", reason)
    decided = stores.decisions.resume(batch.id, now=asked.now)
    left = rows_left(stores.facts.left(batch.id), with_joined=stores.facts.counts(batch.id).left)
    return Done(f"Batch {batch.id} goes on: {left}.", decided.due)


def _plan_cancel(sources: Sources, asked: Asked) -> Plan:
    batch = refuse_purged(batch_of(sources, asked))
    if batch.cancelled_at is not None:
        raise Refused(f"Batch {batch.id} was cancelled already.")
    stores = sources.parts
    ends = what_ends(stores.facts.counts(batch.id), stores.decisions.count_reminders(batch.id))
    return Plan(
        title=f"Cancel batch {batch.id}, {batch.name}, for good?",
        button=f"Cancel batch {batch.id}",
        does=(
            f"It cancels {ends or 'no row, since all have ended'}. This cannot be undone.",
            "Messages that were not sent are not sent. " + ON_ITS_WAY,
            "Open sessions stay open at the provider until they expire; what was paid stays paid.",
        ),
        grave=True,
    )


def _cancel(sources: Sources, asked: Asked, reason: str) -> Done:
    batch = refuse_purged(batch_of(sources, asked))
    decided = sources.acting(asked, "cancel", reason).decisions.cancel(batch.id, now=asked.now)
    return Done(f"Batch {batch.id} is cancelled: {counted(decided.rows, 'row')} ended.")


def _which(batch: BatchFacts, asked: Asked) -> Which:
    """The rows that a request names: of the whole batch, of one account, or some rows. Raises Refused."""
    account, given = asked.text("account") or None, asked.text("row", most=LONGEST + 1)
    try:
        return Which(batch.id, account, read_rows(given) if given else None)
    except ValueError as error:
        raise Refused(f"The rows cannot be read: {error}.") from None


def _of(which: Which) -> str:
    if which.rows is not None:
        return f" ({which.rows.name})"
    return f" of {which.account}" if which.account else ""


def _plan_retry(sources: Sources, asked: Asked) -> Plan:
    batch = _going(sources, asked)
    which = _which(batch, asked)
    failed = sources.parts.decisions.count(which, JobState.FAILED)
    if not failed:
        raise Refused(f"No row of batch {batch.id}{_of(which)} has failed.")
    rows = counted(failed, "failed row")
    return Plan(
        title=f"Try {rows} of batch {batch.id}, {batch.name} again?",
        button=f"Try {rows} again",
        does=(
            f"{rows}{_of(which)} {'goes' if failed == 1 else 'go'} back to waiting, with no attempts made.",
            "A row that failed because of its data fails again, unless a newer list has corrected the data.",
        ),
        cost=(f"At most {counted(failed, 'session')} paid for, and as many messages.",),
        fields=(ROWS,),
    )


def _retry(sources: Sources, asked: Asked, reason: str) -> Done:
    batch = _going(sources, asked)
    decided = sources.acting(asked, "retry", reason).decisions.retry(_which(batch, asked), now=asked.now)
    return Done(f"Batch {batch.id}: {counted(decided.rows, 'row')} went back to waiting.", decided.due)


def _to_resolve(sources: Sources, asked: Asked) -> tuple[BatchFacts, Which, Verdict]:
    given = asked.text("verdict")
    if given not in list(Verdict):
        raise NotThere("A held row is either repeated or abandoned.")
    verdict = Verdict(given)
    # Rows of a cancelled batch that are held, because their call was in flight, can only be given up.
    batch = refuse_purged(batch_of(sources, asked)) if verdict is Verdict.ABANDON else _going(sources, asked)
    return batch, _which(batch, asked), verdict


def _plan_resolve(sources: Sources, asked: Asked) -> Plan:
    batch, which, verdict = _to_resolve(sources, asked)
    decisions = sources.parts.decisions
    cost = decisions.repeat_cost(which) if verdict is Verdict.REPEAT else RepeatCost({}, {})
    held = decisions.count(which, JobState.HELD) - sum(cost.stay.values())
    elsewhere = [
        f"{counted(rows, 'row more waits', 'rows more wait')} for a held row of batch {other}, and {are(rows)} decided"
        " there."
        for other, rows in decisions.held_elsewhere(which).items()
    ]
    elsewhere += [f"{line}." for line in staying(cost.stay)]
    if not held:
        none = [] if cost.stay else [f"No row of batch {batch.id}{_of(which)} is held."]
        raise Refused(" ".join([*none, *elsewhere]))
    rows, at_worst = counted(held, "held row"), worst_cost(cost)
    if verdict is Verdict.ABANDON:
        title, button = f"Give up {rows} of batch {batch.id}, {batch.name}?", f"Give up {rows}"
        them = "it" if held == 1 else "them"
        does = [
            f"{rows}{_of(which)} {are(held)} cancelled, and no further message is sent for {them}.",
            "What the provider may have opened stays open until it expires.",
        ]
    else:
        title, button = f"Make the calls of {rows} of batch {batch.id}, {batch.name} again?", f"Repeat {rows}"
        why = "the outcome of the last call is not known, or a person had to decide. The call is made again"
        does = [f"{rows}{_of(which)}: {why}."]
    costs = (f"{at_worst}.",) if at_worst else ()
    return Plan(title=title, button=button, does=(*does, *elsewhere), cost=costs, grave=True, fields=(ROWS,))


def _resolve(sources: Sources, asked: Asked, reason: str) -> Done:
    batch, which, verdict = _to_resolve(sources, asked)
    decided = sources.acting(asked, "resolve", reason).decisions.resolve(which, verdict, now=asked.now)
    done = "given up" if verdict is Verdict.ABANDON else "called again"
    return Done(f"Batch {batch.id}: {counted(decided.rows, 'row')} {are(decided.rows)} {done}.", decided.due)


def _row(sources: Sources, asked: Asked) -> tuple[int, int, Customer]:
    """The batch, the row and its customer. Raises NotThere, Refused."""
    batch, row = batch_of(sources, asked), asked.number("row", least=1, most=2**31 - 1)
    if row is None:
        raise NotThere("There is no such row.")
    try:
        customer = customer_of_row(sources.parts.database, sources.parts.keyring, batch.id, row)
    except Erased:
        raise Refused("The customer was erased: nothing is left to write to.") from None
    if customer is None:
        raise Refused(f"Row {row} of batch {batch.id} was rejected, or is not there: it has no message.")
    return batch.id, row, customer


def _plan_test(sources: Sources, asked: Asked) -> Plan:
    batch_id, row, customer = _row(sources, asked)
    if not sources.parts.settings.sending:
        raise Refused("No sender is configured: add [email] to the configuration.")
    brand = f" of the brand {customer.brand}" if customer.brand else ""
    return Plan(
        title=f"Send the message of row {row} of batch {batch_id} as a test?",
        button="Send the test",
        does=(
            f"The row's invitation{brand}, in its language, goes at once to the address that you type. It names the"
            " customer, so use an address of your own.",
            "It is marked as a test, and its link leads nowhere. Nothing of the row changes.",
        ),
        cost=("1 message; no session.",),
        fields=(TO,),
    )


def _test(sources: Sources, asked: Asked, reason: str) -> Done:
    batch_id, row, customer = _row(sources, asked)
    stores, settings = sources.acting(asked, ACTION, reason), sources.parts.settings
    kind, to = Wording.INVITATION.value, asked.text("to", most=TO.most)
    try:
        templates = templates_of(settings)  # anew: they may have changed
        test = written(settings, templates, customer, to, kind=kind, now=sources.parts.clock())
        subject, given = f"batch {batch_id} row {row}", (test.channel, test.message.to)
        why = f"by {test.channel}"
        refused = begin(stores.database, stores.keyring, subject, given, reason=why, now=asked.now, most=MOST_TESTS)
        if refused:
            raise NotSent(refused)
        hand_over(settings, sources.parts.clock, stores.keyring, test)
    except (NotSent, SettingsError) as error:
        raise Refused(f"No test was sent: {error}.") from None
    return Done(f"The test of row {row} was handed over by {test.channel}.")


ACTIONS = (
    Action(name="pause", command="pause", plan=_plan_pause, carry_out=_pause, back=_back),
    Action(name="resume", command="resume", plan=_plan_resume, carry_out=_resume, back=_back),
    Action(name="cancel", command="cancel", plan=_plan_cancel, carry_out=_cancel, back=_back),
    Action(name="retry", command="retry", plan=_plan_retry, carry_out=_retry, back=_back),
    Action(name="resolve", command="resolve", plan=_plan_resolve, carry_out=_resolve, back=_back),
    Action(name="test-message", command=ACTION, plan=_plan_test, carry_out=_test, back=_back),
)
