"""GPUs, evidence and policy of one development authority, and the verifier as every test calls it."""

from collections.abc import Callable

import pytest

from commonhold.appraiser.devauthority import DevelopmentAuthority, DevGpu
from commonhold.appraiser.nvidia import GpuEvidence, GpuVerdict, verify
from commonhold.appraiser.policy import Policy, development_policy

NOW_S = 1_800_000_000
NONCE = bytes(range(32))
CHECKS = (
    "size", "request", "nonce", "measurements", "opaque", "length", "certificates", "root", "chain", "validity",
    "signature", "fwid", "product", "firmware", "reference values",
)  # fmt: skip


@pytest.fixture(scope="session")
def authority() -> DevelopmentAuthority:
    return DevelopmentAuthority.create()


@pytest.fixture(scope="session")
def policy(authority: DevelopmentAuthority) -> Policy:
    return development_policy(authority.root_pem)


@pytest.fixture(scope="session")
def gpu(authority: DevelopmentAuthority) -> DevGpu:
    return authority.enroll_gpu(1)


@pytest.fixture(scope="session")
def evidence(gpu: DevGpu) -> GpuEvidence:
    return gpu.report(NONCE)


@pytest.fixture(scope="session")
def judged() -> Callable[..., GpuVerdict]:
    """The verdict at NOW_S on evidence under NONCE, unless told otherwise; its shape is checked on the way."""

    def judge(evidence: GpuEvidence, policy: Policy, nonce: bytes = NONCE, now_s: int = NOW_S) -> GpuVerdict:
        verdict = verify(evidence, nonce=nonce, policy=policy, now_s=now_s)
        assert tuple(check.name for check in verdict.checks) == CHECKS
        assert (verdict.claims is None) == (verdict.level == 0) == bool(verdict.failures)
        return verdict

    return judge


@pytest.fixture(scope="session")
def refused_by(judged: Callable[..., GpuVerdict]) -> Callable[..., list[str]]:
    """The names of the checks that failed."""

    def names(evidence: GpuEvidence, policy: Policy, nonce: bytes = NONCE, now_s: int = NOW_S) -> list[str]:
        return [check.name for check in judged(evidence, policy, nonce, now_s).failures]

    return names
