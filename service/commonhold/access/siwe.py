"""Wallet sign-in: EIP-4361 messages, parsed by the grammar and by nothing looser, over the original bytes.

Pure. A message that this parser accepts means one thing: every field stands once, in its place, and what the wallet
showed is what is read here. Nothing is trimmed, re-serialised or skipped. Who may sign for a contract wallet (ERC-1271)
is a question to the chain, and asked in wallet.py.
"""

import hmac
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import coincurve

from commonhold.access.dpop import NonceKeys
from commonhold.errors import CommonholdError
from commonhold.keyfile import SECP256K1_ORDER
from commonhold.units import Address, Hash32, address_text, keccak256

MAX_MESSAGE_BYTES = 4_096
MAX_SIGNATURE_BYTES = 4_096  # contract wallets: several owners' signatures, WebAuthn
MAX_AGE_S = 600
MAX_AHEAD_S = 60
NONCE_TTL_S = 600

_PCHAR = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})"
_AUTHORITY = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:\[\]]|%[0-9A-Fa-f]{2})+"  # no user name: it would hide the host
_URI = r"[A-Za-z][A-Za-z0-9+\-.]*:(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})*"
_TIME = r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+\-]\d{2}:\d{2})"
# Source: EIP-4361, "ABNF Message Format". Without a statement there are two empty lines.
_MESSAGE = re.compile(
    rf"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+\-.]*)://)?(?P<domain>{_AUTHORITY})"
    r" wants you to sign in with your Ethereum account:\n"
    r"(?P<address>0x[0-9A-Fa-f]{40})\n"
    r"\n"
    r"(?:(?P<statement>[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;= ]+)\n)?"
    r"\n"
    rf"URI: (?P<uri>{_URI})\n"
    r"Version: 1\n"
    r"Chain ID: (?P<chain_id>[0-9]{1,19})\n"
    r"Nonce: (?P<nonce>[A-Za-z0-9]{8,128})\n"
    rf"Issued At: (?P<issued_at>{_TIME})"
    rf"(?:\nExpiration Time: (?P<expires_at>{_TIME}))?"
    rf"(?:\nNot Before: (?P<not_before>{_TIME}))?"
    rf"(?:\nRequest ID: (?P<request_id>{_PCHAR}*))?"
    rf"(?:\nResources:(?P<resources>(?:\n- {_URI})*))?",
    re.ASCII,
)


class SiweInvalid(CommonholdError):
    """The sign-in message is malformed, for somebody else, out of time or not signed by its account."""

    status = 400
    code = "invalid_grant"


@dataclass(frozen=True, slots=True)
class SiweMessage:
    """One parsed message. Times are Unix seconds; `expires_at` and `not_before` are None when it has none."""

    scheme: str | None
    domain: str
    address: Address
    statement: str | None
    uri: str
    chain_id: int
    nonce: str
    issued_at: int
    expires_at: int | None
    not_before: int | None
    request_id: str | None
    resources: tuple[str, ...]


def parse(message: bytes) -> SiweMessage:
    """The fields of an EIP-4361 message. Raises SiweInvalid."""
    if len(message) > MAX_MESSAGE_BYTES:
        raise SiweInvalid(f"sign-in message of {len(message)} bytes: expected at most {MAX_MESSAGE_BYTES}")
    match = _MESSAGE.fullmatch(message.decode("ascii", errors="replace"))
    if match is None:
        raise SiweInvalid("sign-in message does not follow the grammar of EIP-4361, version 1")
    fields = match.groupdict()
    address = Address(bytes.fromhex(fields["address"][2:]))
    if fields["address"] != address_text(address):
        raise SiweInvalid(f"sign-in message: address {fields['address']} is not in its EIP-55 form")
    resources = fields["resources"]
    return SiweMessage(
        scheme=fields["scheme"],
        domain=fields["domain"],
        address=address,
        statement=fields["statement"],
        uri=fields["uri"],
        chain_id=int(fields["chain_id"]),
        nonce=fields["nonce"],
        issued_at=_seconds(fields["issued_at"]),
        expires_at=_seconds(fields["expires_at"]) if fields["expires_at"] else None,
        not_before=_seconds(fields["not_before"]) if fields["not_before"] else None,
        request_id=fields["request_id"],
        resources=tuple(line.removeprefix("- ") for line in resources.split("\n")[1:]) if resources else (),
    )


def check(
    message: SiweMessage,
    *,
    domain: str,
    uris: Collection[str],
    chain_id: int,
    resources: Collection[str],
    now_s: int,
) -> None:
    """Returns when the message is for us, for this and for now.

    (1) our domain and one of our `uris`, (2) our chain, (3) an expiry, not passed, (4) issued at most MAX_AGE_S ago,
    (5) not before its time, (6) each of `resources` stands in it, so the wallet has shown it.
    The caller MUST check the nonce, consume it, and check the signature. Raises SiweInvalid.
    """
    # (1) domain and URI
    if message.domain != domain:
        raise SiweInvalid(f"sign-in message is for domain {message.domain!r}, expected {domain!r}")
    if message.uri not in uris:
        raise SiweInvalid(f"sign-in message is for URI {message.uri!r}, expected one of {sorted(uris)}")
    # (2) chain
    if message.chain_id != chain_id:
        raise SiweInvalid(f"sign-in message is for chain {message.chain_id}, expected {chain_id}")
    # (3) expiry
    if message.expires_at is None:
        raise SiweInvalid("sign-in message has no expiration time")
    if now_s >= message.expires_at:
        raise SiweInvalid(f"sign-in message expired at {message.expires_at}, it is {now_s}")
    # (4) age
    if not now_s - MAX_AGE_S <= message.issued_at <= now_s + MAX_AHEAD_S:
        raise SiweInvalid(
            f"sign-in message was issued at {message.issued_at}, it is {now_s}: expected {MAX_AGE_S} s at most"
        )
    # (5) not before
    if message.not_before is not None and now_s < message.not_before:
        raise SiweInvalid(f"sign-in message is not valid before {message.not_before}, it is {now_s}")
    # (6) resources
    for resource in resources:
        if resource not in message.resources:
            raise SiweInvalid(f"sign-in message does not name the resource {resource!r}")


def personal_digest(message: bytes) -> Hash32:
    """What a wallet signs for personal_sign. Source: EIP-191, version 0x45."""
    return keccak256(b"\x19Ethereum Signed Message:\n" + str(len(message)).encode() + message)


def recover(digest: Hash32, signature: bytes) -> Address | None:
    """The account whose key made the 65-byte signature (r || s || v, low s) of `digest`; None when there is none."""
    if len(signature) != 65 or signature[64] not in (0, 1, 27, 28):
        return None
    if not 0 < int.from_bytes(signature[32:64]) <= SECP256K1_ORDER // 2:
        return None
    recoverable = signature[:64] + bytes([signature[64] % 27])
    try:
        key = coincurve.PublicKey.from_signature_and_message(recoverable, digest, hasher=None)
    except Exception as e:  # coincurve raises a bare one where no key fits; anything more special is not that
        if type(e) not in (Exception, ValueError):
            raise
        return None
    return Address(keccak256(key.format(compressed=False)[1:])[12:])


def make_nonce(keys: NonceKeys, now_s: int, entropy: bytes) -> str:
    """A nonce for one sign-in, 64 hexadecimal digits. `entropy`: 12 random bytes. Stored only when used."""
    body = (now_s + NONCE_TTL_S).to_bytes(4) + entropy[:12].rjust(12, b"\0")
    return body.hex() + keys.mac(b"siwe-nonce", body)[:16].hex()


def nonce_until(keys: NonceKeys, nonce: str, now_s: int) -> int:
    """When a nonce of ours ends; the caller consumes it once before then. Raises SiweInvalid for any other."""
    if not re.fullmatch(r"[0-9a-f]{64}", nonce):
        raise SiweInvalid("sign-in message: the nonce is not from this service")
    body, mac = bytes.fromhex(nonce[:32]), bytes.fromhex(nonce[32:])
    if not hmac.compare_digest(keys.mac(b"siwe-nonce", body)[:16], mac):
        raise SiweInvalid("sign-in message: the nonce is not from this service")
    until = int.from_bytes(body[:4])
    if now_s >= until:
        raise SiweInvalid(f"sign-in message: the nonce ended at {until}, it is {now_s}")
    return until


def _seconds(text: str) -> int:
    """Unix seconds of an RFC 3339 time, rounded down."""
    try:
        moment = datetime.fromisoformat(re.sub(r"\.\d+", "", text))
        return int(moment.timestamp())
    except (ValueError, OverflowError) as e:
        raise SiweInvalid(f"sign-in message: {text!r} is no time") from e
