"""``python -m gw`` is ``gw``."""

import sys

from .cli import main

sys.exit(main())
