"""The message that a wallet signs to sign in: EIP-4361, with the lease and its gateway as resources."""

from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

from commonhold.units import Address, address_text

VALID_S = 300


def sign_in_message(
    address: Address, issuer: str, chain_id: int, nonce: str, resources: Sequence[str], now_s: int
) -> str:
    """Text for `personal_sign`."""
    lines = [
        f"{urlsplit(issuer).netloc} wants you to sign in with your Ethereum account:",
        address_text(address),
        "",
        "Use your lease.",
        "",
        f"URI: {issuer}",
        "Version: 1",
        f"Chain ID: {chain_id}",
        f"Nonce: {nonce}",
        f"Issued At: {_time(now_s)}",
        f"Expiration Time: {_time(now_s + VALID_S)}",
        "Resources:",
        *(f"- {resource}" for resource in resources),
    ]
    return "\n".join(lines)


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
