"""Checks manifests as an API server would, and unknown fields as an error."""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

SHIPPED = Path(__file__).parent / "schemas"
# In the definitions since operator 1.13; those beside us are older (see their README).
_NEWER = {"flinkVersion": ["v2_2"]}


def folders() -> list[Path]:
    """Where definitions are: beside us, and of the operator that SPANMILL_FLINK_CRDS names the folder of."""
    own = os.environ.get("SPANMILL_FLINK_CRDS")
    return [SHIPPED, *([Path(own)] if own else [])]


@cache
def definition(kind: str, folder: Path) -> dict[str, Any]:
    """The schema of the resource `kind`, in which an unknown field is an error."""
    crd = YAML(typ="safe").load(folder / f"{kind.lower()}s.flink.apache.org-v1.yml")
    (version,) = [found for found in crd["spec"]["versions"] if found["name"] == "v1beta1"]
    schema = _closed(version["schema"]["openAPIV3Schema"])
    schema["properties"] |= dict.fromkeys(("apiVersion", "kind", "metadata"), True)
    if folder == SHIPPED:
        for name, values in _NEWER.items():
            if name in schema["properties"]["spec"]["properties"]:
                schema["properties"]["spec"]["properties"][name]["enum"] += values
    return schema


def _closed(schema: Any) -> Any:
    """`schema` with no other properties than those it names, wherever it does not say that others may come."""
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    open_to_all = schema.get("x-kubernetes-preserve-unknown-fields") is True
    found = {key: _properties(value) if key == "properties" else _closed(value) for key, value in schema.items()}
    if "properties" in schema and "additionalProperties" not in schema and not open_to_all:
        found["additionalProperties"] = False
    return found


def _properties(properties: dict[str, Any]) -> dict[str, Any]:
    """Names of fields are no keywords, whatever they are."""
    return {name: _closed(schema) for name, schema in properties.items()}


def faults(resource: dict[str, Any], folder: Path) -> Iterator[str]:
    """What is wrong with a Flink resource, a line each: where, and what."""
    validator = Draft202012Validator(definition(resource["kind"], folder))
    for error in validator.iter_errors(resource):
        yield f"{error.json_path}: {error.message[:200]}"


def refused(manifest: dict[str, Any]) -> list[str]:
    """What the API server would refuse of any manifest, or silently drop."""
    if manifest["apiVersion"].startswith("flink.apache.org/"):
        found = [fault for folder in folders() for fault in faults(manifest, folder)]
        parts = (manifest["spec"], manifest["spec"].get("jobManager", {}))
        templates = [part["podTemplate"] for part in parts if "podTemplate" in part]
        return found + [fault for pod in templates for fault in refused({"apiVersion": "v1", "kind": "Pod", **pod})]
    found = []
    for version in ("1.31", "1.37"):
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"{manifest['kind']} ({version}): {error.message[:200]}")
    return found
