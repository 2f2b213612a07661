"""Types of single values of settings: paths, addresses, durations and counts, each with its bounds."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

# Names of keys whose values are secrets.
SECRET = re.compile(r"pass(word|phrase|wd)|secret|token|credential|access_?key", re.IGNORECASE)


def expand_user(path: str | Path) -> str:
    """Return the path with the home directory in place of ``~``; that of an unknown user stays as it is."""
    return os.path.expanduser(path)  # noqa: PTH111 - Path.expanduser fails for an unknown user


def _path_text(value: Any) -> Any:
    """Return a path or address as text, with the home directory in place of ``~``."""
    if not isinstance(value, str | Path):
        return value
    text = expand_user(value)
    if not text:
        raise ValueError("the path is empty")
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise ValueError("the path contains a control character")
    return text


def refuse_secrets(location: str) -> None:
    """Raise ``ValueError``, without repeating the value, if a URI contains a password or a key."""
    parts = urlsplit(location)
    if not parts.scheme or "://" not in location:
        return
    keys = [key for key, _ in parse_qsl(parts.query, keep_blank_values=True)]
    if parts.password is not None or any(SECRET.search(key) for key in keys):
        raise ValueError(
            "a source contains a password, and the run history keeps the settings: remove it, and use PGPASSWORD, "
            "~/.pgpass or (for s3://) AWS_SECRET_ACCESS_KEY"
        )


def _check_http_url(value: str) -> str:
    if "@" in value or "?" in value:
        raise ValueError("the URL must not contain a user, password or token: the run history keeps the settings")
    if not re.fullmatch(r"https?://[^\s/]+(/\S*)?", value):
        raise ValueError(f"'{value}' is not a URL: write http://host:port or https://host/path")
    return value


Location = Annotated[str, BeforeValidator(_path_text)]
LocalPath = Annotated[Path, BeforeValidator(_path_text)]
HttpUrl = Annotated[str, AfterValidator(_check_http_url)]
MAX_SECONDS: Final = 31_536_000  # a year; timers overflow far above it
Seconds = Annotated[float, Field(gt=0, le=MAX_SECONDS)]
Hours = Annotated[float, Field(gt=0, le=87_600)]
Rows = Annotated[int, Field(ge=1, le=100_000_000)]
Workers = Annotated[int, Field(ge=1, le=100_000)]
Increase = Annotated[float, Field(gt=0, le=1_000)]
