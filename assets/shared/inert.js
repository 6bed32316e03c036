// In the head of every page. A dialog makes the rest of the page inert. Streamlit's sometimes leaves it so where one is
// closed while it is drawn anew, and the page takes no click any more: what no dialog holds is let go of.
{
  const MOMENT_MILLISECONDS = 1000, HOLDERS = '[role="dialog"], [role="alertdialog"], [role="listbox"], [role="menu"]';
  let since = null;
  setInterval(() => {
    const root = document.getElementById("root"), now = performance.now();
    since = root && root.inert && !document.querySelector(HOLDERS) ? since ?? now : null;
    if (since !== null && now - since > MOMENT_MILLISECONDS) root.inert = false;
  }, 250);
}
