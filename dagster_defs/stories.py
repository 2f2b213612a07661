"""What a run did, from Dagster's event log, in the terms of ``enrich_dist.observe.causes``; and who is told of it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import dagster as dg
from dagster import DagsterEventType
from dagster._core.execution.plan.objects import StepFailureData
from dagster._core.storage.event_log.base import EventLogEntry

from dagster_defs.checks import BLOCKED, DRIFT_SPECS
from enrich_dist.errors import PublicationBlockedError
from enrich_dist.observe.causes import START, Cause, Grade, Kind, RunStory
from enrich_dist.settings import Settings, load_settings
