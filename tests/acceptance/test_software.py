"""A version of a payment application: keys offline, published, fetched, signed for by two people, running."""

from __future__ import annotations

import json
from pathlib import Path

from tests.acceptance.demo_client import Demo, run_command

PATH = "apps/tm-e30/payment-5.5.0.bin"
HOLDERS = ("root-1", "root-2", "root-3", "release-1", "release-2", "mei", "wu")


def fleet(*words: object, within_s: float = 90.0) -> str:
    done = run_command("fleet_server", *map(str, words), within_s=within_s)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout.strip()


def make_keys(folder: Path) -> dict[str, str]:
    """Public halves by holder; each key with its passphrase in files of the holder's own."""
    publics = {}
    for name in HOLDERS:
        (folder / f"{name}.pass").write_text(f"the passphrase of {name}\n", "utf-8")
        publics[name] = fleet("approver-key", folder / f"{name}.pem", "--new", *opened(folder, name)[2:])
    return publics


def opened(folder: Path, name: str) -> list[object]:
    return ["--key", folder / f"{name}.pem", "--passphrase-file", folder / f"{name}.pass"]


def publish(demo: Demo, folder: Path, publics: dict[str, str], content: Path) -> None:
    software, data = folder / "software", ["--data", demo.data]
    online = fleet("artifacts", "online-keys", *data).split()
    root = [word for name in HOLDERS[:3] for word in ("--root", publics[name])]
    release = [word for name in HOLDERS[3:5] for word in ("--targets", publics[name])]
    fleet("artifacts", "init", software, *root, *release, *online)
    about = ["--kind", "payment_application", "--version", "5.5.0", "--model", "TM-E30", "--from-version", "5.0.0"]
    fleet("artifacts", "add", software, content, "--path", PATH, *about)
    for name in ("root-1", "root-3", "release-1", "release-2"):
        fleet("artifacts", "sign", software, *opened(folder, name), "--yes")
    fleet("artifacts", "pin", software, "--root-key", demo.data / "server" / "keys" / "root.seed", *data)
    fleet("artifacts", "publish", software, *data)
    assert PATH in fleet("artifacts", "verify", *data)


def name_approvers(demo: Demo, folder: Path, publics: dict[str, str]) -> dict[str, str]:
    """Tokens by approver."""
    data = ["--data", demo.data]
    named = [word for name in ("mei", "wu") for word in ("--add-approver", f"{name}={publics[name]}")]
    fleet("policy", "draft", "--draft", folder / "draft", *named, *data)
    root = demo.data / "server" / "keys" / "root.seed"
    fleet("policy", "sign", "--draft", folder / "draft", "--signed", folder / "signed", "--root-key", root, "--yes")
    fleet("policy", "import", "--signed", folder / "signed", *data)
    issued = {name: fleet("token", name, "--role", "approver", "--json", *data) for name in ("mei", "wu")}
    return {name: json.loads(said)["token"] for name, said in issued.items()}


def test_two_people_sign_and_the_terminal_runs_the_new_version(demo: Demo, tmp_path: Path) -> None:
    content = tmp_path / "payment.bin"
    content.write_bytes(b"TMAPP 5.5.0\n" + bytes(range(256)) * 1000)
    publics = make_keys(tmp_path)
    publish(demo, tmp_path, publics, content)
    tokens = name_approvers(demo, tmp_path, publics)
    demo.until(lambda: fetched(demo), "the file to be in hand", within_s=120.0)
    body = {
        "device": demo.device("esign1"),
        "action": "software.install",
        "artifact": artifact_of(content),
    }
    asked = demo.call("POST", "/api/v1/executions", body)
    assert asked.status == 201, asked.body
    identifier = str(asked.body["id"])
    for name in ("mei", "wu"):
        demo.until_state(identifier, "AWAITING_APPROVAL")
        fleet("approve", identifier, *opened(tmp_path, name), "--token", tokens[name], "--yes", "--data", demo.data)
    done = demo.until_state(identifier, "SUCCEEDED", "FAILED", "ROLLED_BACK", "REJECTED", within_s=300.0)
    assert done["state"] == "SUCCEEDED", done
    ran = demo.run("esign1", "software.version")
    told = [event["data"] for event in demo.timeline("esign1", "verdict") if event["execution"] == ran["id"]]
    values = {one["item"]: one["value"] for one in told}
    assert values["payment_application"] == "5.5.0", values


def fetched(demo: Demo) -> bool:
    return str(demo.run("esign1", "software.fetch", {"path": PATH})["verdict"]) == "pass"


def artifact_of(content: Path) -> dict[str, object]:
    import hashlib

    plain = content.read_bytes()
    return {"path": PATH, "length": len(plain), "sha256": hashlib.sha256(plain).hexdigest()}
