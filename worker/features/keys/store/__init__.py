"""The statements of keys."""
