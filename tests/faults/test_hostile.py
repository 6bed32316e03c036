"""A hundred of the generated pictures and tables; more by python -m tests.faults.hostile."""

import pytest

from tests.faults.hostile import PICTURES, TABLES, checking, look_at_picture, look_at_table


@pytest.mark.filterwarnings("ignore")  # Pillow warns of odd metadata, pandas of odd columns
@pytest.mark.parametrize(("examples", "look"), [(PICTURES, look_at_picture), (TABLES, look_at_table)],
                         ids=["pictures", "tables"])
def test_what_strangers_send_is_read_or_refused_in_one_line(examples, look):
    checking(examples, look, 50)()
