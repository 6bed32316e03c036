"""Numbers with what they count, as a person says them, and whether a text can be said. Knows no page and no file."""


def counted(number: float, one: str, many: str = "") -> str:
    """The number with the word for one or for many; `many` where that is not the word with an s.

    >>> counted(1, "review"), counted(1500, "review"), counted(2, "class", "classes")
    ('1 review', '1,500 reviews', '2 classes')
    """
    return f"{number:,.0f} {one if number == 1 else many or one + 's'}"


def signed(value: float, places: int = 1) -> str:
    """The number with its sign, and no minus before nothing.

    >>> signed(1.25), signed(-0.04), signed(-3)
    ('+1.2', '+0.0', '-3.0')
    """
    return f"{round(value, places) + 0.0:+.{places}f}"


def is_whole(text: str) -> bool:
    r"""Whether the text is characters and no half of one, which Python holds as a lone surrogate: from the name of a
    file whose bytes are not UTF-8, from JSON, from an address.

    >>> is_whole("caf\u00e9"), is_whole("\ud800")
    (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
