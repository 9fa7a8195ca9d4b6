"""The verdict on a node of several GPUs: all or nothing."""

from commonhold.appraiser.devauthority import DevelopmentAuthority
from commonhold.appraiser.nvidia import GpuEvidence, verify_node
from commonhold.appraiser.policy import Policy

NOW_S = 1_800_000_000
NONCE = bytes(range(32))


def node_of(authority: DevelopmentAuthority, n: int) -> list[GpuEvidence]:
    return [authority.enroll_gpu(serial).report(NONCE, feature_flag="PPCIE") for serial in range(1, n + 1)]


def refused_node(evidences: list[GpuEvidence], policy: Policy) -> list[str]:
    verdict = verify_node(evidences, nonce=NONCE, policy=policy, now_s=NOW_S)
    refused = [check.name for check in verdict.checks if not check.ok]
    assert (verdict.level, verdict.device_spkis, verdict.product) == (0, (), "unknown")
    assert refused
    assert not verdict.accepted
    return refused


def test_node_of_eight_is_attested(authority: DevelopmentAuthority, policy: Policy) -> None:
    verdict = verify_node(node_of(authority, 8), nonce=NONCE, policy=policy, now_s=NOW_S)

    assert verdict.accepted
    assert (verdict.level, verdict.product, len(set(verdict.device_spkis))) == (3, "H200", 8)


def test_node_without_devices_or_with_33_is_refused(evidence: GpuEvidence, policy: Policy) -> None:
    assert refused_node([], policy) == ["count"]
    assert refused_node([evidence] * 33, policy) == ["count"]


def test_device_twice_in_a_node_is_refused(authority: DevelopmentAuthority, policy: Policy) -> None:
    assert refused_node([*node_of(authority, 2), *node_of(authority, 1)], policy) == ["distinct"]


def test_device_twice_under_two_firmwares_is_refused(authority: DevelopmentAuthority, policy: Policy) -> None:
    updated = authority.enroll_gpu(1, firmware=b"newer").report(NONCE, feature_flag="PPCIE")

    assert refused_node([*node_of(authority, 1), updated], policy) == ["distinct"]


def test_node_with_one_report_under_another_nonce_is_refused(authority: DevelopmentAuthority, policy: Policy) -> None:
    stale = authority.enroll_gpu(3).report(bytes(32), feature_flag="PPCIE")

    assert refused_node([*node_of(authority, 2), stale], policy) == ["devices"]


def test_node_of_two_products_is_refused(authority: DevelopmentAuthority, policy: Policy) -> None:
    h100 = authority.enroll_gpu(3).report(NONCE, project="G520_0202_885", feature_flag="PPCIE")

    assert refused_node([*node_of(authority, 2), h100], policy) == ["product"]


def test_node_of_two_unknown_boards_is_refused(authority: DevelopmentAuthority, policy: Policy) -> None:
    boards = ("1010_0200_882", "1010_0205_862")
    evidences = [authority.enroll_gpu(n).report(NONCE, project=board) for n, board in enumerate(boards)]

    assert refused_node(evidences, policy) == ["product"]
    assert verify_node(evidences[:1], nonce=NONCE, policy=policy, now_s=NOW_S).product == "unknown"


def test_node_of_two_modes_is_refused(authority: DevelopmentAuthority, policy: Policy) -> None:
    single = authority.enroll_gpu(3).report(NONCE, feature_flag="SPT")

    assert refused_node([*node_of(authority, 2), single], policy) == ["mode"]
