"""What stands in front of the pages where people sign in. Decides no role (curation.views.routes.access)."""

import streamlit as st
from streamlit.auth_util import get_secrets_auth_section

from curation.ledger import people
from curation.views.routes.access import current
from curation.views.widgets import state


def let_in() -> bool:
    """Whether who opened the app may look; draws how to sign in, or what to do without a role, where not."""
    person = people.signed_in()
    if person is None or person.role is not None:
        return True
    st.title("Whetstone")
    if person.name:
        st.warning(f"You are signed in as {state.plain(person.name)}, who has no role here. Ask an owner for one.",
                   icon=":material/lock:")
        sign_out()
        return False
    st.markdown("Sign in to go on: decisions here carry the names of those who took them.")
    for provider in _providers():
        st.button(f"Sign in with {state.plain(provider)}" if provider else "Sign in", type="primary",
                  icon=":material/login:", key=f"sign_in.{provider}", on_click=st.login, args=[provider or None])
    return False


def sign_out() -> None:
    """A button, where it is this app that signed the person in."""
    if current().has_sign_in:
        st.button("Sign out", key="sign_out", icon=":material/logout:", on_click=st.logout)


def _providers() -> list[str]:
    """Names of the sections under [auth]; "" for the one that stands in it without a name."""
    section = get_secrets_auth_section().to_dict()
    named = [name for name, value in section.items() if isinstance(value, dict) and "client_id" in value]
    return ["", *named] if "client_id" in section else named
