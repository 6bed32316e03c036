"""The number of the layout of a project's folder, its manifest and a run, each kept in the document itself.

A document without a number is of older code and is read as what it is: what a layout lacks is optional where it is
read, so that nothing of a project is rewritten on opening. A number goes up when code of before would read what is new
as something else; that code then refuses it in one line. The ledger has a number of its own (curation.ledger.layout).
"""

PROJECT = 1
"""In project.json; and how all else lies in the folder: features, live, studies, audits, views."""
MANIFEST = 1
"""In the metadata of manifest.parquet, as `version`."""
RUN = 1
"""In config.json; and what else a run has."""


def newer(found: object, known: int) -> str:
    """Why a document with this number cannot be read, the end of a line; "" where it can. found: as a file has it."""
    if not isinstance(found, int) or found <= known:
        return ""
    return f"its layout is {found}, and this version knows {known}; update Whetstone"
