"""As `worker.deliveries`, for the senders' adapters, whose words they are."""

from worker.deliveries import DeliveryNews, Fate, NotUnderstood, Stop, invitation_state_told

__all__ = ["DeliveryNews", "Fate", "NotUnderstood", "Stop", "invitation_state_told"]
