"""The queries behind /admin/usage, /admin/costs, /admin/errors, /admin/routing, /admin/audit and `gw usage`.

Both databases give the same answers. Times are UTC, money is in whole nano-dollars, and what is not known is
counted beside a sum and never in it. Orders are stable; a page's cursor goes on behind it also when rows have
come meanwhile. An engine's ``seconds`` bound each report: one for reports is opened with more of them than
one that requests wait for.
"""

from ._query import LIMIT as LIMIT
from ._query import MOST as MOST
from ._query import report as report
from .listings import audit as audit
from .listings import failures as failures
from .listings import list_requests as list_requests
from .routing import add_outcomes as add_outcomes
from .routing import list_outcomes as list_outcomes
from .routing import routing as routing
from .types import GROUPS as GROUPS
from .types import AuditEntry as AuditEntry
from .types import BadQuery as BadQuery
from .types import Failures as Failures
from .types import Filters as Filters
from .types import Group as Group
from .types import Money as Money
from .types import Outcome as Outcome
from .types import Page as Page
from .types import Request as Request
from .types import Routed as Routed
from .types import Saved as Saved
from .types import Spread as Spread
from .types import TooSlow as TooSlow
from .types import Usage as Usage
from .usage import savings as savings
from .usage import usage as usage
