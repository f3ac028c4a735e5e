"""A simulated upstream: Claude's protocol on a socket, as strict as the real one, with scripted faults.

See ``perf/README.md`` for how to use it.
"""

from .refusal import Refusal
from .scenario import Scenario
from .server import SimulatedUpstream
from .strict import check

__all__ = ["Refusal", "Scenario", "SimulatedUpstream", "check"]
