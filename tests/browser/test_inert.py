"""A page that a closed dialog left inert takes clicks again; under an open one it stays inert."""

import pytest

from curation.project import Project
from tests.browser.driver import Browser, wait_for
from tests.fakes import make_project, make_run

pytestmark = [pytest.mark.browser, pytest.mark.slow]
IS_INERT = "() => document.getElementById('root').inert"


def test_only_an_open_dialog_keeps_the_page_inert(browser: Browser, server) -> None:
    project = Project.open(make_project(server[1] / "pets", num_train=40))
    make_run(project.path, "first")
    browser.open("explore?project=pets&run=first")
    browser.page.evaluate("document.getElementById('root').inert = true")
    wait_for(lambda: not browser.page.evaluate(IS_INERT), 20, "the page stayed inert")
    browser.page.locator(".gallery .card").nth(1).click(click_count=2, delay=90)
    browser.page.get_by_role("dialog").get_by_text("Nearest neighbours").wait_for()
    browser.page.wait_for_timeout(2_500)
    assert browser.page.evaluate(IS_INERT), "what lies under a dialog takes no click"
