"""Parts that can be deleted: each is a folder with a manifest, which only the registry finds."""
