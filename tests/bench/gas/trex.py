"""ERC-3643 as published on npm: a token behind proxies with one claim topic, one trusted issuer and MaxBalance.

The packages' own compiled files are put on the chain and called; nothing of them is copied. The steps are those that
the published contracts demand, in the order in which they check for each other.
"""

from pathlib import Path

from eth_abi.abi import encode
from eth_account import Account
from eth_account.messages import encode_defunct

from commonhold.units import Address, keccak256
from tests.bench.gas.built import Built, Chain

PACKAGES = Path(__file__).parent / "node_modules"
ZERO = "0x" + 40 * "0"
TOPIC = int.from_bytes(keccak256(b"CLAIM_TOPIC"))
COUNTRY = 42
ISSUER_KEY = keccak256(b"commonhold gas bench issuer")
MOST = 10**12  # tokens that one identity may have

_IMPLEMENTATIONS = (
    "token/Token",
    "registry/implementation/ClaimTopicsRegistry",
    "registry/implementation/IdentityRegistry",
    "registry/implementation/IdentityRegistryStorage",
    "registry/implementation/TrustedIssuersRegistry",
    "compliance/modular/ModularCompliance",
)


def _trex(path: str) -> Built:
    return Built.load(PACKAGES / f"@tokenysolutions/t-rex/artifacts/contracts/{path}.sol/{path.split('/')[-1]}.json")


def _identity(path: str) -> Built:
    return Built.load(PACKAGES / f"@onchain-id/solidity/artifacts/contracts/{path}.sol/{path.split('/')[-1]}.json")


class Trex:
    """One token and its registries."""

    def __init__(self, chain: Chain, owner: Address) -> None:
        self._chain = chain
        self._owner = owner

    async def begin(self) -> None:
        """The token stands, with its issuer and its module; nobody has any."""
        make, owner = self._make, self._owner
        built = [await make(_trex(path)) for path in _IMPLEMENTATIONS]
        authority = await make(_trex("proxy/authority/TREXImplementationAuthority"), True, ZERO, ZERO)
        await self._send(
            _trex("proxy/authority/TREXImplementationAuthority"), authority, "addAndUseTREXVersion", (4, 0, 0), built
        )
        topics = await make(_trex("proxy/ClaimTopicsRegistryProxy"), authority)
        issuers = await make(_trex("proxy/TrustedIssuersRegistryProxy"), authority)
        storage = await make(_trex("proxy/IdentityRegistryStorageProxy"), authority)
        compliance = await make(_trex("proxy/ModularComplianceProxy"), authority)
        self._registry = await make(_trex("proxy/IdentityRegistryProxy"), authority, issuers, topics, storage)
        self._identities = await make(
            _identity("proxy/ImplementationAuthority"), await make(_identity("Identity"), owner, True)
        )
        of_token = await self._identity_of(owner)
        self.token = await make(
            _trex("proxy/TokenProxy"), authority, self._registry, compliance, "Token", "TOK", 6, of_token
        )

        await self._send(_trex(_IMPLEMENTATIONS[3]), storage, "bindIdentityRegistry", self._registry)
        await self._send(_trex(_IMPLEMENTATIONS[1]), topics, "addClaimTopic", TOPIC)
        self._issuer = await make(_identity("ClaimIssuer"), owner)
        key = keccak256(encode(["address"], [Account.from_key(ISSUER_KEY).address]))
        await self._send(_identity("ClaimIssuer"), self._issuer, "addKey", key, 3, 1)
        await self._send(_trex(_IMPLEMENTATIONS[4]), issuers, "addTrustedIssuer", self._issuer, [TOPIC])
        for contract, at in ((_trex(_IMPLEMENTATIONS[2]), self._registry), (_trex(_IMPLEMENTATIONS[0]), self.token)):
            await self._send(contract, at, "addAgent", owner)
        await self._limit(compliance)
        await self._send(_trex(_IMPLEMENTATIONS[0]), self.token, "unpause")

    async def admit(self, holder: Address) -> None:
        """`holder` has an identity with the claim that the token asks for."""
        identity = await self._identity_of(holder)
        digest = keccak256(encode(["address", "uint256", "bytes"], [identity, TOPIC, b"claim"]))
        signature = bytes(Account.sign_message(encode_defunct(digest), ISSUER_KEY).signature)
        claim = _identity("Identity").call("addClaim", TOPIC, 1, self._issuer, signature, b"claim", "")
        await self._chain.send(holder, identity, claim)
        await self._send(_trex(_IMPLEMENTATIONS[2]), self._registry, "registerIdentity", holder, identity, COUNTRY)

    async def mint(self, holder: Address, amount: int) -> int:
        """The gas of a mint."""
        return await self._send(_trex(_IMPLEMENTATIONS[0]), self.token, "mint", holder, amount)

    async def transfer(self, sender: Address, receiver: Address, amount: int) -> int:
        """The gas of a transfer."""
        data = _trex(_IMPLEMENTATIONS[0]).call("transfer", receiver, amount)
        return await self._chain.send(sender, self.token, data)

    async def _limit(self, compliance: Address) -> None:
        module = _trex("compliance/modular/modules/MaxBalanceModule")
        at = await self._make(
            _trex("compliance/modular/modules/ModuleProxy"), await self._make(module), module.call("initialize")
        )
        contract = _trex(_IMPLEMENTATIONS[5])
        await self._send(contract, compliance, "addModule", at)
        await self._send(contract, compliance, "callModuleFunction", module.call("setMaxBalance", MOST), at)

    async def _identity_of(self, holder: Address) -> Address:
        return await self._make(_identity("proxy/IdentityProxy"), self._identities, holder)

    async def _make(self, contract: Built, *args: object) -> Address:
        return await self._chain.make(self._owner, contract.init(*args))

    async def _send(self, contract: Built, at: Address, function: str, *args: object) -> int:
        return await self._chain.send(self._owner, at, contract.call(function, *args))
