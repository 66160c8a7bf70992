"""Days in the life of terminals, as TOML: what breaks when, and what must be reported of it."""
