"""Where checkpoints lie: a directory of a local or shared file system, or a prefix in an object store (S3 API).

Both keep whole files under plain names, and whoever puts one has read it back. A directory gets a file by temporary
name, sync, verification and rename. An object store has no rename, and shows an object only when all of it has
arrived: it is written under its final name and verified there. What belongs together and when it counts is for
``checkpoints`` to say.

An object store is reached through pyarrow's own client, which tries again after time-outs and errors of the server, a
bounded number of times. Credentials are those of the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY,
~/.aws, the machine's role) on the driver and on every worker; none stands in a location, so that locations may be
logged and kept. Does not make buckets.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast
from urllib.parse import parse_qsl, urlsplit

from enrich_dist.core.files import BLOCK_BYTES, atomic_path, bytes_digest, file_digest, stream_digest
from enrich_dist.errors import CorruptionError, StorageError

if TYPE_CHECKING:
    from pyarrow.fs import S3FileSystem

# By the standard strategy of the AWS client: waits that double, tens of seconds in all.
_MAX_ATTEMPTS = 5
_CONNECT_SECONDS = 5.0
_REQUEST_SECONDS = 10.0
_URI_PARAMETERS = ("endpoint_override", "region", "scheme", "tls_ca_file_path")
# Put by every run before it starts, so that a location that cannot be used is told before work begins.
LOCATION_FILE = "enrich_dist.location"
_LOCATION_TEXT = b"Checkpoints of enrich_dist. This file is written again whenever a run begins.\n"
_HELP = {
    errno.EACCES: "Check the credentials of driver and workers (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
    "~/.aws), and that they may read, write and list there.",
    errno.ENODEV: "Create the bucket, or name another in paths.checkpoints.",
    errno.EIO: "Check endpoint_override and scheme in paths.checkpoints, and that the store is up.",
    errno.ENOTSUP: "A store without checksums of its own needs AWS_REQUEST_CHECKSUM_CALCULATION=when_required in the "
    "environment of driver and workers.",
}
_SIGNS = {
    errno.EACCES: ("ACCESS_DENIED", "SIGNATURE_DOES_NOT_MATCH", "INVALID_ACCESS_KEY_ID", "HTTP status 403"),
    errno.ENODEV: ("NO_SUCH_BUCKET",),
    errno.ENOTSUP: ("NotImplemented",),
}


@dataclass(frozen=True)
class Entry:
    """A file of a storage."""

    name: str
    bytes: int


class Storage(ABC):
    """Files in one place. Names hold no slash."""

    location: str
    parallel_reads: int
    """How many checkpoints are worth being read at once."""

    def where(self, name: str) -> str:
        """What a message calls the file."""
        return f"{self.location.rstrip('/')}/{name}"

    @abstractmethod
    def put(self, name: str, data: bytes) -> None:
        """Store a file whole, in place of one of the same name, and read it back.

        Raises ``CorruptionError`` when it reads back differently.
        """

    @abstractmethod
    def open(self, name: str) -> BinaryIO:
        """A file to read from, at any position. Raises ``FileNotFoundError``."""

    @abstractmethod
    def size(self, name: str) -> int:
        """Bytes of a file. Raises ``FileNotFoundError``."""

    @abstractmethod
    def fetch(self, name: str, directory: Path) -> Path:
        """A local file of the same content: itself where it is one, else a copy in ``directory``.

        Raises ``FileNotFoundError``.
        """

    @abstractmethod
    def list(self) -> list[Entry]:
        """All files, by name; none where nothing was ever stored."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove a file; one that is gone already is none to worry about."""

    def get(self, name: str) -> bytes:
        """The content of a small file. Raises ``FileNotFoundError``."""
        with self.open(name) as handle:
            return handle.read()

    def digest(self, name: str) -> str:
        """BLAKE3 of a file, read in blocks. Raises ``FileNotFoundError``."""
        with self.open(name) as handle:
            return stream_digest(handle)

    def check(self) -> None:
        """Write a small file and read it back, so that a place that cannot be used is refused before work starts.

        Raises ``StorageError`` with the cause and what helps.
        """
        try:
            self.put(LOCATION_FILE, _LOCATION_TEXT)
            self.list()
        except (OSError, CorruptionError) as error:
            code = error.errno if isinstance(error, OSError) else None
            cause = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise StorageError(
                f"The checkpoint location {self.location} cannot be used: {cause}.",
                remedy=self._help(code),
            ) from error

    def _help(self, code: int | None) -> str:
        return _HELP.get(code or errno.EIO, _HELP[errno.EIO])


class LocalStorage(Storage):
    """A directory that driver and workers see under the same path."""

    parallel_reads = 1

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.location = str(self.directory)

    def put(self, name: str, data: bytes) -> None:
        """As ``Storage.put``; a writer that dies leaves the file of before, and a temporary one."""
        expected = bytes_digest(data)
        with atomic_path(self.directory / name) as temporary:
            temporary.write_bytes(data)
            if file_digest(temporary) != expected:
                raise CorruptionError(f"{self.where(name)} reads back differently from what was written.")

    def open(self, name: str) -> BinaryIO:
        """As ``Storage.open``."""
        return (self.directory / name).open("rb")

    def size(self, name: str) -> int:
        """As ``Storage.size``."""
        return (self.directory / name).stat().st_size

    def fetch(self, name: str, directory: Path) -> Path:  # noqa: ARG002
        """The file itself."""
        path = self.directory / name
        path.stat()
        return path

    def list(self) -> list[Entry]:
        """As ``Storage.list``."""
        if not self.directory.exists():
            return []
        return sorted(
            (Entry(path.name, path.stat().st_size) for path in self.directory.iterdir() if path.is_file()),
            key=lambda entry: entry.name,
        )

    def delete(self, name: str) -> None:
        """As ``Storage.delete``."""
        (self.directory / name).unlink(missing_ok=True)

    def _help(self, code: int | None) -> str:  # noqa: ARG002
        return "Let paths.checkpoints name a directory that driver and workers can write to."


class ObjectStorage(Storage):
    """A prefix in a bucket, by its URI (``s3://bucket/prefix``). Raises ``ValueError`` for one that is malformed.

    Errors of the store are ``OSError`` with an ``errno`` that tells their kind: EACCES (not allowed), ENODEV (no such
    bucket), ENOTSUP (the store lacks what was asked), EIO (all else).
    """

    parallel_reads = 8

    def __init__(self, uri: str) -> None:
        self._options = uri_options(uri)
        parts = urlsplit(uri)
        self.location = uri
        self._uri = f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")
        self._prefix = f"{parts.netloc}{parts.path}".rstrip("/")

    @classmethod
    def around(cls, uri: str) -> tuple[ObjectStorage, str]:
        """The storage that the object of a URI lies in, and the object's name there."""
        storage = cls(uri)
        storage._uri, _, name = storage._uri.rpartition("/")
        storage._prefix = storage._prefix.rpartition("/")[0]
        return storage, name

    def where(self, name: str) -> str:
        """As ``Storage.where``."""
        return f"{self._uri}/{name}"

    @cached_property
    def _system(self) -> S3FileSystem:
        from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem, resolve_s3_region

        endpoint, region = self._options.get("endpoint_override"), self._options.get("region")
        if region is None:
            # Without one the client would ask the machine's cloud, which another store's region has nothing to do with.
            with self._told(self._uri):
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
        """As ``Storage.put``; a writer that dies leaves the object of before."""
        with self._told(self.where(name)), self._system.open_output_stream(self._path(name)) as stream:
            stream.write(data)
        if self.digest(name) != bytes_digest(data):
            raise CorruptionError(f"{self.where(name)} reads back differently from what was written.")

    def open(self, name: str) -> BinaryIO:
        """As ``Storage.open``. What is read may raise ``OSError`` as the client tells it."""
        with self._told(self.where(name)):
            return cast(BinaryIO, self._system.open_input_file(self._path(name)))

    def get(self, name: str) -> bytes:
        """As ``Storage.get``."""
        with self._told(self.where(name)):
            return super().get(name)

    def digest(self, name: str) -> str:
        """As ``Storage.digest``."""
        with self._told(self.where(name)):
            return super().digest(name)

    def size(self, name: str) -> int:
        """As ``Storage.size``."""
        from pyarrow.fs import FileType

        with self._told(self.where(name)):
            info = self._system.get_file_info(self._path(name))
        if info.type is not FileType.File:
            raise FileNotFoundError(errno.ENOENT, "There is no such object", self.where(name))
        return int(info.size)

    def fetch(self, name: str, directory: Path) -> Path:
        """As ``Storage.fetch``; no more than a block of the object is in memory at a time."""
        with self.open(name) as source, atomic_path(directory / name) as temporary, temporary.open("wb") as target:
            while block := self._read(name, source):
                target.write(block)
        return directory / name

    def list(self) -> list[Entry]:
        """As ``Storage.list``."""
        from pyarrow.fs import FileSelector, FileType

        with self._told(self._uri):
            found = self._system.get_file_info(FileSelector(self._prefix, allow_not_found=True))
        # Clients mark a prefix by an object of its own name, which is no file.
        files = [info for info in found if info.type is FileType.File and info.path != self._prefix]
        return sorted((Entry(info.base_name, int(info.size)) for info in files), key=lambda entry: entry.name)

    def delete(self, name: str) -> None:
        """As ``Storage.delete``."""
        try:
            with self._told(self.where(name)):
                self._system.delete_file(self._path(name))
        except FileNotFoundError:
            return

    def _path(self, name: str) -> str:
        return f"{self._prefix}/{name}"

    def _read(self, name: str, source: BinaryIO) -> bytes:
        with self._told(self.where(name)):
            return source.read(BLOCK_BYTES)

    @contextmanager
    def _told(self, where: str) -> Iterator[None]:
        """Errors of the client as those of this class: with their kind, and the object's name."""
        try:
            yield
        except FileNotFoundError as error:
            raise FileNotFoundError(errno.ENOENT, "There is no such object", where) from error
        except OSError as error:
            if error.filename == where:  # told already, further in
                raise
            message = str(error)
            code = next((code for code, signs in _SIGNS.items() if any(sign in message for sign in signs)), errno.EIO)
            raise OSError(code, message.rstrip("."), where) from error


def open_storage(location: str | Path) -> Storage:
    """The storage of a directory or a URI. Raises ``ValueError`` for a URI that ``check_location`` refuses."""
    return ObjectStorage(location) if "://" in str(location) else LocalStorage(Path(location))  # type: ignore[arg-type]


def uri_options(uri: str) -> dict[str, str]:
    """The options of an object store's URI.

    Raises ``ValueError``, which repeats no secret, for another scheme, for credentials in the URI, and for options
    that are not known.
    """
    parts = urlsplit(uri)
    if parts.scheme != "s3":
        raise ValueError(f"scheme '{parts.scheme}' is not known; write a directory, or s3://bucket/prefix")
    if "@" in parts.netloc:
        raise ValueError("credentials must not stand in it; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead")
    if not parts.netloc:
        raise ValueError("it names no bucket; write s3://bucket/prefix")
    if not parts.path.strip("/"):
        raise ValueError("it names no prefix in the bucket; write s3://bucket/prefix")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(set(options) - set(_URI_PARAMETERS))
    if unknown or parts.fragment:
        named = ", ".join(unknown) or "after #"
        raise ValueError(f"option {named} is not known; there are {', '.join(_URI_PARAMETERS)}")
    if options.get("scheme", "https") not in ("http", "https"):
        raise ValueError("option scheme must be http or https")
    return options
