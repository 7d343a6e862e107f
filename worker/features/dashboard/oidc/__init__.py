"""Log-in of the dashboard by OpenID Connect: docs/how-to/dashboard.md."""
