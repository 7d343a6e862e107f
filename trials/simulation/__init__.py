"""Deterministic histories of the whole engine: one seed gives one history, and a checker that sees only the outside."""
