"""The one HTTP client: makes a call and reports whether the request may have been carried out."""
