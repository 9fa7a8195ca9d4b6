"""Development authority: makes, live, GPU evidence byte for byte as NVIDIA's is laid out, under a root of its own.

In: a folder for its keys. Out: GPUs that report under any nonce, and the root for `policy.development_policy`. For
tests, demonstrations and development only: its evidence proves nothing, every certificate says so, and it fails under
any policy that pins a vendor's root.
"""

import hashlib
import hmac
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID, ObjectIdentifier

from commonhold.appraiser import spdm
from commonhold.appraiser.certificates import DEVICE_INFO_OID, DICE_OIDS
from commonhold.appraiser.nvidia import P384_ORDER, GpuEvidence

ROOT_NAME = "Commonhold development authority - not NVIDIA"
VALID_FROM = datetime(2020, 10, 17, tzinfo=UTC)  # the dates of real device certificates
VALID_TO = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)

N_BLOCKS = 64
MEASUREMENTS = tuple(hashlib.sha384(b"development measurement %d" % i).digest() for i in range(1, N_BLOCKS + 1))
SHA384_OID_DER = bytes.fromhex("0609608648016503040202")
DICE_FLAGS_DER = bytes.fromhex("87050000000000")  # flags [7]: a BIT STRING of 32 zeros
FEATURE_FLAG_BYTES = {"SPT": b"\x00\x00", "MPT": b"\x01\x00", "PPCIE": b"\x02\x00"}


@dataclass(frozen=True, slots=True)
class _Issuer:
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    certificate: x509.Certificate


@dataclass(frozen=True, slots=True)
class DevGpu:
    """One GPU of the authority with one firmware. The device key stays when the firmware changes, the leaf does not."""

    serial: int
    fwid: bytes
    chain_pem: bytes
    leaf_key: ec.EllipticCurvePrivateKey = field(repr=False)

    def report(
        self,
        nonce: bytes,
        *,
        driver_version: str = "580.159.03",
        vbios_version: str = "96.00.d9.00.02",
        project: str = "G520_0280_895",
        feature_flag: spdm.FeatureFlag | None = "SPT",
        with_fwid: bool = True,
        measurements: Sequence[bytes] = MEASUREMENTS,
        responder_nonce: bytes | None = None,
    ) -> GpuEvidence:
        """Evidence under `nonce` (32 bytes). Without `feature_flag` and `with_fwid` it is like an older driver's.

        measurements: up to 255 digests of 48 bytes. responder_nonce: 32 bytes; None draws them.
        """
        record = b"".join(
            struct.pack("<BBHBH", index, 1, 51, 1, 48) + digest for index, digest in enumerate(measurements, start=1)
        )
        fwid = self.fwid if with_fwid else None
        opaque = opaque_data(driver_version, vbios_version, project, feature_flag, fwid)
        return self.sign(
            b"\x11\xe0\x01\xff" + nonce + b"\x00"  # GET_MEASUREMENTS: signed, all of them, slot 0
            + b"\x11\x60\x00\x00" + bytes((len(measurements),)) + len(record).to_bytes(3, "little")
            + record
            + (responder_nonce or os.urandom(32))
            + len(opaque).to_bytes(2, "little")
            + opaque
        )  # fmt: skip

    def sign(self, body: bytes) -> GpuEvidence:
        """Evidence of any bytes, signed as a GPU signs: so tests can make a report that is wrong but well signed."""
        r, s = decode_dss_signature(self.leaf_key.sign(body, _ecdsa()))
        return GpuEvidence(body + r.to_bytes(48, "big") + s.to_bytes(48, "big"), self.chain_pem)


@dataclass(frozen=True, slots=True)
class DevelopmentAuthority:
    """Root, identity CA and provisioner of the development GPUs. `create` or `load` one; `save` keeps it."""

    root: _Issuer
    identity: _Issuer
    provisioner: _Issuer

    @classmethod
    def create(cls, *, valid_from: datetime = VALID_FROM, valid_to: datetime = VALID_TO) -> "DevelopmentAuthority":
        """A new authority with new keys. All it signs is valid in the given span."""
        root_key, identity_key, provisioner_key = (ec.generate_private_key(ec.SECP384R1()) for _ in range(3))
        root = _Issuer(root_key, _ca(ROOT_NAME, root_key.public_key(), None, root_key, valid_from, valid_to))
        identity = _sub_ca("Commonhold development GH100 Identity", identity_key, root)
        provisioner = _sub_ca("Commonhold development GH100 Provisioner ICA 1", provisioner_key, identity)
        return cls(root, identity, provisioner)

    @classmethod
    def load(cls, folder: Path) -> "DevelopmentAuthority":
        """The authority that `save` wrote to `folder`. Raises OSError and ValueError."""
        return cls(*(_load_issuer(folder, name) for name in cls.__slots__))

    def save(self, folder: Path) -> None:
        """Keys (mode 0600) and certificates as PEM. Raises FileExistsError: an authority is never overwritten."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in self.__slots__:
            issuer: _Issuer = getattr(self, name)
            key_pem = issuer.key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            _write_new(folder / f"{name}.key.pem", key_pem, 0o600)
            _write_new(folder / f"{name}.cert.pem", _pem(issuer.certificate), 0o644)

    @property
    def root_pem(self) -> bytes:
        """The root certificate, for `policy.development_policy`."""
        return _pem(self.root.certificate)

    def enroll_gpu(self, serial: int, *, firmware: bytes = b"development firmware", blackwell: bool = False) -> DevGpu:
        """The GPU with this serial (0 to 2^64-1), the same device key each time; a new leaf for each `firmware`.

        blackwell: the leaf names its firmware as Blackwell's does, in a TCG DiceTcbInfo.
        """
        fwid = hashlib.sha384(firmware).digest()
        device_key = self._derive(b"device", serial.to_bytes(8, "big"))
        leaf_key = self._derive(b"leaf", serial.to_bytes(8, "big") + fwid)
        device = _ca(
            "Commonhold development GH100 A01 GSP BROM",
            device_key.public_key(),
            self.provisioner.certificate,
            self.provisioner.key,
            serial_number=0x41 << 64 | serial,
        )
        leaf = (
            _builder("Commonhold development GH100 A01 GSP FMC LF", leaf_key.public_key(), device)
            .add_extension(_key_usage(digital_signature=True), critical=True)
            .add_extension(x509.SubjectAlternativeName([_device_info(f"DEVELOPMENT:GH100:{serial:016X}")]), False)
            .add_extension(_dice(device_key.public_key(), fwid, blackwell=blackwell), critical=False)
            .sign(device_key, hashes.SHA384(), ecdsa_deterministic=True)
        )
        chain = (leaf, device, self.provisioner.certificate, self.identity.certificate, self.root.certificate)
        return DevGpu(serial, fwid, b"".join(map(_pem, chain)), leaf_key)

    def _derive(self, purpose: bytes, what: bytes) -> ec.EllipticCurvePrivateKey:
        # Derived and not stored: the device key outlives the process and there is no file per GPU to lose.
        secret = self.provisioner.key.private_numbers().private_value.to_bytes(48, "big")
        scalar = int.from_bytes(hmac.digest(secret, purpose + b"\x00" + what, "sha512"), "big")
        return ec.derive_private_key(scalar % (P384_ORDER - 1) + 1, ec.SECP384R1())


def opaque_data(
    driver_version: str,
    vbios_version: str,
    project: str,
    feature_flag: spdm.FeatureFlag | None,
    fwid: bytes | None,
) -> bytes:
    """The fields that a driver writes, in its order; those no verifier reads have the size and kind of real ones."""
    board, sku, chip_sku = project.split("_")
    vbios = bytes.fromhex(vbios_version.replace(".", ""))
    fields = [
        (spdm.VBIOS_VERSION, vbios[3::-1] + vbios[4:] + bytes(3)),
        (14, b"\xb1\x03\x00\x00"),
        (spdm.CHIP_SKU, _padded(chip_sku, 9)),
        (16, _padded("0", 5)),
        (spdm.PROJECT, _padded(board, 5)),
        (spdm.PROJECT_SKU, _padded(sku, 5)),
        (19, bytes(2)),
        (spdm.DRIVER_VERSION, driver_version.encode("ascii") + b"\x00"),
        (4, b"\x80\x01" + bytes(6)),
        (12, bytes(256)),
        (13, b"\x00\xc0\x01\x00"),
        (11, b"\x55"),
    ]
    if fwid is not None:
        fields += [(spdm.FWID, fwid), (21, b"\xaa" if feature_flag == "PPCIE" else b"\x55")]
    if feature_flag is not None:
        fields += [(34, b"\x01\x00"), (spdm.FEATURE_FLAG, FEATURE_FLAG_BYTES[feature_flag])]
    return b"".join(struct.pack("<HH", kind, len(value)) + value for kind, value in fields)


def _padded(text: str, n_bytes: int) -> bytes:
    return text.encode("ascii").ljust(n_bytes, b"\x00")


def _sub_ca(name: str, key: ec.EllipticCurvePrivateKey, issuer: _Issuer) -> _Issuer:
    return _Issuer(key, _ca(name, key.public_key(), issuer.certificate, issuer.key))


def _ca(
    name: str,
    key: ec.EllipticCurvePublicKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
    valid_from: datetime = VALID_FROM,
    valid_to: datetime = VALID_TO,
    serial_number: int | None = None,
) -> x509.Certificate:
    """A CA certificate; self-signed and with the given dates if `issuer` is None, else with the issuer's dates."""
    return (
        _builder(name, key, issuer, valid_from, valid_to, serial_number)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(key_cert_sign=True), critical=True)
        .sign(issuer_key, hashes.SHA384(), ecdsa_deterministic=True)
    )


def _builder(
    name: str,
    key: ec.EllipticCurvePublicKey,
    issuer: x509.Certificate | None,
    valid_from: datetime = VALID_FROM,
    valid_to: datetime = VALID_TO,
    serial_number: int | None = None,
) -> x509.CertificateBuilder:
    key_id = x509.SubjectKeyIdentifier.from_public_key(key)
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Commonhold development"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key)
        .serial_number(serial_number or int.from_bytes(key_id.digest, "big") >> 1 | 1)
        .not_valid_before(issuer.not_valid_before_utc if issuer else valid_from)
        .not_valid_after(issuer.not_valid_after_utc if issuer else valid_to)
        .add_extension(key_id, critical=False)
    )


def _key_usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _device_info(text: str) -> x509.OtherName:
    return x509.OtherName(DEVICE_INFO_OID, bytes((0x0C, len(text))) + text.encode("ascii"))


def _dice(device_key: ec.EllipticCurvePublicKey, fwid: bytes, *, blackwell: bool) -> x509.UnrecognizedExtension:
    digest = b"\x30\x3d" + SHA384_OID_DER + b"\x04\x30" + fwid
    if blackwell:
        # DiceTcbInfo: fwids [6], then flags: the last 48 bytes are not the digest.
        return _extension(DICE_OIDS[1], bytes((0xA6, len(digest))) + digest + DICE_FLAGS_DER)
    spki = device_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return _extension(DICE_OIDS[0], b"\x02\x01\x01" + spki + digest)


def _extension(oid: ObjectIdentifier, content: bytes) -> x509.UnrecognizedExtension:
    length = bytes((len(content),)) if len(content) < 0x80 else bytes((0x81, len(content)))
    return x509.UnrecognizedExtension(oid, b"\x30" + length + content)


def _ecdsa() -> ec.ECDSA:
    return ec.ECDSA(hashes.SHA384())


def _load_issuer(folder: Path, name: str) -> _Issuer:
    key = serialization.load_pem_private_key((folder / f"{name}.key.pem").read_bytes(), password=None)
    certificate = x509.load_pem_x509_certificate((folder / f"{name}.cert.pem").read_bytes())
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise ValueError(f"{folder / name}.key.pem: expected the key of {name}.cert.pem, got another")
    return _Issuer(key, certificate)


def _write_new(path: Path, content: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
