"""One monitor: what is asked, when it alerts, what it means, and what to do.

Law: every monitor has a runbook of three parts, and says what silence means. Silence is an alert where the fleet itself would have gone
silent, and well where nothing happened to be counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from fleet.boards.widgets import Json

Silence = Literal["show_and_notify_no_data", "resolve"]
Sign = Literal[">", ">=", "<", "<="]

ALARM: Final[Silence] = "show_and_notify_no_data"
WELL: Final[Silence] = "resolve"

_NEW_GROUP_S: Final = 300


@dataclass(frozen=True, slots=True)
class Runbook:
    """`means`: what it is for callers. `look`: where the cause shows. `do`: what helps."""

    means: str
    look: str
    do: str

    def text(self) -> str:
        return f"{self.means}\n\nLook: {self.look}\n\nDo: {self.do}"


@dataclass(frozen=True, slots=True)
class Watch:
    """`question` is Datadog's, up to the comparison, as `min(last_10m):sum:x{...} by {model}`.

    `priority`: 1 wakes somebody, 2 today, 3 this week. `warning`: of the threshold's side that is reached first; None: there is none.
    """

    title: str
    question: str
    sign: Sign
    critical: float
    runbook: Runbook
    priority: Literal[1, 2, 3]
    silence: Silence
    warning: float | None = None

    def json(self, tags: list[str]) -> Json:
        """The body of `POST /api/v1/monitor`."""
        thresholds = {"critical": self.critical} | ({} if self.warning is None else {"warning": self.warning})
        options: Json = {
            "thresholds": thresholds,
            "on_missing_data": self.silence,
            "require_full_window": False,
            "new_group_delay": _NEW_GROUP_S,
            "include_tags": True,
            "notify_audit": False,
        }
        return {
            "name": self.title,
            "type": "query alert",
            "query": f"{self.question} {self.sign} {self.critical:g}",
            "message": self.runbook.text(),
            "tags": tags,
            "priority": self.priority,
            "options": options,
        }
