"""The manifests: built by kustomize, valid by the schemas of Kubernetes and the Dask operator, restricted."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import jsonschema
import kubernetes_validate
import pytest

from enrich_dist.errors import EXIT_NOT_READY
from enrich_dist.settings import load_settings
from tests.support.deploy_tools import DEPLOY, Tools

VERSION = "1.37"
OVERLAYS = ["base", "overlays/example", "overlays/production"]
LONG_RUNNING = {"scheduler", "worker", "code-location", "webserver", "daemon"}


@pytest.fixture(scope="module", params=OVERLAYS)
def resources(request: pytest.FixtureRequest, tools: Tools) -> list[dict[str, Any]]:
    return tools.built(DEPLOY / "kubernetes" / request.param)


def of_kind(resources: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [resource for resource in resources if resource["kind"] == kind]


def pods(resources: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, str], dict[str, Any]]]:
    """Name, labels and specification of every pod of the resources."""
    for resource in resources:
        if resource["kind"] == "DaskCluster":
            for part in ("scheduler", "worker"):
                labels = {"dask.org/cluster-name": resource["metadata"]["name"], "dask.org/component": part}
                yield part, labels, resource["spec"][part]["spec"]
        elif resource["kind"] in ("Deployment", "Job"):
            template = resource["spec"]["template"]
            yield resource["metadata"]["name"], template["metadata"]["labels"], template["spec"]
        elif resource["kind"] == "CronJob":
            template = resource["spec"]["jobTemplate"]["spec"]["template"]
            yield resource["metadata"]["name"], template["metadata"]["labels"], template["spec"]


def in_production(resources: list[dict[str, Any]]) -> bool:
    """Whether the production component is included."""
    return bool(of_kind(resources, "CronJob"))


def containers(resources: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for _, _, spec in pods(resources):
        yield from [*spec.get("initContainers", []), *spec["containers"]]


def test_resources_are_valid(resources: list[dict[str, Any]], tools: Tools) -> None:
    assert len(resources) >= 20
    for resource in resources:
        if resource["kind"] == "DaskCluster":
            [version] = tools.resource["spec"]["versions"]
            assert resource["apiVersion"] == f"{tools.resource['spec']['group']}/{version['name']}"
            schema = strict(version["schema"]["openAPIV3Schema"])
            errors = jsonschema.Draft7Validator(schema).iter_errors(resource)
            assert [f"{error.json_path}: {error.message[:300]}" for error in errors] == []
        else:
            kubernetes_validate.validate(resource, VERSION, strict=True)


def test_pods_of_operator_are_valid(resources: list[dict[str, Any]]) -> None:
    [cluster] = of_kind(resources, "DaskCluster")
    for part in ("scheduler", "worker"):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": part}, "spec": cluster["spec"][part]["spec"]}
        kubernetes_validate.validate(pod, VERSION, strict=True)
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s"},
        "spec": cluster["spec"]["scheduler"]["service"],
    }
    kubernetes_validate.validate(service, VERSION, strict=True)


def test_schemas_reject_unknown_keys(resources: list[dict[str, Any]], tools: Tools) -> None:
    [cluster] = of_kind(resources, "DaskCluster")
    broken = copy.deepcopy(cluster)
    broken["spec"]["worker"]["spec"]["containers"][0]["resource"] = {}
    schema = strict(tools.resource["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    assert list(jsonschema.Draft7Validator(schema).iter_errors(broken))

    deployment = copy.deepcopy(of_kind(resources, "Deployment")[0])
    deployment["spec"]["replica"] = 2
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, VERSION, strict=True)


def strict(schema: Any) -> Any:
    """The schema of a resource definition, which rejects unknown keys as kubectl does."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: strict(value) for key, value in schema.items()}
    if schema.get("x-kubernetes-int-or-string"):
        found.pop("type", None)
    known = schema.get("properties")
    if (
        isinstance(known, dict)
        and schema.get("type") == "object"
        and not schema.get("x-kubernetes-preserve-unknown-fields")
    ):
        found["properties"] = {"apiVersion": {}, "kind": {}, "metadata": {}, **found["properties"]}
        found.setdefault("additionalProperties", False)
    return found


def test_every_pod_is_restricted(resources: list[dict[str, Any]]) -> None:
    [namespace] = of_kind(resources, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    found = list(pods(resources))
    assert len(found) == 6 + in_production(resources)
    for name, _, spec in found:
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert security["runAsUser"] == security["runAsGroup"] == 10001
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        kinds = {kind for volume in spec["volumes"] for kind in volume if kind != "name"}
        assert kinds <= {"emptyDir", "secret", "persistentVolumeClaim", "configMap"}


def test_every_container_is_restricted(resources: list[dict[str, Any]]) -> None:
    found = list(containers(resources))
    once = {"run", "preflight"} if in_production(resources) else {"run"}
    assert {container["name"] for container in found} == LONG_RUNNING | once
    for container in found:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, container["name"]
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]
        assert ("livenessProbe" in container) == (container["name"] != "preflight")  # which has a deadline
        if container["name"] in LONG_RUNNING:
            assert {"startupProbe", "readinessProbe"} <= set(container)
        assert container["args"][0] == container["name"]  # the role


def test_overlay_sets_the_image(tools: Tools) -> None:
    found = {container["image"] for container in containers(tools.built(DEPLOY / "kubernetes" / "overlays/example"))}

    assert found == {"registry.example.org/enrich-dist:1"}


def test_overlay_patches_take_effect(tools: Tools) -> None:
    built = tools.built(DEPLOY / "kubernetes" / "overlays/example")
    [cluster] = of_kind(built, "DaskCluster")

    assert cluster["spec"]["worker"]["replicas"] == 10
    assert {claim["spec"]["storageClassName"] for claim in of_kind(built, "PersistentVolumeClaim")} == {"shared-files"}
    environment = next(c for c in of_kind(built, "ConfigMap") if c["metadata"]["name"] == "enrich-dist-environment")
    assert environment["data"]["ENRICH_DIST_MEMORY_THRESHOLD_MB"] == "3000"
    assert environment["data"]["ENRICH_DIST_CLUSTER__TLS__KEY_FILE"] == "/tls/client-key.pem"  # kept by the merge


def test_production_needs_preflight_and_notifies(tools: Tools) -> None:
    built = tools.built(DEPLOY / "kubernetes" / "overlays/production")
    environment = next(c for c in of_kind(built, "ConfigMap") if c["metadata"]["name"] == "enrich-dist-environment")
    settings = load_settings(DEPLOY / "kubernetes" / "base" / "enrich-dist.yaml", (), environment["data"]).settings
    assert settings.environment == "production"
    urls = settings.notifications.urls_file
    assert urls is not None

    runs = {name: spec for name, _, spec in pods(built) if "inputs" in {volume["name"] for volume in spec["volumes"]}}
    assert set(runs) == {"enrich-dist-code-location", "enrich-dist-run", "enrich-dist-preflight"}
    for name, spec in runs.items():
        [container] = spec["containers"]
        mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert str(urls.parent) in mounted, name
        assert {"configMapRef": {"name": "enrich-dist-environment"}} in container["envFrom"], name
    [job] = of_kind(built, "Job")
    assert EXIT_NOT_READY in job["spec"]["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"]

    labels = {name: found for name, found, _ in pods(built)}
    outward = [
        policy["spec"]["podSelector"]
        for policy in of_kind(built, "NetworkPolicy")
        for rule in policy["spec"].get("egress", [])
        if any("ipBlock" in peer for peer in rule.get("to", [])) and {"protocol": "TCP", "port": 443} in rule["ports"]
    ]
    reaching = {name for name in labels if any(_selected(selector, labels[name]) for selector in outward)}
    assert reaching == set(runs)


def test_memory_limit_exceeds_dask_limit(resources: list[dict[str, Any]]) -> None:
    threshold_mb = int(
        next(c for c in of_kind(resources, "ConfigMap") if c["metadata"]["name"] == "enrich-dist-environment")["data"][
            "ENRICH_DIST_MEMORY_THRESHOLD_MB"
        ]
    )
    [worker] = [container for container in containers(resources) if container["name"] == "worker"]

    assert _bytes(worker["resources"]["limits"]["memory"]) > 1.25 * threshold_mb * 1e6
    assert _bytes(worker["resources"]["requests"]["memory"]) >= threshold_mb * 1e6


def _bytes(text: str) -> float:
    return float(text[:-2]) * {"Mi": 2**20, "Gi": 2**30}[text[-2:]]


def test_references_resolve(resources: list[dict[str, Any]]) -> None:
    """Every reference is a resource, or a secret that the administrator creates (deploy/README.md)."""
    existing = {(resource["kind"], resource["metadata"]["name"]) for resource in resources}
    secrets = {"enrich-dist-tls", "enrich-dist-postgres", *(["enrich-dist-alerts"] * in_production(resources))}
    assert of_kind(resources, "Secret") == []
    for name, _, spec in pods(resources):
        assert ("ServiceAccount", spec["serviceAccountName"]) in existing
        for volume in spec["volumes"]:
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in existing
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in existing
            if "secret" in volume:
                assert volume["secret"]["secretName"] in secrets
        volumes = {volume["name"] for volume in spec["volumes"]}
        for container in spec["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} == volumes, name
            for source in container["envFrom"]:
                assert ("ConfigMap", source["configMapRef"]["name"]) in existing
            for variable in container.get("env", []):
                assert variable["valueFrom"]["secretKeyRef"]["name"] in secrets


def test_dask_pods_mount_tls(resources: list[dict[str, Any]]) -> None:
    for container in containers(resources):
        mounted = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
        uses_dask = container["name"] in ("scheduler", "worker", "code-location", "run", "preflight")
        assert ("/tls" in mounted) == uses_dask, container["name"]
        if uses_dask:
            assert mounted["/tls"]["readOnly"] is True


def test_services_match_pod_ports(resources: list[dict[str, Any]]) -> None:
    [cluster] = of_kind(resources, "DaskCluster")
    services = [service["spec"] for service in of_kind(resources, "Service")] + [
        cluster["spec"]["scheduler"]["service"]
    ]
    assert len(services) == 3
    for service in services:
        [(_, _, spec)] = [pod for pod in pods(resources) if service["selector"].items() <= pod[1].items()]
        ports = {port["name"] for container in spec["containers"] for port in container["ports"]}
        assert {port["targetPort"] for port in service["ports"]} <= ports


def allowed(resources: list[dict[str, Any]], source: str, target: str, port: int) -> bool:
    """Whether the network policies allow a connection: egress of the source and ingress of the target."""
    by_name = {name: labels for name, labels, _ in pods(resources)}
    return _allows(resources, "ingress", by_name[target], by_name[source], port) and _allows(
        resources, "egress", by_name[source], by_name[target], port
    )


def _allows(
    resources: list[dict[str, Any]], direction: str, subject: dict[str, str], other: dict[str, str], port: int
) -> bool:
    peers = "from" if direction == "ingress" else "to"
    for policy in of_kind(resources, "NetworkPolicy"):
        if not _selected(policy["spec"]["podSelector"], subject):
            continue
        for rule in policy["spec"].get(direction, []):
            at_port = not rule.get("ports") or port in [given["port"] for given in rule["ports"]]
            of_peer = not rule.get(peers) or any(
                "podSelector" in peer and "namespaceSelector" not in peer and _selected(peer["podSelector"], other)
                for peer in rule[peers]
            )
            if at_port and of_peer:
                return True
    return False


def _selected(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(expression["key"]) in expression["values"] for expression in selector.get("matchExpressions", [])
    )


def test_network_policies_allow_only_needed(resources: list[dict[str, Any]]) -> None:
    [closed] = [
        p for p in of_kind(resources, "NetworkPolicy") if p["spec"]["podSelector"] == {} and "egress" not in p["spec"]
    ]
    assert set(closed["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    location, run, webserver, daemon = (
        f"enrich-dist-{name}" for name in ("code-location", "run", "webserver", "daemon")
    )
    needed = {
        ("worker", "scheduler", 8786), ("scheduler", "worker", 40123), ("worker", "worker", 40123),
        (location, "scheduler", 8786), (run, "scheduler", 8786),
        (webserver, location, 4000), (daemon, location, 4000),
    }  # fmt: skip
    names = ["scheduler", "worker", location, run, webserver, daemon]
    found = {
        (source, target, port)
        for source in names
        for target in names
        for port in (8786, 8787, 4000, 3000, 9410, 40123)
        if allowed(resources, source, target, port)
    }

    assert needed <= found
    dask = {"scheduler", "worker"}
    assert {(source, target, port) for source, target, port in found if not {source, target} <= dask} == {
        way for way in needed if not set(way[:2]) <= dask
    }
