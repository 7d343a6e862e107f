"""What a person does about a row: by its reason, and by the state in which it has this reason."""

from collections.abc import Mapping

from onboarding_worker.core.features import hint
from onboarding_worker.core.model.reasons import Reason, known_reason
from onboarding_worker.core.model.states import JobState, LineState

_OTHER_WAY = "reach the customer in another way"
_UNSENT = (JobState.WAITING, JobState.ISSUED)

# What a person does about a row in this state whose reason has no step of its own.
STEPS: Mapping[JobState | LineState, str] = {
    JobState.HELD: "find out what happened, then `onboard resolve BATCH` with --repeat or --abandon",
    JobState.FAILED: "see the error; `onboard retry BATCH` once its cause is gone",
}

# Where a reason has a step of its own.
OF_REASONS: Mapping[Reason, Mapping[JobState | LineState, str]] = {
    Reason.ADDRESS_SPENT: {JobState.FAILED: _OTHER_WAY},
    Reason.ADDRESS_CORRECTED: {
        JobState.INVITED: (
            "nothing: another one follows the present link's end"
            + hint("customer", "; `onboard customer resend` with --same-link sends the present one now")
        )
    },
    Reason.LINK_ENDED: {JobState.LAPSED: "decide whether the customer is to be invited once more"},
    Reason.CREDITS_SPENT: {JobState.WAITING: "`onboard resume BATCH --most-credits N`"},
    Reason.BATCH_PAUSED: dict.fromkeys(_UNSENT, "`onboard resume BATCH`"),
    Reason.ACCOUNT_STOPPED: dict.fromkeys(_UNSENT, "correct the cause, then `onboard account resume`"),
    Reason.ACCOUNT_MISSING: {JobState.WAITING: "put the account back into the configuration"},
    Reason.SHORT_LIVED: {
        JobState.HELD: (
            "let the account's links live longer, or lower the route's `freshness`; then"
            " `onboard account resume`, and `onboard resolve BATCH` with --repeat"
        )
    },
    Reason.UNKNOWN: {
        JobState.WAITING: "nothing: the worker asks the provider, or waits until a session must have ended",
        JobState.HELD: (
            "after a call: look for its session at the provider, and end it or let it expire; after a"
            " message: ask whether it arrived; then `onboard resolve BATCH` with --repeat or --abandon"
        ),
    },
    Reason.ORPHAN: {JobState.WAITING: "nothing: the end may be days away"},
    Reason.CONFLICT: {
        JobState.HELD: "wait until the provider's session has ended, then `onboard resolve BATCH` with --repeat"
    },
    Reason.NUMBER_REFUSED: {JobState.FAILED: "find another address of the customer, and import it in a new list"},
    Reason.BAD_INPUT: {JobState.FAILED: "correct the data and import the customer in a new list"},
    Reason.MESSAGE_REFUSED: {
        JobState.FAILED: (
            "see the error; then `onboard retry BATCH` sends the same link while it lives, which costs no session"
        )
    },
    Reason.ATTEMPTS_SPENT: {JobState.FAILED: "`onboard retry BATCH` once the other side works again"},
    Reason.BRAND_MISSING: dict.fromkeys(_UNSENT, "put [brand.NAME] back into the configuration, or cancel the row"),
    Reason.SECOND_SESSION: {
        JobState.HELD: "let one of the two sessions expire, then `onboard resolve BATCH` with --repeat, or --abandon"
    },
    Reason.ANSWER_REPEATED: {
        JobState.HELD: (
            "look for a cache before the provider; if the message may have left, end the session there;"
            " then `onboard resolve BATCH` with --repeat, which asks for a new session, or --abandon"
        )
    },
    Reason.CANNOT_DECRYPT: {
        JobState.HELD: "put its key back into [encryption] keys, then `onboard resolve BATCH` with --repeat"
    },
    Reason.CANNOT_KEEP: {
        JobState.HELD: (
            "report the error; end what the error names at the provider, then `onboard resolve BATCH`"
            " with --repeat or --abandon"
        )
    },
    Reason.CANNOT_WORK: {
        JobState.HELD: "report the error, then `onboard resolve BATCH` with --repeat once a release mends it"
    },
    Reason.TEMPLATE: {
        JobState.HELD: ("correct the template, which `onboard check` names, then `onboard resolve BATCH` with --repeat")
    },
    Reason.NOT_ME: {
        JobState.HELD: (
            "find out the right address"
            + hint("customer", ": `onboard customer address ID`")
            + ", then `onboard resolve BATCH` with --row and --repeat, which opens a session and sends its link; or"
            " --abandon"
        )
    },
    Reason.BOUNCED: {
        JobState.FAILED: (
            "find another address of the customer, and "
            + hint("customer", "give it with `onboard customer address ID`, or ")
            + "import it in a new list"
        )
    },
    Reason.SUPPRESSED: {
        JobState.FAILED: (
            f"{_OTHER_WAY}; `onboard suppress --check` shows why; `onboard retry BATCH` once the"
            " address may be written to again"
        ),
        JobState.LAPSED: f"{_OTHER_WAY}, or import it with another address",
    },
    Reason.SESSION_FAILED: {
        JobState.FAILED: "see why the provider ended the session; `onboard retry BATCH` asks for another one"
    },
    Reason.ERASED: {JobState.FAILED: "import the customer in a new list"},
    Reason.REISSUES_SPENT: {JobState.LAPSED: "decide whether the customer is to be invited once more"},
    Reason.MESSAGES_SPENT: {
        JobState.LAPSED: f"{_OTHER_WAY}; a higher [invitations] messages_per_customer holds for a new list"
    },
    Reason.REJECTED: {LineState.REJECTED: "correct the row and import it in a new list"},
}


def step_for(state: str, word: str) -> str:
    """What a person does about a row in this state with this stored reason; "" where nothing is to be done."""
    try:
        of = LineState(state) if state in set(LineState) else JobState(state)
    except ValueError:
        return ""
    reason = known_reason(word)
    return (OF_REASONS.get(reason, {}).get(of) if reason is not None else "") or STEPS.get(of, "")
