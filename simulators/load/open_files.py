"""Each connection is an open file, here and in the broker; the usual limit is 1,024."""

from __future__ import annotations

import resource

from simulators.errors import SimulatorError


class TooManyLinks(SimulatorError):
    code = "too_many_links"


def allow_open_files(wanted: int) -> None:
    """For this process and those it starts from now on. Raises ``TooManyLinks`` when the machine does not allow it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            raise TooManyLinks(f"expected a limit of at least {wanted} open files, came {hard}: raise it (ulimit -Hn)")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
