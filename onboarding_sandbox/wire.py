"""The values between the web server and an endpoint: a call in, an answer out, without aiohttp; a session that a call
has opened, stored for the customer who will use it; and the log of what the sandbox received, in order of arrival.
"""

import json
import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TextIO
from uuid import UUID

IDENFY_KYC = "idenfy-kyc"
IDENFY_KYC_LIST = "idenfy-kyc-list"
IDENFY_KYB = "idenfy-kyb"
FRANKIEONE_V1 = "frankieone-v1"
FRANKIEONE_V2 = "frankieone-v2"
FRANKIEONE_HOSTED = "frankieone-hosted"
TWILIO = "twilio"
TWILIO_LIST = "twilio-list"
WHATSAPP = "whatsapp:"  # how such an address begins
TWILIO_ACCOUNT = "twilio-account"
SMTP = "smtp"
# Faults, limits and latencies that name no endpoint hold for the identity providers, not for these.
TEXTING = (TWILIO, TWILIO_LIST, TWILIO_ACCOUNT)
HTTP_ENDPOINTS = (IDENFY_KYC, IDENFY_KYC_LIST, IDENFY_KYB, FRANKIEONE_V1, FRANKIEONE_V2, FRANKIEONE_HOSTED, *TEXTING)
ENDPOINTS = (*HTTP_ENDPOINTS, SMTP)
WEBHOOKS = "webhooks"  # in the log: what the sandbox sent, not what it received
PAGE = "page"  # … and its customers' visits of the worker's page


@dataclass(slots=True, repr=False)
class Call:
    """One request, read completely. `headers` ignores the case of names. `now` is aware UTC."""

    now: datetime
    url: str  # as the caller wrote it, for links to further pages
    headers: Mapping[str, str]
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes


@dataclass(slots=True, repr=False)
class Answer:
    """The answer of an endpoint, and the facts for the log."""

    status: int
    body: Mapping[str, Any] | str  # a str is an HTML page
    headers: dict[str, str] = field(default_factory=dict)
    processed: bool = False  # this call created, and charged, a session
    client: str | None = None
    reference: str | None = None
    token: str | None = None

    def encoded(self) -> bytes:
        text = self.body if isinstance(self.body, str) else json.dumps(self.body, ensure_ascii=False)
        return text.encode()

    @property
    def content_type(self) -> str:
        return "text/html" if isinstance(self.body, str) else "application/json"


class Endpoint(ABC):
    """One provider call that the sandbox simulates. A new call is one more class with these members."""

    name: str  # in the log and in `endpoint=`
    family: str  # endpoints of one provider share its rate limit
    method: str = "POST"
    route: str

    def serve(self, call: Call) -> Answer:
        """Check the call and carry it out."""
        answer = self.answer(call)
        answer.client = answer.client or self.client(call)
        return answer

    @abstractmethod
    def credential(self, call: Call) -> str | Answer:
        """The credential of the call, for the limits; or the refusal of an unknown one."""

    def client(self, call: Call) -> str | None:
        """The customer of the call, for the log; None: it is about none."""
        return None

    @abstractmethod
    def answer(self, call: Call) -> Answer:
        """As `serve`."""

    @abstractmethod
    def refusal(self, status: int) -> Answer:
        """This provider's answer for a status such as 429 or 500."""

    def reset(self) -> None:  # noqa: B027 -- most endpoints keep nothing
        """Clear all sessions."""


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


# Built once: json.loads with this hook would build a decoder for every call.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def read_json(body: bytes) -> Any:
    """The JSON value. Raises UnicodeDecodeError if the bytes are not UTF-8, ValueError if they are not JSON."""
    text = body.decode("utf-8")
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object; an empty one where the body is none."""
    try:
        found = read_json(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def is_uuid(given: Any) -> bool:
    try:
        return isinstance(given, str) and str(UUID(given)) == given.lower()
    except ValueError:
        return False


def text_or_none(given: Any) -> str | None:
    """A value that should be a text, and may be anything."""
    return given if isinstance(given, str) else None


def is_json(headers: Mapping[str, str]) -> bool:
    """Whether the request's Content-Type is JSON."""
    return headers.get("Content-Type", "").partition(";")[0].strip().lower() == "application/json"


SESSIONS = (IDENFY_KYC, IDENFY_KYB, FRANKIEONE_V1, FRANKIEONE_V2, FRANKIEONE_HOSTED)

_PAIRS = """
AF AFG AX ALA AL ALB DZ DZA AS ASM AD AND AO AGO AI AIA AQ ATA AG ATG AR ARG AM ARM AW ABW AU AUS AT AUT AZ AZE
BS BHS BH BHR BD BGD BB BRB BY BLR BE BEL BZ BLZ BJ BEN BM BMU BT BTN BO BOL BQ BES BA BIH BW BWA BV BVT BR BRA
IO IOT BN BRN BG BGR BF BFA BI BDI CV CPV KH KHM CM CMR CA CAN KY CYM CF CAF TD TCD CL CHL CN CHN CX CXR CC CCK
CO COL KM COM CG COG CD COD CK COK CR CRI CI CIV HR HRV CU CUB CW CUW CY CYP CZ CZE DK DNK DJ DJI DM DMA DO DOM
EC ECU EG EGY SV SLV GQ GNQ ER ERI EE EST SZ SWZ ET ETH FK FLK FO FRO FJ FJI FI FIN FR FRA GF GUF PF PYF TF ATF
GA GAB GM GMB GE GEO DE DEU GH GHA GI GIB GR GRC GL GRL GD GRD GP GLP GU GUM GT GTM GG GGY GN GIN GW GNB GY GUY
HT HTI HM HMD VA VAT HN HND HK HKG HU HUN IS ISL IN IND ID IDN IR IRN IQ IRQ IE IRL IM IMN IL ISR IT ITA JM JAM
JP JPN JE JEY JO JOR KZ KAZ KE KEN KI KIR KP PRK KR KOR KW KWT KG KGZ LA LAO LV LVA LB LBN LS LSO LR LBR LY LBY
LI LIE LT LTU LU LUX MO MAC MG MDG MW MWI MY MYS MV MDV ML MLI MT MLT MH MHL MQ MTQ MR MRT MU MUS YT MYT MX MEX
FM FSM MD MDA MC MCO MN MNG ME MNE MS MSR MA MAR MZ MOZ MM MMR NA NAM NR NRU NP NPL NL NLD NC NCL NZ NZL NI NIC
NE NER NG NGA NU NIU NF NFK MK MKD MP MNP NO NOR OM OMN PK PAK PW PLW PS PSE PA PAN PG PNG PY PRY PE PER PH PHL
PN PCN PL POL PT PRT PR PRI QA QAT RE REU RO ROU RU RUS RW RWA BL BLM SH SHN KN KNA LC LCA MF MAF PM SPM VC VCT
WS WSM SM SMR ST STP SA SAU SN SEN RS SRB SC SYC SL SLE SG SGP SX SXM SK SVK SI SVN SB SLB SO SOM ZA ZAF GS SGS
SS SSD ES ESP LK LKA SD SDN SR SUR SJ SJM SE SWE CH CHE SY SYR TW TWN TJ TJK TZ TZA TH THA TL TLS TG TGO TK TKL
TO TON TT TTO TN TUN TR TUR TM TKM TC TCA TV TUV UG UGA UA UKR AE ARE GB GBR US USA UM UMI UY URY UZ UZB VU VUT
VE VEN VN VNM VG VGB VI VIR WF WLF EH ESH YE YEM ZM ZMB ZW ZWE
""".split()  # noqa: SIM905  # words are readable as a table

ALPHA_2 = frozenset(_PAIRS[::2])
ALPHA_3 = frozenset(_PAIRS[1::2])


@dataclass(slots=True, repr=False)
class Opened:
    """`reference`: the provider's scanRef or entityId, or the externalRef of a form. Times are UTC."""

    endpoint: str
    client: str
    reference: str
    token: str
    external_ref: str | None
    at: datetime
    expires_at: datetime
    company_id: str = field(default_factory=partial(secrets.token_hex, 12))  # of a form
    deny_reason: str = "DOC_NOT_FULLY_VISIBLE"  # of a person who is denied
    does: str = ""
    state: str = "waiting"  # waiting, opened, or the name of the last event
    pressed: str = ""  # the button of its page that a person has pressed last

    def facts(self) -> dict[str, Any]:
        who = {"endpoint": self.endpoint, "client": self.client, "reference": self.reference, "token": self.token}
        times = {"opened_at": self.at.isoformat(), "expires_at": self.expires_at.isoformat()}
        return {**who, **times, "does": self.does, "state": self.state}


def opened_by(endpoint: str, call: Call, answer: Answer) -> Opened | None:
    """The session in an endpoint's answer; None if the call has opened none."""
    body = answer.body
    if endpoint not in SESSIONS or not answer.processed or isinstance(body, str):
        return None
    client, external_ref = answer.client or "", body.get("externalRef")
    references = {
        IDENFY_KYC: body.get("scanRef"),
        IDENFY_KYB: external_ref or client,
        FRANKIEONE_V2: call.path.get("entityId"),
        FRANKIEONE_V1: answer.reference,
        FRANKIEONE_HOSTED: body.get("entityId"),
    }
    ends = body.get("expiration") or body.get("tokenExpiry") or body.get("urlExpiry")
    if ends is not None:
        expires_at = datetime.fromisoformat(ends).astimezone(UTC)
    else:
        expires_at = call.now + timedelta(seconds=body["expiryTime"])
    return Opened(endpoint, client, str(references[endpoint]), answer.token or "", external_ref, call.now, expires_at)


# A plain dict: one is made for every call, and becomes JSON only when the log is requested.
Entry = dict[str, Any]
BODIES = 10_000


def _body(body: bytes) -> Any:
    """A request's body: the JSON in it, or else its text."""
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")


class Log:
    """Entries in order of arrival. An entry whose `status` is None is still being answered."""

    def __init__(self, *, bodies: int = BODIES) -> None:
        """`bodies`: how many entries, the newest, keep the request's body. A long log would fill the memory."""
        self._bodies = bodies
        self.entries: list[Entry] = []
        self._file: TextIO | None = None

    def write_to(self, path: Path) -> None:
        """Write finished entries there as well. Only its owner may read the file: it holds tokens."""
        self._file = open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", 1, "utf-8")  # noqa: SIM115

    def open(self, endpoint: str, at: datetime, body: bytes = b"", **facts: Any) -> Entry:
        """Add an entry for a call to a provider, before it is answered. `at` is aware UTC."""
        if len(self.entries) >= self._bodies:
            self.entries[-self._bodies]["request"] = None
        entry: Entry = {"n": len(self.entries) + 1, "at": at.isoformat(), "endpoint": endpoint, "status": None}
        entry |= {"fault": None, "processed": False, "client": None, "reference": None, "token": None}
        entry |= {"request": body or None, **facts}
        self.entries.append(entry)
        return entry

    def mail(self, at: datetime, status: int | str, **facts: Any) -> None:
        """Add an entry for a message, or for one of its recipients."""
        entry = {"n": len(self.entries) + 1, "at": at.isoformat(), "endpoint": "smtp", "status": status, **facts}
        self.entries.append(entry)
        self.done(entry)

    def done(self, entry: Entry, **facts: Any) -> None:
        """The entry is complete, with these facts."""
        entry |= facts
        if self._file is not None:
            self._file.write(json.dumps(entry, default=_body) + "\n")

    def lines(self, endpoint: str | None = None) -> Iterator[str]:
        """JSON lines, of one endpoint or of all."""
        # A copy, because more calls arrive while a long log is sent.
        for entry in list(self.entries):
            if endpoint is None or entry["endpoint"] == endpoint:
                yield json.dumps(entry, default=_body) + "\n"

    def reset(self) -> None:
        self.entries.clear()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
