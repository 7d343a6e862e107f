"""`onboard sandbox` simulates the providers and a mailbox; `onboard demo` plays the whole job with it."""

import asyncio
import errno
import json
import re
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import click

from onboarding_sandbox import Fault, Latency, RateLimit, Sandbox, SandboxOptions, SmtpFault
from onboarding_sandbox.options import CUSTOMERS, MAILS, TEXTS, shares, span, span_or_range, trouble_share
from onboarding_sandbox.wire import SESSIONS

DEFAULTS = SandboxOptions()
_repeatable = partial(click.option, multiple=True)
COULD_NOT_START = 2
FRANKIEONE = {"frankieone-v1": "au-new", "frankieone-v2": "au"}  # its accounts in `onboard init --sandbox`

EXAMPLES = """\b
Examples:
  onboard sandbox
      every call succeeds, at once
  onboard sandbox --fault 429:0.05,retry-after=1 --fault 500:0.01 --seed 7
      one call in twenty is rate-limited for a second, one in a hundred fails; the same calls each time
  onboard sandbox --fault drop-after:0.01,endpoint=idenfy-kyc
      one iDenfy call in a hundred opens a session and is never answered
  onboard sandbox --limit 50/second --limit frankieone-v2=5/second
      calls above the limit are refused with 429
  onboard sandbox --latency 80ms --latency idenfy-kyc=8s
      slow answers, very slow ones from iDenfy
  onboard sandbox --smtp-fault 450:0.05 --smtp-refuse nobody@example.com
      greylisting, and an address that does not exist
  onboard sandbox --customers finish:0.6,deny:0.1 --time-scale 3600 --seed 7
      six of ten customers finish within minutes, one is denied, the rest do nothing; an hour takes a second

\b
Fault kinds:
  401 402 403 408 429 500 502 503 504   that status, with the provider's text
  400-too-many   iDenfy's hourly quota: 400 with TOO_MANY_REQUESTS
  drop-before    the connection is closed, no session is opened
  drop-after     the session is opened, the connection is closed without an answer
  half-body      the session is opened, the answer breaks off in the middle
  hang           no answer at all
  html           200 with a web page
  huge           200 with 64 MiB
  redirect       307
  past-expiry    the session is opened, its expiry is in the past
  strange-link   the session is opened, its link leads to an unexpected host
  wrong-token    the session is opened, its token is not a string
Fault options: retry-after=VALUE, endpoint=NAME, processed=yes (the session is opened nevertheless).
Endpoints: idenfy-kyc, idenfy-kyc-list, idenfy-kyb, frankieone-v1, frankieone-v2, frankieone-hosted, twilio,
twilio-list, twilio-account; for --latency also smtp.
Without an endpoint, faults, limits and latencies are for the identity providers only.

\b
The configuration to use with it (the credentials are invented):
  idenfy-kyc      base_url http://127.0.0.1:9200/idenfy, sandbox-key, sandbox-secret,
  and idenfy-kyb  in either dialect
  frankieone-v1   base_url http://127.0.0.1:9200/frankieone, sandbox-key,
  and -v2         customer_id 11111111-1111-4111-8111-111111111111
  email           smtp://127.0.0.1:9225
  sms             base_url http://127.0.0.1:9200/twilio, from +15005550006, sandbox-token,
                  account AC00000000000000000000000000000001
  whatsapp        as sms
To see what it received: http://127.0.0.1:9200/ in a browser, /_sandbox/log, /_sandbox/mailbox,
/_sandbox/texts.
"""


def pair(text: str) -> tuple[str, str]:
    """Split two words at their colon. Raises ValueError."""
    first, colon, second = text.partition(":")
    if not (first and colon and second):
        raise ValueError("expected two words with a colon between them")
    return first, second


def sandbox_webhooks(web: str = "http://127.0.0.1:8080") -> dict[str, str]:
    """Where the sandbox reports to the accounts of `onboard init --sandbox`, by its names of the endpoints. `web`: the
    address of `onboard web`. Accounts with one key are heard under one name: kyc-lt under kyc."""
    places = {"idenfy-kyc": "kyc", "idenfy-kyb": "kyb"}
    places |= {name: f"{account}/sandbox-webhook-secret" for name, account in FRANKIEONE.items()}
    return {endpoint: f"{web}/webhooks/{place}" for endpoint, place in places.items()}


class Read(click.ParamType[Any]):
    """An option's type, read by a function; the text of its ValueError says what is expected. `shows`: the value stands
    before the error; not one that is secret."""

    def __init__(self, name: str, parse: Callable[[str], Any], *, shows: bool = True) -> None:
        self.name, self._parse, self._shows = name, parse, shows

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self._parse(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(f"{value!r}: {error}" if self._shows else str(error), param, ctx)


PAIR = Read("pair", pair, shows=False)
PORT = click.IntRange(0, 65_535)


def address(text: str) -> tuple[str, str]:
    """Read `http://…` or `idenfy-kyc=http://…`. Raises ValueError with what is expected."""
    match = re.fullmatch(rf"(?:({'|'.join(SESSIONS)})=)?(https?://[^\s/?#]+(?:/[^\s?#]*)?)", text.strip(), re.ASCII)
    if not match:
        raise ValueError('expected an address such as "idenfy-kyc=http://127.0.0.1:8080/webhooks/kyc"')
    return match[1] or "", match[2].rstrip("/")


def plain_address(text: str) -> str:
    """Read `http://…`. Raises ValueError with what is expected."""
    endpoint, url = address(text)
    if endpoint:
        raise ValueError("expected an address without an endpoint")
    return url


def _codes(text: str) -> tuple[str, ...]:
    codes = tuple(part.strip() for part in text.split(","))
    if not all(re.fullmatch(r"[A-Z][A-Z0-9_]+", code, re.ASCII) for code in codes):
        raise ValueError('expected codes such as "DOC_TOO_BLURRY,FACE_MISMATCH"')
    return codes


# The names are the fields of SandboxOptions that the options set; None leaves the default.
@click.command(epilog=EXAMPLES)
@click.option("--host", default=DEFAULTS.host, show_default=True, help="The address to listen on.")
@click.option("--port", type=PORT, default=9200, show_default=True, help="The port of the providers; 0: any free port.")
@click.option(
    "--smtp-port", type=PORT, default=9225, show_default=True, help="The port of the mailbox; 0: any free port."
)
@_repeatable(
    "--fault",
    "faults",
    type=Read("KIND:SHARE[,OPTION…]", Fault.parse),
    help="A fault for a share of the provider calls, such as 429:0.05,retry-after=1. Repeatable.",
)
@_repeatable(
    "--smtp-fault",
    "smtp_faults",
    type=Read("KIND:SHARE", SmtpFault.parse),
    help="A fault for a share of the emails: 450:0.05, 550:0.01, 554:0.01,at=data, drop-before:0.01, "
    "drop-after:0.01. Repeatable.",
)
@_repeatable(
    "--smtp-refuse",
    "smtp_refused",
    callback=lambda _context, _option, given: frozenset(given),
    metavar="ADDRESS",
    help="Refuse this recipient with 550. Repeatable.",
)
@click.option("--smtp-auth", type=PAIR, metavar="USER:PASSWORD", help="Require this login for sending email.")
@_repeatable(
    "--latency",
    "latencies",
    type=Read("[ENDPOINT=]TIME", Latency.parse),
    help="How long answers take, such as 80ms, or idenfy-kyc=8s. Repeatable.",
)
@_repeatable(
    "--limit",
    "limits",
    type=Read("[ENDPOINT=]N/PERIOD", RateLimit.parse),
    help="The rate limit of each credential: 50/second, 10000/hour, frankieone-v2=5/second. Repeatable.",
)
@click.option(
    "--limit-retry-after",
    type=click.Choice(["seconds", "date", "garbage", "none"]),
    default=DEFAULTS.limit_retry_after,
    show_default=True,
    help="The form of Retry-After when a limit refuses a call.",
)
@click.option("--seed", type=int, help="The same seed gives the same faults in the same order, and the same customers.")
@click.option("--conflict", is_flag=True, help="iDenfy: answer 409 for a second live session of a customer.")
@click.option("--credits", type=click.IntRange(0), help="iDenfy: sessions until the token limit is reached.")
@click.option(
    "--frankieone-lifetime",
    type=click.IntRange(1),
    default=int(DEFAULTS.frankieone_lifetime.total_seconds()),
    show_default=True,
    callback=lambda _context, _option, seconds: timedelta(seconds=seconds),
    metavar="SECONDS",
    help="How long FrankieOne's tokens are valid.",
)
@_repeatable(
    "--unknown-entity",
    "frankieone_unknown",
    callback=lambda _context, _option, given: frozenset(given),
    metavar="UUID",
    help="FrankieOne: answer 404 for this entity. Repeatable.",
)
@click.option(
    "--idenfy-credentials", type=PAIR, metavar="KEY:SECRET", help="Credentials to use instead of the invented ones."
)
@click.option(
    "--frankieone-credentials",
    type=PAIR,
    metavar="KEY:CUSTOMER",
    help="Credentials to use instead of the invented ones.",
)
@click.option(
    "--log-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the log to this file, as JSON lines. It contains tokens: only you can read it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the facts as one JSON document.")
@click.option(
    "--customers",
    type=Read("DOES:SHARE,…", partial(shares, known=list(CUSTOMERS))),
    help=f"Which share of the customers does what: {', '.join(CUSTOMERS)}; the rest never come.",
)
@click.option(
    "--customers-keep",
    is_flag=True,
    default=None,
    help="Draw once for each customer what it does, and not again for each new session.",
)
@click.option(
    "--customers-after",
    type=Read("TIME[..TIME]", span_or_range),
    help="When a customer acts, after its session was opened.  [default: 10s..2m]",
)
@click.option(
    "--customers-by-message",
    is_flag=True,
    default=None,
    help="Customers act after a message with their session's link has arrived, and not after it was opened.",
)
@click.option(
    "--page",
    type=Read("URL", plain_address),
    help="The address of `onboard web`: customers come by our own link in a message, press the page's button, and"
    " act in the session that it leads to.  [default: they act after their session was opened]",
)
@click.option("--review-after", type=Read("TIME", span), help="How long a review of a session takes.  [default: 5m]")
@click.option(
    "--deny-reasons",
    type=Read("CODE,…", _codes),
    help="Why iDenfy denies persons: each such session has one of these codes.  [default: DOC_NOT_FULLY_VISIBLE]",
)
@click.option(
    "--time-scale",
    type=click.FloatRange(0, min_open=True),
    metavar="N",
    help="Run the customers' time N times faster: with 86400 a day takes a second.  [default: 1]",
)
@_repeatable(
    "--webhooks",
    callback=lambda _context, _option, pairs: dict(pairs) or sandbox_webhooks(),
    type=Read("[ENDPOINT=]URL", address, shows=False),
    help="The address for webhooks: the account's, for FrankieOne with its secret. Without an endpoint, "
    "the endpoint's name is appended. Repeatable.  [default: those of `onboard init --sandbox`, at "
    "http://127.0.0.1:8080]",
)
@_repeatable(
    "--webhook-trouble",
    "webhook_troubles",
    type=Read("KIND:SHARE", trouble_share),
    help="Trouble with webhooks, for a share of sessions: late:0.1,by=1h, twice:0.05, swapped:0.05, forged:0.01. "
    "Repeatable.",
)
@click.option(
    "--webhook-key", metavar="KEY", help="The key that signs iDenfy's webhooks.  [default: sandbox-webhook-key]"
)
@click.option(
    "--webhook-jwt-key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    callback=lambda _context, _option, path: path and path.read_text("utf-8", "replace"),
    help="An RSA private key (PEM): it signs a token in FrankieOne's webhooks.",
)
@click.option(
    "--texts",
    type=Read("BECOMES:SHARE,…", partial(shares, known=list(TEXTS))),
    help=f"What Twilio reports about texts with a callback: {', '.join(TEXTS)}; the rest: delivered.",
)
@click.option(
    "--mails",
    type=Read("BECOMES:SHARE,…", partial(shares, known=list(MAILS))),
    help=f"What is reported about emails: {', '.join(MAILS)}; the rest: nothing.",
)
@click.option(
    "--mail-webhook", type=Read("URL", plain_address, shows=False), help="The address for webhooks about emails."
)
@click.option(
    "--mail-webhook-key", metavar="KEY", help="The key that signs webhooks about emails.  [default: sandbox-mail-key]"
)
def sandbox(
    smtp_auth: tuple[str, str] | None,
    idenfy_credentials: tuple[str, str] | None,
    frankieone_credentials: tuple[str, str] | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Simulate the identity-verification providers and a mailbox on this machine.

    It checks credentials, fields and bounds as strictly as the real providers, and makes faults on demand. It sends
    nothing but the webhooks of --webhooks (to `onboard web` on this machine, by default) and --mail-webhook, and the
    visits of --page. Ctrl-C ends it.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if given.get("log_file") == Path("-"):
        raise click.UsageError("--log-file: - is standard output, which has what the command prints: give a name")
    for pair, names in (
        (smtp_auth, ("smtp_user", "smtp_password")),
        (idenfy_credentials, ("idenfy_key", "idenfy_secret")),
        (frankieone_credentials, ("frankieone_key", "frankieone_customer")),
    ):
        given |= dict(zip(names, pair, strict=True)) if pair else {}
    try:
        simulator = Sandbox(SandboxOptions(**given))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    try:
        with asyncio.Runner(loop_factory=_fast_loop) as runner:
            runner.run(serve(simulator, as_json=as_json))
    except OSError as error:
        why = str(error.strerror or error)  # of an address in use asyncio's text names it
        in_use = "; is another sandbox running? --port and --smtp-port set other ports"
        click.echo(f"sandbox: {why}{in_use if error.errno == errno.EADDRINUSE else ''}", err=True)
        raise SystemExit(COULD_NOT_START) from None


def _fast_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # imported here: for the sandbox alone, and not for its help
    except ImportError:  # not for Windows and PyPy
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def serve(sandbox: Sandbox, *, as_json: bool) -> None:
    """Run until SIGINT or SIGTERM. Raises OSError if the sandbox cannot start."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signal_number, ended.set)
    async with sandbox:
        smtp = f"smtp://{sandbox.options.host}:{sandbox.smtp_port}"
        facts: dict[str, Any] = {"url": sandbox.url, "smtp": smtp, "port": sandbox.port, "smtp_port": sandbox.smtp_port}
        facts |= {"base_urls": {name: f"{sandbox.url}/{name}" for name in ("idenfy", "frankieone", "twilio")}}
        ready = f"sandbox ready: providers at {sandbox.url}, mailbox at {smtp} (Ctrl-C ends it)"
        click.echo(json.dumps(facts, ensure_ascii=False) if as_json else ready)
        await ended.wait()


@click.command()
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo"),
    show_default=True,
    help="Where its files go. What an earlier demo left there is removed.",
)
@click.option(
    "--broker",
    metavar="amqp|redis|URL",
    help="Send through Celery: two workers and a beat. amqp and redis mean this machine's, on their usual ports; no"
    " other worker may use it at the same time.",
)
@click.option(
    "--database",
    metavar="URL",
    help="With --broker: a PostgreSQL in which the demo makes a database, and removes it in the end."
    "  [default: this machine's, as postgres]",
)
@click.option(
    "--stay",
    type=click.FloatRange(0, 3_600),
    help="How many seconds the pages stay open.  [default: 60, on a terminal]",
)
def demo(folder: Path, broker: str | None, database: str | None, stay: float | None) -> None:
    """Play the whole job on this machine: 1,000 invented customers.

    The providers and a mailbox are simulated on free ports, and nothing leaves this machine. In the end the mailbox
    and the dashboard stay open for a minute, on a terminal; then nothing is left running. All files are in --folder.
    """
    from onboarding_sandbox.demo.play import BROKERS, SERVER, CannotPlay, play

    if database and not broker:
        raise click.UsageError("--database is for --broker; without a broker the demo uses SQLite")
    if stay is None:
        stay = 60.0 if sys.stdin.isatty() and sys.stdout.isatty() else 0.0
    url = BROKERS.get(broker, broker) if broker else ""
    try:
        raise SystemExit(play(folder, broker=url, server=database or SERVER, stay=stay))
    except CannotPlay as error:
        click.echo(str(error), err=True)
        raise SystemExit(COULD_NOT_START) from None
