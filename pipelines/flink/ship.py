"""Brings an operator's code to a TaskManager that may have loaded another version of it.

In thread mode all jobs that a TaskManager ever ran share one Python interpreter, and with it the modules that the first
of them imported: an upgraded job would go on with the old code until every TaskManager was restarted. So a deployed
operator travels as bytes together with the folder of its code, and is read by a function that is pickled by value,
which therefore is the new one: it puts that folder first on the path and forgets what was loaded from another.
"""

import sys
from typing import Any

import cloudpickle

ROOT: str | None = None  # the folder of the code of the job that this process submits; None: nothing is shipped


class Shipped:
    """Base of each Python operator: pickled with the folder of its code when ROOT is set."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        if ROOT is None:
            return super().__reduce_ex__(protocol)
        payload = cloudpickle.dumps((type(self), self.__dict__))
        return read_shipped, (ROOT, payload)


def read_shipped(root: str, payload: bytes) -> Any:
    """Runs in the TaskManager: the operator in `payload`, of the classes below the folder `root`."""
    import importlib
    import pickle
    import sys
    import threading

    ours = {"schemas", "transforms", "pipelines", "jobs"}
    # The tasks of a job are read by several threads at once. The lock must outlive any module of ours.
    lock = sys.__dict__.setdefault("_spanmill_code_lock", threading.RLock())
    with lock:
        if sys.path[:1] != [root]:
            for name in [name for name in sys.modules if name.split(".")[0] in ours]:
                del sys.modules[name]
            sys.path.insert(0, root)
            importlib.invalidate_caches()
        kind, state = pickle.loads(payload)
    operator = kind.__new__(kind)
    operator.__dict__.update(state)
    return operator


cloudpickle.register_pickle_by_value(sys.modules[__name__])
