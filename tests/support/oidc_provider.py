"""A certified OpenID provider as a process of its own, and the person in front of its form."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

import httpx2

from simulators.broker import free_port
from tests.support.required import missing

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).parent / "oidc" / "provider.mjs"
CLIENT_ID, CLIENT_SECRET = "tillmedic", "only-for-tests"
REDIRECT_URI = "http://127.0.0.1:1/sign-in/oidc/back"
_HOPS = 12


@dataclass(frozen=True, slots=True)
class RealProvider:
    issuer: str

    def sign_in(self, address: str, name: str) -> str:
        """What a person's browser does there; where it is led in the end, with code and state."""
        with httpx2.Client(timeout=10) as browser:
            answer = browser.get(address)
            for _ in range(_HOPS):
                target = urljoin(str(answer.url), answer.headers.get("location", ""))
                if target.startswith(REDIRECT_URI):
                    return target
                if answer.has_redirect_location:
                    answer = browser.get(target)
                    continue
                form = re.search(r'action="([^"]+)" method="post"', answer.text)
                prompt = re.search(r'name="prompt" value="(\w+)"', answer.text)
                assert form is not None, answer.text[:500]
                assert prompt is not None, answer.text[:500]
                data = {"prompt": prompt[1], "login": name, "password": "any"}
                answer = browser.post(urljoin(str(answer.url), form[1]), data=data)
        raise AssertionError(f"the provider led nowhere within {_HOPS} hops")


@contextmanager
def real_provider() -> Iterator[RealProvider]:
    node = shutil.which("node") or str(ROOT / ".venv" / "bin" / "node")
    if not Path(node).is_file() or not (ROOT / "node_modules" / "oidc-provider").is_dir():
        missing("node with the package oidc-provider ('npm ci --ignore-scripts')")
    port = free_port()
    command = [node, str(SCRIPT), str(port), CLIENT_ID, CLIENT_SECRET, REDIRECT_URI]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            said = []
            for line in process.stdout:
                said.append(line)
                if line.strip() == "ready":
                    break
            assert said, "the provider ended without a word"
            assert said[-1].strip() == "ready", "".join(said)
            yield RealProvider(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()
