"""Freezes: spans of time in which nothing starts that is planned for many devices."""
