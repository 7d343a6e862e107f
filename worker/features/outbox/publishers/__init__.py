"""Where our own events go: bus, stream, subscribers. Knows no database."""
