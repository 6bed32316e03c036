// Another class for one sample, by mouse or by the queue's keys: r opens the list, and a digit is the class of that name.
// Labels come from the user's files and are shown through textContent alone.
//
// data: {id, classes, suggestion or null, acted, owner}. Sends trigger `act` {acts: [{number, id, label or null}]}, sent
// again until the data say that acts up to its number were done; what must outlive a remount is kept on the page, by owner.

export default function (component) { mounted(component, ".relabel", createView); }

function createView(root) {
  const part = (name) => root.querySelector(`.${name}`);
  const place = part("place"), open = part("open"), take = part("take"), said = part("said");
  const view = { component: null, data: null, id: null, kept: { number: 0, pending: [], openFor: null } };
  const { flush, send, acknowledge } = unsentActs(view, root, (text) => { said.textContent = text; });

  const close = () => { view.kept.openFor = null; place.replaceChildren(); open.setAttribute("aria-expanded", "false"); open.focus({ preventScroll: true }); };
  const choose = (label) => { close(); send({ id: view.data.id, label }); };
  const show = () => {
    const { classes, suggestion } = view.data, back = element("button", "back", "Back to the given label");
    back.type = "button";
    back.onclick = () => choose(null);
    place.replaceChildren(...classPicker(classes, suggestion ? { [suggestion]: " suggested" } : {}, choose, close,
      { first: suggestion, last: back }));
    view.kept.openFor = view.data.id;
    open.setAttribute("aria-expanded", "true");
    place.querySelector("input").focus();
  };
  open.onclick = () => (place.children.length ? close() : show());
  take.onclick = () => choose(view.data.suggestion);

  const listen = (event) => {
    if (!root.isConnected) { document.removeEventListener("keydown", listen, true); return; }
    const target = event.composedPath()[0];
    if (!view.data || event.ctrlKey || event.metaKey || event.altKey || event.repeat || target.isContentEditable
      || ["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName)) return;
    const isClass = digitClasses(view.data.classes).includes(event.key);
    if (event.key !== "r" && !isClass) return;
    event.preventDefault();
    event.stopPropagation();  // to Streamlit, r means to run the page again
    if (isClass) choose(event.key); else show();
  };
  document.addEventListener("keydown", listen, true);

  view.show = (data) => {
    const isNew = !view.data, named = digitClasses(data.classes);
    view.data = data;
    view.kept = ((window.__whetstoneRelabels ||= {})[data.owner] ||= view.kept);
    acknowledge(data.acted);
    if (isNew && view.kept.pending.length) flush();
    if (data.id !== view.id && place.children.length) close();
    if (isNew && view.kept.openFor === data.id) show();  // a page drawn anew behind the dialog takes no list away
    view.id = data.id;
    take.hidden = !data.suggestion;
    take.textContent = data.suggestion ? `Relabel to ${data.suggestion}` : "";
    part("digits").replaceChildren(...(named.length ? [element("kbd", "", digitWords(named)), " relabel to that class"] : []));
  };
  return view;
}
