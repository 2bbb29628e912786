"""The choice between models without a router or HTTP: the same pure strategies (router.choice), in one thread-safe object.

    manager = LLMRoutingManager(execution_fn=ask)     # ask(model, request) -> ExecutionResult
    manager.route_query("What is 2+2?", capability="simple_qa", strategy="cost_optimized")
    manager.execute_query("Write a Python function", capability="code_generation")

It calls models only through the function that it is given. There is no pretended execution in it: a test passes a function that pretends.
"""

from router.library.data import ExecutionFn, ExecutionResult, ModelConfig, QueryRequest, RoutingDecision
from router.library.errors import BadConfig, LibraryError, NeedsExecution, NoModelFits, UnknownModel
from router.library.manager import LLMRoutingManager
from router.library.router import LLMRouter
from router.library.selectors import (
    BalancedSelector,
    CostOptimizedSelector,
    LatencyOptimizedSelector,
    LeastLoadedSelector,
    ModelSelector,
    QualityOptimizedSelector,
    RoundRobinSelector,
    RouterEnsemble,
)

__all__ = [
    "BadConfig",
    "BalancedSelector",
    "CostOptimizedSelector",
    "ExecutionFn",
    "ExecutionResult",
    "LLMRouter",
    "LLMRoutingManager",
    "LatencyOptimizedSelector",
    "LeastLoadedSelector",
    "LibraryError",
    "ModelConfig",
    "ModelSelector",
    "NeedsExecution",
    "NoModelFits",
    "QualityOptimizedSelector",
    "QueryRequest",
    "RoundRobinSelector",
    "RouterEnsemble",
    "RoutingDecision",
    "UnknownModel",
]
