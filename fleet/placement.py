"""Nomad's reasons for leaving a node out, with the devices named: it speaks of "devices", whatever they are and however many are asked for.

    missing devices                      the node does not have them, or not such as the constraint wants, or they are not healthy
    devices: no devices match request    the node has them, and others use them

Pure: Nomad's JSON in, words out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MISSING, _TAKEN = "missing devices", "devices: "


def devices(job: Mapping[str, Any]) -> str:
    """What one allocation of a job asks for, such as `nvidia/gpu x 4 with memory >= 40 GiB`; empty where it asks for no device."""
    tasks = [task for group in job["TaskGroups"] or () for task in group["Tasks"] or ()]
    wanted = [device for task in tasks for device in (task.get("Resources") or {}).get("Devices") or ()]
    return ", ".join(_device(device) for device in wanted)


def is_about_devices(metric: Mapping[str, Any]) -> bool:
    return any(map(_is_about_devices, (*(metric.get("ConstraintFiltered") or ()), *(metric.get("DimensionExhausted") or ()))))


def named(reason: str, wanted: str) -> str:
    """`wanted`: what `devices` says of the job; without it the reason stays as it is."""
    if not wanted or not _is_about_devices(reason):
        return reason
    return f"need of device {wanted}" if reason == _MISSING else f"device {wanted}"


def _is_about_devices(reason: str) -> bool:
    return reason == _MISSING or reason.startswith(_TAKEN)


def _device(device: Mapping[str, Any]) -> str:
    count = device.get("Count") or 1
    needs = " and ".join(map(_need, device.get("Constraints") or ()))
    return f"{device['Name']}" + (f" x {count}" if count > 1 else "") + (f" with {needs}" if needs else "")


def _need(constraint: Mapping[str, Any]) -> str:
    """`${device.attr.memory}` is called memory."""
    attribute = constraint["LTarget"].removeprefix("${").removesuffix("}").removeprefix("device.").removeprefix("attr.")
    return f"{attribute} {constraint['Operand']} {constraint['RTarget']}"
