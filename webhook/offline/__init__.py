"""Decisions without a server, for files."""
