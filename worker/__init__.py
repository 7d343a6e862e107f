"""Opens identity-verification sessions for customers and sends each one the link while it is fresh."""

__version__ = "0.1.0"
