"""One module for each provider endpoint that the sandbox serves."""
