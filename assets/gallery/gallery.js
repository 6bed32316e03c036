// A grid of samples driven by mouse and keyboard. Data arrives as JSON and is shown through textContent alone: labels
// and ids come from the user's files and must never be read as HTML.
//
// data: {items: [{id, src, label, suggestion, value, role, badges, tip, chance}], size, classes, token, colours,
// has_previous, has_next, focus: [number, id] or null, is_compact, takes_keys, refusal, acted, owner}; refusal: why this
// person may not decide, "" where they may.
// Sends state `marked` {token, ids} and triggers `act` {acts: [{number, op, ids, label?}]} with op one of validation,
// train, exclude, confirm, relabel, undo, redo, next, previous, open. `token` names what is selected: marks die with it. An act is
// sent, and sent again, until the data say that acts up to its number were done: a trigger alone can be lost. Streamlit
// may mount a component anew in the middle of the work; what must outlive that is kept on the page, by owner.

const HELP = [
  ["click, Space", "mark or unmark"], ["Shift + click or arrow", "mark a range"], ["arrows, Home, End", "move"],
  ["a", "mark all on this page"], ["Esc", "unmark all"],
  ["v", "pin to validation"], ["t", "pin to training"], ["x", "exclude"], ["l", "the label is right"], ["r", "relabel"],
  ["u, Shift + u", "undo, redo your last decision"],
  ["Enter, double click", "open the sample"], ["n, p", "next, previous page"], ["?", "show or hide these keys"],
];
const OPS = { v: "validation", t: "train", x: "exclude", l: "confirm" };
const DECISIONS = new Set(["validation", "train", "exclude", "confirm", "relabel"]);
const LOOKS = new Set(["open", "next", "previous"]);
const DECIDING_KEYS = new Set(["v", "t", "x", "l", "r", "u, Shift + u"]);
const MISSED_MILLISECONDS = 3000;
const STAYS_ON_TOP = ".st-key-explore_bar, .st-key-triage_bar";
const HEADER = 60;  // of the app, in pixels

// While Streamlit mounts the gallery anew, the keyboard falls back to the page: a key pressed then is the gallery's that
// had it before, at once or as soon as it is there again.
window.__whetstoneCatch ||= ((event) => {
  const kept = Object.values(window.__whetstoneGalleries || {}).find((one) => one.hasFocus);
  if (!kept || event.target !== document.body || document.querySelector('[role="dialog"]')) return;
  if (kept.root && kept.root.isConnected) { kept.root.focus({ preventScroll: true }); kept.root.onkeydown(event); }
  else kept.missed.push({ key: event.key, shiftKey: event.shiftKey, at: performance.now() });
});
document.addEventListener("keydown", window.__whetstoneCatch, true);

// On the page itself, or left on the link in the sidebar that led here: no field or dialog has it.
function isKeyboardFree() {
  const holder = document.activeElement;
  return holder === document.body || Boolean(holder.closest('[data-testid="stSidebarNav"]'));
}

export default function (component) { mounted(component, ".gallery", createView); }

function createView(root) {
  const grid = root.querySelector(".grid");
  const overlay = root.querySelector(".overlay");
  const view = { component: null, data: null, ids: [], marked: new Set(), cursor: 0, anchor: 0, cards: new Map(), token: null,
    kept: { number: 0, pending: [], hasFocus: false, missed: [] }, revealed: null };

  const paint = () => {
    view.ids.forEach((id, i) => {
      const card = grid.children[i];
      card.classList.toggle("marked", view.marked.has(id));
      card.classList.toggle("cursor", i === view.cursor);
      card.setAttribute("aria-selected", view.marked.has(id));
    });
    const current = grid.children[view.cursor];
    if (current) grid.setAttribute("aria-activedescendant", current.id);
    const { chance } = view.data.items[view.cursor] || {};
    root.querySelector(".at").textContent = current
      ? `${view.cursor + 1} of ${view.ids.length}${chance ? `, its label is wrong: ${chance}` : ""}` : "";
  };
  let timer = 0;
  const sendMarks = (isNow) => {
    clearTimeout(timer);
    const send = () => view.component.setStateValue("marked", { token: view.token, ids: [...view.marked] });
    if (isNow) send(); else timer = setTimeout(send, 150);
  };
  const hint = root.querySelector(".hint"), plainHint = hint.textContent;
  let usualHint = plainHint;
  const { flush, send, acknowledge } = unsentActs(view, root, (text) => { hint.textContent = text || usualHint; });
  const targets = () => (view.marked.size ? [...view.marked] : view.ids.slice(view.cursor, view.cursor + 1));
  const isRefused = () => {
    if (view.data.refusal) hint.textContent = sentence(view.data.refusal);
    return Boolean(view.data.refusal);
  };
  const act = (op, extra) => {
    if (!LOOKS.has(op) && isRefused()) return;
    const ids = op === "open" ? view.ids.slice(view.cursor, view.cursor + 1) : DECISIONS.has(op) ? targets() : [];
    if (!ids.length && (op === "open" || DECISIONS.has(op))) return;
    if (DECISIONS.has(op)) {
      if (view.marked.size) { view.marked.clear(); sendMarks(true); } else view.cursor = Math.min(view.ids.length - 1, view.cursor + 1);
    }
    send({ op, ids, ...extra });
    paint();  // first: its words may take another line
    reveal();
  };

  const columns = () => {
    const first = grid.children[0];
    if (!first) return 1;
    let n = 0;
    while (n < grid.children.length && grid.children[n].offsetTop === first.offsetTop) n += 1;
    return Math.max(1, n);
  };
  // Scrolls as little as needed until the card is wholly in sight, below what stays on top (curation.css) whatever its height.
  const reveal = () => {
    const card = grid.children[view.cursor];
    if (!card) return;
    const covered = [...document.querySelectorAll(STAYS_ON_TOP)].map((node) => node.closest('[data-testid="stLayoutWrapper"]') || node)
      .filter((node) => getComputedStyle(node).position === "sticky")
      .map((node) => parseFloat(getComputedStyle(node).top) + node.getBoundingClientRect().height);
    root.style.setProperty("--covered", `${Math.max(HEADER, ...covered) + 8}px`);
    card.scrollIntoView({ block: "nearest" });
    view.revealed = view.ids[view.cursor];
  };
  const moveTo = (index, isRange) => {
    const target = Math.max(0, Math.min(view.ids.length - 1, index));
    if (isRange) markRange(view.anchor, target); else view.anchor = target;
    view.cursor = target;
    paint();  // first: its words may take another line
    reveal();
  };
  const markRange = (from, to) => {
    for (let i = Math.min(from, to); i <= Math.max(from, to); i += 1) view.marked.add(view.ids[i]);
    sendMarks();
  };
  const toggle = (index) => {
    const id = view.ids[index];
    if (!view.marked.delete(id)) view.marked.add(id);
    view.anchor = index;
    sendMarks();
  };

  const { open: openOverlay, close: closeOverlay } = overlayOf(overlay, root);
  const showHelp = () => {
    const list = element("dl", "keys");
    const named = digitClasses(view.data.classes);
    const digits = named.length ? [[digitWords(named), "relabel to that class"]] : [];
    const all = view.data.refusal ? HELP.filter(([key]) => !DECIDING_KEYS.has(key)) : [...HELP, ...digits];
    for (const [key, meaning] of all) list.append(element("dt", "", key), element("dd", "", meaning));
    openOverlay("Keys", list);
  };
  const showClasses = () => {
    const ids = targets();
    if (!ids.length || isRefused()) return;
    const { suggestion } = view.data.items.find((item) => item.id === ids[0]) || {};
    const choose = (label) => { closeOverlay(); act("relabel", { label }); };
    const back = element("button", "back", "Back to the given label");
    back.onclick = () => choose(null);
    const picker = classPicker(view.data.classes, suggestion ? { [suggestion]: " suggested" } : {}, choose, closeOverlay,
      { first: suggestion, last: back });
    openOverlay(`Relabel ${ids.length === 1 ? "1 sample" : `${ids.length} samples`} as`, ...picker);
    picker[0].focus();
  };

  const keys = {
    ArrowRight: (e) => moveTo(view.cursor + 1, e.shiftKey), ArrowLeft: (e) => moveTo(view.cursor - 1, e.shiftKey),
    ArrowDown: (e) => moveTo(view.cursor + columns(), e.shiftKey), ArrowUp: (e) => moveTo(view.cursor - columns(), e.shiftKey),
    Home: (e) => moveTo(0, e.shiftKey), End: (e) => moveTo(view.ids.length - 1, e.shiftKey),
    " ": () => { if (view.ids.length) toggle(view.cursor); paint(); },
    a: () => { if (view.ids.length) markRange(0, view.ids.length - 1); paint(); },
    Escape: () => { if (!overlay.hidden) closeOverlay(); else { view.marked.clear(); sendMarks(); paint(); } },
    Enter: () => act("open"), u: () => act("undo"), U: () => act("redo"), r: showClasses,
    n: () => { if (view.data.has_next) act("next"); }, p: () => { if (view.data.has_previous) act("previous"); },
    "?": () => (overlay.hidden ? showHelp() : closeOverlay()),
  };
  for (const [key, op] of Object.entries(OPS)) keys[key] = () => act(op);

  // The list has the keyboard, so that a screen reader says the sample under the cursor.
  root.onfocus = () => grid.focus({ preventScroll: true });
  root.addEventListener("focusin", () => { view.kept.hasFocus = true; });
  root.addEventListener("focusout", () => setTimeout(() => {
    if (root.isConnected) view.kept.hasFocus = root.contains(root.getRootNode().activeElement);
  }, 50));
  root.onkeydown = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "INPUT") return;
    const isDigit = digitClasses(view.data.classes).includes(event.key);
    const known = isDigit ? () => act("relabel", { label: event.key }) : keys[event.key];
    if (!known || (event.key === "Enter" && event.target.tagName === "BUTTON")) return;
    event.preventDefault();
    event.stopPropagation();  // Streamlit has its own meaning for some letters
    known(event);
  };
  root.querySelector(".help").onclick = () => { showHelp(); root.focus({ preventScroll: true }); };
  const indexOf = (event) => { const card = event.target.closest(".card"); return card ? [...grid.children].indexOf(card) : -1; };
  grid.onmousedown = (event) => { if (event.shiftKey) event.preventDefault(); };  // no text selection
  grid.onclick = (event) => {
    const index = indexOf(event);
    root.focus({ preventScroll: true });
    if (index < 0) return;
    if (event.shiftKey) markRange(view.anchor, index); else toggle(index);
    view.cursor = index;
    paint();
  };
  grid.ondblclick = (event) => {
    const index = indexOf(event);
    if (index >= 0) send({ op: "open", ids: [view.ids[index]] });
  };

  const makeCard = (id) => {
    const card = element("div", "card");
    const picture = element("div", "picture");
    const image = element("img");
    image.decoding = "async";
    image.draggable = false;
    picture.append(image, element("div", "badges"));
    card.append(picture, element("div", "label"), element("div", "suggestion"), element("div", "value"));
    card.setAttribute("role", "option");
    card.id = `card-${view.cards.size}-${Math.random().toString(36).slice(2, 8)}`;
    view.cards.set(id, card);
    return card;
  };
  const fillCard = (card, item) => {
    const [picture, label, suggestion, value] = card.children;
    const [image, badges] = picture.children;
    if (image.getAttribute("src") !== item.src) image.src = item.src;
    image.alt = `sample ${item.id}, ${item.label}`;
    card.dataset.role = item.role || "none";
    card.dataset.id = item.id;
    card.title = item.tip;
    label.textContent = item.label;
    suggestion.textContent = item.suggestion ? `\u2192 ${item.suggestion}` : "";
    value.textContent = item.value;
    badges.replaceChildren(...item.badges.map(([kind, text]) => element("span", `badge ${kind}`, text)));
  };
  view.show = (data) => {
    const isNew = !view.data;
    view.data = data;
    view.kept = ((window.__whetstoneGalleries ||= {})[data.owner] ||= view.kept);
    view.kept.root = root;
    acknowledge(data.acted);
    if (isNew && view.kept.pending.length) flush();
    const isOnArrival = data.takes_keys && data.items.length > 0;
    if (((isNew && isOnArrival) || view.kept.hasFocus) && isKeyboardFree()) root.focus({ preventScroll: true });
    const named = digitClasses(data.classes);
    const newHint = data.refusal ? plainHint.replace(/Keys decide.*/, sentence(data.refusal)) : named.length ? `${plainHint.replace(/\.$/, "")}; ${digitWords(named)} relabel.` : plainHint;
    if (hint.textContent === usualHint) hint.textContent = newHint;
    usualHint = newHint;
    if (data.token !== view.token) { view.marked.clear(); view.token = data.token; }
    const ids = data.items.map((item) => item.id);
    if (ids.join("\n") !== view.ids.join("\n")) {
      // The card that had it, or the next that is left, or the last; another page begins at its first.
      const there = new Set(ids), left = view.ids.slice(view.cursor).find((id) => there.has(id));
      const isSamePage = view.ids.some((id) => there.has(id));
      view.cursor = left !== undefined ? ids.indexOf(left) : isSamePage ? ids.length - 1 : 0;
      view.ids = ids;
      view.anchor = view.cursor;
    }
    const old = view.cards;
    view.cards = new Map();
    const cards = data.items.map((item) => {
      let card = old.get(item.id);
      if (card) view.cards.set(item.id, card); else card = makeCard(item.id);
      fillCard(card, item);
      return card;
    });
    if (cards.length !== grid.children.length || cards.some((card, i) => grid.children[i] !== card)) grid.replaceChildren(...cards);
    grid.style.setProperty("--side", `${data.size}px`);
    for (const [role, colour] of Object.entries(data.colours)) root.style.setProperty(`--${role}`, colour);
    root.classList.toggle("compact", data.is_compact);
    if (data.focus && view.focusNumber !== undefined && data.focus[0] !== view.focusNumber) {
      if (ids.includes(data.focus[1])) view.cursor = ids.indexOf(data.focus[1]);
      setTimeout(() => { root.focus({ preventScroll: true }); reveal(); }, 350);  // after the dialog has given its focus back
    }
    view.focusNumber = data.focus ? data.focus[0] : 0;
    paint();
    if (view.kept.hasFocus && view.ids[view.cursor] !== view.revealed) reveal();
    const missed = view.kept.missed.splice(0).filter((one) => performance.now() - one.at < MISSED_MILLISECONDS);
    for (const one of missed) root.onkeydown({ ...one, target: root, preventDefault() {}, stopPropagation() {} });
  };
  return view;
}
