"""Kill a process (SIGKILL) at a random moment while pyarrow, torch or numpy writes a large file.

    python -m tests.faults.writes [--kills 150] [--megabytes 24] [--out FILE.jsonl]

The kill points of tests.faults lie between changes that Python sees; here the moment is the clock's, within one write
from its first byte to its rename. Afterwards the file must be whole, of the version before or of the new one, and what
was half-written must have a name that the next writer sweeps. Exit status 1 where not.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from engine.contract.disk.seals import check_seal, has_seal
from engine.contract.disk.temporaries import orphans, remove
from engine.contract.work_dir import write_array, write_atomic
from tests.faults.kill_point import in_child

Outcome = Literal["old", "new", "half"]
WRITERS = ("pyarrow", "torch", "numpy")


@dataclass(frozen=True, slots=True)
class WriteKill:
    """seconds: from the write's begin to the kill; cut_bytes: of what was half-written, None where nothing was."""

    writer: str
    seconds: float
    outcome: Outcome
    cut_bytes: int | None


def _write(writer: str, path: Path, version: int, num_numbers: int) -> None:
    values = np.random.default_rng(version).integers(0, 2**40, num_numbers)
    if writer == "pyarrow":
        import pandas as pd

        frame = pd.DataFrame({"version": version, "a": values[: num_numbers // 2], "b": values[num_numbers // 2:]})
        write_atomic(path, lambda p: frame.to_parquet(p, index=False, row_group_size=20_000))
    elif writer == "torch":
        import torch

        state = {"version": version, "a": torch.from_numpy(values)}
        write_atomic(path, lambda p: torch.save(state, p))
    else:
        write_array(path, np.concatenate([[version], values]))


def _version(writer: str, path: Path, num_numbers: int) -> int:
    """Of a whole file. Raises whatever its reader raises for another."""
    check_seal(path)
    assert has_seal(path), "it has no seal"
    if writer == "pyarrow":
        import pandas as pd

        frame = pd.read_parquet(path)
        version, values = int(frame["version"].iloc[0]), np.concatenate([frame["a"], frame["b"]])
    elif writer == "torch":
        import torch

        state = torch.load(path, weights_only=True)
        version, values = int(state["version"]), state["a"].numpy()
    else:
        found = np.load(path)
        version, values = int(found[0]), found[1:]
    assert (values == np.random.default_rng(version).integers(0, 2**40, num_numbers)).all(), "other numbers"
    return version


class Bench:
    """One file a writer, written again and again."""

    def __init__(self, folder: Path, megabytes: float) -> None:
        self.folder, self.num = folder, int(megabytes * 2**20) // 8 // 2 * 2
        import pyarrow.parquet  # noqa: F401
        import torch  # noqa: F401

        self.version, self.seconds = dict.fromkeys(WRITERS, 0), {name: self._timed(name) for name in WRITERS}

    def path(self, writer: str) -> Path:
        return self.folder / writer / {"pyarrow": "a.parquet", "torch": "a.pt", "numpy": "a.npy"}[writer]

    def _timed(self, writer: str) -> float:
        """Seconds of an undisturbed write, that of its values left out."""
        pid, begun = self._begin(writer, 0)
        os.waitpid(pid, 0)
        return time.monotonic() - begun

    def _begin(self, writer: str, version: int) -> tuple[int, float]:
        """(process that writes, when the write began)."""
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.write(writing, b".")
                _write(writer, self.path(writer), version, self.num)
            finally:
                os._exit(0)
        os.read(reading, 1)
        os.close(reading)
        os.close(writing)
        return pid, time.monotonic()

    def kill(self, writer: str, rng: random.Random) -> WriteKill:
        seconds = rng.uniform(0, 1.1 * self.seconds[writer])
        pid, _ = self._begin(writer, self.version[writer] + 1)
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        cut = [path.stat().st_size for path in orphans(self.folder)]
        outcome = self._outcome(writer)
        if outcome == "new":
            self.version[writer] += 1
        remove(orphans(self.folder))
        left = [path for path in self.path(writer).parent.iterdir() if path != self.path(writer)]
        return WriteKill(writer, round(seconds, 4), "half" if left else outcome, cut[0] if cut else None)

    def _outcome(self, writer: str) -> Outcome:
        said = self.folder / "said"
        said.unlink(missing_ok=True)
        failed = in_child(lambda: said.write_text(str(_version(writer, self.path(writer), self.num))) and None,
                          self.folder / "log.txt")
        found = None if failed else int(said.read_text())
        return {self.version[writer]: "old", self.version[writer] + 1: "new"}.get(found, "half")  # type: ignore


def table(kills: list[WriteKill]) -> str:
    lines = [f"{'writer':<10}{'kills':>7}{'mid-write':>11}{'old':>6}{'new':>6}{'half':>6}"]
    for name in (*WRITERS, "all"):
        own = [kill for kill in kills if name in (kill.writer, "all")]
        lines.append(f"{name:<10}{len(own):>7}{sum(kill.cut_bytes is not None for kill in own):>11}"
                     + "".join(f"{sum(kill.outcome == one for kill in own):>6}" for one in ("old", "new", "half")))
    return "\n".join(lines)


def play(num_kills: int, megabytes: float, out: Path | None, seed: int = 0) -> list[WriteKill]:
    kills, rng = [], random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="whetstone-writes-") as folder:
        bench = Bench(Path(folder), megabytes)
        for number in range(num_kills):
            kills.append(bench.kill(WRITERS[number % len(WRITERS)], rng))
            if out:
                with open(out, "a") as sink:
                    sink.write(json.dumps(asdict(kills[-1])) + "\n")
    return kills


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=150)
    parser.add_argument("--megabytes", type=float, default=24.0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    kills = play(options.kills, options.megabytes, options.out)
    print(table(kills))
    return int(any(kill.outcome == "half" for kill in kills))


if __name__ == "__main__":
    sys.exit(main())
