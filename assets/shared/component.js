// What our components share; curation.views.widgets.component puts it before each component's own script.

function mounted(component, selector, createView) {
  const root = component.parentElement.querySelector(selector);
  const view = (root.__view ||= createView(root));
  view.component = component;
  view.show(component.data);
}

function element(kind, className, text) {
  const node = document.createElement(kind);
  if (className) node.className = className;
  if (text !== undefined && text !== null) node.textContent = text;
  return node;
}

function sentence(text) { return text ? `${text[0].toUpperCase()}${text.slice(1)}.` : ""; }

// What the user did, on its way to the server: numbered, and sent again until the data say that acts up to its number were
// done, for a trigger alone can be lost. view: {component, kept: {number, pending}}; say: shows a word while there is no
// answer, "" once there is.
function unsentActs(view, root, say) {
  let timer = 0;
  const flush = () => {
    clearTimeout(timer);
    if (!view.kept.pending.length) { say(""); return; }
    if (!root.isConnected) return;  // the view that took its place sends what is left
    view.component.setTriggerValue("act", { acts: view.kept.pending });
    timer = setTimeout(() => { say("Not saved yet, sending again ..."); flush(); }, 4000);
  };
  const send = (act) => {
    view.kept.number += 1;
    view.kept.pending = [...view.kept.pending, { number: view.kept.number, ...act }];
    flush();
  };
  const acknowledge = (number) => {
    view.kept.number = Math.max(view.kept.number, number);
    const left = view.kept.pending.filter((act) => act.number > number);
    if (left.length === view.kept.pending.length) return;
    view.kept.pending = left;
    flush();
  };
  return { flush, send, acknowledge };
}

// The classes that a digit key names. Where any class is called by a digit, digits mean classes and nothing else: who reads
// a 7 presses 7.
function digitClasses(classes) { return classes.filter((name) => /^[0-9]$/.test(name)).sort(); }
function digitWords(names) { 
  const isRow = names.length > 2 && Number(names.at(-1)) - Number(names[0]) === names.length - 1;
  return isRow ? `${names[0]} to ${names.at(-1)}` : names.join(", ");
}

// What lies over a component: keys, or a choice.
function overlayOf(overlay, root) {
  const close = () => { overlay.hidden = true; overlay.replaceChildren(); root.focus({ preventScroll: true }); };
  const open = (title, ...nodes) => {
    const box = element("div", "box");
    box.append(element("div", "title", title), ...nodes);
    overlay.replaceChildren(box);
    overlay.hidden = false;
  };
  overlay.onclick = (event) => { if (event.target === overlay) close(); };
  return { open, close };
}

// A list of classes under a field that filters it; Enter takes the first. notes: {class: what to say beside it}; first: the
// class to put on top; last: a button below them all while nothing is typed.
function classPicker(classes, notes, choose, close, { first = null, last = null } = {}) {
  const input = element("input"), list = element("div", "classes");
  input.type = "text";
  input.placeholder = "Type to filter; Enter takes the first";
  input.setAttribute("aria-label", "Filter the classes");
  const fill = () => {
    const wanted = input.value.trim().toLowerCase();
    const rank = (name) => 4 * (name.toLowerCase() === wanted) + 2 * (name === first) + name.toLowerCase().startsWith(wanted);
    const names = classes.filter((name) => name.toLowerCase().includes(wanted)).sort((a, b) => rank(b) - rank(a));  // stable
    list.replaceChildren(...names.slice(0, 300).map((name) => {
      const button = element("button", "", name);
      button.type = "button";
      if (Object.hasOwn(notes, name)) button.append(element("span", "note", notes[name]));
      button.onclick = () => choose(name);
      return button;
    }), ...(last && !wanted ? [last] : []));
    if (!names.length) list.append(element("div", "none", "No class of that name."));
  };
  input.oninput = fill;
  input.onkeydown = (event) => {
    event.stopPropagation();
    const button = list.querySelector("button");
    if (event.key === "Enter" && button) button.click();
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
  };
  fill();
  return [input, list];
}
