"""What all tests of commands and pages ask of this one."""

from onboarding_worker.core.foundation.keyring import Keyring
from tests.desk.desk import Desk

CHANGES = [("keys retire 0123abcd --second-look 0", ("retired_key", ""))]
BEFORE = ["keys rotate"]
READS = ["keys status"]
WITHOUT_DATABASE = ["keys digest-key", "keys new"]
NEEDS = [(f"keys {command}", {"KEY"}) for command in ("digest-key", "retire 1a2b3c4d", "rotate", "status")]
ANSWERS = [("keys retire", ("--second-look", "0"))]
WITHOUT_SECRETS = ["keys new"]
NOT_RUN = [("keys digest-key", "is for a configuration without such a key; tests/features/keys/test_command.py")]


def two_keys(desk: Desk) -> dict[str, str]:
    """The new key is the first one, and the old one is to go."""
    old = Keyring([(desk.path / "onboarding.key").read_text().strip()]).ids[0]
    (desk.path / "new.key").write_text(desk.onboard("keys", "new").out)
    desk.change('keys = [{ file = "onboarding.key" }]', 'keys = [{ file = "new.key" }, { file = "onboarding.key" }]')
    return {"ID": old, "OLD_ID": old}


PREPARED = [("features/keys.md", two_keys)]
