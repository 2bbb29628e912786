"""Imports run one way. Those for types alone count: a circle of them is one concept in two files, and nobody can read either alone."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import grimp
import pytest

PACKAGES = ("fleet", "router", "autoscaler")


def order(imports: dict[str, set[str]]) -> list[str]:
    """Modules, each after what it imports. Raises: CycleError"""
    return list(TopologicalSorter(imports).static_order())


@pytest.mark.parametrize("package", PACKAGES)
def test_no_modules_of_a_package_import_each_other_in_a_circle(package: str) -> None:
    graph = grimp.build_graph(package, exclude_type_checking_imports=False, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        assert len(order(imports)) == len(graph.modules)
    except CycleError as circle:
        pytest.fail(" -> ".join(reversed(circle.args[1])))


def test_a_circle_is_seen() -> None:
    with pytest.raises(CycleError):
        order({"a": {"b"}, "b": {"c"}, "c": {"a"}})
