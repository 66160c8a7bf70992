"""Whose devices these are: the acquirers and service companies of one installation."""
