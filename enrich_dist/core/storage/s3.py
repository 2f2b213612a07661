"""A prefix of an object store with the S3 API as a ``Storage``, through pyarrow's S3 client.

The client retries time-outs and server errors a bounded number of times. Credentials come from the standard chain
(AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws, the machine's role) on the driver and on every worker. Objects
are written under their final name, as they appear only when complete, and verified. Does not create or list buckets.
"""

from __future__ import annotations

import builtins
import errno
import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import parse_qsl, urlsplit

from enrich_dist.core.files import bytes_digest
from enrich_dist.core.storage.protocol import Entry, Storage
from enrich_dist.errors import CorruptionError

if TYPE_CHECKING:
    from pyarrow.fs import S3FileSystem

# AWS's standard retry strategy: exponential backoff, tens of seconds in total.
_MAX_ATTEMPTS = 5
_CONNECT_SECONDS = 5.0
_REQUEST_SECONDS = 10.0
# Readers ask for pieces of some kilobytes; each request has at least this size.
_READ_BUFFER_BYTES = 4 << 20
_URI_PARAMETERS = ("endpoint_override", "region", "scheme", "tls_ca_file_path")
_UNAVAILABLE = "Check endpoint_override and scheme in the URI, and that the store is up."
_REMEDIES = {
    errno.EACCES: "Check the credentials of driver and workers (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
    "~/.aws), and their permissions on the bucket.",
    errno.ENODEV: "Create the bucket, or correct its name in the URI.",
    errno.ENOTSUP: "If the store does not support checksums, set AWS_REQUEST_CHECKSUM_CALCULATION=when_required in "
    "the environment of driver and workers.",
}
# What the client's message contains for each kind of error.
_SIGNS = {
    errno.EACCES: ("ACCESS_DENIED", "SIGNATURE_DOES_NOT_MATCH", "INVALID_ACCESS_KEY_ID", "HTTP status 403"),
    errno.ENODEV: ("NO_SUCH_BUCKET",),
    errno.ENOTSUP: ("NotImplemented",),
}


class S3Error(OSError):
    """An error of the store other than a missing object. ``filename`` is the object's URI; ``errno`` is EACCES (not
    allowed), ENODEV (no such bucket), ENOTSUP (not supported by the store) or EIO (all others)."""

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return _REMEDIES.get(self.errno or errno.EIO, _UNAVAILABLE)


class S3Storage(Storage):
    """A prefix in a bucket, by its URI (``s3://bucket/prefix``). Raises ``ValueError`` for a malformed one."""

    parallel_reads = 8
    remedy = _UNAVAILABLE

    def __init__(self, uri: str) -> None:
        self._options = uri_options(uri)
        parts = urlsplit(uri)
        self.location = uri
        self._uri = f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")
        self._prefix = f"{parts.netloc}{parts.path}".rstrip("/")

    @classmethod
    def containing(cls, uri: str) -> tuple[S3Storage, str]:
        """Return the storage that contains the object of a URI, and the object's name in it."""
        storage = cls(uri)
        storage._uri, _, name = storage._uri.rpartition("/")
        storage._prefix = storage._prefix.rpartition("/")[0]
        return storage, name

    def where(self, name: str) -> str:
        """See ``Storage.where``."""
        return f"{self._uri}/{name}"

    @cached_property
    def _system(self) -> S3FileSystem:
        from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem, resolve_s3_region

        endpoint, region = self._options.get("endpoint_override"), self._options.get("region")
        if region is None:
            # Without a region the client would query the metadata service of the machine's own cloud.
            with _translate_errors(self._uri):
                region = "us-east-1" if endpoint else resolve_s3_region(self._prefix.split("/")[0])
        return S3FileSystem(
            endpoint_override=endpoint,
            region=region,
            scheme=self._options.get("scheme", "https"),
            tls_ca_file_path=self._options.get("tls_ca_file_path"),
            connect_timeout=_CONNECT_SECONDS,
            request_timeout=_REQUEST_SECONDS,
            retry_strategy=AwsStandardS3RetryStrategy(max_attempts=_MAX_ATTEMPTS),
            allow_delayed_open=True,  # a small file in one request instead of three
            background_writes=False,
        )

    def put(self, name: str, data: bytes) -> None:
        """See ``Storage.put``. A writer that dies leaves the previous object."""
        with _translate_errors(self.where(name)), self._system.open_output_stream(self._path(name)) as stream:
            stream.write(data)
        if self.digest(name) != bytes_digest(data):
            raise CorruptionError(f"{self.where(name)} reads back differently from what was written.")

    def open(self, name: str) -> BinaryIO:
        """See ``Storage.open``. Fetches only the blocks that are read."""
        where = self.where(name)
        with _translate_errors(where):
            handle = self._system.open_input_file(self._path(name))
        return cast(BinaryIO, io.BufferedReader(_Reader(handle, where), _READ_BUFFER_BYTES))

    def size(self, name: str) -> int:
        """See ``Storage.size``."""
        from pyarrow.fs import FileType

        with _translate_errors(self.where(name)):
            info = self._system.get_file_info(self._path(name))
        if info.type is not FileType.File:
            raise FileNotFoundError(errno.ENOENT, "No such object", self.where(name))
        return int(info.size)

    def list(self) -> list[Entry]:
        """See ``Storage.list``."""
        from pyarrow.fs import FileType

        return sorted(Entry(info.base_name, int(info.size)) for info in self._infos() if info.type is FileType.File)

    def names(self) -> builtins.list[str]:
        """See ``Storage.names``."""
        return [str(info.base_name) for info in self._infos()]

    def _infos(self) -> builtins.list[Any]:
        from pyarrow.fs import FileSelector

        with _translate_errors(self._uri):
            found = self._system.get_file_info(FileSelector(self._prefix, allow_not_found=True))
        # Some clients mark a prefix by an object of the same name, which is not a file.
        return [info for info in found if info.path != self._prefix]

    def delete(self, name: str) -> None:
        """See ``Storage.delete``."""
        with suppress(FileNotFoundError), _translate_errors(self.where(name)):
            self._system.delete_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._prefix}/{name}"


class _Reader(io.RawIOBase):
    """An Arrow file as a Python file that raises ``S3Error``."""

    def __init__(self, handle: Any, where: str) -> None:
        self._handle = handle
        self._where = where

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _translate_errors(self._where):
            return int(self._handle.readinto(buffer))

    def readall(self) -> bytes:
        with _translate_errors(self._where):
            return bytes(self._handle.read())

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with _translate_errors(self._where):
            return int(self._handle.seek(offset, whence))

    def tell(self) -> int:
        return int(self._handle.tell())

    def close(self) -> None:
        if not self.closed:
            self._handle.close()
        super().close()


@contextmanager
def _translate_errors(where: str) -> Iterator[None]:
    """Raise the client's errors as ``FileNotFoundError`` or ``S3Error``."""
    try:
        yield
    except S3Error:
        raise
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "No such object", where) from error
    except OSError as error:
        message = str(error)
        code = next((code for code, signs in _SIGNS.items() if any(sign in message for sign in signs)), errno.EIO)
        raise S3Error(code, message.rstrip("."), where) from error


def uri_options(uri: str) -> dict[str, str]:
    """Return the options of a URI. Raises ``ValueError``, whose text repeats no secret, for another scheme, credentials
    in the URI or unknown options."""
    parts = urlsplit(uri)
    if parts.scheme != "s3":
        raise ValueError(f"scheme '{parts.scheme}' is not supported; use a path or s3://bucket/prefix")
    if "@" in parts.netloc:
        raise ValueError("a URI must not contain credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead")
    if not parts.netloc:
        raise ValueError("the bucket is missing; use s3://bucket/prefix")
    if not parts.path.strip("/"):
        raise ValueError("the prefix in the bucket is missing; use s3://bucket/prefix")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(set(options) - set(_URI_PARAMETERS))
    if unknown or parts.fragment:
        named = ", ".join(unknown) or "after #"
        raise ValueError(f"unknown option {named}; the options are {', '.join(_URI_PARAMETERS)}")
    if options.get("scheme", "https") not in ("http", "https"):
        raise ValueError("option scheme must be http or https")
    return options
