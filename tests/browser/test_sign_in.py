"""People sign in with an OpenID provider of a library, in a real browser: roles hold, and acts carry their names."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from curation.project import Project
from tests.browser.conftest import running_app, tabs_on
from tests.browser.driver import Browser, answers, wait_for
from tests.fakes import make_project, make_run

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PEOPLE = ("ada", "vera", "eve")
SECRETS = """
[auth]
redirect_uri = "{app}/oauth2callback"
cookie_secret = "a secret of this test, and of no use elsewhere"
client_id = "whetstone"
client_secret = "of the mock"
server_metadata_url = "{provider}/.well-known/openid-configuration"
client_kwargs = {{ prompt = "login" }}

[roles]
"ada@example.org" = "reviewer"
"vera@example.org" = "viewer"
"""


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[str]:
    """An OpenID provider that believes everybody."""
    if find_spec("oidc_provider_mock") is None or find_spec("authlib") is None:
        pytest.skip("pip install -r requirements-dev.txt")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    claims = [json.dumps({"sub": name, "email": f"{name}@example.org", "email_verified": True}) for name in PEOPLE]
    command = [sys.executable, "-m", "oidc_provider_mock", "-p", str(port)]
    with open(tmp_path / "provider.log", "wb") as log:
        process = subprocess.Popen([*command, *(part for one in claims for part in ("--user-claims", one))],
                                   stdout=log, stderr=log)
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(lambda: answers(f"{address}/.well-known/openid-configuration"), 60, "no provider")
            yield address
        finally:
            process.terminate()
            process.wait(20)


def sign_in(browser: Browser, name: str) -> None:
    browser.page.get_by_role("button", name="Sign in").click()
    browser.page.wait_for_url("**/oauth2/authorize**")
    browser.page.locator(f'button[value="{name}"]').click()
    browser.page.wait_for_url(f"{browser.url}/**")
    browser.errors.clear()  # the provider's page asks for a style sheet of elsewhere
    browser.arrive()


@pytest.mark.timeout(300)
def test_who_is_signed_in_is_the_author_and_has_a_role(provider: str, chrome: Any,
                                                                tmp_path: Path) -> None:
    def more(port: int) -> list[str]:
        (tmp_path / "secrets.toml").write_text(SECRETS.format(app=f"http://127.0.0.1:{port}", provider=provider))
        return ["--secrets.files", str(tmp_path / "secrets.toml")]

    with running_app(tmp_path, more) as (address, home), tabs_on(chrome, address) as opened:
        project = Project.open(make_project(home / "pets"))
        make_run(project.path)
        browser = opened()
        browser.open("explore?project=pets&run=first")
        browser.see("Sign in to go on")
        assert not browser.page.get_by_text("pets").count(), "nothing of a project is shown before"
        sign_in(browser, "ada")
        browser.see("Signed in as ada@example.org, reviewer.", within='[data-testid="stSidebar"]')
        assert not browser.page.get_by_label("Your name").count()
        browser.open("explore?project=pets&run=first")
        browser.mark(0, 0)
        browser.page.keyboard.press("x")
        wait_for(lambda: project.ledger().revision == 1, 30, "no decision")
        assert project.ledger().batches()["who"].tolist() == ["ada@example.org"]

        viewer = opened()
        viewer.open("")
        sign_in(viewer, "vera")
        viewer.open("explore?project=pets&run=first")
        viewer.mark(1, 1)
        viewer.page.keyboard.press("x")
        viewer.see("Deciding is for the role reviewer; vera@example.org is viewer; ask an owner.",
                   within=".gallery .hint")
        viewer.page.wait_for_timeout(500)
        assert not viewer.page.get_by_text("a decision is for the role").count(), "the key is not even sent"
        assert project.ledger().revision == 1

        stranger = opened()
        stranger.open("")
        sign_in(stranger, "eve")
        stranger.see("You are signed in as eve@example.org, who has no role here.")
        assert not stranger.page.locator('[data-testid="stSidebarNav"]').count()
        for tab in (browser, viewer, stranger):
            assert not tab.errors
