"""What must not be read by others is in no repr: values end up in logs, tracebacks and test reports."""

import pytest

from commonhold.access.ask import Ask
from commonhold.access.token import AccessClaims
from commonhold.client.client import SignedRedemption
from commonhold.client.service import Token
from commonhold.config import Settings
from commonhold.gateway.authorize import Asked
from commonhold.signing import Redemption
from commonhold.units import Address, AssetId, GpuMs, Hash32

SECRET = "s3cr3t"
LEASE = Hash32(bytes(32))
CLAIMS = AccessClaims(
    issuer="https://service.example",
    audience="https://gpu.example",
    chain_id=1,
    holder=Address(bytes(20)),
    client_id="client",
    issued_at=1,
    expires_at=2,
    jti="jti",
    scope="inference",
    jkt="jkt",
    lease=LEASE,
    asset=AssetId(1),
    class_name="compute/h100-sxm",
    limit_gpu_ms=GpuMs(1),
    level=3,
    policy="development",
    ends_at=3,
)
REDEMPTION = Redemption(Address(bytes(20)), 1, 1, LEASE, LEASE, 1, 1)


@pytest.mark.parametrize(
    "value",
    [
        Ask("receipt", {"node_signature": SECRET}, None, "inference", None, None),
        Asked("GET", "https://gpu.example/", (f"DPoP {SECRET}",), (SECRET,)),
        Token(SECRET, CLAIMS),
        SignedRedemption(LEASE, REDEMPTION, {"signature": SECRET}),
        Settings(database_url=f"postgresql://service:{SECRET}@db/commonhold", rpc_url=f"https://rpc.example/{SECRET}"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_repr_shows_no_secret(value: object) -> None:
    assert type(value).__name__ in repr(value)
    assert SECRET not in repr(value)
