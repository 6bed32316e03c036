"""How far a ledger has come, without opening it as Ledger does: that makes its tables and looks after its snapshot."""

from curation.ledger import engines, tables


def newest_batch(database: str) -> int:
    """Ledger.revision of the ledger in a SQLite file or at a database URL, in a third of the time. Raises LedgerError,
    also where its tables have not been made yet."""
    engine = engines.engine_of(database)
    with tables.one_line_errors(engine), tables.transaction(engine) as connection:
        return tables.revision_of(connection)
