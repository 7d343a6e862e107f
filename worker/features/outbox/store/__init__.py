"""The statements of outgoing events."""
