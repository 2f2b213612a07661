"""The console script ``enrich-dist``: runs ``main`` and ends the process quickly."""

from __future__ import annotations

import atexit
import logging
import os
import sys
from contextlib import suppress
from typing import NoReturn


def command() -> NoReturn:
    """Run the command line and end the process with its exit code.

    After a run, Python would take 1.5 seconds to free the objects of Dagster, Dask and DuckDB one by one. ``os._exit``
    skips that, after all exit handlers have run and the streams are flushed.
    """
    codes: list[int] = []

    def end() -> None:
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):  # the reader is gone, as after `| head`
                stream.flush()
        os._exit(codes[0] if codes else 1)

    atexit.register(end)  # before anything else registers, so it is called last

    from enrich_dist.cli.main import main

    try:
        main()
    except SystemExit as error:
        codes.append(error.code if isinstance(error.code, int) else 1)
        raise
