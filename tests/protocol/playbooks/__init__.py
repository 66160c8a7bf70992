"""Playbooks: what is refused, how they are walked, and that those that ship fit what terminals declare."""
