"""Holds the online command key and signs commands."""
