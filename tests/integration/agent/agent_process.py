"""The agent with the invented actions of these tests, as a process of its own that can be killed.

python -m tests.integration.agent.agent_process agent.toml
"""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path

from device_agent.bootstrap import build
from device_agent.config import load
from tests.integration.agent.actions import definitions_for


def main(config: Path) -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    agent = build(load(config), definitions_for)
    signal.signal(signal.SIGTERM, lambda _number, _frame: agent.stop())
    agent.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
