"""HTML pages from templates: styles and pictures are inside, so that one file is all of a page."""

from typing import Any


def render(template: str, **values: Any) -> str:
    """A page of a template in ``common/``, such as ``report/page.html.j2``; values are escaped."""
    import jinja2  # only when a page is wanted

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("common", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(template).render(**values)
