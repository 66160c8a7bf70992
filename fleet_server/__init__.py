"""The fleet's memory and face."""
