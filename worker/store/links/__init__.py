"""The visitors of stable links: what they find, and what their visits change."""
