"""The farm: hand out chunks to Dask workers, retry what fails, and keep track of attempts and workers.

Decide (pure: no Dask, no I/O, no clock):

- ``state``: the state machine. A failed chunk is retried in ``FarmState._fail``.
- ``policy``: the failure policy. ``decide`` says whether and how a chunk is retried.
- ``worker_recovery``: which workers to restart. ``active_attempts``: which stragglers get a backup task.
- ``budget``: how many rows fit a worker's memory.

Act:

- ``driver``: turns Dask's callbacks into events for ``state``, and its actions into calls of the Dask client.
- ``worker``: runs one attempt on a Dask worker. ``fault_injection``: makes attempts fail, for tests.

Observe:

- ``worker_monitor``: what is known of the workers. ``attempts``: the ledger, markers and failures as files.
- ``logs``, ``metrics``: records for reports.
- ``diagnosis``, ``resume``: the state of a run, from its files.
"""
