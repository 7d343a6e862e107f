"""The statements of a session's life after its link was sent."""
