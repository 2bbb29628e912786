"""A fleet description is read with overlays and single values, and every mistake in it is named at once, at its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import SpecError
from fleet.spec import Loaded, load, resolved_json

GOOD = """\
[fleet]
name = "demo"
[runtime]
driver = "raw_exec"
[[model]]
name = "small"
engine = "llamacpp"
weights = "/w/small.gguf"
cold_start = "10m"
capacity = { concurrency = 2, requests_per_min = 60 }
replicas = { min = 1, max = 3 }
policy = [{ target = 0.7 }, { target = 0.5 }]
[[model]]
name = "large"
engine = "vllm"
weights = "large"
image = "vllm/vllm-openai:v0.30.0"
volume = "models"
cold_start = "15m"
capacity = { concurrency = 4, requests_per_min = 30 }
[[route]]
selector = 0
name = "chat"
chain = ["large", "small"]
"""


def write(folder: Path, text: str, name: str = "fleet.toml") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def found(path: Path, *, variables: tuple[str, ...] = (), var_files: tuple[Path, ...] = ()) -> list[str]:
    """Findings without the folder."""
    with pytest.raises(SpecError) as caught:
        load(path, variables=variables, var_files=var_files)
    return [str(finding).removeprefix(f"{path.parent}/") for finding in caught.value.findings]


def good(folder: Path, *variables: str) -> Loaded:
    return load(write(folder, GOOD), variables=variables)


def test_a_description_is_read_with_units_and_defaults(tmp_path: Path) -> None:
    spec = good(tmp_path).spec
    assert spec.fleet.name == "demo"
    assert spec.model("small").cold_start_s == 600
    assert spec.model("small").slo.first_token_s == 30
    assert [policy.target for policy in spec.model("small").policy] == [0.7, 0.5]
    assert spec.routes[0].chain == ("large", "small")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('name = "demo"', 'nmae = "demo"', "fleet.toml:2: fleet.nmae: unknown key; did you mean name?"),
        ("[runtime]", "[runtme]", "fleet.toml:3: runtme: unknown key; did you mean runtime?"),
        ('name = "demo"', "name = 3", "fleet.toml:2: fleet.name: must be text in quotes, not 3"),
        ('name = "demo"', 'name = "De mo"', "fleet.toml:2: fleet.name: must be lower-case letters, digits and inner hyphens"),
        (
            'name = "demo"',
            'consul = "localhost"',
            'fleet.toml:2: fleet.consul: must be http://HOST:PORT or https://HOST:PORT, not "localhost"',
        ),
        ('name = "demo"', 'datacenters = "dc1"', 'fleet.toml:2: fleet.datacenters: must be an array, such as ["dc1"]'),
        ('name = "demo"', "datacenters = []", "fleet.toml:2: fleet.datacenters: needs at least 1 entry"),
        ('driver = "raw_exec"', 'driver = "podman"', "fleet.toml:4: runtime.driver: must be 'docker' or 'raw_exec', not \"podman\""),
        ('cold_start = "10m"', "cold_start = 600", "fleet.toml:9: model.small.cold_start: is 600; a duration is a string with units"),
        ('cold_start = "10m"', 'cold_start_s = "10m"', "fleet.toml:9: model.small.cold_start_s: unknown key; did you mean cold_start?"),
        ('cold_start = "10m"', "", "fleet.toml:5: model.small.cold_start: is required: submit to passing"),
        ("concurrency = 2", "concurrency = 0", "fleet.toml:10: model.small.capacity.concurrency: must be at least 1, not 0"),
        ("concurrency = 2", "concurrency = 2.5", "fleet.toml:10: model.small.capacity.concurrency: must be a whole number, not 2.5"),
        ("requests_per_min = 60", "requests_per_min = inf", 'model.small.capacity.requests_per_min: must be a number, not "inf"'),
        ("min = 1", "min = 4", "fleet.toml:11: model.small.replicas.min: is 4, more than replicas.max = 3"),
        (
            'weights = "large"',
            'weights = "large"\ngpu = { memory = "75 gigs" }',
            """fleet.toml:17: model.large.gpu.memory: is '75 gigs'; Nomad compares a number with a unit, such as "40 GiB\"""",
        ),
        ("target = 0.5", "target = 1.5", "fleet.toml:12: model.small.policy.1.target: must be at most 1, not 1.5"),
        ('name = "large"', 'name = "small"', "fleet.toml:14: model.small.name: 'small' is taken by [[model]] row 1"),
        ('name = "large"', 'name = "router"', "fleet.toml:14: model.router.name: 'router' is the name of one of our own jobs"),
        ('weights = "large"', 'weights = "../large"', "fleet.toml:16: model.large.weights: '../large' must be a path below the volume"),
        ('image = "vllm/vllm-openai:v0.30.0"', "", 'fleet.toml:13: model.large.image: is required with engine = "vllm"'),
        ('volume = "models"', "", 'fleet.toml:13: model.large.volume: is required with engine = "vllm"'),
        ('volume = "models"', 'volume = "m"\nload_delay = "1s"', "fleet.toml:19: model.large.load_delay: only engine"),
        ("selector = 0", "selector = 16", "fleet.toml:22: route.16.selector: must be at most 15, not 16"),
        ('"small"]', '"tiny"]', "fleet.toml:24: route.0.chain.1: no model or provider 'tiny'; there are: large, small"),
        ('"small"]', '"small", "large"]', "fleet.toml:24: route.0.chain.2: 'large' stands in the chain twice"),
        ('name = "chat"', 'name = "small"', "fleet.toml:23: route.0.name: 'small' is a model too, so its chain must begin with it"),
        ("[[route]]", "[route]", "fleet.toml:21: route: must be written as [[route]] rows"),
        ('driver = "raw_exec"', 'driver = "docker"', 'fleet.toml:3: runtime.image: is required with runtime.driver = "docker"'),
        (
            "[[route]]",
            '[redis]\ndriver = "raw_exec"\nvolume = "v"\n[[route]]',
            "fleet.toml:21: redis.folder: must say where redis.volume is",
        ),
        ("[[route]]", '[redis]\nfolder = "/v"\nvolume = "v"\n[[route]]', "fleet.toml:22: redis.folder: belongs to redis.driver"),
        ("[[route]]", '[redis]\ndriver = "raw_exec"\nfolder = "/v"\n[[route]]', "fleet.toml:23: redis.folder: belongs to redis.driver"),
        ("[[route]]", '[router]\nsession_ttl = "30s"\n[[route]]', 'router.session_ttl: must be at least "1m", not "30s"'),
        ("[[route]]", '[router]\nmax_body = "1B"\n[[route]]', 'router.max_body: must be at least "1KiB", not "1B"'),
        ("[[route]]", '[router]\ntotal_timeout = "1s"\n[[route]]', "router.connect_timeout: is 2s, which must be shorter than"),
        ("[[route]]", '[autoscaler]\ninterval = "2m"\n[[route]]', "fleet.toml:22: autoscaler.interval: is 2m; answers come so far apart"),
        ("[[route]]", '[autoscaler]\ninterval = "45s"\n[[route]]', "must be younger than autoscaler.max_age = 45s"),
        ('cold_start = "10m"', 'cold_start = "1s"\nload_delay = "9s"', "fleet.toml:10: model.small.load_delay: is 9s, which must be"),
        ('cold_start = "10m"', 'cold_start = "1s"\nslo = { ttft = "2m" }', "fleet.toml:10: model.small.slo.ttft: is 2m, which must be"),
        ('cold_start = "10m"', 'cold_start = "10m', "fleet.toml:9: is not valid TOML"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_key(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert GOOD.count(old) >= 1
    findings = found(write(tmp_path, GOOD.replace(old, new, 1)))
    assert any(expected in finding for finding in findings), findings


def test_a_route_may_be_named_like_the_model_its_chain_begins_with(tmp_path: Path) -> None:
    assert load(write(tmp_path, GOOD.replace('name = "chat"', 'name = "large"'))).spec.routes[0].name == "large"


@pytest.mark.parametrize(
    ("row", "key"), [('selector = 0\nname = "b"', "route.0.selector"), ('selector = 1\nname = "chat"', "route.1.name")]
)
def test_two_routes_cannot_share_a_selector_or_a_name(tmp_path: Path, row: str, key: str) -> None:
    findings = found(write(tmp_path, f'{GOOD}[[route]]\n{row}\nchain = ["small"]\n'))
    assert len(findings) == 1
    assert f"{key}: " in findings[0]
    assert "is taken by [[route]] row 1" in findings[0]


def test_all_mistakes_are_reported_at_once_and_none_hides_another(tmp_path: Path) -> None:
    text = GOOD.replace("min = 1", "min = 9").replace("concurrency = 2", 'concurrency = "x"').replace('name = "demo"', "name = 1")
    text = text.replace('"small"]', '"tiny"]').replace('volume = "models"', "").replace('weights = "large"', "weight = 3")
    keys = [finding.split(": ")[1] for finding in found(write(tmp_path, text))]
    assert sorted(keys) == [
        "fleet.name",
        "model.large.volume",
        "model.large.weight",
        "model.large.weights",
        "model.small.capacity.concurrency",
        "model.small.replicas.min",
        "route.0.chain.1",
    ]


def test_a_model_whose_row_is_wrong_is_still_known_to_the_routes(tmp_path: Path) -> None:
    findings = found(write(tmp_path, GOOD.replace('engine = "vllm"', "engine = 3")))
    assert [finding.split(": ")[1] for finding in findings] == ["model.large.engine"]


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('image = "vllm/vllm-openai:v0.30.0"', "image = 3", "model.large.image"),
        ('driver = "raw_exec"', 'driver = "docker"\nimage = 3', "runtime.image"),
        ('[runtime]\ndriver = "raw_exec"', "runtime = 3", "fleet.runtime"),
        ('chain = ["large", "small"]', 'chain = "large"', "route.0.chain"),
        ('chain = ["large", "small"]', "", "route.0.chain"),
    ],
)
def test_a_key_that_is_wrong_by_itself_is_named_once(tmp_path: Path, old: str, new: str, key: str) -> None:
    findings = found(write(tmp_path, GOOD.replace(old, new)))
    assert [finding.split(": ")[1] for finding in findings if finding.split(": ")[1].startswith(key)] == [key]


def test_an_overlay_changes_rows_by_name_and_tables_by_key(tmp_path: Path) -> None:
    overlay = """
[fleet]
region = "eu"
[[route]]
selector = 0
chain = ["small"]
[[model]]
name = "small"
replicas = { max = 5 }
policy = [{ target = 0.9 }]
[[model]]
name = "tiny"
engine = "llamacpp"
weights = "w"
cold_start = "1s"
capacity = { concurrency = 1, requests_per_min = 1 }
"""
    spec = load(write(tmp_path, GOOD), var_files=[write(tmp_path, overlay, "over.toml")]).spec
    assert (spec.fleet.name, spec.fleet.region) == ("demo", "eu")
    assert [model.name for model in spec.models] == ["small", "large", "tiny"]
    assert (spec.models[0].replicas.min, spec.models[0].replicas.max) == (1, 5)
    assert [policy.target for policy in spec.models[0].policy] == [0.9]
    assert (spec.routes[0].name, spec.routes[0].chain) == ("chat", ("small",))


def test_the_later_overlay_wins_and_a_single_value_wins_over_both(tmp_path: Path) -> None:
    files = [write(tmp_path, f"[router]\nport = {port}\ncpu = {port}\n", f"{port}.toml") for port in (1, 2)]
    router = load(write(tmp_path, GOOD), var_files=files, variables=["router.port=3"]).spec.router
    assert (router.port, router.cpu) == (3, 2)


def test_a_mistake_in_an_overlay_is_named_there(tmp_path: Path) -> None:
    overlay = write(tmp_path, '\n[[model]]\nname = "small"\ncpu = "x"\n', "over.toml")
    assert found(write(tmp_path, GOOD), var_files=(overlay,)) == ['over.toml:4: model.small.cpu: must be a whole number, not "x"']


@pytest.mark.parametrize(
    ("variable", "attribute", "value"),
    [
        ("fleet.name=other", "name", "other"),
        ('fleet.name="quoted"', "name", "quoted"),
        ("fleet.redis=redis://127.0.0.1:6379", "redis", "redis://127.0.0.1:6379"),
        ("fleet.redis=", "redis", ""),
        ('fleet.datacenters=["a", "b"]', "datacenters", ("a", "b")),
        ("fleet.region=2026-11-21", "region", "2026-11-21"),
        ("fleet.region=a=b", "region", "a=b"),
        ("fleet.region=nan", "region", "nan"),
    ],
)
def test_a_single_value_is_toml_or_else_text(tmp_path: Path, variable: str, attribute: str, value: object) -> None:
    assert getattr(good(tmp_path, variable).spec.fleet, attribute) == value


def test_single_values_address_rows_by_name(tmp_path: Path) -> None:
    variables = ("model.small.replicas.max=7", "model.small.policy.1.target=0.6", "route.chat.name=talk", "route.0.chain=['small']")
    spec = good(tmp_path, *variables).spec
    assert spec.model("small").replicas.max == 7
    assert [policy.target for policy in spec.model("small").policy] == [0.7, 0.6]
    assert (spec.routes[0].name, spec.routes[0].chain) == ("talk", ("small",))


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        ("router.port", "-var router.port: write it as key.path=value"),
        (".port=1", "-var .port=1: write it as key.path=value"),
        ("model.tiny.cpu=1", "-var model.tiny.cpu=1: model: no row 'tiny'; there are: large, small"),
        ("model.small.policy.2.target=1", "model.small.policy: no row '2'; it has 2 row(s), counted from 0"),
        ("fleet.name.x=1", "-var fleet.name.x=1: fleet.name: is a single value, so it has no 'x'"),
        ("router.prot=1", "-var router.prot=1: router.prot: unknown key; did you mean port?"),
        ("router.port=high", '-var router.port=high: router.port: must be a whole number, not "high"'),
    ],
)
def test_a_wrong_single_value_is_named_as_it_was_given(tmp_path: Path, variable: str, expected: str) -> None:
    findings = found(write(tmp_path, GOOD), variables=(variable,))
    assert len(findings) == 1
    assert expected in findings[0]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert found(tmp_path / "none.toml") == ["none.toml: cannot be read: No such file or directory"]
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    assert "is not UTF-8 text" in found(tmp_path / "latin.toml")[0]
    assert found(write(tmp_path, '{"a":\n1,}', "x.json"))[0].startswith("x.json:2: is not valid JSON")


def test_the_resolved_document_loads_to_the_same_fleet(tmp_path: Path) -> None:
    loaded = good(tmp_path, "model.small.replicas.max=9", 'fleet.region="ü ${x} %{y} <<<"')
    again = load(write(tmp_path, resolved_json(loaded), "fleet.json"))
    assert again.spec == loaded.spec
    assert again.source_hash == loaded.source_hash
    assert resolved_json(loaded).isascii()


def test_the_source_hash_names_the_content_not_its_spelling(tmp_path: Path) -> None:
    spaced = load(write(tmp_path, GOOD.replace(" = ", "=").replace("[fleet]", "# a comment\n[fleet]"), "b.toml"))
    assert spaced.source_hash == good(tmp_path).source_hash
    assert good(tmp_path, "router.port=1").source_hash != spaced.source_hash


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text('ab"{.', max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('ab"{.', max_size=5), inner, max_size=3),
    max_leaves=6,
)
tables = st.sampled_from(["fleet", "runtime", "check", "datadog", "redis", "router", "autoscaler", "model", "route", "other"])
rows = st.lists(st.dictionaries(st.sampled_from(["name", "selector", "chain", "engine", "capacity"]), json_values, max_size=4), max_size=3)


@given(st.dictionaries(tables, json_values | rows, max_size=5))
def test_no_document_does_worse_than_findings(tmp_path_factory: pytest.TempPathFactory, document: dict[str, object]) -> None:
    path = write(tmp_path_factory.mktemp("any"), json.dumps(document), "fleet.json")
    try:
        load(path)
    except SpecError as error:
        assert error.findings
        assert all(finding.message for finding in error.findings)
