"""Commands about who may get in."""
