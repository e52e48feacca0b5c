"""What each Python operator does first when Flink opens it in thread mode: one interpreter in the Java process.

Each operator brings a Python thread state of its own, and CPython knows one for each OS thread: the one that came
first. A native library that asks for the interpreter's lock by PyGILState_Ensure (pyarrow when it drops a NumPy
buffer, every PyO3 library) is given that one, and waits for ever for the lock that its own thread holds under the
other. Flink chains operators into one task thread where it can, so the graph must break the chain between them.
"""

import ctypes
import logging


class SharedTaskThread(RuntimeError):
    """Two Python operators were chained: this would hang sooner or later."""


def begin_task() -> None:
    """To be called by each operator's `open`. Raises SharedTaskThread."""
    if not ctypes.pythonapi.PyGILState_Check():
        raise SharedTaskThread("another Python operator is chained to this one: call disable_chaining() on it")
    # Every record that passes, down to DEBUG, would be handed to Java one by one.
    logging.getLogger().setLevel(logging.WARNING)


def is_cancelled() -> bool:
    """Whether Flink wants the task of this thread to end: it interrupts the thread, which Python does not notice.

    To be asked by whatever waits for long; a task that goes on is killed with its TaskManager after three minutes.
    """
    from pemja import findClass  # pyright: ignore[reportAttributeAccessIssue]: it is there inside the Java process only

    return bool(findClass("java.lang.Thread").currentThread().isInterrupted())
