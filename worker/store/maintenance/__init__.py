"""What the sweep asks for: due work, expired sessions, takeover."""
