"""Signed statements as files: what one party signs on its own machine, so that anyone can send it later."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from eth_account import Account

from commonhold import actions, signing
from commonhold.cli.common import write_new
from commonhold.errors import BadInput
from commonhold.keyfile import wallet_address
from commonhold.signing import Domain, Statement
from commonhold.units import Address, address_text, hex_text, to_address

KINDS: dict[str, type[Statement]] = {
    kind.__name__: kind
    for kind in (
        signing.Admission,
        signing.Renewal,
        signing.Attachment,
        signing.Finding,
        signing.Detachment,
        signing.Recovery,
        signing.Split,
        signing.TopUp,
        signing.Rotation,
    )
}
S = TypeVar("S", bound=Statement)


@dataclass(frozen=True, slots=True)
class Signed:
    """One statement with one signature."""

    statement: Statement
    signer: Address
    signature: bytes

    @classmethod
    def make(cls, key: bytes, domain: Domain, statement: Statement) -> "Signed":
        """The statement, signed by a wallet's key."""
        return cls(statement, wallet_address(key), actions.sign(key, domain, statement))

    def save(self, path: Path, domain: Domain) -> None:
        """Writes the EIP-712 JSON with the signature. Raises BadInput when the file exists."""
        body = signing.typed_data(domain, self.statement)
        body |= {"signer": address_text(self.signer), "signature": hex_text(self.signature)}
        write_new(path, json.dumps(body, indent=2), what="statement file")


def load(path: Path, domain: Domain) -> Signed:
    """The statement in `path`, checked: made for this deployment, signed by who it says. Raises BadInput."""
    try:
        body = json.loads(path.read_text())
        statement = signing.from_message(KINDS[body["primaryType"]], body["message"])
        signed = Signed(statement, to_address(body["signer"]), bytes.fromhex(body["signature"].removeprefix("0x")))
    except FileNotFoundError as error:
        raise BadInput(f"statement file {path}: not found") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"statement file {path}: {type(error).__name__} {error}") from error
    if body.get("domain") != signing.typed_data(domain, statement)["domain"]:
        raise BadInput(f"statement file {path}: was signed for another chain or contract than {domain.name}")
    recovered = Account._recover_hash(signing.digest(domain, statement), signature=signed.signature)
    if to_address(recovered) != signed.signer:
        raise BadInput(f"statement file {path}: expected a signature of {address_text(signed.signer)}, got {recovered}")
    return signed


def load_all(paths: list[Path], domain: Domain, kind: type[S]) -> tuple[S, dict[Address, bytes]]:
    """One statement that every file signs, and the signatures by signer. Raises BadInput."""
    signed = [load(path, domain) for path in paths]
    for path, one in zip(paths, signed, strict=True):
        if not isinstance(one.statement, kind):
            raise BadInput(f"statement file {path}: expected {kind.__name__}, got {type(one.statement).__name__}")
        if one.statement != signed[0].statement:
            raise BadInput(f"statement file {path}: says something else than {paths[0]}")
    statement = signed[0].statement
    if not isinstance(statement, kind):
        raise BadInput(f"statement file {paths[0]}: expected {kind.__name__}")
    return statement, {one.signer: one.signature for one in signed}
