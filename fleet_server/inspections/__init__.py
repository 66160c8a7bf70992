"""Inspections: checks that a group of devices is asked for by itself, on chosen days, in its own local time."""
