"""What the commands that read lists share: their options, and what is found in a list."""
