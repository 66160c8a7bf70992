"""Runs at the terminal or gateway: finds out how it is, reports it, acts on verified commands."""
