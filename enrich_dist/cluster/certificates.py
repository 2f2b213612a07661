"""A private certificate authority for a Dask cluster, and certificates of scheduler, workers and clients.

Anyone who has one of the keys can join the cluster, and anyone who has the CA's key can sign new certificates. A local
cluster gets certificates of its own that exist in memory only. Does not cover revocation: make a new CA instead.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from enrich_dist.core.owned_files import write_new
from enrich_dist.errors import StateError

if TYPE_CHECKING:
    from distributed.security import Security

ROLES = ("scheduler", "worker", "client")
_CA = "ca"


def make_certificates(directory: Path, *, valid_days: int) -> list[Path]:
    """Write ``ca.pem`` and, for each role, ``<role>.pem`` and ``<role>-key.pem``; return the files.

    Only the owner can read the keys. Raises ``StateError`` if one of the files exists: nothing is overwritten.
    """
    names = [f"{name}{suffix}.pem" for name in (_CA, *ROLES) for suffix in ("", "-key")]
    existing = [name for name in names if os.path.lexists(directory / name)]
    if existing:
        raise StateError(
            f"{directory} already contains {', '.join(existing)}.",
            remedy="Choose another directory, or remove them if no cluster uses them.",
        )
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return [path for name, *pair in _issue(ROLES, valid_days) for path in _write_pair(directory, name, *pair)]


def temporary_security() -> Security:
    """Return TLS for one cluster: a certificate that no other cluster accepts, and a key that no file contains.

    Dask sends both to its workers through inherited pipes. While it loads them, each process has them for a moment in a
    temporary directory that only its owner can read.
    """
    from distributed.security import Security

    (_, ca, _), (_, certificate, key) = ((name, *map(bytes.decode, pair)) for name, *pair in _issue(["run"], 3650))
    roles = {f"tls_{role}_{part}": value for role in ROLES for part, value in (("cert", certificate), ("key", key))}
    return Security(require_encryption=True, tls_ca_file=ca, **roles)


def _issue(roles: Iterable[str], valid_days: int) -> Iterator[tuple[str, bytes, bytes]]:
    """Yield name, certificate and key (PEM) of a new CA, then of each role."""
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = _name("certificate authority")
    ca = (
        _builder(ca_name, ca_name, ca_key, valid_days, is_ca=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    yield _CA, *_as_pem(ca, ca_key)
    for role in roles:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(_name(role), ca_name, key, valid_days, is_ca=False)
            # Scheduler and workers connect to each other, so each is both; Dask checks no host names.
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(f"{role}.enrich-dist")]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
            .sign(ca_key, hashes.SHA256())
        )
        yield role, *_as_pem(certificate, key)


def _name(what: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"enrich_dist {what}")])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, valid_days: int, *, is_ca: bool
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=not is_ca,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # clock skew within a cluster
        .not_valid_after(now + timedelta(days=valid_days))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=0 if is_ca else None), critical=True)
        .add_extension(usage, critical=True)
    )


def _as_pem(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> tuple[bytes, bytes]:
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), secret


def _write_pair(directory: Path, name: str, certificate: bytes, key: bytes) -> list[Path]:
    contents = {
        directory / f"{name}.pem": (certificate, 0o644),
        directory / f"{name}-key.pem": (key, 0o600),
    }
    for path, (content, mode) in contents.items():
        # Exclusive: never overwrites a file, and is never readable by others.
        write_new(path, content, mode=mode)
    return list(contents)
