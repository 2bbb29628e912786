"""Commands on a fleet that runs: which one is meant, and what people read."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.errors import SpecError
from fleet.explained import explained, published
from fleet.live import place_of
from fleet.state import Leader, ModelState, Pause, decode_leader, decode_pause, encode

NOWHERE = Path("no-such-folder")

DECISION = {
    "at": 1_800_000_000.0,
    "sentence": "small-model 1 -> 2: concurrency 2.8 is 140% of one replica's 2",
    "done": "1 -> 2",
    "capacity": {"desired": 1, "ready": 1},
    "signals": {
        "concurrency": {"value": 2.8, "age_s": 1.0},
        "gpu_use": {"unknown": "not read"},
        "held": {"value": 1, "age_s": 2, "partial": "half"},
    },
    "votes": [
        {"wanted": 2, "may_go_down": True, "why": "concurrency 2.8"},
        {"wanted": 0, "may_go_down": True, "why": "schedule asks for nothing"},
    ],
    "forecast": {"desired": 2, "low": 1, "high": 4, "age_min": 0, "reason": "load 1.4"},
    "clamps": ["gpus", "cooldown"],
    "level": "high",
}


def test_an_explanation_names_everything_a_decision_rests_on() -> None:
    text = explained({"model": "small-model", "leads": True, "paused": "", "decisions": [DECISION]}, asked="http://a:1", last=3)
    lines = text.splitlines()
    assert lines[0] == "small-model, as decided by the autoscaler at http://a:1, which leads"
    assert lines[2].endswith(DECISION["sentence"])
    assert lines[3:] == [
        "    done      1 -> 2",
        "    capacity  desired 1, ready 1",
        "    signals   concurrency 2.8, 1 s old; gpu_use unknown (not read); held 1, 2 s old, in part (half)",
        "    votes     2: concurrency 2.8; 0: schedule asks for nothing",
        "    forecast  1 to 4, asks for 2: load 1.4",
        "    clamps    gpus, cooldown",
        "    level     high",
    ]


def test_an_explanation_of_many_signals_fits_a_screen() -> None:
    signals = {f"signal_{n}": {"value": n, "age_s": 0.01} for n in range(40)}
    text = explained({"model": "m", "leads": True, "decisions": [{**DECISION, "signals": signals}]}, asked="http://a:1", last=1)
    assert max(map(len, text.splitlines())) <= 110
    assert "signal_3 3; signal_4 4" in text
    assert "    signals   signal_0 0;" in text


def test_the_newest_decisions_stand_last_and_a_pause_first() -> None:
    rows = [{**DECISION, "sentence": f"decision {n}"} for n in range(5)]
    text = explained({"model": "m", "leads": False, "paused": "paused by ann: moving", "decisions": rows}, asked="http://a:1", last=2)
    assert "which stands by\npaused by ann: moving\n" in text
    assert [n for n in range(5) if f"decision {n}" in text] == [3, 4]
    assert text.index("decision 3") < text.index("decision 4")


def test_what_an_older_autoscaler_does_not_say_is_left_out() -> None:
    assert "votes" not in explained({"model": "m", "decisions": [{"at": 1.0, "sentence": "s"}]}, asked="u", last=1)


def test_where_nobody_answers_consul_still_knows_the_sentence_and_its_age() -> None:
    counts = {"desired": 2, "placed": 2, "ready": 1, "cold_start_p50_s": 1.0, "cold_start_p90_s": 1.0}
    state = ModelState(model="m", **counts, level="high", reason="m 1 -> 2: because", updated_at=100.0)
    text = published(state, now=134.0)
    assert "no autoscaler answers; this is what one left in Consul 34 s ago" in text
    assert "m 1 -> 2: because" in text
    assert "desired 2, placed 2, ready 1, level high" in text


def test_a_named_consul_and_fleet_need_no_description() -> None:
    place = place_of(NOWHERE, NOWHERE, "http://consul.example:8500", "demo")
    assert (place.consul, place.names.fleet) == ("http://consul.example:8500", "demo")


def test_else_the_description_says_where_the_fleet_is(tmp_path: Path) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text(
        '[fleet]\nname = "demo"\nconsul = "https://consul.example"\n[runtime]\ndriver = "raw_exec"\n[redis]\ndriver = "raw_exec"\n'
    )
    assert place_of(file, NOWHERE, None, None).consul == "https://consul.example"
    assert place_of(file, NOWHERE, "http://other:1", None).names.fleet == "demo"
    with pytest.raises(SpecError):
        place_of(tmp_path / "none.toml", NOWHERE, None, None)


@pytest.mark.parametrize("document", [Pause(by="ann", reason="moving", since=1.0), Leader(name="n", url="u", since=2.0)])
def test_documents_come_back_as_they_were(document: Pause | Leader) -> None:
    read = decode_pause if isinstance(document, Pause) else decode_leader
    assert read(encode(document)) == document


def test_whatever_stands_in_the_key_is_a_pause() -> None:
    assert decode_pause(b"moving GPUs\n") == Pause(by="somebody", reason="moving GPUs", since=0.0)
    assert decode_pause(b"").reason == "no reason given"
    assert decode_leader(b"") is None
