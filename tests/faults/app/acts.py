"""What is done in the app while it is killed: an act's page, its press, its word, and what it left on disk.

Acts are told apart by a name of their own, which is in what they write, so that each can be counted afterwards.
"""

import json
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from curation.project import Project
from curation.samples import links, saved_views
from engine.contract.manifest import file_digest
from engine.contract.run_dir import RunDir
from tests.faults.app.session import Session

WHO, REVIEWER = "ada", "vera"
"""Decides and undoes; answers: so that no undo takes back an answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Act:
    """One kind of act."""

    name: str
    page: str
    query: Callable[[Path], str]
    prepare: Callable[[Session, str], Awaitable[None]]
    """On the page once it is drawn: fill in, or go where the act can be taken. It is told the act's own name."""
    press: Callable[[Session, str], Awaitable[None]]
    is_said: Callable[[Session, str], bool]
    """Whether the page says that it is done."""
    count: Callable[[Path, str], int]
    """How often it is in the project, by its name, or how many of its kind; raises AssertionError for half of one."""


def _no_query(_: Path) -> str:
    return ""


def _said(*beginnings: str) -> Callable[[Session, str], bool]:
    return lambda session, name: any(words.startswith(tuple(one.format(name) for one in beginnings))
                                     for words in session.words)


# -- decisions

async def _fill_decision(session: Session, name: str) -> None:
    number = int(name.removeprefix("act"))
    session.values = {"person": WHO, "decide.op": "Exclude", "decide.why": name,
                      "decide.ids": "\n".join(f"train-{(number + step) % 300:05d}" for step in range(3))}
    await session.draw()


def _decided(project: Path, name: str) -> int:
    batches = Project.open(project).ledger().batches()
    entries = batches[batches["why"].eq(name)]
    assert entries["num_samples"].eq(3).all() if "num_samples" in entries else True, "half a decision"
    return len(entries)


async def _own(session: Session, name: str) -> None:
    session.values = {"person": WHO}
    await session.draw()


def _undone(project: Path, name: str) -> int:
    return int(Project.open(project).ledger().batches()["kind"].eq("undo").sum())


# -- verdicts

async def _draw_sample(session: Session, name: str) -> None:
    session.values = {"person": REVIEWER}
    await session.draw()
    if session.has("audit.draw"):
        await session.press("audit.draw")
        await session.until(lambda: bool(_review(session)))
    if (data := _review(session)) and data["summary"]:
        await session.trigger("whetstone_review", "act", _review_act(data, "next"))
        await session.until(lambda: bool(_open_items(session)))


def _review(session: Session) -> dict[str, object]:
    return next((data for data in reversed(session.components) if "can_suggest" in data), {})


def _open_items(session: Session) -> list[str]:
    data = _review(session)
    return [item["key"] for item in data.get("items", []) if item["key"] not in data["answers"]]  # type: ignore


def _review_act(data: dict[str, object], op: str, **more: object) -> dict[str, object]:
    number = int(data["acted"]) + 1  # type: ignore[call-overload]
    return {"acts": [{"number": number, "op": op, "batch": data["batch"], "key": str(uuid.uuid4()), **more}]}


async def _answer(session: Session, name: str) -> None:
    items = _open_items(session)
    assert items, f"nothing to answer: {session.words[-8:]}"
    session.about = items[0]
    act = _review_act(_review(session), "verdict", item=items[0], verdict="given", seconds=1.0)
    await session.trigger("whetstone_review", "act", act)


def _is_answered(session: Session, name: str) -> bool:
    return session.about in _review(session).get("answers", {})  # type: ignore[operator]


def _answers(project: Path, name: str) -> int:
    return len(Project.open(project).verdicts().rows())


# -- runs

async def _fill_run(session: Session, name: str) -> None:
    session.values = {"person": WHO}
    if not session.has("Start run"):
        session.values["New run"] = True
    await session.draw()
    session.values["Name"] = name
    await session.draw()


async def _begin_run(session: Session, name: str) -> None:
    await _fill_run(session, name)
    await _start(session, name)
    await session.until(lambda: session.has(f"cancel.{name}"))


async def _start(session: Session, name: str) -> None:
    await session.press(next(key for key in session.ids.values() if key.endswith("start")))


async def _cancel(session: Session, name: str) -> None:
    session.values = {"person": WHO}
    await session.press(f"cancel.{name}")


def _is_stopping(session: Session, name: str) -> bool:
    return any(f"**{name}**" in words and ("stopping" in words or "cancelled" in words) for words in session.words)


def _runs(project: Path, name: str) -> int:
    run = RunDir.of(project, name)
    if not run.path.exists():
        return 0
    assert (run.path / "request.json").exists() or all(path.name.startswith(".") for path in run.path.iterdir()), \
        "half a run"
    return 1 if (run.path / "request.json").exists() and run.read_status()["state"] == "queued" else 0


def _cancelled(project: Path, name: str) -> int:
    run = RunDir.of(project, name)
    return int(run.is_cancel_requested() or run.read_status()["state"] == "cancelled")


# -- exports and views

async def _name_export(session: Session, name: str) -> None:
    await _own(session, name)
    field = next(one for one in session.ids if "-export.name." in one)
    session.values[field] = name
    await session.draw()


def _exported(project: Path, name: str) -> int:
    folder = project / "exports" / name
    if not folder.exists():
        return 0
    named = dict(reversed(line.split("  ", 1)) for line in (folder / "SHA256SUMS").read_text().splitlines())
    for file, digest in named.items():
        assert file_digest(folder / file) == digest, f"half an export: {file}"
    return 1


def _filters(project: Path) -> str:
    return f"filters={links.pack(Project.open(project), {'search': 'train-00001'})}"


async def _name_view(session: Session, name: str) -> None:
    session.values = {"person": WHO, next(one for one in session.ids if one.endswith("view_name")): name}
    await session.draw()


def _saved(project: Path, name: str) -> int:
    if name not in saved_views.names(Project.open(project)):
        return 0
    json.loads((project / "views" / f"{name}.json").read_text())
    return 1


def _press(name: str) -> Callable[[Session, str], Awaitable[None]]:
    async def press(session: Session, _: str) -> None:
        await session.press(name)
    return press


ACTS = (
    Act(name="decide", page="decide", query=_no_query, prepare=_fill_decision, press=_press("Decide"),
        is_said=_said("Excluded"), count=_decided),
    Act(name="undo", page="decide", query=_no_query, prepare=_own, press=_press("decide.undo"),
        is_said=_said("Undone", "There is nothing"), count=_undone),
    Act(name="answer", page="audit", query=lambda _: "section=Estimate", prepare=_draw_sample,
        press=_answer, is_said=_is_answered, count=_answers),
    Act(name="start run", page="train", query=_no_query, prepare=_fill_run, press=_start,
        is_said=lambda session, name: session.has(f"cancel.{name}"), count=_runs),
    Act(name="cancel run", page="train", query=_no_query, prepare=_begin_run, press=_cancel,
        is_said=_is_stopping, count=_cancelled),
    Act(name="export", page="export", query=_no_query, prepare=_name_export, press=_press("export.write"),
        is_said=lambda session, name: any(f" in {name}." in words for words in session.words), count=_exported),
    Act(name="save view", page="explore", query=_filters, prepare=_name_view, press=_press("explore.view_do_save"),
        is_said=_said("Saved the view {}"), count=_saved),
)
