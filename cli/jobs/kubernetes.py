"""What a job is on Kubernetes: a FlinkDeployment and the ConfigMap of its settings. Pure: a spec in, manifests out.

Options, memory, pods and accounts are those of deploy/kubernetes/base, which says why; a place adds image, folders,
namespace. Accounts stay in the Secrets that the FlinkDeployment names.
"""

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ruamel.yaml import YAML
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import BaseRepresenter, RoundTripRepresenter

from cli.exits import Exit, Failure
from cli.jobs.spec import SECRET
from cli.local.profile import Running

Manifest = dict[str, Any]

_BASE = Path(__file__).parents[2] / "deploy" / "kubernetes" / "base"
_LABELS = {"app.kubernetes.io/part-of": "spanmill"}
# On the FlinkDeployment: which revision of the history it is, and what it was rendered from.
REVISION = "spanmill-revision"
DIGEST = "spanmill-digest"


@dataclass(frozen=True)
class Site:
    """Where a job runs and keeps what it must find again (URIs of folders)."""

    image: str
    namespace: str
    checkpoints: str
    savepoints: str

    @property
    def ha(self) -> str:
        """Beside the checkpoints."""
        return self.checkpoints.rstrip("/").rpartition("/")[0] + "/ha"


@dataclass(frozen=True)
class Start:
    """With what state a job begins when it is applied. savepoint: URI; the operator takes it when `nonce` is new.

    lost: a savepoint may hold state that nothing reads. fresh: an empty state, whatever ran before.
    """

    savepoint: str = ""
    nonce: int = 0
    lost: bool = False
    fresh: bool = False


GO_ON = Start()


def site_of(running: Running, image: str = "", namespace: str = "") -> Site:
    """What the context says, under `image` and `namespace`. Raises Failure when something lacks or is no URI."""
    running.require("broker", "store", "checkpoints", "savepoints", *(() if image else ("image",)))
    for name in ("checkpoints", "savepoints"):
        folder = urlsplit(getattr(running, name))
        if not folder.scheme or not folder.path.strip("/"):
            what = f"{name} of the context must be the URI of a folder, not {getattr(running, name)!r}"
            raise Failure(what, f"spanmill context set NAME --{name} s3://bucket/observe/{name}", Exit.USAGE)
    image = image or running.image
    return Site(image, namespace or running.namespace, running.checkpoints, running.savepoints)


def render(job: str, settings: Mapping[str, Any], site: Site, start: Start = GO_ON) -> list[Manifest]:
    """The ConfigMap and the FlinkDeployment of `job`, in the order to apply them.

    The ConfigMap's name carries a digest of the settings: other settings are another FlinkDeployment, which the
    operator upgrades to. Raises Failure when the job has no manifest, or a setting holds a password.
    """
    if urlsplit(settings["store_url"]).password:
        what = "store_url holds a password, which would be in a ConfigMap"
        raise Failure(what, "name the account in the Secret spanmill-store", Exit.USAGE)
    deployment = copy.deepcopy(_template(job))
    text = json.dumps({name: value for name, value in settings.items() if name not in SECRET}, indent=2) + "\n"
    name = f"spanmill-{job}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": site.namespace, "labels": dict(_LABELS)},
        "data": {f"{job}.json": text},
    }
    deployment["metadata"] |= {"namespace": site.namespace, "labels": dict(_LABELS)}
    spec = deployment["spec"]
    spec["image"] = site.image
    spec["flinkConfiguration"] |= {
        "high-availability.storageDir": site.ha,
        "execution.checkpointing.dir": site.checkpoints,
        "execution.checkpointing.savepoint-dir": site.savepoints,
    }
    for volume in spec["podTemplate"]["spec"]["volumes"]:
        if "configMap" in volume:
            volume["configMap"]["name"] = name
    spec["job"] |= {"parallelism": settings["parallelism"], **_beginning(start)}
    return [config, deployment]


def _beginning(start: Start) -> dict[str, Any]:
    if start.savepoint:
        said = {"initialSavepointPath": start.savepoint, "savepointRedeployNonce": start.nonce or _nonce(start)}
        return said | ({"allowNonRestoredState": True} if start.lost else {})
    if start.fresh:
        return {"upgradeMode": "stateless"}
    return {"allowNonRestoredState": True} if start.lost else {}


def _nonce(start: Start) -> int:
    """The same for the same savepoint, so that manifests in a repository change only when they must."""
    return int(hashlib.sha256(start.savepoint.encode()).hexdigest()[:8], 16)


def _template(job: str) -> Manifest:
    file = _BASE / f"{job}.yaml"
    if not file.exists():
        raise Failure(f"the job {job} has no manifest for Kubernetes", "--target session", Exit.REFUSED)
    return YAML(typ="safe").load(file)


def snapshot(job: str, namespace: str, name: str, kind: str = "savepoint") -> Manifest:
    """A FlinkStateSnapshot: applied, it takes a savepoint or a checkpoint of the running job, once."""
    savepoint = {"formatType": "CANONICAL", "disposeOnDelete": False, "alreadyExists": False}
    return {
        "apiVersion": "flink.apache.org/v1beta1",
        "kind": "FlinkStateSnapshot",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(_LABELS)},
        "spec": {
            "backoffLimit": 2,
            "jobReference": {"kind": "FlinkDeployment", "name": job},
            kind: savepoint if kind == "savepoint" else {},
        },
    }


def digest(manifests: Sequence[Manifest]) -> str:
    """SHA-256 of manifests that were rendered with GO_ON: how the job is to be, not how it begins."""
    return hashlib.sha256(json.dumps(manifests, sort_keys=True).encode()).hexdigest()


def marked(manifests: Sequence[Manifest], revision: int, rendered: str) -> list[Manifest]:
    """`manifests` of which the FlinkDeployment says which revision it is and what `digest` it has."""
    marks = {REVISION: str(revision), DIGEST: rendered}
    found = copy.deepcopy(list(manifests))
    for manifest in found:
        if manifest["kind"] == "FlinkDeployment":
            manifest["metadata"]["annotations"] = marks
    return found


def to_yaml(manifests: Sequence[Manifest]) -> str:
    """A document for each; texts of several lines as such, so that another setting is another line."""
    out = StringIO()
    yaml = YAML()
    yaml.width = 10_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.explicit_start = True
    yaml.Representer = _Representer
    yaml.dump_all(manifests, out)
    return out.getvalue()


class _Representer(RoundTripRepresenter):
    """A class of its own: representers are registered for all users of a class."""


def _text(representer: BaseRepresenter, text: str) -> ScalarNode:
    return representer.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Representer.add_representer(str, _text)
