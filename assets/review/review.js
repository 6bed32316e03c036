// One sample at a time, answered by key. Data arrives as JSON and is shown through textContent alone: labels and ids
// come from the user's files and must never be read as HTML.
//
// data: {batch, items: [{key, id, src, hard, given, suggestion, confidence, chance}], answers: {key: {verdict, label}}, references:
// {label: [src]}, classes, can_suggest, heading, last, summary: {headline, lines, button} or null, empty, refusal, acted,
// owner}; refusal: why this person may not answer, "" where they may.
// Sends trigger `act` {acts: [{number, batch, key, op, ...}]}: op verdict {item, verdict, label, seconds}, retract {item}
// or next. An act is sent, and sent again, until the data say that acts up to its number were done; `key` is a UUID, so
// that the log takes a verdict once even where the server forgot what it had done. An answer shows at once: what holds
// is what the data say with the acts still under way on top. What must outlive a remount is kept on the page, by owner.

const ANSWERS = [
  { verdict: "given", digit: "1", letter: "g", what: "Given is right", help: "the given label is right" },
  { verdict: "suggested", digit: "2", letter: "s", what: "Suggested is right", help: "the suggested label is right" },
  { verdict: "both", digit: "3", letter: "b", what: "Both fit", alone: "It and another fit", more: "the given label may stay", help: "both fit" },
  { verdict: "neither", digit: "4", letter: "n", what: "Neither fits", alone: "No class fits", more: "no class of the list does", help: "no class of the list fits" },
  { verdict: "other", digit: "5", letter: "o", what: "Another class ...", more: "choose it", help: "another class: type to find it" },
  { verdict: "unsure", digit: "6", letter: "k", what: "Can't tell", more: "counts neither way", help: "can't tell from the picture" },
];
const HELP = [
  ["u", "undo the last answer"], ["\u2190, \u2192", "look back and forward; a new answer replaces the old"],
  ["z", "zoom, hard pixels"], ["Enter", "next batch, once this one is done"], ["?", "show or hide these keys"],
];
const MAX_SECONDS = 300;
const NUM_PRELOADED = 6;

export default function (component) { mounted(component, ".review", createView); }

function createView(root) {
  const part = (name) => root.querySelector(`.${name}`);
  const ticks = part("ticks"), stage = part("stage"), summary = part("summary"), overlay = part("overlay"), hint = part("hint");
  const view = { component: null, data: null, batch: null, at: 0, loaded: new Map(),
    kept: { number: 0, pending: [], given: [], batch: null, at: 0 } };
  const current = () => view.data.items[view.at];

  // -- acts: numbered, sent again until they are seen to be done

  const late = (text) => { hint.textContent = text; hint.classList.toggle("late", Boolean(text)); };
  const { flush, send: sendAct, acknowledge } = unsentActs(view, root, late);
  const send = (act) => sendAct({ batch: view.batch, key: uuid(), ...act });
  window.addEventListener("beforeunload", (event) => { if (root.isConnected && view.kept.pending.length) event.preventDefault(); });

  // -- what is answered: the data, with the acts under way on top

  const answers = () => {
    const found = { ...view.data.answers };
    for (const act of view.kept.pending) {
      if (act.batch !== view.batch) continue;
      if (act.op === "verdict") found[act.item] = { verdict: act.verdict, label: act.label };
      if (act.op === "retract") delete found[act.item];
    }
    return found;
  };
  const nextOpen = (from) => {
    const has = answers(), num = view.data.items.length;
    for (let i = 0; i < num; i += 1) {
      const place = (from + i) % num;
      if (!Object.hasOwn(has, view.data.items[place].key)) return place;
    }
    return num;  // the summary
  };

  // -- time: from shown to answered, without the time in which nobody can have looked

  const clock = { seconds: 0, since: 0 };
  const isSeen = () => document.visibilityState === "visible";
  const tally = () => { if (clock.since) clock.seconds += (performance.now() - clock.since) / 1000; clock.since = 0; };
  const startClock = () => { clock.seconds = 0; clock.since = isSeen() ? performance.now() : 0; };
  document.addEventListener("visibilitychange", () => { tally(); if (isSeen()) clock.since = performance.now(); });

  // -- answering and moving

  const goTo = (place) => {
    view.at = view.kept.at = Math.max(0, Math.min(place, view.data.items.length));
    root.classList.remove("zoomed");
    startClock();
    paint();
  };
  const isRefused = () => {
    if (view.data.refusal) late(sentence(view.data.refusal));
    return Boolean(view.data.refusal);
  };
  const answer = (verdict, label) => {
    if (!current() || isRefused()) return;
    tally();
    view.kept.given = [...view.kept.given.filter((key) => key !== current().key), current().key];
    send({ op: "verdict", item: current().key, verdict, label: label === undefined ? null : label,
      seconds: Math.round(Math.min(clock.seconds, MAX_SECONDS) * 100) / 100 });
    goTo(nextOpen(view.at));
  };
  const undo = () => {
    if (isRefused()) return;
    const has = answers();
    const mine = view.kept.given.filter((key) => Object.hasOwn(has, key));
    const key = mine.length ? mine[mine.length - 1] : view.data.last;  // after a reload, what the log knows as the last
    if (!key || !Object.hasOwn(has, key)) { late("Nothing to undo in this batch."); return; }
    view.kept.given = view.kept.given.filter((one) => one !== key);
    send({ op: "retract", item: key });
    goTo(view.data.items.findIndex((item) => item.key === key));
  };
  const next = () => {
    if (!view.data.summary || !view.data.summary.button || view.kept.pending.length || isRefused()) return;
    send({ op: "next" });
    paint();
  };
  const answerClass = (label) => {
    const item = current();
    if (!item) return;
    if (label === item.given) answer("given"); else if (label === item.suggestion) answer("suggested"); else answer("other", label);
  };
  // The digit of an answer; of one that means a class, where digits are classes, that class.
  const digitOf = (choice, item) => {
    const named = digitClasses(view.data.classes);
    if (!named.length) return choice.digit;
    if (choice.verdict === "other") return digitWords(named);
    const label = { given: item.given, suggested: item.suggestion }[choice.verdict];
    return named.includes(label) ? label : null;
  };
  const press = (choice) => {
    if (!current() || (choice.verdict === "suggested" && !current().suggestion)) return;
    if (isRefused()) return;
    if (choice.verdict === "other") showClasses(); else answer(choice.verdict);
  };

  // -- drawing

  const pictureOf = (src) => {
    if (!view.loaded.has(src)) { const image = new Image(); image.src = src; view.loaded.set(src, image); }
    return view.loaded.get(src);
  };
  const preload = () => {
    const ahead = view.data.items.slice(view.at, view.at + NUM_PRELOADED);
    for (const item of ahead) pictureOf(item.src);
    for (const src of [...view.loaded.keys()].slice(0, -60)) view.loaded.delete(src);
  };
  const showPicture = (item) => {
    const image = part("picture").querySelector("img"), src = root.classList.contains("zoomed") ? item.hard : item.src;
    if (image.getAttribute("src") !== src) image.src = src;  // set again, it would flicker
    image.alt = `sample ${item.id}`;
  };
  const classBox = (kind, name, note, title) => {
    const box = element("div", `class ${kind}`), words = element("div", "words");
    words.append(element("div", "kind", title), element("div", "name", name));
    if (note) words.append(element("div", "note", note));
    box.append(words);
    const sources = view.data.references[name] || [];
    if (sources.length) {
      const typical = element("div", "typical"), strip = element("div", "strip");
      for (const src of sources) { const image = element("img"); image.src = src; image.alt = ""; strip.append(image); }
      typical.append(element("div", "kind", `typical of ${name.length > 24 ? "this class" : name}`), strip);
      box.append(typical);
    }
    return box;
  };
  const answerButton = (choice, chosen) => {
    const item = current(), button = element("button");
    button.type = "button";
    button.dataset.verdict = choice.verdict;
    const what = element("span", "what", item.suggestion ? choice.what : choice.alone || choice.what);
    const more = choice.verdict === "given" ? item.given : choice.verdict === "suggested" ? item.suggestion
      : choice.verdict === "other" && chosen && chosen.label ? chosen.label : choice.more;
    what.append(element("span", "more", more));
    const digit = digitOf(choice, item);
    button.append(...(digit ? [element("kbd", "", digit)] : []), element("kbd", "", choice.letter), what);
    button.classList.toggle("chosen", Boolean(chosen) && chosen.verdict === choice.verdict);
    button.disabled = Boolean(view.data.refusal);
    button.title = sentence(view.data.refusal);
    button.onclick = () => { press(choice); if (overlay.hidden) root.focus({ preventScroll: true }); };
    return button;
  };
  const paint = () => {
    const { items } = view.data, has = answers(), item = current(), num = items.filter((one) => Object.hasOwn(has, one.key)).length;
    [...ticks.children].forEach((tick, i) => {
      tick.classList.toggle("answered", Object.hasOwn(has, items[i].key));
      tick.classList.toggle("current", i === view.at);
    });
    part("count").textContent = items.length ? `${view.data.heading}: ${num} of ${items.length} answered` : view.data.heading;
    stage.hidden = !item;
    summary.hidden = Boolean(item);
    if (!item) { paintSummary(num); return; }
    const chosen = has[item.key];
    showPicture(item);
    const boxes = [classBox("given", item.given, item.chance, "Given label")];
    if (item.suggestion) boxes.push(classBox("suggested", item.suggestion, item.confidence, "Suggested label"));
    part("labels").replaceChildren(...boxes);
    part("answers").replaceChildren(...ANSWERS.filter((a) => a.verdict !== "suggested" || item.suggestion)
      .map((choice) => answerButton(choice, chosen)));
    for (const button of root.querySelectorAll(".step")) button.disabled = view.at + Number(button.dataset.step) < 0;
    part("undo").disabled = !num || Boolean(view.data.refusal);
    isRefused();
    part("said").textContent = `Sample ${view.at + 1} of ${items.length}. Given: ${item.given}.`
      + (item.suggestion ? ` Suggested: ${item.suggestion}.` : "") + (chosen ? ` You answered ${chosen.verdict}.` : "");
    preload();
  };
  const paintSummary = (num) => {
    const found = view.data.summary, isWaiting = view.kept.pending.length > 0;
    const isDone = num === view.data.items.length;
    const box = [element("div", "headline", !view.data.items.length ? view.data.empty : !isDone ? "Some are still open."
      : found ? found.headline : "All answered. Saving ...")];
    if (isDone && found) box.push(...found.lines.map((line) => element("p", "", line)));
    const go = element("div", "go");
    if (isDone && found && found.button) {
      const button = element("button", "main", isWaiting ? "One moment ..." : found.button);
      button.disabled = isWaiting || Boolean(view.data.refusal);
      button.title = sentence(view.data.refusal);
      button.onclick = next;
      go.append(button, element("kbd", "", "Enter"));
    }
    if (view.data.items.length) {
      const back = element("button", "", isDone ? "\u2190 Look back" : "Go on with the open ones");
      back.onclick = () => { goTo(isDone ? view.data.items.length - 1 : nextOpen(0)); root.focus({ preventScroll: true }); };
      go.append(back);
    }
    summary.replaceChildren(...box, go);
    part("said").textContent = box[0].textContent;
  };

  // -- overlays

  const { open: openOverlay, close: closeOverlay } = overlayOf(overlay, root);
  const showHelp = () => {
    const list = element("dl", "keys"), named = digitClasses(view.data.classes);
    const answers = ANSWERS.filter((choice) => view.data.can_suggest || choice.verdict !== "suggested")
      .map((choice) => [named.length ? choice.letter : `${choice.digit} or ${choice.letter}`, choice.help]);
    const digits = named.length ? [[digitWords(named), "it is of that class"]] : [];
    for (const [key, meaning] of [...digits, ...answers, ...HELP]) list.append(element("dt", "", key), element("dd", "", meaning));
    openOverlay("Keys", list);
  };
  const showClasses = () => {
    const item = current(), notes = { [item.given]: " given", ...(item.suggestion ? { [item.suggestion]: " suggested" } : {}) };
    const choose = (label) => { closeOverlay(); answerClass(label); };
    openOverlay("Which class is it?", ...classPicker(view.data.classes, notes, choose, closeOverlay));
    overlay.querySelector("input").focus();
  };
  const zoom = () => {
    if (!current()) return;
    if (root.classList.toggle("zoomed")) root.scrollIntoView({ block: "start" });
    showPicture(current());
  };

  // -- keys: wherever the keyboard is, unless it is in use elsewhere

  const keys = {
    ArrowLeft: () => goTo(view.at - 1), ArrowRight: () => goTo(view.at + 1), u: undo, z: zoom,
    Enter: () => { if (!current()) { if (nextOpen(0) < view.data.items.length) goTo(nextOpen(0)); else next(); } },
    Escape: () => { if (!overlay.hidden) closeOverlay(); else if (root.classList.contains("zoomed")) zoom(); },
    "?": () => (overlay.hidden ? showHelp() : closeOverlay()),
  };
  for (const choice of ANSWERS) keys[choice.digit] = keys[choice.letter] = () => press(choice);
  const meaningOf = (key) => {
    const named = digitClasses(view.data.classes);
    if (!named.length || !/^[0-9]$/.test(key)) return keys[key];
    return named.includes(key) ? () => answerClass(key) : undefined;
  };
  const onKey = (event) => {
    if (!view.data || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const target = event.composedPath()[0], isInside = root.contains(target);
    if (["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName) || target.isContentEditable) return;
    if (!isInside && document.querySelector('[role="dialog"], [role="listbox"], [role="menu"]')) return;
    const known = meaningOf(event.key), isAnswer = event.key.length === 1;
    if (!known || (!isAnswer && !isInside && target !== document.body) || (event.key === "Enter" && target.tagName === "BUTTON")) return;
    if (!overlay.hidden && !["Escape", "?"].includes(event.key)) return;
    event.preventDefault();
    event.stopPropagation();  // Streamlit has its own meaning for some letters
    known();
  };
  const listen = (event) => { if (root.isConnected) onKey(event); else document.removeEventListener("keydown", listen, true); };
  document.addEventListener("keydown", listen, true);

  part("picture").onclick = () => { zoom(); root.focus({ preventScroll: true }); };
  part("help").onclick = () => { showHelp(); root.focus({ preventScroll: true }); };
  part("undo").onclick = () => { undo(); root.focus({ preventScroll: true }); };
  for (const button of root.querySelectorAll(".step")) {
    button.onclick = () => { goTo(view.at + Number(button.dataset.step)); root.focus({ preventScroll: true }); };
  }
  ticks.onclick = (event) => { const place = [...ticks.children].indexOf(event.target); if (place >= 0) goTo(place); };

  view.show = (data) => {
    const isNew = !view.data;
    view.data = data;
    view.kept = ((window.__whetstoneReviews ||= {})[data.owner] ||= view.kept);
    acknowledge(data.acted);
    if (isNew && view.kept.pending.length) flush();
    if (isNew && ["BODY", "BUTTON", "A"].includes(document.activeElement.tagName)) root.focus({ preventScroll: true });
    const isOther = data.batch !== view.batch || ticks.children.length !== data.items.length;
    view.batch = data.batch;
    if (isOther) {
      view.kept.given = view.kept.given.filter((key) => data.items.some((item) => item.key === key));
      ticks.replaceChildren(...data.items.map((_, i) => { const tick = element("div", "tick"); tick.title = `${i + 1}`; return tick; }));
      goTo(view.kept.batch === data.batch ? view.kept.at : nextOpen(0));
      view.kept.batch = data.batch;
    } else paint();
  };
  return view;
}

// The page may be served over plain HTTP in a local network, where there is no crypto.randomUUID.
function uuid() {
  const bytes = [...crypto.getRandomValues(new Uint8Array(16))];
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  return bytes.map((byte, i) => ([4, 6, 8, 10].includes(i) ? "-" : "") + byte.toString(16).padStart(2, "0")).join("");
}
