"""Instant messages: the envelope that people's programs send each other, and where it goes."""
