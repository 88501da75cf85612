"""An operator beside the practice one: registered by a command on the machine, then logged in."""

import subprocess

import httpx
import pyotp

from tests.spine.product import TODOKE, Product


def test_an_operator_who_is_added_on_the_machine_logs_in(product: Product) -> None:
    assert add(product, "Ops 2").returncode == 2
    assert add(product, "ops-2", ticket="").returncode == 2
    added = add(product, "ops-2")
    assert added.returncode == 0, added.stderr
    shown = dict(line.rsplit(maxsplit=1) for line in added.stdout.splitlines()[:3])
    assert added.stdout.splitlines()[3].strip().startswith("otpauth://totp/")
    body = {
        "user_id": shown["user ID"],
        "password": shown["password"],
        "totp": pyotp.TOTP(shown["second factor"]).now(),
    }
    answer = httpx.post(f"http://127.0.0.1:{product.port + 1}/v1/operator/session", json=body, timeout=30)
    assert answer.status_code == 200, answer.text
    again = add(product, "ops-2")
    assert (again.returncode, again.stdout) == (1, "")


def add(product: Product, user_id: str, ticket: str = "OPS-1") -> subprocess.CompletedProcess[str]:
    """The command, as it is typed."""
    words = [
        "operator",
        "add",
        user_id,
        "--home",
        str(product.home),
        "--reason",
        "新しい担当者です",
        "--ticket",
        ticket,
    ]
    return subprocess.run([*TODOKE, *words], capture_output=True, text=True, timeout=120, check=False)
