// In the head of every page, before Streamlit's own script: one entry of the browser's history a page.
//
// Streamlit pushes an entry for each change of the address: a page and its run would be three, a filter moved ten times
// ten. Here what changes within a page changes its entry. It does so a moment later, as the words of a new page come
// before the page itself: written at once they would stand in the entry of the page that is left.
{
  const MOMENT_MILLISECONDS = 50;
  const push = history.pushState.bind(history);
  let search = null, timer = 0;
  const write = () => {
    if (search !== null) history.replaceState({}, "", location.pathname + search);
    search = null;
  };
  addEventListener("popstate", () => { search = null; });
  history.pushState = (state, title, url) => {
    const target = new URL(url, location.href);
    if (target.pathname !== location.pathname) { push(state, title, url); return; }
    search = target.search;
    clearTimeout(timer);
    timer = setTimeout(write, MOMENT_MILLISECONDS);
  };
}
