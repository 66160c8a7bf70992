"""A bad line between an agent's network and the server's: packets are late, overtake one another, and come twice.

python -m tests.chaos.tun_relay --agent N --namespace PID --seed S

Two TUN devices, one on each side; while this runs the routes lead through it, and when it ends they are as before.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import time
from pathlib import Path
from typing import Final

from tests.chaos.network import BROKER_ADDRESS

DELAY_S: Final = 0.08
JITTER_S: Final = 0.12
DOUBLED: Final = 0.1
# As a queue in a router has a length: what comes beyond is dropped.
MAX_WAITING: Final = 2000
_MTU: Final = 1500
_TUNSETIFF: Final = 0x400454CA
_IFF_TUN: Final = 0x0001
_IFF_NO_PI: Final = 0x1000


def make_tun(name: str) -> int:
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(handle, _TUNSETIFF, struct.pack("16sH", name.encode(), _IFF_TUN | _IFF_NO_PI))
    return handle


def enter_network(pid: int) -> None:
    with Path(f"/proc/{pid}/ns/net").open("rb") as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0) != 0:
            raise OSError(ctypes.get_errno(), "setns")


def relay(ends: tuple[int, int], chance: random.Random) -> None:
    waiting: list[tuple[float, int, int, bytes]] = []
    count = 0
    while True:
        wait_s = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        readable, _, _ = select.select(ends, [], [], wait_s)
        for end in readable:
            packet = os.read(end, 2 * _MTU)
            for _ in range(2 if chance.random() < DOUBLED else 1):
                if len(waiting) < MAX_WAITING:
                    count += 1
                    due_s = time.monotonic() + DELAY_S + JITTER_S * chance.random()
                    heapq.heappush(waiting, (due_s, count, ends[1] if end == ends[0] else ends[0], packet))
        while waiting and waiting[0][0] <= time.monotonic():
            _, _, other, packet = heapq.heappop(waiting)
            os.write(other, packet)


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("--agent", "--namespace", "--seed"):
        parser.add_argument(name, type=int, required=True)
    options = parser.parse_args()
    address = f"10.99.{options.agent + 1}.2"
    # Several at once for one agent: the last one is the way.
    near_name, far_name = f"tn{options.agent}-{os.getpid()}", f"tf{options.agent}-{os.getpid()}"
    near = make_tun(near_name)
    _carry_out(["ip", "link", "set", near_name, "up"])
    _carry_out(["ip", "route", "replace", f"{address}/32", "dev", near_name])
    enter_network(options.namespace)
    far = make_tun(far_name)
    _carry_out(["ip", "link", "set", far_name, "up"])
    _carry_out(["ip", "route", "replace", f"{BROKER_ADDRESS}/32", "dev", far_name, "src", address])
    relay((near, far), random.Random(options.seed))


def _carry_out(command: list[str]) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
