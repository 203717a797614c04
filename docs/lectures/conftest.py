"""Makes the modules beside the pages importable, as they are in the kernel of a page."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
