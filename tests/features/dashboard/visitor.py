"""A person with a browser without scripts: keeps cookies, fills in forms, follows where the site sends it."""

import html
import re
from dataclasses import dataclass
from typing import Any

from aiohttp.test_utils import TestClient
from argon2 import PasswordHasher

from onboarding_worker.features.dashboard.users import Role

PASSWORDS = {"ona": "operators-password", "desk": "desks-password", "vita": "viewers-password"}
ROLES = {"ona": Role.OPERATOR, "desk": Role.SERVICE_DESK, "vita": Role.VIEWER}
# Cheap: the parameters are in each hash.
_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
HASHES = {name: _HASHER.hash(password) for name, password in PASSWORDS.items()}
FROM_HERE = {"Sec-Fetch-Site": "same-origin"}


def users_toml(**roles: Role) -> str:
    """A file of users: those of ROLES, with other roles if given."""
    return "\n".join(
        f'[{name}]\nrole = "{role.value}"\npassword = "{HASHES[name]}"\n' for name, role in (ROLES | roles).items()
    )


CHANGES = ("removed", "another role", "another password")


def changed_users(change: str) -> str:
    """The file of users after this has happened to ona."""
    text = users_toml() if change != "another role" else users_toml(ona=Role.VIEWER)
    if change == "removed":
        text = text.partition("[desk]")[2].join(["[desk]", ""])
    elif change == "another password":
        text = text.replace(HASHES["ona"], HASHES["desk"])
    return text


@dataclass(frozen=True)
class Seen:
    """A page as it was answered."""

    status: int
    text: str
    headers: Any
    path: str

    @property
    def words(self) -> str:
        """What a person reads."""
        body = re.sub(r"<(script|style|svg).*?</\1>", " ", self.text.partition("<body>")[2], flags=re.DOTALL)
        return html.unescape(
            re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", re.sub(r"</(td|th|dt|div|li|p)>", " ", body)))
        ).strip()

    @property
    def title(self) -> str:
        return html.unescape(re.search(r"<h1[^>]*>(.*?)</h1>", self.text, re.DOTALL)[1])  # type: ignore[index]

    @property
    def form(self) -> dict[str, str]:
        """The values that its last form has, hidden ones and those that a person could change."""
        form = self.text[self.text.rindex("<form") :]
        return {
            name: html.unescape(value)
            for name, value in re.findall(r'<input [^>]*?name="([^"]*)"[^>]*? value="([^"]*)"', form)
        }

    @property
    def links(self) -> list[str]:
        return [html.unescape(one) for one in re.findall(r'href="([^"]*)"', self.text)]


class Visitor:
    def __init__(self, client: TestClient[Any, Any]) -> None:
        self.client = client

    async def get(self, path: str, *, follow: bool = True, **headers: str) -> Seen:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.client.get(path, headers=given, allow_redirects=follow) as answer:
            return Seen(answer.status, await answer.text(), answer.headers, answer.url.path_qs)

    async def post(
        self, path: str, form: dict[str, str], *, headers: dict[str, str] = FROM_HERE, follow: bool = True
    ) -> Seen:
        async with self.client.post(path, data=form, headers=headers, allow_redirects=follow) as answer:
            return Seen(answer.status, await answer.text(), answer.headers, answer.url.path_qs)

    async def log_in(self, name: str, password: str | None = None, *, to: str = "/") -> Seen:
        page = await self.get(f"/dashboard/log-in?to={to}")
        given = PASSWORDS[name] if password is None else password
        return await self.post("/dashboard/log-in", page.form | {"name": name, "password": given})

    async def do(self, path: str, reason: str = "the template was wrong", **changes: str) -> Seen:
        """Open an action's confirmation, and agree."""
        asked = await self.get(path)
        assert asked.status == 200, asked.words
        return await self.post(path.partition("?")[0], asked.form | {"reason": reason} | changes)
