"""The mail relay: it takes a message, or the connection breaks. SMTP itself is tested elsewhere."""

from typing import TYPE_CHECKING

from onboarding_worker.core.model import endings
from onboarding_worker.core.model.endings import AddressIs, Problem
from onboarding_worker.senders.contract import TOO_LATE, MayWrite, Message, NoLookUp, Receipt
from onboarding_worker.senders.smtp_answers import Phase, broken
from trials.simulation.plan import TIMEOUT
from trials.simulation.records import Call, Kind

if TYPE_CHECKING:
    from trials.simulation.process import WorkerProcess
    from trials.simulation.wire import Wire


class SimulatedMail(NoLookUp):
    """Replaces `EmailSender` in one process."""

    def __init__(self, wire: "Wire", process: "WorkerProcess") -> None:
        self._wire, self._process = wire, process

    def repeatable(self) -> bool:
        return True

    async def preflight(self) -> Problem | None:
        return None

    async def send(self, message: Message, may_write: MayWrite | None = None) -> Receipt | Problem:
        from trials.simulation.wire import own_link_in, token_in

        if not message.to:  # as `EmailSender` refuses it, before a connection
            return Problem(endings.Kind.BAD_INPUT, "the address is not a valid mail address", address=AddressIs.REFUSED)
        place = (self._process.number, "email")
        if may_write is not None and not await self._wire.may_write(place, may_write, seldom=0.0):
            return TOO_LATE
        simulation = self._process.simulation
        call = Call(
            Kind.MAIL,
            "email",
            message.to.partition("@")[0].rpartition("+")[2],
            self._process.number,
            simulation.world.elapsed,
            token=token_in(message.text),
            link=own_link_in(message.text),
            key=message.key,
            to=message.to,
        )

        def serve() -> Receipt:
            call.processed = True
            call.status = 250
            simulation.people.got(call)
            return Receipt()

        return await self._wire.exchange(
            self._process,
            call,
            serve,
            TIMEOUT,
            refused=broken(Phase.CONNECT, "connection refused"),
            broken=broken(Phase.END, "connection lost"),
        )

    async def close(self) -> None:
        pass
