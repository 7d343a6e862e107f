"""Builds the targets of alerts that a configuration names. Without the libraries of brokers: `web` builds them too."""

from worker.domain.events.alerts import TARGET
from worker.publishers.alerts import Mailed, Posted
from worker.publishers.contract import Target
from worker.settings import Settings
from worker.settings.outside import MAIL, Alert


def alert_targets(settings: Settings) -> dict[str, Target]:
    """Where people are alerted, by the names in the outbox's rows; without those whose address this process lacks."""
    return {
        f"{TARGET}{name}": _alert_target(alert) for name, alert in settings.alerts.items() if not alert.lacks("url")
    }


def _alert_target(alert: Alert) -> Target:
    if alert.type != MAIL:
        return Posted(alert.url, alert.type, alert.protection)
    server = alert.server
    return Mailed(
        host=server.host,
        port=server.port,
        encryption=server.tls,
        username=server.username or "",
        password=lambda: server.password.reveal() if server.password else "",
        from_=alert.from_ or "",
        to=alert.to,
        tls=alert.protection,
    )
