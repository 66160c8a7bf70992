"""Dry runs of playbooks."""
