"""``python -m tools.supply [QUESTION ...]``: what the product is made of, and what is known against it.

Ends with 0 when all is well, 1 when something was found, 3 when a question could not be answered: that is no verdict,
and never taken for a good one. What is written goes to ``dist/``.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "requirements" / "run.txt"
BASELINE = ROOT / "requirements" / "secrets.json"
SOURCES = ("protocol", "device_agent", "fleet_server", "simulators")
WELL, FOUND, NO_VERDICT = 0, 1, 3
# Permissive ones, and those that ask only for their own files to stay open (MPL) or replaceable (LGPL: psycopg).
ALLOWED = frozenset(
    {
        "0BSD",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "CC0-1.0",
        "ISC",
        "LGPL-3.0-only",
        "MIT",
        "MIT-0",
        "MPL-2.0",
        "PSF-2.0",
        "Zlib",
    }
)
_OF_CLASSIFIER = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
_SPELT = {"BSD-0-Clause": "0BSD"}
# Packages whose own data do not say it; read in their licence files.
_BY_HAND = {"pysimdjson": "MIT AND Apache-2.0", "psutil": "BSD-3-Clause", "python-dotenv": "BSD-3-Clause"}


def locked() -> dict[str, str]:
    """Names and versions of everything that an installation may get."""
    lines = REQUIREMENTS.read_text("utf-8").splitlines()
    return dict(found.groups() for line in lines if (found := re.match(r"([a-z0-9._-]+)==([^ ;\\]+)", line)))  # type: ignore[misc]  # two groups


def from_npm() -> dict[str, dict[str, Any]]:
    """What the console takes, without the tools of the tests."""
    packages = json.loads((ROOT / "package-lock.json").read_text("utf-8"))["packages"]
    return {name.removeprefix("node_modules/"): one for name, one in packages.items() if name and not one.get("dev")}


def sbom() -> int:
    """A CycloneDX document, the same bytes for the same locked sets."""
    target = ROOT / "dist" / "sbom.cdx.json"
    target.parent.mkdir(exist_ok=True)
    asked = [
        "requirements",
        str(REQUIREMENTS),
        "--output-reproducible",
        "--of",
        "JSON",
        "--pyproject",
        "pyproject.toml",
    ]
    made = _run("cyclonedx_py", *asked)
    if made.returncode != 0:
        print(made.stderr, file=sys.stderr)
        return NO_VERDICT
    document = json.loads(made.stdout)
    document["components"] = sorted(
        [*document["components"], *map(_component, from_npm().items())], key=lambda one: str(one["purl"])
    )
    target.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", "utf-8")
    print(f"{target}: {len(document['components'])} components")
    return WELL


def _component(named: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    name, package = named
    kind, _, digest = package["integrity"].partition("-")
    purl = f"pkg:npm/{name}@{package['version']}"
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": package["version"],
        "purl": purl,
        "hashes": [{"alg": f"SHA-{kind.removeprefix('sha')}", "content": base64.b64decode(digest).hex()}],
    }


def licences() -> int:
    said = {name: licence_of(name) for name in locked()}
    said |= {name: package.get("license", "") for name, package in from_npm().items()}
    absent = sorted(name for name, licence in said.items() if licence is None)
    wrong = {name: licence for name, licence in said.items() if licence is not None and not is_allowed(licence)}
    target = ROOT / "dist" / "licences.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(said, indent=1, sort_keys=True) + "\n", "utf-8")
    print(f"{target}: {len(said)} packages; not for this machine, so not looked at: {', '.join(absent) or 'none'}")
    for name, licence in sorted(wrong.items()):
        print(f"{name}: expected a licence of the allowed set, came {licence or 'none'}")
    return FOUND if wrong else WELL


def licence_of(name: str) -> str | None:
    """As an SPDX expression; empty when it is not said, None when the package is not installed here."""
    try:
        known = metadata(name)
    except PackageNotFoundError:
        return None
    if expressions := known.get_all("License-Expression"):
        return str(expressions[0])
    if (said := [str(one) for one in known.get_all("License") or []]) and said[0] in ALLOWED:
        return said[0]
    classifiers = [one.rpartition(" :: ")[2] for one in known.get_all("Classifier") or [] if one.startswith("License")]
    spdx = [_OF_CLASSIFIER[one] for one in classifiers if one in _OF_CLASSIFIER]
    return " AND ".join(spdx) or _BY_HAND.get(name, "")


def is_allowed(expression: str) -> bool:
    """Of what is joined by OR one is enough; all of what is joined by AND. Brackets are left to a person."""
    choices = [one.split(" AND ") for one in expression.split(" OR ")]
    return any({_SPELT.get(part.strip(), part.strip()) for part in parts} <= ALLOWED for parts in choices)


def audit() -> int:
    """Known weaknesses of the locked packages. A package that cannot be looked up has no verdict."""
    asked = _run("pip_audit", "-r", str(REQUIREMENTS), "--require-hashes", "--disable-pip", "-f", "json")
    try:
        answered = json.loads(asked.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(f"no verdict: pip-audit could not ask\n{asked.stderr[-500:]}")
        return NO_VERDICT
    return judged(answered)


def judged(answered: list[dict[str, Any]]) -> int:
    weak = [one for one in answered if one.get("vulns")]
    not_asked = [one["name"] for one in answered if "skip_reason" in one]
    for one in weak:
        print(f"{one['name']} {one['version']}: {', '.join(found['id'] for found in one['vulns'])}")
    if not_asked or not answered:
        print(f"no verdict on {len(not_asked)} of {len(answered)} packages: they could not be looked up")
    if weak:
        return FOUND
    return NO_VERDICT if not_asked or not answered else WELL


def code() -> int:
    """Bandit's findings of medium and high weight; what ruff asks too is judged there, line by line."""
    done = _run("bandit", "-q", "-ll", "-ii", "-c", "pyproject.toml", "-r", *SOURCES)
    print(done.stdout or "bandit: nothing of weight")
    return FOUND if done.returncode else WELL


def secrets() -> int:
    """What looks like a secret and is not among what was looked at before (`requirements/secrets.json`)."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    files = [name for name in listed if name and not name.startswith(("requirements/", "docs/images/"))]
    done = _run("detect_secrets.pre_commit_hook", "--baseline", str(BASELINE), *files)
    print(done.stdout or f"{len(files)} files: nothing that was not looked at")
    return FOUND if done.returncode else WELL


def _run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


QUESTIONS: dict[str, Callable[[], int]] = {one.__name__: one for one in (sbom, licences, audit, code, secrets)}


def main() -> int:
    asked = sys.argv[1:] or list(QUESTIONS)
    unknown = set(asked) - set(QUESTIONS)
    if unknown:
        print(f"expected some of {', '.join(QUESTIONS)}, came {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    answers = {name: QUESTIONS[name]() for name in asked}
    words = {WELL: "well", FOUND: "FOUND SOMETHING", NO_VERDICT: "NO VERDICT"}
    print(", ".join(f"{name}: {words[answer]}" for name, answer in answers.items()))
    return max(answers.values(), key=(WELL, NO_VERDICT, FOUND).index)


if __name__ == "__main__":
    raise SystemExit(main())
