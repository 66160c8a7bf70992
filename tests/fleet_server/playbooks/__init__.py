"""Walks of playbooks: moved by the scheduler, over deaths of it, on both databases."""
