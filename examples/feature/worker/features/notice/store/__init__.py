"""The statements of the notice."""
