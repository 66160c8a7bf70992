"""What may be asked of a device: class 0, which changes nothing, and tests of class 1, which are seen or cost something."""
