"""The statements of plans."""
