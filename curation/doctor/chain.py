"""Whether the ledger's entries are those that were written, by its chain and by the files that know one of its links.

What a chain cannot tell: curation.ledger.chain. Changes nothing, not even the tables of an older ledger.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import sqlalchemy as sa

from curation.doctor.findings import Finding
from curation.ledger import chain, engines, layout, tables, verdict_tables
from curation.ledger.snapshot import Witness, read_witness
from curation.words import counted
from engine.contract.manifest import DECISIONS_NAME

Break = Literal["rewritten", "removed", "put_in", "cut_out"]
BREAKS: tuple[Break, ...] = get_args(Break)
"""rewritten: an entry, or its digest, is not as it was written; removed: its digest is there without it; put_in: it is
there without a digest; cut_out: the number of a link is missing."""
_WORDS: dict[Break, str] = {
    "rewritten": "not as written", "removed": "removed since", "put_in": "put in without a digest",
    "cut_out": "cut out of the chain with their digests"}
Doubt = Literal["cut_off", "another_history", "another_ledger"]
DOUBTS: tuple[Doubt, ...] = get_args(Doubt)
_DOUBTS: dict[Doubt, str] = {
    "cut_off": "its newest entries were cut off, or it is an older copy",
    "another_history": "its entries were written anew, digests and all",
    "another_ledger": "decisions of another ledger were trained under"}
_TO_DO = "compare with a copy of the ledger, and find out who can write to it"


@dataclass(frozen=True, kw_only=True, slots=True)
class Chain:
    """What the links of a ledger say of its rows."""

    ledger_id: str = ""
    digests: dict[int, str] = field(default_factory=dict)
    """Of each link by its number, in the order of the chain."""
    newest: str = ""
    """The entry of the newest link, as in "batch 12"."""
    num_late: int = 0
    """Links of entries of older code: what had happened to these before is not known."""
    num_bare: int = 0
    """Entries of a ledger that has no chain yet."""
    breaks: tuple[tuple[Break, str], ...] = ()
    """What is wrong, and with which entry; in the order of the chain."""


def read_chain(database: str) -> Chain:
    """The chain of the ledger in a database, which must exist. Raises LedgerError where it does not answer."""
    engine = engines.engine_of(database)
    if engine.dialect.name == "postgresql":  # rows and links of one moment, as SQLite has them in any transaction
        engine = engine.execution_options(isolation_level="REPEATABLE READ")
    with tables.one_line_errors(engine), tables.transaction(engine) as connection:
        inspector = sa.inspect(connection)
        if not inspector.has_table(tables.LEDGER.name):
            return Chain()
        ledger_id, rows = tables.ledger_id_of(connection), list(tables.chained_batches(connection))
        if inspector.has_table(verdict_tables.VERDICT_ROWS.name):
            rows += verdict_tables.chained_verdicts(connection)
        if inspector.has_table(verdict_tables.DRAWS.name):
            rows += verdict_tables.chained_draws(connection)
        if layout.layout_of(connection) < layout.CHAINED:
            return Chain(ledger_id=ledger_id, num_bare=len(rows))
        links = connection.execute(sa.select(chain.CHAIN).order_by(chain.CHAIN.c.link_id)).all()
    return Chain(
        ledger_id=ledger_id, digests={int(link.link_id): str(link.digest) for link in links},
        newest=f"{links[-1].kind} {links[-1].row_id}" if links else "",
        num_late=sum(bool(link.is_late) for link in links), breaks=tuple(_breaks(rows, links, ledger_id)))


def _breaks(rows: list[chain.Row], links: Sequence[sa.Row], ledger_id: str) -> Iterator[tuple[Break, str]]:
    """Each link is held against its row and the digest before it, as that stands: one bad entry is one break."""
    left = {(row.kind, row.row_id): row for row in rows}
    before = chain.Head(0, ledger_id)
    for link in links:
        name, row = f"{link.kind} {link.row_id}", left.pop((link.kind, link.row_id), None)
        if link.link_id != before.link_id + 1:
            yield "cut_out", f"number {before.link_id + 1}, before {name}"
        elif row is None:
            yield "removed", name
        elif chain.digest_of(row, before, bool(link.is_late)) != link.digest:
            yield "rewritten", name
        before = chain.Head(int(link.link_id), str(link.digest))
    yield from (("put_in", f"{kind} {row_id}") for kind, row_id in left)


def chain_findings(found: Chain, witnesses: dict[str, Witness], where: str) -> Iterator[Finding]:
    """What is wrong with a project's chain, which of its files know another one, or that all holds. where: the ledger's
    name."""
    for kind in BREAKS:
        names = [name for broken, name in found.breaks if broken == kind]
        if names:
            yield Finding(kind="ledger", where=where, what=f"{_entries(len(names))} {_WORDS[kind]}, first {names[0]}; "
                                                           f"{_TO_DO}")
    if found.num_bare:
        yield Finding(kind="ledger", where=where, severity="note", what=f"{_entries(found.num_bare)} of older code "
                      "without a digest; the next decision gives them theirs")
    denied = [(doubt, name) for name, witness in witnesses.items() if (doubt := _doubt(witness, found)) is not None]
    for doubt in DOUBTS:
        files = [name for each, name in denied if each == doubt]
        if files:
            yield Finding(kind="ledger", where=where, what=f"{_DOUBTS[doubt]}: so says {files[0]}"
                          f"{f', and {len(files) - 1:,} more' if len(files) > 1 else ''}; {_TO_DO}",
                          severity="note" if doubt == "another_ledger" else "broken")
    if found.digests and not found.breaks and not denied:
        yield Finding(kind="ledger", where=where, severity="sound", what=_sound(found))


def _entries(number: int) -> str:
    return counted(number, "entry", "entries")


def read_witnesses(project: Path) -> dict[str, Witness]:
    """What the state of the decisions, and every copy of it that a run or study keeps, know of the chain, by file.

    To be read before the chain, which only grows: read after it, what people decide meanwhile would seem cut off.
    """
    found: dict[str, Witness] = {}
    for pattern in (DECISIONS_NAME, f"runs/*/{DECISIONS_NAME}", "studies/*/decisions/*.parquet"):
        for path in sorted(project.glob(pattern)):
            try:
                if (known := read_witness(path)) is not None:
                    found[path.relative_to(project).as_posix()] = Witness(
                        ledger_id=str(known["ledger_id"]), link_id=int(known["link_id"]), digest=str(known["digest"]))
            except (OSError, ValueError, KeyError, TypeError):  # damaged, which others say
                continue
    return found


def _doubt(witness: Witness, found: Chain) -> Doubt | None:
    """What a file knows that the chain denies; None where they agree."""
    if witness["ledger_id"] != found.ledger_id:
        return "another_ledger"
    if witness["link_id"] not in found.digests:
        return "cut_off"
    return None if found.digests[witness["link_id"]] == witness["digest"] else "another_history"


def _sound(found: Chain) -> str:
    """What holds, with the digest to keep elsewhere."""
    late = f", the first {found.num_late:,} since they got their digests" if found.num_late else ""
    link_id, digest = list(found.digests.items())[-1]
    return f"{_entries(link_id)} as written{late}; up to {found.newest} the digest is {digest}"
