from __future__ import annotations

import os

from hypothesis import settings

# The wall time of one example says nothing on a shared, slow machine; the time-out of the whole test does.
settings.register_profile("steady", deadline=None, print_blob=True)
# The same examples each time, so that a red run says something about the change and can be repeated.
settings.register_profile("repeatable", deadline=None, print_blob=True, derandomize=True)
settings.load_profile("repeatable" if os.environ.get("CI") == "true" else "steady")
