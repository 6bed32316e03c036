"""Pages made of templates: every value in them is escaped unless the template says that it is markup already.

Knows no page.
"""

from pathlib import Path

import jinja2


def render(path: Path, **values: object) -> str:
    """The template at `path` with these values. It may include and import others of its folder by their names. Raises
    jinja2.UndefinedError for a name that no value has."""
    loader = jinja2.FileSystemLoader(path.parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined,
                                     trim_blocks=True, lstrip_blocks=True)
    return environment.get_template(path.name).render(values)
