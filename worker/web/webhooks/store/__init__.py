"""Webhooks and callbacks: kept once, then applied."""
