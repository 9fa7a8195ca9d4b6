"""Policies: what is refused, what the id commits to, and what the shipped one pins."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from commonhold.appraiser.devauthority import DevelopmentAuthority
from commonhold.appraiser.policy import (
    FOLDER,
    FirmwareFloor,
    Policy,
    PolicyError,
    development_policy,
    load_policy,
    nvidia_policy,
    parse_policy,
)

ROOT = "nvidia_device_identity_root"
SHIPPED = (FOLDER / "policies" / "nvidia.json").read_text("utf-8")
ROOTS = {ROOT: (FOLDER / "roots" / f"{ROOT}.pem").read_bytes()}
SHIPPED_ID = "dc15661e726cb9445581890dd9414ad1e72d0db6430ead7dcba9571907870169"
NVIDIA_SPKI = "a90c4eb5acfd3e3d03a25db6a26b84f720ad0503196c627c21ddd48dd85b06a4"

Document = dict[str, object]


def test_shipped_policy_pins_nvidias_device_identity_ca() -> None:
    policy = nvidia_policy()

    assert policy.name == "nvidia-production"
    assert [root.spki_sha256.hex() for root in policy.roots] == [NVIDIA_SPKI]
    assert policy.roots[0].certificate.name == "O=NVIDIA,CN=NVIDIA Device Identity CA"
    assert policy.product("G520_0280_895") == "H200"
    assert policy.product("1010_0200_882") == "unknown"
    assert policy.classes_of("H200") == ("compute/h200-sxm",)
    assert policy.classes_of("unknown") == ()


def test_policy_id_is_the_hash_of_the_documents_canonical_json() -> None:
    canonical = json.dumps(json.loads(SHIPPED), sort_keys=True, separators=(",", ":")).encode()

    assert nvidia_policy().canonical_json() == canonical
    assert nvidia_policy().policy_id() == hashlib.sha256(canonical).digest()


def test_id_of_the_shipped_policy_does_not_change_unnoticed() -> None:
    assert nvidia_policy().policy_id().hex() == SHIPPED_ID


def test_development_policy_trusts_its_root_only_and_says_so(authority: DevelopmentAuthority, policy: Policy) -> None:
    other = development_policy(DevelopmentAuthority.create().root_pem)

    assert policy.name == "development"
    assert policy.root(bytes.fromhex(NVIDIA_SPKI)) is None
    assert policy.policy_id() == development_policy(authority.root_pem).policy_id()
    assert policy.policy_id() != other.policy_id()


def test_policy_with_floors_is_read_and_hashed(tmp_path: Path) -> None:
    floors = [{"product": "H200", "driver_version": "580.95.05", "vbios_version": None}]
    (tmp_path / "policies").mkdir()
    (tmp_path / "roots").mkdir()
    (tmp_path / "roots" / f"{ROOT}.pem").write_bytes(ROOTS[ROOT])
    path = tmp_path / "policies" / "floors.json"
    path.write_text(json.dumps({**json.loads(SHIPPED), "firmware_floors": floors}))

    policy = load_policy(path)

    assert policy.floor("H200") == FirmwareFloor("H200", "580.95.05", None)
    assert policy.floor("H100") is None
    assert policy.policy_id() != nvidia_policy().policy_id()


def put(name: str, value: object) -> Callable[[Document], Document]:
    return lambda document: {**document, name: value}


def put_root(name: str, value: object) -> Callable[[Document], Document]:
    return lambda document: {**document, "roots": [{**json.loads(SHIPPED)["roots"][0], name: value}]}


def floor(**change: object) -> Callable[[Document], Document]:
    right: dict[str, object] = {"product": "H200", "driver_version": None, "vbios_version": None}
    return put("firmware_floors", [{**right, **change}])


WRONG: dict[str, tuple[str, Callable[[Document], object]]] = {
    "list": ("policy: expected an object", lambda document: [document]),
    "unknown_field": ("policy: unknown field 'roofs'", put("roofs", [])),
    "missing_field": ("policy: expected field 'name'", lambda d: {k: v for k, v in d.items() if k != "name"}),
    "name_number": ("name: ", put("name", 1)),
    "name_empty": ("name: ", put("name", "")),
    "level_text": ("max_level: ", put("max_level", "3")),
    "level_true": ("max_level: ", put("max_level", True)),
    "level_6": ("max_level: ", put("max_level", 6)),
    "level_half": ("max_level: ", put("max_level", 2.5)),
    "validity_zero": ("max_appraisal_s: ", put("max_appraisal_s", 0)),
    "tolerance_negative": ("clock_tolerance_s: ", put("clock_tolerance_s", -1)),
    "no_roots": ("roots: ", put("roots", [])),
    "roots_object": ("roots: expected a list", put("roots", {})),
    "root_twice": ("roots: ", put("roots", json.loads(SHIPPED)["roots"] * 2)),
    "root_unknown": ("roots[0].name: ", put_root("name", "another")),
    "root_path": ("roots[0].name: ", put_root("name", "../roots/another")),
    "root_other_key": ("roots[0].spki_sha256: ", put_root("spki_sha256", "00" * 32)),
    "root_upper_case": ("roots[0].spki_sha256: ", put_root("spki_sha256", NVIDIA_SPKI.upper())),
    "root_other_certificate": ("roots[0].certificate_sha256: ", put_root("certificate_sha256", "00" * 32)),
    "root_unknown_field": ("roots[0]: unknown field 'trust'", put_root("trust", "all")),
    "products_list": ("products: ", put("products", [])),
    "product_number": ("products.G520_0280_895: ", put("products", {"G520_0280_895": 200})),
    "classes_list": ("classes: expected an object", put("classes", [])),
    "classes_unknown_product": ("classes: expected one of the products", put("classes", {"A100": ["compute/a100"]})),
    "classes_of_another_kind": ("classes.H200: ", put("classes", {"H200": ["data/h200"]})),
    "floor_unknown_field": ("firmware_floors[0]: unknown field 'driver'", floor(driver="1.0")),
    "floor_driver_text": ("firmware_floors[0].driver_version: ", floor(driver_version="newest")),
    "floor_vbios_signed": ("firmware_floors[0].vbios_version: ", floor(vbios_version="96.-1")),
    "floor_twice": ("firmware_floors: ", lambda d: put("firmware_floors", floor()(d)["firmware_floors"] * 2)(d)),  # type: ignore[operator]
}


@pytest.mark.parametrize("defect", WRONG)
def test_wrong_policy_is_one_error_naming_the_field(defect: str) -> None:
    message, change = WRONG[defect]

    with pytest.raises(PolicyError) as refused:
        parse_policy(json.dumps(change(json.loads(SHIPPED))), ROOTS)

    assert str(refused.value).startswith(message)


def test_field_twice_or_no_json_is_refused() -> None:
    with pytest.raises(PolicyError, match="'max_level' once"):
        parse_policy(SHIPPED.replace('"max_level": 5,', '"max_level": 5, "max_level": 3,'), ROOTS)
    with pytest.raises(PolicyError, match="expected JSON"):
        parse_policy(SHIPPED[:-3], ROOTS)


def test_root_that_is_no_certificate_is_refused() -> None:
    with pytest.raises(PolicyError, match="roots"):
        parse_policy(SHIPPED, {ROOT: b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"})
    with pytest.raises(PolicyError, match="root_pem"):
        development_policy(b"")
