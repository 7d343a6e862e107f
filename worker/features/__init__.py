"""Parts that are off until the configuration switches them on. Each is a folder that may be deleted."""
