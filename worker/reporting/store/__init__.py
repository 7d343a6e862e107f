"""The statements of what is told."""
