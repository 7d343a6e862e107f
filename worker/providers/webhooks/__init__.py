"""Reads the webhooks of each provider."""
