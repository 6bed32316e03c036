"""What people do with a trained run: import, decide, compare, export. pandas and a database; knows no torch."""
