"""Erasure of personal data, removal of old batches and events."""
