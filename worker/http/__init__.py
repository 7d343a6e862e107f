"""The one HTTP client: makes a call and says whether the request may have been carried out."""
