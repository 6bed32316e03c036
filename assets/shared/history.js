// In the head of every page, before Streamlit's own script: one entry of the browser's history a page.
//
// Streamlit pushes an entry for each change of the address: a page and its run would be two, a filter moved ten times ten.
// Here what changes within a page changes its entry. The words of a new page come a moment before the page itself, and
// so stand for that moment in the entry of the page that is left, which then gets its own back.
{
  const MOMENT_MILLISECONDS = 1000;
  const push = history.pushState.bind(history);
  let before = null, changed = 0;
  addEventListener("popstate", () => { before = null; });
  history.pushState = (state, title, url) => {
    const now = performance.now(), isSoon = now - changed < MOMENT_MILLISECONDS;
    if (new URL(url, location.href).pathname === location.pathname) {
      if (before === null || !isSoon) before = location.href;
      changed = now;
      history.replaceState(state, title, url);
      return;
    }
    if (before !== null && isSoon) history.replaceState(history.state, "", before);
    before = null;
    push(state, title, url);
  };
}
