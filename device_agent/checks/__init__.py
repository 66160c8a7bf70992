"""What may be asked of a device: checks (class 0) change nothing, tests (class 1) are seen or cost something."""
