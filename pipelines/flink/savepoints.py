"""What lies in a savepoint or checkpoint: operators by uid, the names of their keyed states, sizes.

Read with Flink's own classes in the client's Java process (Checkpoints.loadCheckpointMetadata, and the header of each
keyed state file: KeyedBackendSerializationProxy).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from py4j.protocol import Py4JJavaError


class UnreadableSavepoint(Exception):
    """There is no savepoint there, or it was torn."""


@dataclass(frozen=True)
class OperatorState:
    """States of one operator. uid: '' when the savepoint does not say it. states: names of its keyed states."""

    uid: str
    uid_hash: str
    parallelism: int
    max_parallelism: int
    bytes: int
    states: tuple[str, ...]


def read_savepoint(jvm: Any, uri: str) -> list[OperatorState]:
    """The operators of the savepoint at `uri` (a folder). Raises UnreadableSavepoint."""
    path = jvm.org.apache.flink.core.fs.Path(uri, "_metadata")
    loader = jvm.java.lang.Thread.currentThread().getContextClassLoader()
    try:
        stream = jvm.java.io.DataInputStream(path.getFileSystem().open(path))
        try:
            metadata = jvm.org.apache.flink.runtime.checkpoint.Checkpoints.loadCheckpointMetadata(stream, loader, uri)
        finally:
            stream.close()
        return [_operator(jvm, loader, state) for state in metadata.getOperatorStates().toArray()]
    except Py4JJavaError as error:
        raise UnreadableSavepoint(f"{uri}: {error.java_exception.toString()}") from error


def _operator(jvm: Any, loader: Any, state: Any) -> OperatorState:
    names = {name for handle in _keyed_handles(state) for name in _names(jvm, loader, handle)}
    return OperatorState(
        uid=state.getOperatorUid().orElse("") or "",
        uid_hash=str(state.getOperatorID()),
        parallelism=state.getParallelism(),
        max_parallelism=state.getMaxParallelism(),
        bytes=state.getStateSize(),
        states=tuple(sorted(names)),
    )


def _keyed_handles(state: Any) -> Iterator[Any]:
    for subtask in state.getStates().toArray():
        yield from subtask.getManagedKeyedState().toArray()


def _names(jvm: Any, loader: Any, handle: Any) -> Iterator[str]:
    """Timers are keyed state too; only those states that the code asked for count."""
    incremental = handle.getClass().getSimpleName() == "IncrementalRemoteKeyedStateHandle"  # RocksDB's checkpoints
    stream = (handle.getMetaDataStateHandle() if incremental else handle).openInputStream()
    try:
        proxy = jvm.org.apache.flink.runtime.state.KeyedBackendSerializationProxy(loader)
        proxy.read(jvm.org.apache.flink.core.memory.DataInputViewStreamWrapper(stream))
        for info in proxy.getStateMetaInfoSnapshots().toArray():
            if info.getBackendStateType().toString() != "PRIORITY_QUEUE":
                yield str(info.getName())
    finally:
        stream.close()
