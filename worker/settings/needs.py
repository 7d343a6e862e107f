"""What a command needs of the configuration's references, `{ env = "NAME" }` and `{ file = "PATH" }`.

A reference that a command does not need may be unset: who runs `onboard status` need not hold the mail server's
password. A command that declares no needs has all of them, so a new command that forgets to declare asks for too much,
never for too little. A missing value that is used all the same raises SettingsError, which names its key.
"""

from collections.abc import Collection
from enum import StrEnum

from onboarding_worker.core.model.channels import CHANNELS, channels_of


class Need(StrEnum):
    DATABASE = "database"
    KEYS = "encryption keys"
    ENCRYPTING = "encryption keys that fit what is stored"
    BROKER = "broker"
    BUS = "bus"
    CALLS = "provider credentials"
    SENDING = "sender credentials"
    RECEIVING = "webhook and event keys"
    PUBLISHING = "subscriber keys"
    ALERTING = "addresses of alerts"
    BOUNCES = "the mailbox of bounces"
    FOLDERS = "folders of lists"


Needs = frozenset[Need]
NOTHING: Needs = frozenset()
COUNTED: Needs = frozenset({Need.DATABASE})  # to show what is stored and not encrypted: states, times, counts
STORED: Needs = frozenset({Need.DATABASE, Need.KEYS})  # to read what is in the database, and to decide about it
ENCRYPTING: Needs = STORED | {Need.ENCRYPTING}  # to store what is encrypted or hashed: the keys are checked first
WAKING: Needs = STORED | {Need.BROKER}  # to decide about it, and to wake the workers
BEATING: Needs = frozenset({Need.BROKER})  # to wake the workers, and nothing else
SERVING: Needs = WAKING | {Need.RECEIVING, Need.ALERTING}  # to take webhooks and events: `web` is what strangers reach
EVERYTHING: Needs = frozenset(Need)  # to work rows, and what a command has that declares nothing

_BY_TABLE = {
    "database": Need.DATABASE,
    "encryption": Need.KEYS,
    "broker": Need.BROKER,
    "bus": Need.BUS,
    "dashboard": Need.RECEIVING,
    "accounts": Need.CALLS,
    "bounces": Need.BOUNCES,
    "delivery": Need.RECEIVING,
    "email": Need.SENDING,
    "intake": Need.FOLDERS,
    "oidc": Need.RECEIVING,
    "sms": Need.SENDING,
    "whatsapp": Need.SENDING,
    "web": Need.RECEIVING,
    "subscribers": Need.PUBLISHING,
    "alerts": Need.ALERTING,
}
_VERIFYING = frozenset({"webhook_keys", "jwt_key", "webhook_secret", "callback_key"})


def is_needed(path: tuple[str | int, ...], needs: Needs, own_keys: Collection[str] = ()) -> bool:
    """True if the value at this path is needed. A table that is not listed above is always needed. `own_keys`: the
    channels whose callbacks are verified by a `callback_key`."""
    used_for: set[Need | None] = {_BY_TABLE.get(str(path[0]))}
    if path[0] in ("accounts", *CHANNELS) and not _VERIFYING.isdisjoint(path):
        used_for = {Need.RECEIVING}
    elif path[0] in channels_of("phone") and path[0] not in own_keys and path[1:2] == ("token",):
        used_for.add(Need.RECEIVING)  # it verifies callbacks
    return None in used_for or not used_for.isdisjoint(needs)
