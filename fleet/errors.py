"""Errors of the fleet package, by whose fault they are.

    WarmfleetError
    ├── SpecError              the caller's: fleet.toml, a template or an option is wrong; carries every finding
    ├── MissingTool            the machine's: something must be installed first
    ├── StackError             ours or the machine's: the local system did not come up, or is only half up
    └── ControlPlaneError      Nomad or Consul
        ├── Unreachable        no answer, or none for now; it may be asked again
        │   └── Silent         it took the question, and had not answered when the time was over
        └── Refused            an answer that says no
            ├── Denied         Nomad's token is missing, unknown or lacks a right
            ├── Conflict       somebody else changed the job first (check-and-set lost)
            └── Blocked        the job is in a deployment; try again when it has ended

Adapters raise these in place of their library's own and keep the cause. The command line makes one message and exit code 1 of each.
"""

from __future__ import annotations

from dataclasses import dataclass


class WarmfleetError(Exception):
    """Something that a person must know; `str()` is the whole message."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong with a file: `where` is `path:line`, `key` the setting it is about, in dotted form."""

    where: str
    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.key}: {self.message}" if self.key else f"{self.where}: {self.message}"


class SpecError(WarmfleetError):
    """All findings at once, so that one edit can mend them all."""

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        super().__init__("\n".join(str(f) for f in findings))
        self.findings = findings


class MissingTool(WarmfleetError):
    pass


class StackError(WarmfleetError):
    pass


class ControlPlaneError(WarmfleetError):
    pass


class Unreachable(ControlPlaneError):
    pass


class Silent(Unreachable):
    pass


class Refused(ControlPlaneError):
    pass


class Denied(Refused):
    pass


class Conflict(Refused):
    pass


class Blocked(Refused):
    pass
