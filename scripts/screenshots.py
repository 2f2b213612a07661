"""Draw the terminal of a real run of the bundled sample: ``python scripts/screenshots.py``.

``tests/integration/browser/test_dagster_ui.py`` makes the images of the Dagster UI; ``make screenshots`` runs both. The
working directory and the host name are removed, so paths read ``work/...``.
"""

from __future__ import annotations

import argparse
import io
import re
import socket
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from enrich_dist.errors import EXIT_BLOCKED
from scripts.generator.generate import write_awards, write_recipients
from tests.conftest import REPOSITORY
from tests.support.terminal import COLUMNS, final_screen, run_in_terminal

SAMPLE_RECIPIENTS = REPOSITORY / "data" / "sample" / "recipients.parquet"
LIVE_CHUNKS, LIVE_CHUNK_ROWS, LIVE_COMPANIES = 60, 10_000, 20_000
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def main() -> None:
    """Run the sample in a temporary directory and draw its terminal."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--output", type=Path, default=REPOSITORY / "docs" / "images", help="directory of the images")
    output: Path = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        cwd = Path(scratch).resolve()
        for folder in ("config", "data"):
            (cwd / folder).symlink_to(REPOSITORY / folder)
        command = ["enrich-dist", "run", "--config", "config/sample.yaml"]
        printed = run_in_terminal(command, cwd, exit_code=0)
        picture = terminal_picture(final_screen(without_machine(printed, cwd)), title=" ".join(command))
        (output / "terminal-run.svg").write_text(picture, "utf-8")
        (output / "terminal-live.svg").write_text(live_picture(cwd), "utf-8")


def without_machine(text: str, cwd: Path) -> str:
    """Return the text without working directory and host name; columns keep their width."""
    host = socket.gethostname()
    return re.sub(rf"\b{re.escape(host)}\b", "…".ljust(len(host)), text.replace(f"{cwd}/", ""))


def live_picture(cwd: Path) -> str:
    """Return the terminal during a run on generated recipients, with about half of the chunks done."""
    write_recipients(cwd / "recipients.parquet", rows=LIVE_CHUNKS * LIVE_CHUNK_ROWS, seed=1, sample=SAMPLE_RECIPIENTS)
    write_awards(cwd / "awards.csv", companies=LIVE_COMPANIES, recipients=cwd / "recipients.parquet", seed=1)
    arguments = ["--awards", "awards.csv", "--recipients", "recipients.parquet", "--work-dir", "live"]
    command = ["enrich-dist", "run", *arguments, "--chunk-size", str(LIVE_CHUNK_ROWS)]
    printed = run_in_terminal(command, cwd, exit_code=EXIT_BLOCKED)
    # The screen after a panel was drawn completely.
    panels = [
        (abs(LIVE_CHUNKS / 2 - int(done[1])), found.end())
        for found in re.finditer(r"╭[^╭]*?╯", printed)
        if "projected" in found[0] and (done := re.search(r"chunks\D*?(\d+) of", COLOUR.sub("", found[0])))
    ]
    _, end = min(panels)
    screen = final_screen(without_machine(printed[:end], cwd))
    return terminal_picture(screen, title="enrich-dist run")


def terminal_picture(screen: str, *, title: str) -> str:
    """Return the screen as SVG in the reader's monospaced font."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.from_ansi(screen))
    picture = console.export_svg(title=title, unique_id="run")
    return re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)  # fonts of another host


if __name__ == "__main__":
    main()
