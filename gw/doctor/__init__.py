"""``gw doctor``: looks at everything that a gateway stands on, and says what to do about it.

One file per concern (``environment``, ``keys``, ``claude``, ``ollama``, ``compatible``, ``redis``,
``postgres``, ``ledger``, ``limits``, ``clock``); each fills a :class:`Section`. ``examine.py`` runs them,
``report.py`` words the result.
"""

from __future__ import annotations

from .examine import NAMES, examine
from .report import Finding, Report, Section, section_text, summary_text

__all__ = ["NAMES", "Finding", "Report", "Section", "examine", "section_text", "summary_text"]
