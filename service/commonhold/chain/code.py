"""Whether what runs at an address is what the build made: the same bytes but for the immutables, which a constructor
writes into them, and each of those a value that it was meant to write. Pure."""

from collections.abc import Collection

from commonhold.chain.contract import contract
from commonhold.chain.deployment import ContractName, Deployment
from commonhold.signing import Domain, domain_separator
from commonhold.units import keccak256

_WORD = 32


def defect(name: ContractName, code: bytes, expected: Collection[bytes]) -> str | None:
    """What is wrong with `code`, said to be of contract `name`; None: nothing is.

    expected: the words that its immutables may have.
    """
    built = contract(name)
    if not code:
        return f"{name}: no code"
    if len(code) != len(built.runtime):
        return f"{name}: {len(code)} bytes of code, the build has {len(built.runtime)}"
    masked = bytearray(code)
    for places in built.immutables:
        words = {code[place : place + _WORD] for place in places}
        if len(words) != 1:
            return f"{name}: an immutable has {len(words)} values in the code"
        if unexpected := words - set(expected):
            return f"{name}: an immutable is 0x{unexpected.pop().hex()}, which it was not made with"
        for place in places:
            masked[place : place + _WORD] = bytes(_WORD)
    if masked != built.runtime:
        first = next(at for at, (got, want) in enumerate(zip(masked, built.runtime, strict=True)) if got != want)
        return f"{name}: code differs from the build's at byte {first}"
    return None


def words(name: ContractName, deployment: Deployment) -> set[bytes]:
    """All that an immutable of the contract may be: the deployment's addresses and numbers, and what EIP-712 keeps."""
    d, g = deployment, deployment.genesis
    addresses = (d.members, d.ledger, d.registry, d.access, d.meter, d.council, d.timelock, d.token)
    numbers = (
        *(g.window_seconds, g.horizon, g.max_classes, g.detach_delay, g.recovery_delay, g.grace_period),
        *(g.settle_delay, g.timelock_delay, g.voting_delay, g.voting_period, g.quorum_bps, d.chain_id),
    )
    domain = Domain("Ledger" if name == "Registry" else name, d.chain_id, d.address_of(name))
    title, version = domain.name.encode(), b"1"
    return {
        *(address.rjust(_WORD, b"\0") for address in addresses),
        *(number.to_bytes(_WORD) for number in numbers),
        keccak256(title),
        keccak256(version),
        domain_separator(domain),
        _short(title),
        _short(version),
    }


def _short(text: bytes) -> bytes:
    """OpenZeppelin's ShortString: the text, and its length in the last byte."""
    return text.ljust(_WORD - 1, b"\0") + bytes([len(text)])
