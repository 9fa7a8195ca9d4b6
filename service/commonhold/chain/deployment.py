"""Which contracts, on which chain: the file that every part is started with.

A deployment is written once, by deploy.py, and never changes. Its JSON has exactly the keys of the class, in any order.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from commonhold.chain.genesis import Genesis
from commonhold.errors import BadInput, CommonholdError
from commonhold.signing import Domain
from commonhold.units import Address, BlockNumber, Hash32, address_text, hex_text, keccak256, to_address, to_hash32

ContractName = Literal["Members", "Ledger", "Access", "Meter", "Council", "Timelock", "Factory", "Registry", "Coin"]

# Whose events are the state.
FOLLOWED: tuple[ContractName, ...] = ("Members", "Ledger", "Access", "Meter", "Council", "Timelock")
MADE: tuple[ContractName, ...] = (*FOLLOWED, "Factory", "Registry")  # whose code is ours; the token is anybody's

_NUMBERS = ("chain_id", "block")
_HASHES = ("block_hash", "salt")


class WrongChain(CommonholdError):
    """The node, or a database, belongs to another chain or deployment."""

    status = 409
    code = "wrong_chain"


@dataclass(frozen=True, slots=True)
class Deployment:
    """The contracts of one chain, and what they were made with. `token` is the payment token (Coin on development
    chains)."""

    chain_id: int
    members: Address
    ledger: Address
    access: Address
    meter: Address
    council: Address
    timelock: Address
    factory: Address
    token: Address
    block: BlockNumber  # first block that may have events of these contracts
    block_hash: Hash32
    deployer: Address
    salt: Hash32  # with the deployer and the factory it gives the addresses
    code: Mapping[str, Hash32]  # keccak-256 of what runs at each contract of MADE, by name
    genesis: Genesis

    @classmethod
    def load(cls, path: Path) -> "Deployment":
        """The deployment in a file. Raises BadInput, naming the file and what is wrong in it."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise BadInput(f"deployment {path}: expected a readable JSON file, got: {reason}") from error
        try:
            return cls.from_json(text)
        except BadInput as error:
            raise BadInput(f"deployment {path}: {error}") from error

    def save(self, path: Path) -> None:
        """The file at `path` holds this deployment, and never a part of it."""
        unfinished = path.with_name(path.name + ".new")
        unfinished.write_text(self.to_json(), encoding="utf-8")
        unfinished.replace(path)

    @classmethod
    def from_json(cls, text: str) -> "Deployment":
        """Strict: every key once, none else, each of its type. Raises BadInput."""
        try:
            found = json.loads(text, object_pairs_hook=_no_key_twice)
        except ValueError as error:
            raise BadInput(f"expected JSON, got: {error}") from error
        if not isinstance(found, dict):
            raise BadInput(f"expected a JSON object, got: {type(found).__name__}")
        expected = {field.name for field in fields(cls)}
        if missing := sorted(expected - found.keys()):
            raise BadInput(f"missing: {', '.join(missing)}")
        if extra := sorted(found.keys() - expected):
            raise BadInput(f"unknown: {', '.join(extra)}; expected only {', '.join(sorted(expected))}")

        deployment = cls(**{name: _parse(name, value) for name, value in found.items()})
        addresses = [deployment.address_of(name) for name in (*MADE, "Coin")]
        for at, address in enumerate(addresses):
            if address in addresses[:at]:
                raise BadInput(f"address {address_text(address)} is given twice, expected {len(addresses)} contracts")
            if address == bytes(20):
                raise BadInput("the zero address is no contract")
        return deployment

    def to_json(self) -> str:
        """JSON with addresses in EIP-55 text, indented, for people and other programs."""
        return json.dumps(self._plain(), indent=2) + "\n"

    def domain(self, name: ContractName) -> Domain:
        """Where statements to the contract count. Not for Coin, whose domain is its own."""
        return Domain(name, self.chain_id, self.address_of(name))

    def address_of(self, name: ContractName) -> Address:
        """The contract's address."""
        return {
            "Members": self.members,
            "Ledger": self.ledger,
            "Access": self.access,
            "Meter": self.meter,
            "Council": self.council,
            "Timelock": self.timelock,
            "Factory": self.factory,
            "Registry": self.registry,
            "Coin": self.token,
        }[name]

    def contract_at(self, address: bytes) -> ContractName | None:
        """The contract with this address; None: it is none of ours."""
        for name in (*MADE, "Coin"):
            if self.address_of(name) == address:
                return name
        return None

    @property
    def registry(self) -> Address:
        """Where the code is that the ledger runs as its own: the first contract that the ledger made.

        Source: Ethereum Yellow Paper, section 7: of the hash of maker and nonce in RLP.
        """
        return Address(keccak256(b"\xd6\x94" + self.ledger + b"\x01")[12:])

    @property
    def followed(self) -> tuple[Address, ...]:
        """The addresses of the contracts whose events are the state; the token's are not."""
        return tuple(self.address_of(name) for name in FOLLOWED)

    @property
    def names(self) -> dict[Address, ContractName]:
        """The names of the contracts that are followed, by their addresses."""
        return {self.address_of(name): name for name in FOLLOWED}

    def fingerprint(self) -> Hash32:
        """One hash for the whole deployment: SHA-256 of its JSON with sorted keys and no blanks."""
        canonical = json.dumps(self._plain(), sort_keys=True, separators=(",", ":"))
        return Hash32(hashlib.sha256(canonical.encode()).digest())

    def _plain(self) -> dict[str, Any]:
        return {field.name: _text(field.name, getattr(self, field.name)) for field in fields(self)}


def _text(name: str, value: Any) -> Any:
    if name in _NUMBERS:
        return int(value)
    if name == "genesis":
        return value.to_json()
    if name == "code":
        return {contract: hex_text(digest) for contract, digest in value.items()}
    return hex_text(value) if name in _HASHES else address_text(value)


def _parse(name: str, value: object) -> Any:
    if name in _NUMBERS:
        if type(value) is not int or not 0 <= value < 1 << 63:
            raise BadInput(f"{name}: expected a whole number below 2^63, got {value!r:.80}")
        return value
    if name == "genesis":
        return Genesis.from_json(value)
    if name == "code":
        return _code(value)
    if not isinstance(value, str):
        raise BadInput(f"{name}: expected text, got {value!r:.80}")
    try:
        return to_hash32(value) if name in _HASHES else to_address(value)
    except BadInput as error:
        raise BadInput(f"{name}: {error}") from error


def _code(value: object) -> Mapping[str, Hash32]:
    if not isinstance(value, dict) or value.keys() != set(MADE):
        got = sorted(value) if isinstance(value, dict) else type(value).__name__
        raise BadInput(f"code: expected a hash for each of {', '.join(MADE)}, got {got}")
    return {name: _parse("block_hash", digest) for name, digest in value.items()}


def _no_key_twice(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for at, (key, _) in enumerate(pairs) if key in {k for k, _ in pairs[:at]})
        raise ValueError(f"key {twice!r} twice")
    return found
