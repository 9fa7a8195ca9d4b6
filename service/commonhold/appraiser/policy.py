"""Appraisal policy: what the appraiser trusts and how much it may grant, as data with an id.

In: a JSON document and the root certificates it names. Out: a frozen `Policy`. `policy_id` is SHA-256 of the canonical
JSON (sorted keys, no blanks, ASCII), so that whoever reads a result can recompute under what it was given.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from commonhold.appraiser.certificates import Certificate, CertificateFault, read_certificate

FOLDER = Path(__file__).parent
MAX_LEVEL = 5
MAX_APPRAISAL_S = 366 * 86_400
MAX_CLOCK_TOLERANCE_S = 3_600
UNKNOWN_PRODUCT = "unknown"

# What the development authority's boards call themselves: PROJECT_PROJECTSKU_CHIPSKU, product.
DEVELOPMENT_PRODUCTS = (("G520_0202_885", "H100"), ("G520_0280_895", "H200"))
DEVELOPMENT_CLASSES = (("H100", ("compute/h100-sxm",)), ("H200", ("compute/h200-sxm",)))

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_VERSION = re.compile(r"[0-9a-f]{1,8}(\.[0-9a-f]{1,8}){0,7}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMPUTE_CLASS = re.compile(r"compute/[a-z0-9][a-z0-9._-]{0,55}")


class PolicyError(ValueError):
    """A policy that is not as it must be; the message begins with the field."""


@dataclass(frozen=True, slots=True)
class PinnedRoot:
    """A root that the policy trusts: the key by its hash, the certificate for its name and validity."""

    name: str
    spki_sha256: bytes
    certificate_sha256: bytes
    certificate: Certificate


@dataclass(frozen=True, slots=True)
class FirmwareFloor:
    """The oldest firmware of a product that is still attested. None: any."""

    product: str
    driver_version: str | None
    vbios_version: str | None


@dataclass(frozen=True, slots=True)
class Policy:
    """What an appraisal is held to. Made by `load_policy`, `nvidia_policy` and `development_policy`."""

    name: str
    max_level: int
    max_appraisal_s: int
    clock_tolerance_s: int
    roots: tuple[PinnedRoot, ...]
    products: tuple[tuple[str, str], ...]  # (project, product), sorted
    firmware_floors: tuple[FirmwareFloor, ...]
    classes: tuple[tuple[str, tuple[str, ...]], ...] = ()  # (product, the classes it may be registered in), sorted

    def root(self, spki_sha256: bytes) -> PinnedRoot | None:
        """The pinned root with this key, or None: a root that is only sent is not trusted."""
        return next((root for root in self.roots if root.spki_sha256 == spki_sha256), None)

    def product(self, project: str) -> str:
        """The product of a board, `unknown` where the table has none: it is never guessed."""
        return dict(self.products).get(project, UNKNOWN_PRODUCT)

    def classes_of(self, product: str) -> tuple[str, ...]:
        """The classes that a node of `product` may be registered in; none where the policy names none."""
        return dict(self.classes).get(product, ())

    def floor(self, product: str) -> FirmwareFloor | None:
        """The firmware floor of `product`. None: the policy sets none."""
        return next((floor for floor in self.firmware_floors if floor.product == product), None)

    def canonical_json(self) -> bytes:
        """The policy's document, in the one form that is hashed."""
        document = {
            "name": self.name,
            "max_level": self.max_level,
            "max_appraisal_s": self.max_appraisal_s,
            "clock_tolerance_s": self.clock_tolerance_s,
            "roots": [
                {
                    "name": root.name,
                    "spki_sha256": root.spki_sha256.hex(),
                    "certificate_sha256": root.certificate_sha256.hex(),
                }
                for root in self.roots
            ],
            "products": dict(self.products),
            "firmware_floors": [
                {
                    "product": floor.product,
                    "driver_version": floor.driver_version,
                    "vbios_version": floor.vbios_version,
                }
                for floor in self.firmware_floors
            ],
            "classes": {product: list(names) for product, names in self.classes},
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")

    def policy_id(self) -> bytes:
        """SHA-256 of `canonical_json`: 32 bytes."""
        return hashlib.sha256(self.canonical_json()).digest()


def nvidia_policy() -> Policy:
    """The policy for production: NVIDIA's Device Identity CA and nothing else."""
    return load_policy(FOLDER / "policies" / "nvidia.json")


def load_policy(path: Path) -> Policy:
    """The policy of a file; each root it names is read from `../roots/<name>.pem`. Raises PolicyError."""
    roots = {pem.stem: pem.read_bytes() for pem in sorted((path.parent.parent / "roots").glob("*.pem"))}
    return parse_policy(path.read_text("utf-8"), roots)


def development_policy(root_pem: bytes) -> Policy:
    """The policy that trusts a development authority and no vendor. Its name says so wherever a result is shown."""
    certificate, certificate_sha256 = _certificate(root_pem, "root_pem")
    return Policy(
        name="development",
        max_level=3,
        max_appraisal_s=86_400,
        clock_tolerance_s=60,
        roots=(PinnedRoot("development_root", certificate.spki_sha256, certificate_sha256, certificate),),
        products=DEVELOPMENT_PRODUCTS,
        firmware_floors=(),
        classes=DEVELOPMENT_CLASSES,
    )


def parse_policy(text: str, root_pems: Mapping[str, bytes]) -> Policy:
    """The policy of a JSON document. `root_pems` has each root's certificate by name. Raises PolicyError."""
    try:
        document: object = json.loads(text, object_pairs_hook=_distinct)
    except json.JSONDecodeError as e:
        raise PolicyError(f"policy: expected JSON, got {e}") from e
    fields = _fields(document, "policy", Policy.__slots__)
    roots = [_root(value, f"roots[{n}]", root_pems) for n, value in enumerate(_list(fields["roots"], "roots"))]
    if not roots or len({root.spki_sha256 for root in roots}) != len(roots):
        raise PolicyError(f"roots: expected at least one and each once, got {len(roots)}")
    products = _products(fields["products"])
    floors = [
        _floor(value, f"firmware_floors[{n}]")
        for n, value in enumerate(_list(fields["firmware_floors"], "firmware_floors"))
    ]
    if len({floor.product for floor in floors}) != len(floors):
        raise PolicyError("firmware_floors: expected one for a product, got two")
    return Policy(
        name=_text(fields["name"], "name", _NAME),
        max_level=_whole(fields["max_level"], "max_level", 0, MAX_LEVEL),
        max_appraisal_s=_whole(fields["max_appraisal_s"], "max_appraisal_s", 1, MAX_APPRAISAL_S),
        clock_tolerance_s=_whole(fields["clock_tolerance_s"], "clock_tolerance_s", 0, MAX_CLOCK_TOLERANCE_S),
        roots=tuple(roots),
        products=products,
        firmware_floors=tuple(floors),
        classes=_classes(fields["classes"], {product for _, product in products}),
    )


def version_key(version: str, base: int) -> tuple[int, ...]:
    """A version as numbers that sort: drivers count in base 10, VBIOS in base 16. Raises ValueError."""
    if not _VERSION.fullmatch(version):
        raise ValueError(f"version: expected digits with dots between, got {version!r}")
    return tuple(int(part, base) for part in version.split("."))


def _root(value: object, where: str, root_pems: Mapping[str, bytes]) -> PinnedRoot:
    fields = _fields(value, where, ("name", "spki_sha256", "certificate_sha256"))
    name = _text(fields["name"], f"{where}.name", _NAME)
    if name not in root_pems:
        raise PolicyError(f"{where}.name: expected one of {sorted(root_pems)}, got {name!r}")
    certificate, certificate_sha256 = _certificate(root_pems[name], f"{where}.name")
    for field, hashed in (("spki_sha256", certificate.spki_sha256), ("certificate_sha256", certificate_sha256)):
        stated = _text(fields[field], f"{where}.{field}", _SHA256)
        if stated != hashed.hex():
            raise PolicyError(f"{where}.{field}: expected that of {name}.pem, {hashed.hex()}, got {stated}")
    return PinnedRoot(name, certificate.spki_sha256, certificate_sha256, certificate)


def _certificate(pem: bytes, where: str) -> tuple[Certificate, bytes]:
    try:
        der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
        return read_certificate(der), hashlib.sha256(der).digest()
    except (ValueError, CertificateFault) as e:
        raise PolicyError(f"{where}: expected a root certificate on P-384 in PEM, got {e}") from e


def _products(value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict):
        raise PolicyError(f"products: expected an object of project to product, got {value!r}")
    return tuple(sorted((project, _text(name, f"products.{project}")) for project, name in value.items()))


def _classes(value: object, products: set[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if not isinstance(value, dict):
        raise PolicyError(f"classes: expected an object of product to list of classes, got {value!r}")
    for product in value:
        if product not in products:
            raise PolicyError(f"classes: expected one of the products {sorted(products)}, got {product!r}")
    return tuple(
        (product, tuple(sorted(_text(name, f"classes.{product}", _COMPUTE_CLASS) for name in _list(names, product))))
        for product, names in sorted(value.items())
    )


def _floor(value: object, where: str) -> FirmwareFloor:
    fields = _fields(value, where, FirmwareFloor.__slots__)
    return FirmwareFloor(
        product=_text(fields["product"], f"{where}.product"),
        driver_version=_version(fields["driver_version"], f"{where}.driver_version", 10),
        vbios_version=_version(fields["vbios_version"], f"{where}.vbios_version", 16),
    )


def _version(value: object, where: str, base: int) -> str | None:
    if value is None:
        return None
    version = _text(value, where)
    try:
        version_key(version, base)
    except ValueError as e:
        raise PolicyError(f"{where}: expected numbers of base {base} with dots between, got {version!r}") from e
    return version


def _fields(value: object, where: str, names: tuple[str, ...]) -> dict[str, object]:
    if not isinstance(value, dict):
        raise PolicyError(f"{where}: expected an object, got {value!r}")
    for name in value:
        if name not in names:
            raise PolicyError(f"{where}: unknown field {name!r}, expected {', '.join(names)}")
    for name in names:
        if name not in value:
            raise PolicyError(f"{where}: expected field {name!r}, got none")
    return value


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise PolicyError(f"policy: expected field {name!r} once, got it twice")
    return dict(pairs)


def _list(value: object, where: str) -> list[object]:
    if not isinstance(value, list):
        raise PolicyError(f"{where}: expected a list, got {value!r}")
    return value


def _text(value: object, where: str, pattern: re.Pattern[str] = re.compile(r"[ -~]{1,64}")) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise PolicyError(f"{where}: expected text like {pattern.pattern}, got {value!r}")
    return value


def _whole(value: object, where: str, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise PolicyError(f"{where}: expected a whole number in {least}..{most}, got {value!r}")
    return value
