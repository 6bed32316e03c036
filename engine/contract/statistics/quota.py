"""How many samples of a class go to validation: one rule for routing, for its disagreement with pins, for views."""


def class_quota(num_members: int, fraction: float) -> int:
    """The share of the class rounded (halves to even), at least one, and never the whole class.

    num_members: samples of the class that are not excluded, at least 0. fraction: in (0, 1).

    >>> [class_quota(num, 0.1) for num in (0, 1, 2, 14, 16, 25)]
    [0, 0, 1, 1, 2, 2]
    """
    return min(max(1, round(fraction * num_members)), max(num_members - 1, 0))
