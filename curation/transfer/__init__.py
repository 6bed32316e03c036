"""Transfer scores: is a set that one backbone found hard hard for another? Asked for, found again, and in words."""
