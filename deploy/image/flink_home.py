"""`python flink_home.py FOLDER`: lays a Flink home for containers out of the apache-flink package and the locked jars.

lib holds Flink's jars, flink-python and the connector; bin and opt are the package's; conf is a folder of its own, over
which a cluster mounts its settings. Without a mount it holds flink-conf/cluster.yaml and what every container of this
image shares.
"""

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import pyflink
from pyflink.pyflink_gateway_server import KEY_ENV_JAVA_OPTS, read_from_config
from ruamel.yaml import YAML

from pipelines.jars import LOCK, fetch, jar_folder

_FLINK = Path(pyflink.__file__).parent
_PLUGINS = Path(__file__).parent / "plugins.toml"
_SETTINGS = LOCK.with_name("cluster.yaml")


def lay(home: Path) -> None:
    """Fills `home`, which must not exist yet. Raises JarError when a jar cannot be had."""
    for name in ("conf", "log", "usrlib"):
        (home / name).mkdir(parents=True)
    (home / "bin").symlink_to(_FLINK / "bin")
    # Links to jars, in real folders: Flink does not walk into a linked one.
    python = tuple((_FLINK / "opt").glob("flink-python*.jar"))
    _link(home / "opt", python)
    # flink-python in Flink's own class path too: a second Python job in one TaskManager would fail otherwise.
    _link(home / "lib", (*(_FLINK / "lib").glob("*.jar"), *python, *fetch("flink", jar_folder(), print)))
    _link(home / "plugins" / "metrics-prometheus", (_FLINK / "plugins" / "metrics-prometheus").glob("*.jar"))
    fetch("s3", home / "plugins" / "s3-fs-hadoop", print, _PLUGINS)
    for name in ("log4j-console.properties", "log4j-cli.properties"):
        shutil.copy(_FLINK / "conf" / name, home / "conf" / name)
    with (home / "conf" / "config.yaml").open("w") as out:
        YAML().dump(options(), out)


def _link(folder: Path, jars: Iterable[Path]) -> None:
    folder.mkdir(parents=True)
    for jar in jars:
        (folder / jar.name).symlink_to(jar.resolve())


def options() -> dict[str, str]:
    """Flink options of every container of this image; addresses and folders are added where it runs."""
    return {key: str(value) for key, value in YAML(typ="safe").load(_SETTINGS).items()} | {
        "env.java.opts.all": read_from_config(KEY_ENV_JAVA_OPTS, "", str(_FLINK / "conf")),
        "env.java.opts.taskmanager": "-XX:+UseG1GC -XX:+ExitOnOutOfMemoryError",
        "python.executable": sys.executable,
        "python.client.executable": sys.executable,
        "python.pythonpath": str(Path(pyflink.__file__).parents[1]),
    }


if __name__ == "__main__":
    lay(Path(sys.argv[1]))
