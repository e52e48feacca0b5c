"""The modules that are generated from schemas/budget.proto are those that lie beside it."""

from pathlib import Path

import pytest
from google.protobuf import json_format
from grpc_tools import protoc

import schemas
from schemas import budget_pb2 as pb

SCHEMAS = Path(schemas.__file__).parent
GENERATED = ["budget_pb2.py", "budget_pb2.pyi", "budget_pb2_grpc.py"]


def generate(source: Path, target: Path) -> dict[str, str]:
    outputs = [f"--{kind}_out={target}" for kind in ("python", "pyi", "grpc_python")]
    assert protoc.main(["protoc", f"-I{source}", *outputs, "schemas/budget.proto"]) == 0
    return {name: (target / "schemas" / name).read_text() for name in GENERATED}


def test_generating_again_gives_what_lies_beside_the_definition(tmp_path: Path) -> None:
    assert generate(SCHEMAS.parent, tmp_path) == {name: (SCHEMAS / name).read_text() for name in GENERATED}


def test_a_changed_definition_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "schemas").mkdir()
    changed = (SCHEMAS / "budget.proto").read_text().replace("int32 ttl_s = 5;", "int32 ttl_s = 55;")
    (tmp_path / "schemas" / "budget.proto").write_text(changed)
    (tmp_path / "made").mkdir()
    made = generate(tmp_path, tmp_path / "made")
    assert made["budget_pb2.py"] != (SCHEMAS / "budget_pb2.py").read_text()


@pytest.mark.parametrize("amount", [2**53 + 1, 2**63 - 1, -1])
def test_json_shows_money_as_a_decimal_string_without_loss(amount: int) -> None:
    text = json_format.MessageToDict(pb.Reply(settled_nano=amount))
    assert text == {"settledNano": str(amount)}
    assert json_format.ParseDict({"cost_nano": str(amount)}, pb.SettleRequest()).cost_nano == amount
