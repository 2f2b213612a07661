"""The console script ``enrich-dist``: runs ``main`` and ends the process quickly."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
from typing import NoReturn


def command() -> NoReturn:
    """Run the command line and end the process with its exit code.

    Standard output and error never fail (``core.console``), so printing does not change the exit code. After a run,
    Python would take 1.5 seconds to free the objects of Dagster, Dask and DuckDB one by one. ``os._exit`` skips that,
    after all exit handlers have run and the streams are flushed.
    """
    codes: list[int] = []

    def end() -> None:
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(codes[0] if codes else 1)

    atexit.register(end)  # before anything else registers, so it is called last
    # A service manager or queue ends a run as Ctrl-C does, also while it imports packages.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Pydantic would read the entry points of every installed package to find plugins; there are none to be used here.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        from enrich_dist.core.console import replace_standard_streams

        replace_standard_streams()
        from enrich_dist.cli.main import main

        main()
    except SystemExit as error:
        codes.append(error.code if isinstance(error.code, int) else 1)
        raise
    except KeyboardInterrupt:  # outside of a command: before it or while it ends
        from enrich_dist.errors import RunInterruptedError

        sys.stderr.write(f"Error: {RunInterruptedError()}\n")
        codes.append(RunInterruptedError.exit_code)
        sys.exit(RunInterruptedError.exit_code)
