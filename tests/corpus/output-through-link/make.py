"""A link to a file that must not be replaced."""

from pathlib import Path

Path("target.json").write_text("{}\n", "utf-8")
Path("link.json").symlink_to("target.json")
