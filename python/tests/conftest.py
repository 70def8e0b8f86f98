"""Set-up of all tests: the tuning cache is not the user's."""

from __future__ import annotations

import os

from helpers import ROOT

# Before anything opens a device.
os.environ["XDG_CACHE_HOME"] = str(ROOT / "target" / "test-cache")
