"""The certificate chain of an NVIDIA device: five P-384 certificates, leaf first, up to a pinned root.

In: the PEM text that NVML returns, the pinned root and the clock. Out: values, or a sentence saying what is wrong.
Pure; nvidia.py calls it, and nothing of a chain is believed before `path_fault` and `validity_fault` found none.
"""

import hashlib
import re
from base64 import b64decode
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtensionOID, ObjectIdentifier, SignatureAlgorithmOID

LEAF, DEVICE, ROOT = 0, 1, 4
N_CERTIFICATES = 5

DICE_OIDS = (
    ObjectIdentifier("2.23.133.5.4.1"),  # Hopper: version, device key, FWID
    ObjectIdentifier("2.23.133.5.4.1.1"),  # Blackwell: TCG DiceTcbInfo with its list of FWIDs
)
DEVICE_INFO_OID = ObjectIdentifier("1.3.6.1.4.1.412.274.1")  # DMTF: manufacturer:product:serial
KNOWN_CRITICAL = frozenset({ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE, *DICE_OIDS})

_SHA384_OID_DER = bytes.fromhex("0609608648016503040202")
_SHA384_OCTETS_HEAD = bytes.fromhex("0430")
_DER_DEPTH = 8

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----([0-9A-Za-z+/=\s]+)-----END CERTIFICATE-----")
_DEVICE_INFO = re.compile(rb"[A-Z0-9-]{1,32}:[A-Z0-9_]{1,32}:[0-9A-F]{1,64}")


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate with everything that is asked of it read out, so that nothing is parsed lazily later."""

    parsed: x509.Certificate
    key: ec.EllipticCurvePublicKey
    spki_sha256: bytes
    serial: int
    valid_from_s: int
    valid_to_s: int
    subject: x509.Name
    issuer: x509.Name
    is_ca: bool
    path_length: int | None  # None: any
    signs_data: bool
    signs_certificates: bool
    device_info: str | None  # as in `NVIDIA:GH100:48B02D51C9C1070B`; None: not said
    fwids: tuple[bytes, ...]  # SHA-384 of the firmware that was given this key; empty without a DICE extension

    @property
    def name(self) -> str:
        return self.subject.rfc4514_string()


Chain = tuple[Certificate, Certificate, Certificate, Certificate, Certificate]


class CertificateFault(Exception):
    """A certificate that cannot be read, or is not of the kind that NVIDIA devices have."""


def parse_chain(chain_pem: bytes) -> Chain:
    """Five certificates as sent, leaf first. Raises CertificateFault."""
    # NVML hands out a fixed buffer; some collectors send the NUL bytes behind the text along (on record).
    between = _PEM.sub(b"", chain_pem.rstrip(b"\x00"))
    if between.strip():
        raise CertificateFault(f"chain: expected PEM certificates only, got {between.strip()[:32]!r} outside of them")
    bodies = [b"".join(body.split()) for body in _PEM.findall(chain_pem)]
    if len(bodies) != N_CERTIFICATES:
        raise CertificateFault(f"chain: expected {N_CERTIFICATES} certificates, got {len(bodies)}")
    leaf, device, provisioner, identity, root = (_parse(body, position) for position, body in enumerate(bodies))
    return leaf, device, provisioner, identity, root


def read_certificate(der: bytes) -> Certificate:
    """The certificate of these DER bytes. Raises CertificateFault if it is no X.509 v3 certificate on P-384."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        if certificate.version is not x509.Version.v3 or certificate.serial_number <= 0:
            raise CertificateFault(f"expected version 3 with a serial > 0, got {certificate.version}")
        if certificate.signature_algorithm_oid != SignatureAlgorithmOID.ECDSA_WITH_SHA384:
            algorithm = certificate.signature_algorithm_oid.dotted_string
            raise CertificateFault(f"expected ecdsa-with-SHA384, got {algorithm}")
        key = certificate.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
            raise CertificateFault("expected a key on P-384, got another")
        return _read(certificate, key)
    # What the library would warn of, such as a negative serial, is refused where warnings are errors and where not.
    except (
        ValueError,
        TypeError,
        UnsupportedAlgorithm,
        CryptographyDeprecationWarning,
        x509.InvalidVersion,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    ) as e:
        raise CertificateFault(f"cannot be read: {e}") from e


def spki_sha256(key: ec.EllipticCurvePublicKey) -> bytes:
    """SHA-256 of the key's SubjectPublicKeyInfo: how roots are pinned and devices are told apart."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def path_fault(chain: Chain, pinned_root: Certificate) -> str | None:
    """None if each certificate may sign, and did sign, the one before it, up to `pinned_root`; else the first fault.

    The root that was sent takes no part. Source: RFC 5280, 6.1 for names, basicConstraints, keyUsage and path length.
    """
    path = (*chain[:ROOT], pinned_root)
    if path[LEAF].is_ca or not path[LEAF].signs_data:
        return f"certificate 0 ({path[LEAF].name}): expected no CA, with keyUsage digitalSignature"
    for position, issuer in enumerate(path[1:], start=1):
        subject = path[position - 1]
        where = f"certificate {position} ({issuer.name})"
        if not issuer.is_ca or not issuer.signs_certificates:
            return f"{where}: expected a critical CA:TRUE with keyUsage keyCertSign"
        if issuer.path_length is not None and issuer.path_length < position - 1:
            return f"{where}: allows {issuer.path_length} CA certificates below it, got {position - 1}"
        if subject.issuer != issuer.subject or not issuer.name:
            return f"certificate {position - 1}: expected issuer {issuer.name}, got {subject.issuer.rfc4514_string()}"
        try:
            subject.parsed.verify_directly_issued_by(issuer.parsed)
        except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
            return f"certificate {position - 1} ({subject.name}): its signature is not by certificate {position}'s key"
    return None


def validity_fault(chain: Chain, pinned_root: Certificate, *, now_s: int, tolerance_s: int) -> str | None:
    """None if `now_s`, give or take `tolerance_s`, is in every certificate's validity; else the first fault."""
    for position, certificate in enumerate((*chain[:ROOT], pinned_root)):
        if not certificate.valid_from_s - tolerance_s <= now_s <= certificate.valid_to_s + tolerance_s:
            return (
                f"certificate {position} ({certificate.name}): expected a time in "
                f"{certificate.valid_from_s}..{certificate.valid_to_s}, got {now_s}"
            )
    return None


def _parse(body: bytes, position: int) -> Certificate:
    try:
        return read_certificate(b64decode(body, validate=True))
    except (CertificateFault, ValueError) as e:
        raise CertificateFault(f"certificate {position}: {e}") from e


def _read(certificate: x509.Certificate, key: ec.EllipticCurvePublicKey) -> Certificate:
    is_ca, path_length, signs_data, signs_certificates = False, None, False, False
    device_info, fwids = None, list[bytes]()
    for extension in certificate.extensions:
        value = extension.value
        if extension.critical and extension.oid not in KNOWN_CRITICAL:
            raise CertificateFault(f"unknown critical extension {extension.oid.dotted_string}")
        if isinstance(value, x509.BasicConstraints):
            # A CA must say so in a critical extension (RFC 5280, 4.2.1.9).
            is_ca, path_length = value.ca and extension.critical, value.path_length
        elif isinstance(value, x509.KeyUsage):
            signs_data, signs_certificates = value.digital_signature, value.key_cert_sign
        elif isinstance(value, x509.SubjectAlternativeName):
            device_info = _device_info(value)
        elif isinstance(value, x509.UnrecognizedExtension) and extension.oid in DICE_OIDS:
            fwids += _sha384_fwids(value.value)
    return Certificate(
        parsed=certificate,
        key=key,
        spki_sha256=spki_sha256(key),
        serial=certificate.serial_number,
        valid_from_s=int(certificate.not_valid_before_utc.timestamp()),
        valid_to_s=int(certificate.not_valid_after_utc.timestamp()),
        subject=certificate.subject,
        issuer=certificate.issuer,
        is_ca=is_ca,
        path_length=path_length,
        signs_data=signs_data,
        signs_certificates=signs_certificates,
        device_info=device_info,
        fwids=tuple(fwids),
    )


def _device_info(names: x509.SubjectAlternativeName) -> str | None:
    for other in names.get_values_for_type(x509.OtherName):
        text = other.value[2:]  # behind tag and length of a UTF8String
        if other.type_id == DEVICE_INFO_OID and other.value[:2] == bytes((0x0C, len(text))):
            return text.decode("ascii") if _DEVICE_INFO.fullmatch(text) else None
    return None


def _sha384_fwids(der: bytes, depth: int = 0) -> list[bytes]:
    """Every FWID ::= SEQUENCE { SHA-384, OCTET STRING (48) } in `der`, in order.

    Hopper ends with its one FWID; Blackwell has flags behind the list, so the last 48 bytes would be wrong there.
    """
    if depth > _DER_DEPTH:
        raise CertificateFault(f"DICE extension: expected at most {_DER_DEPTH} levels")
    head = _SHA384_OID_DER + _SHA384_OCTETS_HEAD
    if der.startswith(head) and len(der) == len(head) + 48:
        return [der[len(head) :]]
    found: list[bytes] = []
    while der:
        tag, content, der = _der_element(der)
        if tag & 0x20:  # constructed
            found += _sha384_fwids(content, depth + 1)
    return found


def _der_element(der: bytes) -> tuple[int, bytes, bytes]:
    """Tag, content and what follows of the first element."""
    n_bytes, at = (der[1], 2) if len(der) > 1 else (0, len(der) + 1)
    if n_bytes >= 0x80:
        at = 2 + (n_bytes & 0x7F)
        n_bytes = int.from_bytes(der[2:at], "big")
    if at + n_bytes > len(der):
        raise CertificateFault(f"DICE extension: an element of {n_bytes} bytes in {len(der)}")
    return der[0], der[at : at + n_bytes], der[at + n_bytes :]
