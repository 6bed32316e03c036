"""A damaged run beside sound ones, and a dropped zip that becomes a project, in a real browser."""

import io
import re
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from curation.project import Project
from tests.browser.driver import Browser, wait_for
from tests.fakes import make_project, make_run

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def offered(browser: Browser) -> list[str]:
    """The runs that the sidebar's picker offers."""
    browser.page.locator('[data-testid="stSidebar"] [role="combobox"], [data-testid="stSidebar"] input') \
        .nth(1).click()
    options = browser.page.get_by_role("option")
    options.first.wait_for()
    found = options.all_text_contents()
    browser.page.keyboard.press("Escape")
    browser.settle()
    return sorted(found)


@pytest.mark.timeout(300)
def test_a_damaged_run_is_named_and_the_sound_ones_work(browser: Browser, server: tuple[str, Path]) -> None:
    project = make_project(server[1] / "pets")
    for name in ("first", "second", "third"):
        make_run(project, name)
    status = project / "runs" / "third" / "status.json"
    status.write_text('{"state": "do')
    browser.open("train?project=pets&run=third")
    browser.see("One run cannot be read")
    browser.see("delete it, and resume what stopped")
    browser.see("Run second")
    assert offered(browser) == ["first", "second"]
    browser.open("explore?project=pets&run=first")
    for page, words in (("explore", "60 samples"), ("compare", "Test accuracy"), ("export", "Preview")):
        browser.go_to(page)
        browser.see(re.compile(re.escape(words)))
        browser.see("1 run cannot be read", within='[data-testid="stSidebar"]')
        assert browser.page.locator('[data-testid="stAlertContentError"]').count() == 0
    status.unlink()  # as the page says
    browser.open("train?project=pets&run=third")
    browser.see("third interrupted", within='[data-testid="stSidebar"]')
    assert offered(browser) == ["first", "second", "third"]
    assert not browser.errors, "the browser's console stays free of errors"


@pytest.mark.timeout(300)
def test_a_dropped_zip_is_previewed_split_and_imported(browser: Browser, server: tuple[str, Path]) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for label, red in (("cat", 200), ("dog", 20)):
            for idx in range(20):
                picture = io.BytesIO()
                Image.new("RGB", (8, 8), (red, 10 * idx, 0)).save(picture, "PNG")
                archive.writestr(f"pets/{label}/{idx}.png", picture.getvalue())
    browser.open("")
    browser.page.get_by_text("A zip to drop here", exact=True).click()
    browser.settle()
    browser.page.locator('input[type="file"]').set_input_files(
        {"name": "pets.zip", "mimeType": "application/zip", "buffer": buffer.getvalue()})
    browser.see("Recognised as")
    browser.press("Preview")
    browser.see("held out by this import, at random by class")
    assert browser.page.locator('.ws-pictures img').count() == 12
    assert not (server[1] / "zipped").exists(), "nothing is written before it is asked for"
    name = browser.page.get_by_role("textbox", name="Name of the project")
    name.fill("zipped")
    name.press("Enter")
    browser.settle()
    browser.page.get_by_text(re.compile("^Make features at once")).click()
    browser.settle()
    browser.press("Import")
    wait_for((server[1] / "zipped" / "manifest.parquet").is_file, 30, "nothing was imported")
    browser.see("Project zipped")
    rows = Project.open(server[1] / "zipped").manifest()
    assert rows["split"].value_counts().to_dict() == {"train": 28, "test": 8, "clean": 4}
    assert not browser.errors, "the browser's console stays free of errors"
