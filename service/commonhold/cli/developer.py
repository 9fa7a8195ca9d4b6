"""`commonhold redeem` and `commonhold call`: a developer's way from credits to answers."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography.hazmat.primitives.asymmetric import ec

from commonhold.cli.common import SERVICE_URL, JsonOption, KeyOption, ServiceOption, run, show
from commonhold.cli.credits import number
from commonhold.errors import BadInput
from commonhold.keyfile import read_p256, read_wallet, write_p256
from commonhold.units import hex_text

LeaseFileOption = Annotated[
    Path, typer.Option("--lease", help="File of the lease: its token and what was used. Keep it secret.")
]
SessionOption = Annotated[Path, typer.Option("--session-key", help="Your session key (P-256 PEM); made when missing.")]

LEASE_FILE = Path("lease.json")
SESSION_KEY = Path("session.pem")


def redeem(
    credit: Annotated[str, typer.Argument(help="Credit id, decimal (`commonhold credits list` shows yours).")],
    seconds: Annotated[int, typer.Argument(min=1, help="How many credits to turn into a lease.")],
    key: KeyOption,
    lease_file: LeaseFileOption = LEASE_FILE,
    session_key: SessionOption = SESSION_KEY,
    service: ServiceOption = SERVICE_URL,
    as_json: JsonOption = False,
) -> None:
    """Turn credits into a lease with one signature and no gas, and get the first access token.

    What you sign is kept beside the lease file until the token has arrived: run the same command again after any
    failure, the credits are spent once.
    """
    run(_redeem(credit, seconds, key, lease_file, session_key, service, as_json))


def call(
    method: Annotated[str, typer.Argument(help="HTTP method.")],
    path: Annotated[str, typer.Argument(help="Path at the provider's gateway, e.g. /v1/embeddings.")],
    key: KeyOption,
    data: Annotated[str | None, typer.Option("--data", "-d", help="JSON body; @FILE reads it from a file.")] = None,
    lease_file: LeaseFileOption = LEASE_FILE,
    session_key: SessionOption = SESSION_KEY,
    service: ServiceOption = SERVICE_URL,
    close: Annotated[bool, typer.Option("--close", help="Sign the final receipt after the call.")] = False,
) -> None:
    """Call the workload behind the lease's gateway; the answer goes to standard output.

    The token is renewed when it must be: each renewal signs a receipt for the time used so far.
    """
    run(_call(method, path, key, data, lease_file, session_key, service, close))


async def _redeem(
    credit: str, seconds: int, key: Path, lease_file: Path, session_key: Path, service: str, as_json: bool
) -> None:
    from commonhold.client.client import Client, SignedRedemption

    wallet, credit_id = read_wallet(key), number(credit)
    session, kept = _prepare(lease_file, session_key)  # last: it may write a file
    pending = lease_file.with_suffix(".pending.json")
    async with Client(service, wallet, session) as client:
        if kept is not None:
            signed = SignedRedemption.from_json(kept)
        else:
            signed = await client.sign_redemption(credit_id, seconds)
            write_private(pending, signed.to_json())
        lease = await client.exchange(signed)
        write_private(lease_file, lease.to_json())
        pending.unlink()
    claims = lease.token.claims
    row = {
        "lease": hex_text(lease.lease),
        "gateway": claims.audience,
        "seconds": seconds,
        "expires_at": claims.expires_at,
        "limit_gpu_ms": claims.limit_gpu_ms,
        "level": claims.level,
        "policy": claims.policy,
        "file": str(lease_file),
    }
    show(row, as_json=as_json)


async def _call(
    method: str, path: str, key: Path, data: str | None, lease_file: Path, session_key: Path, service: str, close: bool
) -> None:
    from commonhold.client.client import Client

    body = _body(data)
    async with Client(service, read_wallet(key), read_p256(session_key)) as client:
        lease = await client.resume(read_json(lease_file))
        try:
            answer = await lease.request(method.upper(), path, json=body)
            if close:
                await lease.close()
        finally:
            write_private(lease_file, lease.to_json())
    sys.stdout.buffer.write(answer.content + b"\n")
    if not answer.is_success:
        raise BadInput(f"{method.upper()} {path}: the workload answered {answer.status_code}")


def _prepare(lease_file: Path, session_key: Path) -> tuple[ec.EllipticCurvePrivateKey, Any]:
    """The session key, and what an earlier run signed; None: nothing. Raises BadInput when the lease file exists."""
    if lease_file.exists():
        raise BadInput(f"lease file {lease_file}: exists already; name another with --lease")
    pending = lease_file.with_suffix(".pending.json")
    session = read_p256(session_key) if session_key.exists() else write_p256(session_key)
    return session, read_json(pending) if pending.exists() else None


def _body(data: str | None) -> Any:
    if data is None:
        return None
    try:
        return json.loads(Path(data[1:]).read_text() if data.startswith("@") else data)
    except FileNotFoundError as error:
        raise BadInput(f"file {data[1:]}: not found") from error
    except ValueError as error:
        raise BadInput(f"--data: expected JSON, got {data[:40]!r}: {error}") from error


def read_json(path: Path) -> Any:
    """What a lease file has. Raises BadInput."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise BadInput(f"lease file {path}: not found; `commonhold redeem` makes one") from error
    except ValueError as error:
        raise BadInput(f"lease file {path}: {error}") from error


def write_private(path: Path, body: Any) -> None:
    """Replaces the file in one step, readable by its owner alone."""
    new = path.with_name(path.name + ".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(body, file)
    new.replace(path)
