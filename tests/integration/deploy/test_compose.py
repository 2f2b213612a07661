"""The compose file: its schema, and the restrictions of every container. ``test_rehearsal`` starts it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from enrich_dist.settings import load_settings
from scripts.rehearsal import compose
from scripts.rehearsal.errors import RehearsalError
from tests.support.deploy_tools import DEPLOY, Tools

FOLDER = DEPLOY / "compose"
VALUES = {**compose.read_environment_file(FOLDER / ".env.example"), "INPUTS": "/srv", "DAGSTER_POSTGRES_PASSWORD": "x"}
DOCUMENT: dict[str, Any] = yaml.safe_load(compose.interpolated((FOLDER / "compose.yaml").read_text("utf-8"), VALUES))
SERVICES: dict[str, dict[str, Any]] = DOCUMENT["services"]
RUN_ONCE = ("certificates", "run")


def test_compose_file_is_valid(tools: Tools) -> None:
    assert [
        f"{e.json_path}: {e.message}" for e in jsonschema.Draft7Validator(tools.compose).iter_errors(DOCUMENT)
    ] == []


def test_schema_rejects_unknown_key(tools: Tools) -> None:
    service = {**SERVICES["scheduler"], "comand": ["scheduler"]}
    broken = {**DOCUMENT, "services": {**SERVICES, "scheduler": service}}

    assert list(jsonschema.Draft7Validator(tools.compose).iter_errors(broken))


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_restricted(name: str) -> None:
    service = SERVICES[name]

    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert service["pids_limit"] <= 512
    assert name in RUN_ONCE or service["healthcheck"]["test"]
    assert "privileged" not in service


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_pinned(name: str) -> None:
    tag = SERVICES[name]["image"].rpartition(":")[2]

    assert re.match(r"v?\d", tag), tag
    if "build" in SERVICES[name]:
        assert (FOLDER / SERVICES[name]["build"]["context"] / SERVICES[name]["build"]["dockerfile"]).exists()


def test_defaults_are_a_trial() -> None:
    given = SERVICES["run"]["environment"]
    own = {name: str(value) for name, value in given.items() if name.startswith("ENRICH_DIST_")}
    settings = load_settings(FOLDER / "enrich-dist.yaml", (), own).settings

    assert (settings.environment, settings.notifications.urls_file) == ("development", None)
    assert all(value is not None for service in SERVICES.values() for value in service.get("environment", {}).values())


def test_web_pages_bind_to_localhost() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

    assert published == {
        "webserver": ["127.0.0.1:3000:3000"],
        "prometheus": ["127.0.0.1:9090:9090"],
        "alertmanager": ["127.0.0.1:9093:9093"],
    }


def test_missing_password_is_refused() -> None:
    text = (FOLDER / "compose.yaml").read_text("utf-8")

    with pytest.raises(RehearsalError, match="DAGSTER_POSTGRES_PASSWORD"):
        compose.interpolated(text, {**VALUES, "DAGSTER_POSTGRES_PASSWORD": ""})


def test_rehearsal_rejects_unsupported_keys(tmp_path: Path) -> None:
    for change in ({"cap_add": ["NET_ADMIN"]}, {"network_mode": "host"}, {"cap_drop": []}):
        service = {**SERVICES["scheduler"], **change, "volumes": []}
        (tmp_path / "compose.yaml").write_text(yaml.safe_dump({"services": {"scheduler": service}}), "utf-8")
        with pytest.raises(RehearsalError, match="scheduler"):
            compose.read_compose(tmp_path / "compose.yaml", VALUES, tmp_path / "volumes")
