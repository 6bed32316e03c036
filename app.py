"""The app: `streamlit run app.py`. Names the script, our routes and what guards all of them; holds no logic."""

import streamlit as st
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from curation.views import garbage
from curation.views.map import layer
from curation.views.routes import identity, pages, thumbnails
from curation.views.routes.guard import Guard
from curation.views.widgets.state import show_failure

garbage.limit_arenas()
access = identity.begin()
app = st.App(
    "curation/views/main.py",
    routes=[*layer.ROUTES, *thumbnails.ROUTES, *pages.ROUTES],
    # server.allowedHosts guards the WebSocket alone; this guards all routes against DNS rebinding as well.
    middleware=[Middleware(Guard, access=access), Middleware(TrustedHostMiddleware, allowed_hosts=list(access.hosts))],
    on_script_error=show_failure,
)
