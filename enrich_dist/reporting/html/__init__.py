"""The report of a run as one HTML file that needs nothing else, and as Markdown for pull requests.

``facts`` gathers what the files of a run directory say, ``history`` keeps what later runs are compared with,
``sections`` says what is shown of it, ``charts`` draws, ``page`` makes the file, ``write`` puts it where it belongs.
"""

from enrich_dist.reporting.html.write import make_report, write_run_report

__all__ = ["make_report", "write_run_report"]
