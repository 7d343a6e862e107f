"""What the configuration says of stable links, as their routes need it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from worker.web.peers import Network


@dataclass(frozen=True, kw_only=True)
class StableRules:
    """`hosts`: where each account's links may lead. `on_click`: a session is bought by a press alone. `page_first`: a
    press alone leads to the session, too. `trusted`: the proxies whose word counts about who asks. `form_seconds`: how
    long the body of a press may take."""

    hosts: Mapping[str, Sequence[str]]
    on_click: bool
    page_first: bool
    trusted: Sequence[Network] = ()
    form_seconds: float

    @property
    def buys_by_press(self) -> bool:
        return self.on_click or self.page_first
