"""How far a ledger has come, without opening it."""

from pathlib import Path

import pytest

from curation.ledger.batch import LedgerError
from curation.ledger.ledger import Ledger
from curation.ledger.newest import newest_batch
from curation.project import Project
from tests.fakes import make_project


def test_the_revision_of_a_project_is_its_ledgers_and_opens_it_only_where_it_has_to_be_made(tmp_path: Path,
                                                                                           monkeypatch) -> None:
    pets = Project.open(make_project(tmp_path / "pets", size=4))
    with pytest.raises(LedgerError, match="no such table"):
        newest_batch(pets.database)
    assert pets.revision == 0
    pets.ledger().exclude(["train-00001"], who="ada")
    pets.ledger().undo(who="ada")
    monkeypatch.setattr(Ledger, "__init__", lambda *_: pytest.fail("opened"))
    assert pets.revision == 2


def test_what_is_wrong_with_a_ledger_is_said_as_opening_it_says_it(tmp_path: Path) -> None:
    pets = Project.open(make_project(tmp_path / "pets", size=4))
    (pets.path / "ledger.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(LedgerError) as opening:
        pets.ledger()
    with pytest.raises(LedgerError) as asking:
        assert pets.revision
    assert str(asking.value) == str(opening.value)
