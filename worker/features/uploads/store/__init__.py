"""The statements of uploaded lists."""
