"""Fixtures for customers' tests: a simulated terminal with a fault, reported by the real agent core."""
