"""Files of tables and lists as columns, with what is wrong in them."""
