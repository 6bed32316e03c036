"""The cost of heads, at a size of a second."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks import head_cost


def test_its_table_has_every_network_and_a_run_on_made_features(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(head_cost, "MILLION_EPOCHS", 2)
    monkeypatch.setattr(sys, "argv", [
        "head_cost.py", "--samples", "120", "--components", "8", "--epochs", "2", "--pairs", "1", "--methods", "erm",
        "--networks", "linear", "--million", str(tmp_path / "made"), "--rows", "300", "--out",
        str(tmp_path / "o.json")])
    head_cost.main()
    found = json.loads((tmp_path / "o.json").read_text())
    assert set(found) == {"linear", "million erm linear"}
    assert set(found["linear"]) == {"plain", "molere", "one_head", "ten_pairs"}
    assert min(found["linear"].values()) > 0 and found["million erm linear"]["peak_bytes"] > 0
    assert "MOLERE" in capsys.readouterr().out
