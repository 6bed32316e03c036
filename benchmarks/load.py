"""What the app bears: several people decide at once through the real server, and each press is looked up in the ledger.

    python benchmarks/load.py PROJECT [--sessions 10] [--minutes 10] [--think 4] [--apps 1] [--postgresql] [--cuts 0]

Works on a copy of the project; with --postgresql its decisions begin anew, in a server of its own that is started for
the run (Debian's postgresql; `pip install "psycopg[binary]"`), and cut off and started again --cuts times. Of several
--apps each session keeps to one, as behind a proxy with sticky sessions. A session speaks Streamlit's WebSocket
protocol as a browser does (widget states, triggers, the timers of fragments that look again by themselves), without
drawing anything: ten browsers need more than two cores. Each session stands on Decide, excludes one to three samples by
id with a reason of its own, waits for the word that it was done, thinks (exponential, `--think` seconds on average) and
goes on. A press without that word within `--patience` seconds is counted as unsaid, and the session goes on.

Says: presses made, a minute too, lost (not in the ledger), of these acknowledged, doubled, unsaid; seconds from press
to ledger and to the word; memory and open files of the first app's server over the time, and its processor seconds a
press. The time begins once all stand on the page. Exit status 1 where a press was doubled, or lost: with --cuts, lost
though acknowledged.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pandas as pd
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect

from curation.ledger.place import VARIABLE
from curation.project import Project
from tests.clusters import Cluster, cluster

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Press:
    """One press: what it says of itself in the ledger, and when (time.time())."""

    why: str
    sent: float
    said: float | None = None


@dataclass
class Session:
    """One person at the Decide page."""

    name: str
    ids: list[str]
    values: dict[str, str] = field(default_factory=dict)
    widgets: dict[str, str] = field(default_factory=dict)
    """key or form button's label -> id"""
    timers: dict[str, asyncio.Task] = field(default_factory=dict)
    presses: list[Press] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    """Errors that the app showed, each after which press."""
    page: str = ""
    num_draws: int = 0
    said: asyncio.Event = field(default_factory=asyncio.Event)
    drawn: asyncio.Event = field(default_factory=asyncio.Event)
    socket: ClientConnection | None = None

    async def ask(self, pressed: str = "", fragment: str = "") -> None:
        """Have the script run: a press, a fragment's look, or the page itself."""
        message = BackMsg()
        state = message.rerun_script
        state.page_script_hash, state.fragment_id, state.is_auto_rerun = self.page, fragment, bool(fragment)
        state.page_name = "" if self.page else "decide"
        for name, value in self.values.items():
            state.widget_states.widgets.add(id=self.widgets[name], string_value=value)
        if pressed:
            state.widget_states.widgets.add(id=self.widgets[pressed], trigger_value=True)
        assert self.socket is not None
        await self.socket.send(message.SerializeToString())

    async def listen(self) -> None:
        assert self.socket is not None
        async for raw in self.socket:
            message = ForwardMsg.FromString(raw if isinstance(raw, bytes) else raw.encode())
            kind = message.WhichOneof("type")
            if kind == "navigation":
                self.page = message.navigation.page_script_hash
            elif kind == "auto_rerun":
                self._stop_timers([message.auto_rerun.fragment_id])
                self.timers[message.auto_rerun.fragment_id] = asyncio.create_task(
                    self._look(message.auto_rerun.fragment_id, message.auto_rerun.interval))
            elif kind == "stop_auto_rerun":
                self._stop_timers(list(message.stop_auto_rerun.fragment_ids))
            elif kind == "script_finished":
                self.num_draws += 1
                self.drawn.set()
            elif kind == "delta" and message.delta.WhichOneof("type") == "new_element":
                self._see(message)

    def _see(self, message: ForwardMsg) -> None:
        element = message.delta.new_element
        kind = element.WhichOneof("type")
        one = getattr(element, kind)
        if kind == "toast":
            if one.body.startswith(("Excluded", "Undone", "There is nothing of yours")):
                self.said.set()
            elif " decided" not in one.body:
                self.notices.append(f"{len(self.presses) - 1} of {self.name}: {one.body[:200]}")
        elif kind == "alert" and one.format == one.ERROR:
            self.notices.append(f"{len(self.presses) - 1} of {self.name}: {one.body[:200]}")
        elif kind in ("button", "text_input", "text_area", "selectbox"):
            name = one.label if kind == "button" and one.is_form_submitter else one.id.rpartition("-")[2]
            self.widgets[name] = one.id

    async def _look(self, fragment: str, interval: float) -> None:
        while True:
            await asyncio.sleep(interval)
            await self.ask(fragment=fragment)

    def _stop_timers(self, names: list[str]) -> None:
        for name in names:
            if name in self.timers:
                self.timers.pop(name).cancel()

    async def work(self, url: str, origin: str, all_there: asyncio.Barrier, seconds: float, think: float,
                   patience: float, seed: int) -> None:
        rng = random.Random(seed)
        async with connect(url, origin=origin, subprotocols=["streamlit"], max_size=None, ping_interval=None) as socket:
            self.socket = socket
            listening = asyncio.create_task(self.listen())
            await self.ask()
            while not {"person", "decide.ids", "decide.op", "decide.why", "Decide"} <= set(self.widgets):
                assert not listening.done(), listening.exception()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.drawn.wait(), 5)
                self.drawn.clear()
            self.values = {"person": self.name, "decide.op": "Exclude"}
            await self.ask()
            await all_there.wait()
            until = time.time() + seconds
            while time.time() < until:
                await asyncio.sleep(rng.expovariate(1 / think) if think else 0)
                press = Press(f"press {len(self.presses)} of {self.name}", time.time())
                self.presses.append(press)
                self.values |= {"decide.ids": "\n".join(rng.sample(self.ids, rng.randint(1, 3))),
                                "decide.why": press.why}
                self.said.clear()
                await self.ask(pressed="Decide")
                with contextlib.suppress(TimeoutError):  # without a word it counts as unsaid
                    await asyncio.wait_for(self.said.wait(), patience)
                    press.said = time.time()
            self._stop_timers(list(self.timers))
            await asyncio.sleep(5.0)  # what waits is carried out
            listening.cancel()
            self._stop_timers(list(self.timers))  # those that it set meanwhile


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def use_of(pid: int) -> tuple[float, int]:
    """(MB in memory, open files) of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    kilobytes = int(status.partition("VmRSS:")[2].split()[0])
    return kilobytes / 1024, len(os.listdir(f"/proc/{pid}/fd"))


def cpu_of(pid: int) -> float:
    """Seconds of one core that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def people(sessions: list[Session], ports: list[int], seconds: float, think: float, patience: float, pid: int,
                 uses: list[tuple[float, int]]) -> float:
    """Have them work; returns the server's processor seconds meanwhile."""
    all_there = asyncio.Barrier(len(sessions) + 1)
    hosts = [f"127.0.0.1:{ports[number % len(ports)]}" for number in range(len(sessions))]
    working = asyncio.gather(*(
        one.work(f"ws://{host}/_stcore/stream", f"http://{host}", all_there, seconds, think, patience, seed)
        for seed, (one, host) in enumerate(zip(sessions, hosts, strict=True))))
    beginning = asyncio.ensure_future(all_there.wait())
    await asyncio.wait([working, beginning], return_when=asyncio.FIRST_COMPLETED)
    begun = cpu_of(pid)
    while not working.done():
        uses.append(use_of(pid))
        await asyncio.wait([working], timeout=5)
    await working
    return cpu_of(pid) - begun


def figures(sessions: list[Session], batches: pd.DataFrame, uses: list[tuple[float, int]],
            seconds: float) -> dict[str, object]:
    """What became of the presses. batches: as the ledger lists them."""
    num_of = Counter(batches["why"])
    at = dict(zip(batches["why"], pd.to_datetime(batches["at"], utc=True, format="ISO8601"), strict=True))
    made = [press for one in sessions for press in one.presses]
    to_ledger = [at[press.why].timestamp() - press.sent for press in made if press.why in at]
    to_word = [press.said - press.sent for press in made if press.said is not None]

    def percentiles(values: list[float]) -> dict[str, float]:
        return {f"p{p}": round(float(np.percentile(values, p)), 3) for p in (50, 95, 100)} if values else {}

    return {"sessions": len(sessions), "seconds": seconds, "made": len(made),
            "made_a_minute": round(60 * len(made) / seconds, 1), "recorded": sum(press.why in num_of for press in made),
            "lost": sum(press.why not in num_of for press in made),
            "lost_though_acknowledged": sum(press.why not in num_of for press in made if press.said is not None),
            "doubled": sum(num_of[press.why] > 1 for press in made),
            "lost_presses": [press.why for press in made if press.why not in num_of],
            "notices": sorted({words for one in sessions for words in one.notices}),
            "unsaid": sum(press.said is None for press in made), "draws": sum(one.num_draws for one in sessions),
            "to_ledger_seconds": percentiles(to_ledger), "to_word_seconds": percentiles(to_word),
            "memory_mb": [round(mb) for mb, _ in uses[:: max(1, len(uses) // 10)]],
            "files": [num for _, num in uses[:: max(1, len(uses) // 10)]]}


def use_database(project: Path, url: str) -> None:
    """Have the project's decisions in an empty database, and this process and its children trust it."""
    for path in (project / "decisions.parquet", *project.glob("ledger.sqlite*")):
        path.unlink(missing_ok=True)
    details = project / "project.json"
    old = json.loads(details.read_text()) if details.exists() else {}
    details.write_text(json.dumps(old | {"ledger": url}))
    os.environ[VARIABLE] = url


def run_load(source: Path, num_sessions: int, seconds: float, think: float, patience: float,
             log: Path | None = None, database: str = "", num_apps: int = 1) -> dict[str, object]:
    """Serve a copy of the project, have people work on it, and count. database: URL of an empty one; "": SQLite."""
    with tempfile.TemporaryDirectory(prefix="whetstone-load-") as made:
        project = Path(made) / "projects" / source.name
        shutil.copytree(source, project, symlinks=True)
        if database:
            use_database(project, database)
        ports, uses = [free_port() for _ in range(num_apps)], list[tuple[float, int]]()
        with open(log or os.devnull, "w", encoding="utf-8") as out:
            servers = [subprocess.Popen(
                [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)], cwd=ROOT, stdout=out,
                stderr=out, env=os.environ | {"WHETSTONE_PROJECTS": str(project.parent)}, start_new_session=True)
                for port in ports]
        try:
            for port in ports:
                _wait_for(port)
            opened = Project.open(project)
            ids = [f"{i}" for i in pd.read_parquet(project / "manifest.parquet", columns=["sample_id", "split"])
                   .query("split == 'train'")["sample_id"]]
            sessions = [Session(f"person {number}", ids) for number in range(num_sessions)]
            used = asyncio.run(people(sessions, ports, seconds, think, patience, servers[0].pid, uses))
            found = figures(sessions, opened.ledger().batches(), uses, seconds)
            num_made = sum(len(one.presses) for one in sessions)
            return {"database": "postgresql" if database else "sqlite", "apps": num_apps, **found,
                    "cpu_seconds_a_press": round(used / max(1, num_made), 3)}
        finally:
            for server in servers:
                server.terminate()
            for server in servers:
                server.wait(30)


def _wait_for(port: int) -> None:
    until = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5):
                return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.3)


def _cut(server: Cluster | None, times: int, seconds: float, over: threading.Event) -> None:
    """Cut the database's server off in the midst of a write, so many times over so many seconds; back after three."""
    while server is not None and times and not over.wait(seconds / times):
        if server.strike("load", "terminate"):
            server.cut_off()
            time.sleep(3.0)
            server.start()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--sessions", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--think", type=float, default=4.0)
    parser.add_argument("--patience", type=float, default=30.0)
    parser.add_argument("--apps", type=int, default=1)
    parser.add_argument("--postgresql", action="store_true")
    parser.add_argument("--cuts", type=int, default=0)
    parser.add_argument("--log", type=Path)
    args = parser.parse_args()
    with cluster() if args.postgresql else contextlib.nullcontext() as server:
        database = server.make("load") if server is not None else ""
        over = threading.Event()
        cutting = threading.Thread(target=_cut, args=(server, args.cuts, 60 * args.minutes, over))
        cutting.start()
        found = run_load(args.project, args.sessions, 60 * args.minutes, args.think, args.patience, args.log, database,
                         args.apps)
        over.set()
        cutting.join()
    print(json.dumps(found, indent=1))
    return int(bool(found["lost_though_acknowledged" if args.cuts else "lost"] or found["doubled"]))


if __name__ == "__main__":
    sys.exit(main())
