from __future__ import annotations

from hypothesis import settings

# The wall time of one example says nothing on a shared, slow machine; the time-out of the whole test does.
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")
