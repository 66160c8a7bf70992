"""Playbooks walked on devices: each step an ordinary execution, where the walk stands in the database alone."""
