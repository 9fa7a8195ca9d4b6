"""Why a contract said no: revert data to the custom error, with its numbers."""

from collections.abc import Sequence

from commonhold.chain.contract import CONTRACTS, BadCallData, Entry, Parameter, contract, decode_values, plain, snake
from commonhold.chain.deployment import ContractName
from commonhold.errors import Refused

# The two errors that every contract has. Source: Solidity documentation, "Error handling".
_TEXT = Entry("Error", (Parameter("message", "string", False, (), ""),), ())
_PANIC = Entry("Panic", (Parameter("panic_code", "uint256", False, (), ""),), ())
_BUILT_IN = {entry.hash[:4]: entry for entry in (_TEXT, _PANIC)}


class ContractRefused(Refused):
    """A contract refuses the call. `details`: "error" has the custom error's name, the rest its arguments."""

    code = "contract_refused"

    @property
    def error(self) -> str:
        """Name of the contract's custom error; "unknown" when the node gave none that we know."""
        return str(self.details["error"])


def refusal(what: str, name: ContractName | None, data: bytes) -> ContractRefused:
    """The error to raise for a call `what` that reverted with `data`. The error may come from a contract further down,
    so all of ours are searched, `name` first."""
    found = _find(name, data[:4])
    if found is None:
        shown = f"revert data 0x{data[:68].hex()}" if data else "no revert data"
        return ContractRefused(f"{what} is refused by the chain: {shown}", details={"error": "unknown"})
    try:
        values = decode_values(found.name, found.inputs, data[4:])
    except BadCallData as error:
        return ContractRefused(f"{what} is refused by the chain: {found.name}, {error}", details={"error": found.name})

    arguments = {snake(p.name): plain(value) for p, value in zip(found.inputs, values, strict=True)}
    text = ", ".join(f"{key} {value}" for key, value in arguments.items())
    return ContractRefused(
        f"{what} is refused by the chain: {found.name}({text})", details={"error": found.name, **arguments}
    )


def _find(name: ContractName | None, selector: bytes) -> Entry | None:
    order: Sequence[ContractName] = (*((name,) if name else ()), *CONTRACTS)
    for candidate in order:
        if selector in contract(candidate).errors:
            return contract(candidate).errors[selector]
    return _BUILT_IN.get(selector)
