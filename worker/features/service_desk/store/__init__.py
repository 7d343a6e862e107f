"""The statements of the service desk."""
