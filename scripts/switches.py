"""Switch off rules of the matcher, and vary its constants, in this process: for measuring what each of them adds.

The product has no such switches. A ``Change`` replaces functions and constants of ``enrich_dist`` while it is in force,
everywhere they were imported. It fails if what it replaces no longer exists, so a table never contains a change without
effect by mistake. Does not reach constants that are compiled into kernels.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final
from unittest.mock import patch

import numpy as np
import pyarrow as pa

PACKAGE: Final = "enrich_dist"
MATCHING: Final = f"{PACKAGE}.matching"

Apply = Callable[[ExitStack], None]


@dataclass(frozen=True)
class Change:
    """A changed matcher. ``candidates``: the change affects blocking or comparison vectors, so chunks run again."""

    name: str
    group: str
    apply: Apply
    candidates: bool = True

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Apply the change until the context ends. Raises ``AttributeError`` if what it replaces does not exist."""
        with ExitStack() as stack:
            _clear_caches()
            self.apply(stack)
            stack.callback(_clear_caches)
            yield


def replace_everywhere(stack: ExitStack, module: str, name: str, value: object) -> None:
    """Replace a function or constant in its module and wherever it was imported by name."""
    original = getattr(importlib.import_module(module), name)
    for other in list(sys.modules.values()):
        if (
            isinstance(other, ModuleType)
            and other.__name__.startswith(PACKAGE)
            and other.__dict__.get(name) is original
        ):
            stack.enter_context(patch.object(other, name, value))


def module_name(name: str) -> str:
    """Return the full name of a module of the matcher, ``blocking``, or of the results, ``results.scoring``."""
    return f"{PACKAGE if name.startswith('results.') else MATCHING}.{name}"


def constant(name: str, value: object) -> Apply:
    """Return a change of the constant ``module.NAME`` of the matcher; of a list, every element becomes ``value``.

    Raises ``TypeError`` for another length, because lists have an element per level.
    """
    module, _, attribute = name.rpartition(".")

    def apply(stack: ExitStack) -> None:
        original = getattr(importlib.import_module(module_name(module)), attribute)
        if isinstance(value, tuple) and len(value) != len(original):
            raise TypeError(f"{name} has {len(original)} elements")
        changed = (value,) * len(original) if isinstance(original, tuple) and isinstance(value, float) else value
        replace_everywhere(stack, module_name(module), attribute, changed)

    return apply


def wrapped(module: str, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Apply:
    """Return a change of a function of the matcher: ``wrap`` takes the original."""

    def apply(stack: ExitStack) -> None:
        full = module_name(module)
        original = getattr(importlib.import_module(full), name)
        replace_everywhere(stack, full, name, functools.wraps(original)(wrap(original)))

    return apply


def replaced_method(owner: type, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Apply:
    """Return a change of a method; ``wrap`` takes the original, a function of the instance."""
    original = getattr(owner, name)

    def apply(stack: ExitStack) -> None:
        stack.enter_context(patch.object(owner, name, wrap(original)))

    return apply


def method(owner: str, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Apply:
    """Return a change of a method of the matcher; ``owner``: ``module.Class``."""
    module, _, class_name = owner.rpartition(".")

    def apply(stack: ExitStack) -> None:
        replaced_method(getattr(importlib.import_module(module_name(module)), class_name), name, wrap)(stack)

    return apply


def without_lines(*files: str, keep: Callable[[str], bool] = lambda _: False) -> Apply:
    """Return a change of word lists: only the lines that ``keep`` accepts, or the first, because none may be empty."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def changed(name: str) -> tuple[str, ...]:
            found: tuple[str, ...] = original(name)
            return (tuple(line for line in found if keep(line)) or found[:1]) if name in files else found

        return changed

    return wrapped("words", "lines", wrap)


def columns(**changed: Callable[[pa.Table], Any]) -> Apply:
    """Return a change of comparison vectors: new values of columns, each from the table of all."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def compare(*arguments: Any) -> pa.Table:
            table = original(*arguments)
            for name, values in changed.items():
                at = table.schema.get_field_index(name)
                if at < 0:
                    raise AttributeError(f"comparison vectors have no column {name}")
                column = pa.array(values(table), table.schema.field(at).type)
                table = table.set_column(at, table.schema.field(at), column)
            return table

        return compare

    return wrapped("compare", "compare", wrap)


def merged(column: str, levels: Mapping[int, int]) -> Apply:
    """Return a change of comparison vectors: each level of ``levels`` becomes another."""

    def values(table: pa.Table) -> Any:
        old = table[column].to_numpy()
        new = old.copy()
        for level, other in levels.items():
            new[old == level] = other
        return new

    return columns(**{column: values})


def without_value(column: str, value: float = 0) -> Apply:
    """Return a change of comparison vectors: one value in a column."""
    return columns(**{column: lambda table: np.full(len(table), value)})


def _clear_caches() -> None:
    """Forget what was cached from word lists."""
    for module in list(sys.modules.values()):
        if isinstance(module, ModuleType) and module.__name__.startswith(MATCHING):
            for value in list(vars(module).values()):
                if callable(getattr(value, "cache_clear", None)):
                    value.cache_clear()
