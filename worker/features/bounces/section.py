"""The section `[bounces]`."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote

from pydantic import AfterValidator, BeforeValidator

from onboarding_worker.settings.addresses import MailServer, is_host, without_plain_password
from onboarding_worker.settings.problems import Findings
from onboarding_worker.settings.shape import FeatureSection
from onboarding_worker.settings.tls import Client
from onboarding_worker.settings.values import Flag, Lazy, Shown, setting


def _mailbox(given: Any) -> str:
    """A mailbox of an IMAP server, or the absolute path of a Maildir."""
    url = without_plain_password(given)
    if isinstance(url, str) and url.startswith("maildir:"):
        if not re.fullmatch(r"maildir:///[^\x00-\x1f\x7f?#]+", url):
            raise ValueError('expected "maildir:///DIRECTORY", with an absolute path')
    else:
        MailServer.imap(url)
    return str(url)


def _return_path(given: str) -> str:
    """An address with {token} in its local part."""
    local, _, domain = given.rpartition("@")
    filled = local.replace("{token}", "")
    is_plain = re.fullmatch(r"[A-Za-z0-9_+=.-]{0,22}", filled, re.ASCII) and not filled.startswith(".")
    is_good = is_plain and ".." not in filled and is_host(domain) and "." in domain
    if local.count("{token}") != 1 or not is_good:
        raise ValueError('expected an address with {token} in it, such as "bounces+{token}@bounce.example.com"')
    return given


# The marks are those of the key itself: inside of `… | None` they would not be found.
MailboxUrl = Annotated[str | None, BeforeValidator(_mailbox), Shown("URL"), Lazy()]


class Bounces(Client):
    """The address that mails come back to, and the mailbox that they come to."""

    return_path: Annotated[str, AfterValidator(_return_path), Shown("email address")] | None = setting(
        None,
        "The address that mails come back to, with {token} where each mail has a token of its own:"
        ' "bounces+{token}@bounce.example.com".',
        "the address in `from` of [email]",
    )
    url: MailboxUrl = setting(
        None,
        "imaps://USER:PASSWORD@HOST/INBOX (port 993), imap+starttls://… (143), or maildir:///DIRECTORY on this"
        " machine. With a password: from the environment or a file. Reports are removed from it.",
        "nothing is read",
        repr=False,
    )
    unsubscribe: Flag = setting(
        False,
        "Mails have a `List-Unsubscribe` header with their return path: mail programs then offer to ask for no more"
        " mails. Needs `return_path` and `url`.",
    )

    @property
    def address(self) -> str:
        return self.url or ""

    @property
    def maildir(self) -> Path | None:
        """The directory on this machine; None: a mailbox of a server."""
        return Path(unquote(self.address.removeprefix("maildir://"))) if self.address.startswith("maildir:") else None

    @property
    def server(self) -> MailServer:
        return MailServer.imap(self.url)


def _check(bounces: Bounces, given: Mapping[str, Any], findings: Findings) -> None:
    """A mailbox without return paths finds nothing, and no process reads return paths without a mailbox."""
    if findings.problems:
        return  # one of them may be why the other key is not there
    has_mailbox = bounces.lacks("url") or bounces.url is not None
    if bounces.return_path is None and has_mailbox:
        findings.consequence(("bounces", "url"), "needs `return_path`: by it a report names its mail")
    if bounces.unsubscribe and not (has_mailbox and bounces.return_path):
        findings.consequence(
            ("bounces", "unsubscribe"), "needs `return_path`, and `url` to read what customers ask for"
        )
    if bounces.return_path is not None and "email" not in given:
        findings.consequence(("bounces", "return_path"), "needs the section [email]: its mails come back")
    if bounces.return_path is not None and not has_mailbox:
        findings.warn(("bounces", "return_path"), "no `url` here: no process reads what comes back")


SECTION = FeatureSection("bounces", Bounces, check=_check)
