"""Why a job or a message is in its state: one word for each reason, and its sentence for people. What a person does
then is in `reporting.steps`.

The word is stored with the row, and printed in reports and events. The tables of docs/reference/states.md are made from
both modules (`tests.core.model.reason_tables`). Reports also show words that are not listed here, as they are: a newer
release may have written them.
"""

from enum import StrEnum
from typing import Self

from onboarding_worker.core.model.states import InvitationState, JobState, LineState

States = tuple[JobState | LineState, ...]
Messages = tuple[InvitationState, ...]
# Of rows, of messages, and of both.
_WAITS: States = (JobState.WAITING,)
_UNSENT: States = (JobState.WAITING, JobState.ISSUED)
_HELD: States = (JobState.HELD,)
_FAILED: States = (JobState.FAILED,)
_CANCELLED: States = (JobState.CANCELLED,)
_IN_DOUBT: States = (JobState.WAITING, JobState.HELD)
_WAITING, _SUPERSEDED, _LOST = (InvitationState.WAITING,), (InvitationState.SUPERSEDED,), (InvitationState.FAILED,)
_BOTH, _LATER, _NO_USE = (_WAITS, _WAITING), ((), _WAITING), ((), _SUPERSEDED)
_BOTH_HELD, _BOTH_FAILED = (_HELD, (InvitationState.HELD,)), (_FAILED, _LOST)
_BOTH_IN_DOUBT = (_IN_DOUBT, (InvitationState.WAITING, InvitationState.HELD))


class Reason(StrEnum):
    """A reason, with its sentence (`meaning`).

    `jobs` are the states in which a row has this reason, and `messages` those in which an invitation or a reminder has
    it. A reason without states is never stored.
    """

    meaning: str
    jobs: States
    messages: Messages

    def __new__(cls, word: str, meaning: str = "", jobs: States = (), messages: Messages = ()) -> Self:
        member = str.__new__(cls, word)
        member._value_ = word
        member.meaning = meaning
        member.jobs = jobs
        member.messages = messages
        return member

    # The row waits for a time or for another row.
    QUIET_HOURS = ("quiet_hours", "the message may not leave during quiet hours", *_BOTH)
    WAITS_FOR_SENDER = (
        "waits_for_sender",
        "the sender was paused, stopped, silent or missing, or the link would have been too old at its turn",
        _WAITS,
    )
    ADDRESS_SPENT = (
        "address_spent",
        "the address has had its messages for now ([invitations] messages_per_address)",
        (JobState.WAITING, JobState.FAILED),
        (InvitationState.WAITING, InvitationState.SUPPRESSED, InvitationState.SUPERSEDED),
    )
    PLANNED = ("planned", "its time in the list's plan has not come (--start-at or --per-hour or --deadline)", *_BOTH)
    CREDITS_SPENT = ("credits_spent", "the list has used up the credits that it may cost (--most-credits)", _WAITS)
    BRAND_MISSING = (
        "brand_missing",
        "the configuration does not have the row's brand; the message follows once it is back",
        _UNSENT,
        _WAITING,
    )
    RIGHT_MISSING = (
        "right_missing",
        "the row sets what it may not: its account's per_row, or [rights], does not list the column",
        _WAITS,
    )
    COUNTRY_SPENT = (
        "country_spent",
        "the texts to its country have reached the most of an hour ([sms] per_country)",
        *_LATER,
    )
    IN_REVIEW = ("in_review", "the customer has finished their part, and the provider has not decided yet", *_BOTH)
    LAST_MESSAGE_UNDER_WAY = (
        "last_message_on_its_way",
        "another message to the customer is being sent, and may be the last one",
        *_LATER,
    )
    REMINDER = ("reminder", "the time of the reminder has not come yet", *_LATER)
    SESSION_ENDS_FIRST = (
        "session_ends_first",
        "the customer has a session whose link cannot be sent; a new session follows its end",
        _WAITS,
    )
    STALE_LINK = ("stale_link", "the link was too old to be sent; a new session replaces it", _WAITS, _SUPERSEDED)
    SESSION_EXPIRED = (
        "session_expired",
        "the customer's session ended without a result; a new session follows",
        _WAITS,
    )
    ASKED_AGAIN = (
        "asked_again",
        "the customer was refused for a reason of [retry_after_denial]; a new session follows",
        _WAITS,
    )
    LINK_ENDS_SOON = (
        "link_ends_soon",
        "the customer's link ends soon ([follow_up] ahead); a new session replaces it before that",
        _WAITS,
    )
    NEW_LINK = ("new_link", "a person asked for a new link for the customer; a new session follows", _WAITS)
    ADDRESS_CORRECTED = (
        "address_corrected",
        "the link went to an address that was corrected since; another one follows for the new address",
        (JobState.WAITING, JobState.INVITED),
        _SUPERSEDED,
    )
    LINK_ENDED = ("link_ended", "the customer has not finished while the stable link led on", (JobState.LAPSED,))
    LINK_REVOKED = ("link_revoked", "the customer's stable link was revoked", *_NO_USE)
    PRESSED = (
        "pressed",
        "the customer stands at the stable link and waits for the session; no message follows",
        _WAITS,
    )
    STATUS_CHECK = (
        "status_check",
        "the session is over by our clock; the provider is asked whether the customer has finished",
        _WAITS,
    )
    TAKEN_OVER = ("taken_over", "another account of the route took the row over, and has not called for it yet", _WAITS)
    JOINED_JOB = (
        "joined_job",
        "another row serves the same customer; this row has the state of that row",
        (JobState.WAITING, LineState.JOINED),
        _SUPERSEDED,
    )

    # Not stored: found when a report is read (`reporting.waits`).
    BATCH_PAUSED = ("batch_paused", "a person paused the batch or stopped it with Ctrl-C, or it paused itself", _UNSENT)
    ACCOUNT_STOPPED = ("account_stopped", "the account or the sender is stopped", _UNSENT)
    ACCOUNT_MISSING = (
        "account_missing",
        "the configuration does not have the account: it was renamed or taken out",
        _WAITS,
    )
    ACCOUNT_PAUSED = ("account_paused", "the account or the sender is paused; the pause ends by itself", _UNSENT)
    LIMIT_USED_UP = (
        "limit_used_up",
        "the account or the sender has used up its limit, ramp or cap of credits; the first of the rows goes on then",
        _UNSENT,
    )

    # How the last call ended. Each `endings.Kind` is one of these.
    RATE_LIMITED = (
        "rate_limited",
        "the last call was refused because of a rate limit of the provider or the sender",
        *_BOTH,
    )
    UNREACHABLE = (
        "unreachable",
        "at the last call the provider or the sender could not be reached; nothing was sent",
        *_BOTH,
    )
    TRANSIENT = ("transient", "the last call failed; it is repeated", *_BOTH)
    AUTH = ("auth", "the last call was refused for the credentials or the set-up of the account", *_BOTH)
    OUT_OF_CREDIT = ("out_of_credit", "at the last call the account had no credit left", *_BOTH)
    UNCLEAR = ("unclear", "the call was refused; the calls for other rows show whether because of this one", *_BOTH)
    SHORT_LIVED = (
        "short_lived",
        "the provider's links live too short a time to be sent; the account was stopped",
        _HELD,
    )
    UNKNOWN = ("unknown", "it is not known whether the call was carried out", *_BOTH_IN_DOUBT)
    ORPHAN = (
        "orphan",
        "the provider has a session for the customer whose token was lost; a new one is asked for after its end",
        _WAITS,
    )
    CONFLICT = ("conflict", "the provider has a live session for the customer", _IN_DOUBT)
    NUMBER_REFUSED = (
        "number_refused",
        "the number gets no text messages, because of its kind or of [sms] countries",
        *_BOTH_FAILED,
    )
    BAD_INPUT = ("bad_input", "the data was refused", _FAILED)
    MESSAGE_REFUSED = (
        "message_refused",
        "the sender refused the message, and did not say that the address is wrong",
        *_BOTH_FAILED,
    )
    ATTEMPTS_SPENT = ("attempts_spent", "every attempt failed", *_BOTH_FAILED)

    # The row is stopped until a person decides.
    SECOND_SESSION = ("second_session", "the provider opened a session although the customer has a live one", _HELD)
    ANSWER_REPEATED = (
        "answer_repeated",
        "the provider's answers for two customers had one token, or one id; its link is not sent",
        _HELD,
        _SUPERSEDED,
    )
    CANNOT_DECRYPT = ("cannot_open", "no key of [encryption] keys decrypts the row", *_BOTH_HELD)
    CANNOT_KEEP = ("cannot_keep", "the call was answered, and nothing of the answer could be stored", *_BOTH_HELD)
    CANNOT_WORK = (
        "cannot_work",
        "the row could not be worked: what is stored for it cannot be read, or shows a fault of this software",
        *_BOTH_HELD,
    )
    TEMPLATE = ("template", "the message could not be made from its template; nothing was sent", *_BOTH_HELD)
    NOT_ME = (
        "not_me",
        "a visitor of the link's page said that it is for another person; nothing more is sent",
        _HELD,
        _SUPERSEDED,
    )

    # No message reaches the customer, or no session is wanted any more.
    BOUNCED = (
        "bounced",
        "no message reached the customer: the addresses do not exist or refuse messages",
        _FAILED,
        (InvitationState.BOUNCED,),
    )
    SUPPRESSED = (
        "suppressed",
        "none of the customer's addresses may be written to",
        (JobState.FAILED, JobState.LAPSED),
        (InvitationState.SUPPRESSED,),
    )
    SESSION_FAILED = (
        "session_failed",
        "the session was cancelled or deleted at the provider, without a decision",
        _FAILED,
    )
    ERASED = (
        "erased",
        "the customer's personal data was erased",
        (JobState.FAILED, JobState.CANCELLED),
        (InvitationState.FAILED, InvitationState.SUPERSEDED),
    )
    REISSUES_SPENT = (
        "reissues_spent",
        "no more sessions are allowed for the customer ([follow_up] most)",
        (JobState.LAPSED,),
        _SUPERSEDED,
    )
    MESSAGES_SPENT = (
        "messages_spent",
        "no more messages are allowed for the customer ([invitations] messages_per_customer)",
        (JobState.LAPSED,),
        (InvitationState.SUPPRESSED, InvitationState.SUPERSEDED),
    )
    REJECTED = ("rejected", "the row was refused at import", (LineState.REJECTED,))
    DUPLICATE = ("duplicate", "an earlier row has the same customer; that row counts", (LineState.DUPLICATE,))
    KNOWN = ("known", "the customer was known; the row asks for no session", (LineState.KNOWN,))

    # The row has ended, or goes on, without a call of its own.
    JOINED_SESSION = (
        "joined_session",
        "the customer had a live session, or our link, which the row uses; or is in review, which it follows",
        (JobState.ISSUED, JobState.INVITED),
    )
    ALREADY_FINISHED = (
        "already_finished",
        "the customer has finished for this purpose in another list",
        (JobState.COMPLETED,),
    )
    CANCELLED = ("cancelled", "the batch or the job was cancelled", _CANCELLED, _SUPERSEDED)
    ABANDONED = ("abandoned", "an operator gave up what was held, with `onboard resolve --abandon`", _CANCELLED, _LOST)

    # The message has no use, or needs no sending.
    SENT_BY_PROVIDER = (
        "sent_by_provider",
        "the provider, or another tool, sent the link itself",
        (),
        (InvitationState.SENT,),
    )
    SESSION_ENDED = ("session_ended", "the session or the job ended before the message was sent", *_NO_USE)
    PASSED_OVER = ("passed_over", "the next reminder was due as well", *_NO_USE)
    NONE_LEFT = ("none_left", "the configuration has no such reminder any more", *_NO_USE)
    NOT_OPEN = (
        "not_open",
        "a reminder makes no sense: the customer is in review, or the job is not invited any more",
        *_NO_USE,
    )
    NOT_REACHED = ("not_reached", "the first message did not reach the customer on this channel", *_NO_USE)
    LINK_ENDS_FIRST = ("link_ends_first", "the link would be too old at the time of the reminder", *_NO_USE)

    # Why a session is not replaced; not stored.
    ALIVE = ("alive", "the link still works, or its result may still come")
    DAY_CAP = ("day_cap", "the account has opened its sessions of the day ([follow_up] per_day)")
    JOB_ENDED = ("ended", "the job is completed, lapsed, failed or cancelled")
    SESSION_DECIDED = ("decided", "the provider has decided, or another session has replaced this one")
    NOT_INVITED = ("not_invited", "the message is not sent yet: a link that is too old is replaced at its turn")

    # Why a session was opened, besides STALE_LINK and SESSION_EXPIRED; not stored.
    FIRST_SESSION = ("first", "the first session of the customer for this purpose")
    SESSION_SUPERSEDED = ("session_superseded", "the session before it was replaced while its link still worked")


# A job held for one of these waits for a person's decision about another session than its own.
ABOUT_ANOTHER = (Reason.SECOND_SESSION, Reason.CONFLICT, Reason.ANSWER_REPEATED)


def known_reason(word: str) -> Reason | None:
    """The reason that is stored as `word`; None for "" and for a word that this release does not have."""
    try:
        return Reason(word)
    except ValueError:
        return None


# What no time ends, only a person: a row that waits for it is looked at again now and then.
UNTIL_A_PERSON = frozenset({Reason.CREDITS_SPENT, Reason.BRAND_MISSING, Reason.RIGHT_MISSING})


def meaning_of(word: str) -> str:
    """The sentence for a stored reason; of a word that this release does not have, the word itself."""
    reason = known_reason(word)
    return reason.meaning if reason is not None else word.replace("_", " ")
