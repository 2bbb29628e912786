"""What every rendered job must have, whatever its template says: judged on the text, so that an edited template is judged too.

Each finding names the file, the line of the block, why it matters and how to mend it. Facts about the cluster that no text shows
(what the Nomad clients allow) are settings. Whether Nomad takes a job is asked of Nomad (`warmfleet validate`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fleet import names
from fleet.blocks import Block, blocks, walk
from fleet.errors import Finding
from fleet.model import Model, Spec
from fleet.units import format_duration, parse_duration

_PINNED = re.compile(r"(@sha256:[0-9a-f]{64}|:(?!latest$)[\w.-]+)$")
_DURATIONS = ("healthy_deadline", "progress_deadline", "kill_timeout", "shutdown_delay", "grace", "interval", "lost_after")

# A name that says secret, with a value that is no reference to one; and values that are secrets by their form.
_NAME = r"[\w.-]*(?:secret|token|passw|api[_-]?key|app[_-]?key|access[_-]?key|credential)(?!s)[\w.-]*"
_ASSIGNED = re.compile(rf'"?(?i:({_NAME}))"?\s*[:=]\s*"([^"]+)"')
_ARGUMENT = re.compile(rf'"--?(?i:({_NAME}))(?:=|",\s*")([^"]+)"')
_HARMLESS = re.compile(r"(?i:timeout|_env|_file|_path|_hash|_sha256|_s)$")
_FORMS = re.compile(
    r"\b(AKIA[0-9A-Z]{16}|sk-[\w-]{20,}|hf_[A-Za-z]{20,}|gh[pousr]_\w{30,}|xox[abp]-[\w-]{20,}|-----BEGIN [A-Z ]*PRIVATE KEY)"
)
_KEEP = "keep it in a Nomad variable and read it by template"
_REFERENCE = re.compile(r"\$\{|\$\w|<<<|\{\{|^[0-9.]+$|^(true|false|)$")


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the text is held against. `model`: None for the jobs of our own programs. `cap_s`: the clients' max_kill_timeout."""

    model: Model | None
    cap_s: float

    @property
    def cold_start_s(self) -> float:
        return self.model.cold_start_s if self.model else 0.0


def lint(files: Mapping[str, str], spec: Spec) -> tuple[Finding, ...]:
    """Findings in rendered jobs by file name; none where all is well."""
    models = {f"{model.name}.nomad.hcl": model for model in spec.models}
    cap_s = spec.fleet.max_kill_s
    return tuple(finding for name, text in files.items() for finding in _job(name, text, _Facts(models.get(name), cap_s)))


def _job(name: str, text: str, facts: _Facts) -> Iterator[Finding]:
    for block in blocks(text):
        wrong = list(_durations(block))
        for message in wrong or _judged(block, facts):
            yield Finding(f"{name}:{block.line}", block.kind, message)
    for number, line in enumerate(text.splitlines(), 1):
        for message in _secrets(line):
            yield Finding(f"{name}:{number}", "", message)


def _judged(block: Block, facts: _Facts) -> Iterator[str]:
    for rule in _RULES.get(block.kind, ()):
        yield from rule(block, facts)


def _durations(block: Block) -> Iterator[str]:
    for key in _DURATIONS:
        try:
            parse_duration(block.values.get(key, "0s"))
        except ValueError as error:
            yield f"{key} {block.values[key]!r}: {error}"


def _seconds(block: Block, key: str, default: str) -> float:
    return parse_duration(block.values.get(key, default))


def _service(block: Block, _facts: _Facts) -> Iterator[str]:
    if not block.inner("check"):
        yield "has no check: Consul would call it passing before it answers; add a check block"


def _canary(block: Block, facts: _Facts) -> Iterator[str]:
    if facts.model is None or not any(names.META_MODEL in meta.values for meta in block.inner("meta")):
        return
    canaries = block.inner("canary_meta")
    if not canaries:
        yield "has no canary_meta: routers would use a new version before it is promoted; add one that says canary in place of model"
    elif any(names.META_MODEL in canary.values for canary in canaries):
        yield f"canary_meta says {names.META_MODEL}: routers would use a new version before it is promoted; leave it out there"


def _group(block: Block, facts: _Facts) -> Iterator[str]:
    serves = bool(block.inner("service"))
    if block.inner("network") and not serves:
        yield "has ports and no service: nobody can find or check it; add a service block"
    if facts.model is None:
        return
    if serves and _seconds(block, "shutdown_delay", "0s") <= 0:
        yield "has no shutdown_delay: routers still send requests when the stop signal comes; set it to the time they need to see Consul"
    if not block.inner("update"):
        yield "has no update block: Nomad gives a replica up after 5 minutes; add one whose healthy_deadline is longer than the cold start"
    if not block.inner("restart"):
        yield "has no restart block: Nomad counts restarts in 30 minutes, in which a cold start may not end; add one with a longer interval"


def _gpu_group(block: Block, _facts: _Facts) -> Iterator[str]:
    if not any(inner.kind == "device" for inner in walk(block)):
        return
    disconnects = block.inner("disconnect")
    if not disconnects:
        yield "has devices and no disconnect block: a node that is cut off gets its replicas doubled on scarce GPUs; add one"
    elif any(d.values.get("replace") != "false" for d in disconnects):
        yield "disconnect may replace: a second copy starts on scarce GPUs while the first still serves; set replace = false"


def _weights(block: Block, facts: _Facts) -> Iterator[str]:
    if facts.model is None or facts.model.engine != "vllm":
        return
    volumes = {volume.label for volume in block.inner("volume") if volume.values.get("type") == "host"}
    mounted = {mount.values.get("volume") for task in block.inner("task") for mount in task.inner("volume_mount")}
    if not volumes & mounted:
        yield "mounts no host volume: every start downloads the weights again; add volume and volume_mount blocks (model.volume)"


def _resources(block: Block, facts: _Facts) -> Iterator[str]:
    if facts.model and facts.model.gpus and not block.inner("device"):
        yield "asks for no device: the engine would be placed on a node without a GPU; add a device block (model.gpu)"


def _device(block: Block, _facts: _Facts) -> Iterator[str]:
    """A label of three parts names the very model of the device."""
    if not block.inner("constraint") and block.label.count("/") < 2:
        yield "has no constraint: any device of this name is taken, also one too small for the weights; set model.gpu.memory"


def _image(block: Block, _facts: _Facts) -> Iterator[str]:
    image = block.values.get("image", "")
    if image and not _PINNED.search(image):
        yield f"image {image!r} is not pinned: give it a version or a digest, so that a restart runs what was tested"


def _update(block: Block, facts: _Facts) -> Iterator[str]:
    if "healthy_deadline" not in block.values and facts.model is None:
        return
    healthy, progress = _seconds(block, "healthy_deadline", "5m"), _seconds(block, "progress_deadline", "10m")
    if healthy <= facts.cold_start_s:
        yield (
            f"healthy_deadline is not longer than the cold start: a replica would be given up while it loads "
            f"({format_duration(facts.cold_start_s)}); make it longer"
        )
    if progress <= healthy:
        yield "progress_deadline is not longer than healthy_deadline: Nomad refuses that; make it longer"


def _restart(block: Block, facts: _Facts) -> Iterator[str]:
    attempts, interval = int(block.values.get("attempts", "2")), _seconds(block, "interval", "30m")
    if facts.model and interval <= attempts * facts.cold_start_s:
        yield (
            f"interval is not longer than {attempts} cold starts: a replica that dies while it loads is restarted for ever; "
            f"set it above {format_duration(attempts * facts.cold_start_s)}"
        )


def _check_restart(block: Block, facts: _Facts) -> Iterator[str]:
    if _seconds(block, "grace", "1s") <= facts.cold_start_s:
        cold = format_duration(facts.cold_start_s)
        yield f"grace is not longer than the cold start: a replica would be killed while it loads; set it above {cold}"


def _task(block: Block, facts: _Facts) -> Iterator[str]:
    if facts.model and "kill_timeout" not in block.values:
        yield "has no kill_timeout: Nomad kills an engine 5 s after the stop signal, with its open streams; set it to how long they take"
    kill_s = _seconds(block, "kill_timeout", "5s")
    if kill_s > facts.cap_s:
        yield (
            f"kill_timeout is {format_duration(kill_s)}, and the Nomad clients allow {format_duration(facts.cap_s)}: they would cut open "
            "streams off without a word; raise max_kill_timeout in their configuration and then fleet.max_kill_timeout, or lower it"
        )


_RULES = {
    "service": (_service, _canary),
    "group": (_group, _gpu_group, _weights),
    "resources": (_resources,),
    "device": (_device,),
    "config": (_image,),
    "update": (_update,),
    "restart": (_restart,),
    "check_restart": (_check_restart,),
    "task": (_task,),
}


def _secrets(line: str) -> Iterator[str]:
    for name, value in (*_ASSIGNED.findall(line), *_ARGUMENT.findall(line)):
        if not _HARMLESS.search(name) and not _REFERENCE.search(value):
            yield f"{name} stands here in clear text, and so in Nomad's API and in git: {_KEEP}"
    if form := _FORMS.search(line):
        yield f"{form[1][:6]}... looks like a secret in clear text: {_KEEP}"
