"""Messages, the kind of row that carries a link: what of a flush is special to them."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from worker.core.database.encrypted_values import decrypt_opening
from worker.core.foundation.keyring import CannotDecrypt
from worker.core.lifecycle.store.own_links import OwnLink
from worker.core.lifecycle.store.stale_links import replace_sessions
from worker.core.limits.store import batch_pace
from worker.core.limits.store.flush import Rows
from worker.core.messages.contact import FIRST, is_resend, wording_of
from worker.core.messages.store import how_many
from worker.core.messages.store.gates import gates, gates_after_the_pace, places_of, row_gates
from worker.core.messages.store.message_context import (
    LEASES,
    ClaimedInvitation,
    InvitationPolicy,
    InviteResult,
    MessageClaim,
    customer_of,
    first_handovers,
    has_stale_link,
    is_kept_back,
)
from worker.core.messages.store.message_rows import move_jobs
from worker.core.messages.store.record_results import record_results
from worker.core.messages.store.unreached import fall_back
from worker.core.model.endings import Never, NotNow
from worker.core.model.reasons import Reason
from worker.core.model.sessions import Opening
from worker.core.model.states import InvitationState, SessionState
from worker.core.unknown.reconciliation import UnknownCall
from worker.core.unknown.store.held_rows import hold_messages
from worker.core.unknown.store.unknown_outcomes import messages_to_reconcile
from worker.core.work.store.attempt_log import open_rows


class Invitations(Rows[InvitationPolicy, ClaimedInvitation, InviteResult]):
    """The messages. One whose session has ended, or whose job or batch was cancelled, becomes superseded: its link
    would be of no use. A job whose link has become too old goes back for a new session.
    """

    leases = LEASES
    row_gates, gates = staticmethod(row_gates), staticmethod(gates)
    gates_after_the_pace = staticmethod(gates_after_the_pace)
    pace, places_of = batch_pace.MESSAGES, staticmethod(places_of)
    unknown_calls, record = staticmethod(messages_to_reconcile), staticmethod(record_results)
    locks_counts = staticmethod(how_many.is_capped)

    def decrypted(self, claim: MessageClaim, row: sa.Row[Any], unknown_call: UnknownCall | None) -> ClaimedInvitation:
        keyring = claim.keyring
        customer = customer_of(keyring, row)
        opening = Opening("")
        if row.session_state is not SessionState.UNBOUGHT:
            opening = decrypt_opening(keyring, row.session_id, row.session, vendor=row.vendor)
        return ClaimedInvitation(
            id=row.id,
            session_id=row.session_id,
            job_id=row.job_id,
            batch_id=row.batch_id,
            kind=row.kind,
            fence=row.fence,
            attempts=row.attempts,
            due_at=row.due_at,
            lease_until=row.lease_until,
            probe=False,
            customer=customer,
            opening=opening,
            leased=row,
            issued_at=row.issued_at,
            expires_at=row.expires_at,
            floor=timedelta(seconds=row.floor_seconds),
            unknown_call=unknown_call,
            priority=row.priority,
            wording=wording_of(
                first=row.kind == FIRST or is_resend(row.kind),
                reached_before=row.reached_before,
                refused=row.refused_for is not None,
            ),
            unknown_handovers=row.unknown_handovers,
            traceparent=row.traceparent,
            ended=row.session_state is SessionState.EXPIRED,
            given_away=row.given_away != ""
            and is_kept_back(row.given_away, same_link=row.same_link, channel=row.channel),
        )

    def read(
        self, claim: MessageClaim, rows: Sequence[sa.Row[Any]]
    ) -> tuple[list[ClaimedInvitation], dict[Any, NotNow]]:
        """Where messages carry our own links, with these instead of their sessions'."""
        items, stay = super().read(claim, rows)
        links = claim.policy.stable
        if links is None or not items:
            return items, stay
        keys = {item.id: (item.customer.customer_id, item.customer.purpose) for item in items}
        by_key = links.ensure(claim.connection, claim.keyring, set(keys.values()), now=claim.now)
        for item in items:
            match by_key.get(keys[item.id]):
                case OwnLink() as link:
                    item.use_own_link(link)
                case CannotDecrypt() as error:
                    stay[item.id] = Never(InvitationState.HELD, Reason.CANNOT_DECRYPT, str(error))
                case None:
                    stay[item.id] = Never(InvitationState.SUPERSEDED, Reason.LINK_REVOKED)
        return [item for item in items if item.id not in stay], stay

    def asked(self, _claim: MessageClaim, items: list[ClaimedInvitation]) -> list[ClaimedInvitation]:
        return [item for item in items if item.unknown_call is None]

    def keep_back(self, claim: MessageClaim, rows: Sequence[sa.Row[Any]], stay: Mapping[Any, NotNow]) -> None:
        """The jobs' states follow from their messages. But a superseded message does not change its job: another
        message, or another session, replaces it."""
        connection, now = claim.connection, claim.now
        never = {id_: why for id_, why in stay.items() if isinstance(why, Never)}
        unreached = [id_ for id_, why in never.items() if why.unreached]
        fall_back(connection, claim.keyring, claim.policy.contact, unreached, now=now)
        self.leases.keep_back(connection, stay, now=now)
        ended = {id_ for id_, why in never.items() if why.state is not InvitationState.SUPERSEDED}
        if ended:
            move_jobs(connection, [row.job_id for row in rows if row.id in ended], now=now)

    def let_pass(
        self, claim: MessageClaim, items: list[ClaimedInvitation]
    ) -> tuple[list[ClaimedInvitation], frozenset[str]]:
        if claim.policy.stable is not None:
            leaving = [item.own_link for item in items if item.own_link is not None]
            claim.policy.stable.put_off(claim.connection, leaving, now=claim.now)
        return items, frozenset()

    def open(self, flush: MessageClaim, items: Sequence[ClaimedInvitation]) -> list[ClaimedInvitation]:
        # A row with an unknown outcome is reconciled first: the message may have been sent while its link was fresh.
        stale = [item for item in items if item.unknown_call is None and has_stale_link(item, flush.now)]
        opened = list(items)
        if stale:
            replace_sessions(flush.connection, flush.policy, stale, now=flush.now)
            how_many.take_back(flush.connection, flush.policy, stale)
            replaced = {item.id for item in stale}
            opened = [item for item in items if item.id not in replaced]
        repeats = [item for item in opened if item.unknown_handovers]
        first = first_handovers(flush.connection, repeats) if repeats else {}
        for item in opened:
            item.first_at = first.get(item.id, flush.now)
        open_rows(flush, opened, invitation_id=[item.id for item in opened])
        return opened

    def set_aside(self, connection: sa.Connection, kinds: Mapping[Any, str], *, now: datetime) -> None:
        hold_messages(connection, kinds, states=(InvitationState.WAITING,), now=now)

    def uncount(self, flush: MessageClaim, items: Sequence[ClaimedInvitation], _calls: int) -> None:
        how_many.take_back(flush.connection, flush.policy, items)
