"""Servers of our own that real ones can't stand in for: they misbehave, on order."""
