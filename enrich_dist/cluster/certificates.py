"""A private certificate authority for a Dask cluster, and certificates of scheduler, workers and clients.

Anyone who has one of the keys can join the cluster, and anyone who has the CA's key can sign new certificates. Does not
cover revocation: make a new CA instead.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from enrich_dist.errors import StateError

ROLES = ("scheduler", "worker", "client")
_CA = "ca"


def make_certificates(directory: Path, *, valid_days: int) -> list[Path]:
    """Write ``ca.pem`` and, for each role, ``<role>.pem`` and ``<role>-key.pem``; return the files.

    Only the owner can read the keys. Raises ``StateError`` if one of the files exists: nothing is overwritten.
    """
    names = [f"{name}{suffix}.pem" for name in (_CA, *ROLES) for suffix in ("", "-key")]
    existing = [name for name in names if (directory / name).exists()]
    if existing:
        raise StateError(
            f"{directory} already contains {', '.join(existing)}.",
            remedy="Choose another directory, or remove them if no cluster uses them.",
        )
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = _name("certificate authority")
    ca = (
        _builder(ca_name, ca_name, ca_key, valid_days, is_ca=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    written = _write_pair(directory, _CA, ca, ca_key)
    for role in ROLES:
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
        written += _write_pair(directory, role, certificate, key)
    return written


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


def _write_pair(
    directory: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> list[Path]:
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    contents = {
        directory / f"{name}.pem": (certificate.public_bytes(serialization.Encoding.PEM), 0o644),
        directory / f"{name}-key.pem": (secret, 0o600),
    }
    for path, (content, mode) in contents.items():
        # Exclusive: never overwrites a file, and is never readable by others.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as handle:
            handle.write(content)
    return list(contents)
