"""Properties are about what is decided, not about how fast a busy machine does it."""

from __future__ import annotations

import hypothesis

hypothesis.settings.register_profile("no-deadline", deadline=None)
hypothesis.settings.load_profile("no-deadline")
