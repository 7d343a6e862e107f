"""The dashboard's users: a TOML file of `name = "password"`, or a table of secrets."""

import tomllib
from typing import Annotated, Any

from pydantic import BeforeValidator

from worker.settings.secrets import HOW, Missing, Referenced, Secret
from worker.settings.values import Shown

EXPECTED = 'expected { file = "PATH" } of a TOML file with a line `name = "password"` for each user'


class WholeValue:
    """Marks a table that may be a reference as a whole, `users = { file = "users.toml" }`."""


def _users(given: Any) -> dict[str, Secret]:
    if isinstance(given, Missing):
        return {"": Secret.accept(given)}
    table = _parse(given) if isinstance(given, Referenced) else given
    if not isinstance(table, dict):
        raise ValueError(EXPECTED)
    users: dict[str, Secret] = {}
    for name, password in table.items():
        if isinstance(given, Referenced) and isinstance(password, str):
            password = Referenced(password)
        if isinstance(password, Secret | Missing):
            users[name] = Secret.accept(password)
        elif isinstance(password, Referenced) and password:
            users[name] = Secret(str(password))
        elif isinstance(given, Referenced):
            raise ValueError(EXPECTED)
        else:
            raise ValueError(f"do not write a user's password in the configuration; {HOW}")
    return users


def _parse(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = str(error).rpartition("(")[2].removesuffix(")")
        raise ValueError(f"the file is not TOML ({where})") from None


Users = Annotated[dict[str, Secret], BeforeValidator(_users), WholeValue(), Shown("table of secrets by name")]
