"""Errors of the library.

    LibraryError
    ├── BadConfig         the caller's: a configuration, model or query is wrong; names key and value
    ├── UnknownModel      the caller's: no model has this id
    ├── NoModelFits       the caller's: no model meets what is demanded; `field` is what to loosen
    └── NeedsExecution    the caller's: there is no function with which to ask a model

A model that fails is no error: it is an ExecutionResult that says so.
"""

from __future__ import annotations


class LibraryError(Exception):
    """`str()` is the whole message."""


class BadConfig(LibraryError):
    pass


class UnknownModel(LibraryError):
    def __init__(self, model_id: str) -> None:
        super().__init__(f"no model has the id {model_id[:100]!r}; add it with add_model")


class NoModelFits(LibraryError):
    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


class NeedsExecution(LibraryError):
    def __init__(self) -> None:
        super().__init__(
            "nothing was given to ask a model with: pass execution_fn(model, request) -> ExecutionResult to execute_query or to "
            "LLMRoutingManager; for a test, one that pretends (mock_execution=True alone pretends nothing)"
        )
