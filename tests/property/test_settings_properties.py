"""Any settings file, override or environment gives settings, or a ``SettingsError``: nothing else."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enrich_dist.errors import SettingsError
from enrich_dist.settings import Settings, load_settings
from enrich_dist.settings.load import known_keys
from enrich_dist.settings.tree import environment_variable

KEYS = st.sampled_from(
    [*(key.removesuffix(".*") for key in known_keys()), *Settings.model_fields, "extends", "no_such"]
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(10**400), 10**400), st.floats(), st.text(max_size=8),
    st.dates(), st.datetimes(), st.binary(max_size=4), st.sampled_from(["~", "null", "1e400", "<<", "*a", "!!int 1"]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.one_of(KEYS.map(lambda key: key.rpartition(".")[2]), SCALARS), inner, max_size=3)
    ),
    max_leaves=8,
)


def dump(document: object) -> bytes:
    return yaml.dump(document, allow_unicode=True).encode("utf-8", "surrogatepass")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.dictionaries(KEYS, VALUES, max_size=4).map(dump), VALUES.map(dump), st.binary(max_size=60)))
def test_any_file_is_settings_or_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "settings.yaml").write_bytes(content)

    with suppress(SettingsError):
        load_settings(tmp_path / "settings.yaml", [], {}).settings.digest()


@given(st.lists(st.tuples(KEYS, st.text() | VALUES.map(repr)), max_size=3))
def test_any_override_is_settings_or_an_error(values: list[tuple[str, str]]) -> None:
    with suppress(SettingsError):
        load_settings(None, [f"{key}={text}" for key, text in values], {}).settings.digest()
    with suppress(SettingsError):
        load_settings(None, [], {environment_variable(key): text for key, text in values}).settings.digest()
