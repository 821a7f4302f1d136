"""Tests beside real software, and the code that starts it."""
