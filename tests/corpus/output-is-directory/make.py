"""A directory in the place of an output."""

from pathlib import Path

Path("folder").mkdir()
