"""The statements of stable links."""
