"""What may be done to a device: each fix has a check before, steps, and the same or another check after."""
