"""Workers side by side take every seed, and none twice."""

from __future__ import annotations

import os
import struct
import subprocess
import sys

from tests.chaos.processes import REPOSITORY

SEEDS = range(1, 301)
WORKER = "import sys; from tests.chaos.series import taken; print(*taken(int(sys.argv[1])))"


def test_each_seed_is_taken_by_one_worker() -> None:
    reading, writing = os.pipe()
    command = [sys.executable, "-c", WORKER, str(reading)]
    workers = [
        subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, pass_fds=[reading])
        for _ in range(3)
    ]
    os.close(reading)
    for seed in SEEDS:
        os.write(writing, struct.pack("q", seed))
    os.close(writing)
    said = [worker.communicate(timeout=60)[0] for worker in workers]
    assert sorted(int(word) for text in said for word in text.split()) == list(SEEDS)
    assert [worker.returncode for worker in workers] == [0, 0, 0]
