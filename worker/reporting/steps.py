"""What a person does about a row: by its state, and by the reason that it has in this state. What ends a wait is here
too: `waits.cause_of` finds the reason, and the page of states lists them."""

from collections.abc import Mapping

from onboarding_worker.core.foundation.features import hint
from onboarding_worker.core.model.reasons import Reason, known_reason
from onboarding_worker.core.model.states import JobState, LineState
from onboarding_worker.core.model.stops import way_out

_OTHER_WAY = "reach the customer in another way"
_ONCE_MORE = "decide whether the customer is to be invited once more"
_UNSENT: Mapping[Reason | None, str] = {
    Reason.BATCH_PAUSED: "`onboard resume BATCH`",
    Reason.ACCOUNT_STOPPED: way_out("NAME", ""),
    Reason.BRAND_MISSING: "put [brand.NAME] back into the configuration, or cancel the row",
}

# What a person does about a row in this state with this reason; None: whose reason has no step of its own.
STEPS: Mapping[JobState | LineState, Mapping[Reason | None, str]] = {
    JobState.WAITING: {
        **_UNSENT,
        Reason.CREDITS_SPENT: "`onboard resume BATCH --most-credits N`",
        Reason.RIGHT_MISSING: "list the column in the account's `per_row` and in [rights], or cancel the row",
        Reason.ACCOUNT_MISSING: "put the account back into the configuration",
        Reason.UNKNOWN: "nothing: the worker asks the provider, or waits until a session must have ended",
        Reason.ORPHAN: "nothing: the end may be days away",
    },
    JobState.ISSUED: _UNSENT,
    JobState.INVITED: {
        Reason.ADDRESS_CORRECTED: "nothing: another one follows the present link's end"
        + hint("customer", "; `onboard customer resend` with --same-link sends the present one now")
    },
    JobState.HELD: {
        None: "find out what happened, then `onboard resolve BATCH` with --repeat or --abandon",
        Reason.SHORT_LIVED: "let the account's links live longer, or lower the route's `freshness`; then"
        " `onboard account resume`, and `onboard resolve BATCH` with --repeat",
        Reason.UNKNOWN: "after a call: look for its session at the provider, and end it or let it expire; after a"
        " message: ask whether it arrived; then `onboard resolve BATCH` with --repeat or --abandon",
        Reason.CONFLICT: "wait until the provider's session has ended, then `onboard resolve BATCH` with --repeat",
        Reason.SECOND_SESSION: "let one of the two sessions expire, then `onboard resolve BATCH` with --repeat, or"
        " --abandon",
        Reason.ANSWER_REPEATED: "look for a cache before the provider; if the message may have left, end the session"
        " there; then `onboard resolve BATCH` with --repeat, which asks for a new session, or --abandon",
        Reason.CANNOT_DECRYPT: "put its key back into [encryption] keys, then `onboard resolve BATCH` with --repeat",
        Reason.CANNOT_KEEP: "report the error; end what the error names at the provider, then `onboard resolve BATCH`"
        " with --repeat or --abandon",
        Reason.CANNOT_WORK: "report the error, then `onboard resolve BATCH` with --repeat once a release mends it",
        Reason.TEMPLATE: "correct the template, which `onboard check` names, then `onboard resolve BATCH` with"
        " --repeat",
        Reason.NOT_ME: "find out the right address"
        + hint("customer", ": `onboard customer address ID`")
        + ", then `onboard resolve BATCH` with --row and --repeat, which opens a session and sends its link; or"
        " --abandon",
    },
    JobState.FAILED: {
        None: "see the error; `onboard retry BATCH` once its cause is gone",
        Reason.ADDRESS_SPENT: _OTHER_WAY,
        Reason.NUMBER_REFUSED: "find another address of the customer, and import it in a new list",
        Reason.BAD_INPUT: "correct the data and import the customer in a new list",
        Reason.MESSAGE_REFUSED: "see the error; then `onboard retry BATCH` sends a link to the same session while that"
        " lives, which costs no other",
        Reason.ATTEMPTS_SPENT: "`onboard retry BATCH` once the other side works again",
        Reason.BOUNCED: "find another address of the customer, and "
        + hint("customer", "give it with `onboard customer address ID`, or ")
        + "import it in a new list",
        Reason.SUPPRESSED: f"{_OTHER_WAY}; `onboard suppress --check` shows why; `onboard retry BATCH` once the"
        " address may be written to again",
        Reason.SESSION_FAILED: "see why the provider ended the session; `onboard retry BATCH` asks for another one",
        Reason.ERASED: "import the customer in a new list",
    },
    JobState.LAPSED: {
        Reason.LINK_ENDED: _ONCE_MORE,
        Reason.SUPPRESSED: f"{_OTHER_WAY}, or import it with another address",
        Reason.REISSUES_SPENT: _ONCE_MORE,
        Reason.MESSAGES_SPENT: f"{_OTHER_WAY}; a higher [invitations] messages_per_customer holds for a new list",
    },
    LineState.REJECTED: {Reason.REJECTED: "correct the row and import it in a new list"},
}


def step_for(state: str, word: str, batch: int | str = "BATCH") -> str:
    """What a person does about a row in this state with this reason; "" where nothing is to be done."""
    try:
        of = LineState(state) if state in set(LineState) else JobState(state)
    except ValueError:
        return ""
    steps = STEPS.get(of, {})
    return (steps.get(known_reason(word)) or steps.get(None, "")).replace("BATCH", str(batch))
