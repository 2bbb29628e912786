"""Makes schemas/*.json: what the resources that terraform/ uses take, as published bindings of the Terraform providers say it.

The providers' own binaries are not needed for that: the prebuilt bindings of CDK for Terraform are generated from the schemas, and say
for every attribute whether it is a block, of what type it is, and whether it is required. What is younger than those bindings comes
from Pulumi's. Which attributes the provider computes by itself when they are left out is in neither: `id` is taken for one.

    pip download --no-deps -d WHEELS cdktf-cdktf-provider-nomad==10.0.3 pulumi-nomad==2.6.1 \
        cdktf-cdktf-provider-consul==10.1.2 cdktn-provider-datadog==16.1.1
    python tests/terraform/make_schemas.py WHEELS
"""

from __future__ import annotations

import io
import json
import re
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "schemas"
RESOURCES = {
    "nomad": (
        "acl_auth_method", "acl_binding_rule", "acl_policy", "acl_role", "dynamic_host_volume", "namespace", "node_pool", "variable",
    ),
    "consul": ("acl_auth_method", "acl_binding_rule", "acl_policy", "acl_role", "config_entry_service_intentions"),
    "datadog": ("dashboard_json", "logs_metric", "metric_tag_configuration", "monitor", "service_level_objective"),
}  # fmt: skip
LEFT_OUT = {"datadog_monitor": "variables", "datadog_service_level_objective": "sli_specification"}  # large, and not used

_ENTRY = re.compile(r'^\s+(\w+): \{\n\s+value: (.*?),\n\s+isBlock: (\w+),\n\s+type: "(\w+)",\n\s+storageClassType: "(\w+)"', re.M | re.S)
_STRUCT = re.compile(r"(?<![.\w])(\w+)ToHclTerraform")
_INTERFACE = re.compile(r"^export interface (\w+) .*?\{\n(.*?)^\}", re.M | re.S)
_KEY = re.compile(r"#(\w+) \w+#\1\}\n\s+\*/\n\s+readonly \w+(\??): ([^;]+);")
_OUTPUT = re.compile(r"^    get \w+\(\) \{\n\s+return this\.get(String|Number)Attribute\('(\w+)'\);", re.M)
_PULUMI = re.compile(r"^                 (\w+): (Optional\[)?pulumi\.Input\[(?:_builtins\.)?(\w+)", re.M)
_TYPES = {"string": "string", "number": "number", "boolean": "bool"}
_PULUMI_TYPES = {"str": "string", "int": "number", "bool": "bool"}


@dataclass(frozen=True, slots=True)
class Bindings:
    """The generated code of one resource: `code` says what there is, `types` what of it is required."""

    code: str
    types: dict[str, dict[str, tuple[bool, bool]]]  # by interface and attribute: is it required, is it a list

    def block(self, body: str, interface: str) -> dict[str, Any]:
        """{"attributes": {name: {"type", "required"}}, "blocks": {name: {"nesting", "min", "max", "attributes", "blocks"}}}"""
        attributes: dict[str, Any] = {}
        blocks: dict[str, Any] = {}
        for name, value, is_block, kind, storage in _ENTRY.findall(body):
            required, many = self.types[interface].get(name, (False, False))
            if is_block == "true":
                struct = _STRUCT.findall(value)[0]
                limits = {"nesting": kind, "min": int(required), "max": 0 if many else 1}
                blocks[name] = limits | self.block(
                    self._body(rf"function {struct}ToHclTerraform\(struct\)"), struct[0].upper() + struct[1:]
                )
            else:
                attributes[name] = {"type": _type(kind, storage), "required": required}
        return {"attributes": attributes, "blocks": blocks}

    def resource(self) -> dict[str, Any]:
        made = self.block(self._body(r"synthesizeHclAttributes\(\)"), next(iter(self.types)))
        for kind, output in _OUTPUT.findall(self.code[self.code.rindex("\nclass ") :]):
            made["attributes"].setdefault(output, {"type": kind.lower(), "required": False, "computed": True})
        return made

    def _body(self, start: str) -> str:
        found = re.search(start + r" \{.*?const attrs = \{\n(.*?)\n\s+\};", self.code, re.S)
        assert found, start
        return found[1]


def _type(kind: str, storage: str) -> Any:
    if kind == "simple":
        return _TYPES[storage]
    return [kind, _TYPES[re.sub("(List|Map)$", "", storage)]]


def _bindings(archive: tarfile.TarFile, folder: str) -> Bindings:
    def text(name: str) -> str:
        return (archive.extractfile(f"package/lib/{folder}/{name}") or io.BytesIO()).read().decode()

    types = {
        name: {key: (not optional, "[]" in kind) for key, optional, kind in _KEY.findall(body)}
        for name, body in _INTERFACE.findall(text("index.d.ts"))
    }
    return Bindings(text("index.js"), types)


def _bring_up(block: dict[str, Any], wheel: zipfile.ZipFile, resource: str) -> None:
    """Adds attributes of one value that the older bindings do not know, and takes back what need not be given any more."""
    path = f"pulumi_nomad/{resource}.py"
    text = wheel.read(path).decode() if path in wheel.namelist() else "@_builtins.property"
    attributes = block["attributes"]
    for name, optional, kind in _PULUMI.findall(text[: text.index("@_builtins.property")]):
        if name in attributes:
            attributes[name]["required"] &= not optional
        elif kind in _PULUMI_TYPES:
            attributes[name] = {"type": _PULUMI_TYPES[kind], "required": not optional}
            if re.search(rf"\b{name}: \*\*NOTE:\*\* This field is write-only", text):
                attributes[name]["write_only"] = True


def _archive(wheel: zipfile.ZipFile) -> tarfile.TarFile:
    inner = next(name for name in wheel.namelist() if name.endswith(".tgz"))
    return tarfile.open(fileobj=io.BytesIO(wheel.read(inner)))


def schema(provider: str, wheels: Path) -> dict[str, Any]:
    """One provider: {"version", "provider": block, "resources": {type: block}}."""
    [bound] = wheels.glob(f"cdkt[fn]_*provider_{provider}-*.whl")
    with zipfile.ZipFile(bound) as wheel, _archive(wheel) as archive:
        resources = {f"{provider}_{name}": _bindings(archive, name.replace("_", "-")).resource() for name in RESOURCES[provider]}
        own = _bindings(archive, "provider")
    [version] = set(re.findall(r"providerVersion: '([\d.]+)'", own.code))
    for name, block in LEFT_OUT.items():
        if name in resources:
            del resources[name]["blocks"][block]
    if provider == "nomad":
        [newer] = wheels.glob("pulumi_nomad-*.whl")
        version = newer.name.split("-")[1]  # its versions are the provider's
        with zipfile.ZipFile(newer) as wheel:
            for name, block in resources.items():
                _bring_up(block, wheel, name.removeprefix("nomad_"))
    settings = own.resource()
    settings["attributes"].pop("alias")  # of Terraform itself
    return {"version": version, "provider": settings, "resources": resources}


def main() -> None:
    for provider in RESOURCES:
        made = schema(provider, Path(sys.argv[1]))
        (FOLDER / f"{provider}.json").write_text(json.dumps(made, indent=1, sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    main()
