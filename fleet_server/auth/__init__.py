"""People, their sessions and roles; tokens of programs."""
