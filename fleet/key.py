"""`warmfleet key`: a key for a tenant, and its hash.

The key is shown once and kept nowhere; the hash is what fleet.toml takes. Keys have 256 bits of chance, so that a plain hash is enough:
there is nothing to guess that a slow one would protect.
"""

from __future__ import annotations

import hashlib
import re
import secrets

import click

from fleet.serving import LABEL

PREFIX = "sk-wf-"
_NAME = re.compile(LABEL).search


@click.command()
@click.option("--name", help="The tenant; prints a whole [[tenant]] row for fleet.toml.")
def key(name: str | None) -> None:
    """Make a key for a tenant, and its hash for fleet.toml."""
    if name and not _NAME(name):
        raise click.BadParameter("must be lower-case letters, digits and hyphens, at most 63, such as acme-eu", param_hint="--name")
    made = PREFIX + secrets.token_urlsafe(32)
    click.echo(f"key (shown this once): {made}")
    click.echo(_row(name, digest(made)) if name else f"key_sha256: {digest(made)}")


def digest(made: str) -> str:
    """As it stands in `tenant.key_sha256`."""
    return hashlib.sha256(made.encode()).hexdigest()


def _row(name: str, hashed: str) -> str:
    return f'\n[[tenant]]\nname = "{name}"\nkey_sha256 = ["{hashed}"]'
