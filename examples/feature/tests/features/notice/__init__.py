"""The notice."""
