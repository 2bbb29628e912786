"""Fleets with tenants, for tests: keys, rows of fleet.toml, and a Redis of which each tenant is new."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

from fleet.key import digest
from fleet.model import Spec, Tenant
from fleet.serving import Price
from tests.router.conftest import SPEC

PRICES = {"large": Price(input=0.01, output=0.1), "small": Price(input=0.001, output=0.01)}
"""10 and 100, and 1 and 10 microdollars a token."""


def key_of(tenant: Tenant) -> str:
    return f"sk-of-{tenant.name}"


def auth(tenant: Tenant) -> dict[str, str]:
    return {"authorization": f"Bearer {key_of(tenant)}"}


def tenant(**row: Any) -> Tenant:
    name = f"t-{uuid.uuid4().hex[:12]}"
    return Tenant(name=name, key_sha256=(digest(f"sk-of-{name}"),), **row)


def fleet(*tenants: Tenant, redis: str = "", spec: Spec = SPEC, **router: Any) -> Spec:
    """`redis`: empty: there is none."""
    models = tuple(replace(model, cost=PRICES.get(model.name, Price())) for model in spec.models)
    return replace(spec, models=models, tenants=tenants, fleet=replace(spec.fleet, redis=redis), router=replace(spec.router, **router))
