"""The console script ``enrich-dist``: the command line of ``main``, and a quick end.

Covers how the process ends. What commands there are, and what their exit codes mean, is in ``main``.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
from contextlib import suppress
from typing import NoReturn


def command() -> NoReturn:
    """Run the command line and end the process with its exit code.

    After a run Python would take a second and a half to take apart, object by object, what Dagster, Dask and DuckDB
    are made of. Everything with an end of its own has had it by then: threads were waited for, files and connections
    are closed by their ``with``, and what others have registered to be called at the end is called.
    """
    ended: list[int] = []

    def end() -> None:
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):  # whoever read it is gone, as after `| head`
                stream.flush()
        os._exit(ended[0] if ended else 1)

    atexit.register(end)  # before anything else registers: called after all of them

    from enrich_dist.cli.main import main

    try:
        main()
    except SystemExit as error:
        ended.append(error.code if isinstance(error.code, int) else 1)
        raise
