// A map of any number of samples on a canvas: a density picture of all under real points, fetched anew for each view.
// Labels and ids come from the user's files and are shown through textContent alone.
//
// data: {layer, owner, extent: [x0, x1, y0, y1], region: {lasso: [[[x, y]]], box: [[x0, x1, y0, y1]]} or null, height,
//        legend: {title, entries: [{name, count, colour, symbol, can_pick}], scale: {low, high, stops: {theme: [colour]}} or null},
//        mark_colours: {bit: colour}, faded: {theme: colour}}, theme one of light, dark
// Triggers: region {owner, lasso, box}; open {id}; pick {name}; lost {layer} when the server no longer keeps the layer.
// The page owns the region: what is drawn comes back with the next data. Zoom lives here, as long as the owner is the same.

const FADED = 8;
const SYMBOLS = { 1: "diamond", 2: "square", 4: "cross" };
const SIGNS = { diamond: "\u25C7", square: "\u25A1", cross: "\u2715" };

export default function (component) { mounted(component, ".map", createView); }

function parse(buffer) {
  const header = new DataView(buffer);
  const num = header.getUint32(0, true), size = header.getUint32(4, true);
  let at = 8 + size;
  const take = (Kind, length) => {
    const part = new Kind(buffer.slice(at, at + length * Kind.BYTES_PER_ELEMENT));
    at += length * Kind.BYTES_PER_ELEMENT;
    return part;
  };
  return {
    num, png: size ? new Blob([new Uint8Array(buffer, 8, size)], { type: "image/png" }) : null,
    x: take(Float32Array, num), y: take(Float32Array, num), rows: take(Uint32Array, num),
    rgb: take(Uint8Array, 3 * num), marks: take(Uint8Array, num),
  };
}

// Ramer, Douglas and Peucker: without the corners that lie within `far` of the line from kept one to kept one.
function simplified(corners, far) {
  const last = corners.length - 1, kept = new Set([0, last]), open = [[0, last]];
  while (open.length) {
    const [from, to] = open.pop(), [x0, y0] = corners[from], dx = corners[to][0] - x0, dy = corners[to][1] - y0;
    const square = dx * dx + dy * dy;
    let best = -1, most = far;
    for (let i = from + 1; i < to; i += 1) {
      const u = corners[i][0] - x0, v = corners[i][1] - y0;
      const along = square ? Math.max(0, Math.min(1, (u * dx + v * dy) / square)) : 0;
      const distance = Math.hypot(u - along * dx, v - along * dy);
      if (distance > most) { best = i; most = distance; }
    }
    if (best >= 0) { kept.add(best); open.push([from, best], [best, to]); }
  }
  return kept.size < 3 ? corners : corners.filter((_, i) => kept.has(i));
}

function createView(root) {
  const canvas = root.querySelector("canvas"), frame = root.querySelector(".frame"), tip = root.querySelector(".tip");
  const busy = root.querySelector(".busy"), legend = root.querySelector(".legend"), tools = root.querySelector(".tools");
  const context = canvas.getContext("2d");
  const view = { component: null, data: null, box: null, tool: "lasso", picture: null, image: null, imageBox: null, drag: null };
  let width = 0, height = 0, frameAsked = false, sequence = 0, loadTimer = 0, busyTimer = 0, controller = null, retried = null;

  // The canvas is painted, so a change of theme paints it anew; map.css has the text's colour pass over, which says so.
  const theme = () => (getComputedStyle(root).colorScheme === "dark" ? "dark" : "light");
  root.ontransitionend = (event) => {
    if (event.target !== root || !view.data) return;
    showLegend(view.data.legend);
    draw();
    load(0);
  };

  // -- coordinates

  const fit = (extent) => {
    const scale = Math.max((extent[1] - extent[0]) / width, (extent[3] - extent[2]) / height);
    const x = (extent[0] + extent[1]) / 2, y = (extent[2] + extent[3]) / 2;
    return [x - scale * width / 2, x + scale * width / 2, y - scale * height / 2, y + scale * height / 2];
  };
  const px = (x) => (x - view.box[0]) / (view.box[1] - view.box[0]) * width;
  const py = (y) => (view.box[3] - y) / (view.box[3] - view.box[2]) * height;
  const at = (event) => {
    const bounds = canvas.getBoundingClientRect();
    const u = event.clientX - bounds.left, v = event.clientY - bounds.top;
    return { u, v, x: view.box[0] + u / width * (view.box[1] - view.box[0]), y: view.box[3] - v / height * (view.box[3] - view.box[2]) };
  };
  const zoom = (x, y, factor) => {
    const [x0, x1, y0, y1] = view.box, whole = fit(view.data.extent);
    const limited = Math.min(factor, 4 * (whole[1] - whole[0]) / (x1 - x0));
    if ((x1 - x0) * limited < 1e-5 * (whole[1] - whole[0])) return;
    view.box = [x + (x0 - x) * limited, x + (x1 - x) * limited, y + (y0 - y) * limited, y + (y1 - y) * limited];
    moved();
  };
  const shift = (dx, dy) => { view.box = [view.box[0] + dx, view.box[1] + dx, view.box[2] + dy, view.box[3] + dy]; moved(); };
  const moved = () => { tip.hidden = true; draw(); load(80); };

  // -- fetching

  const load = (delay) => { clearTimeout(loadTimer); loadTimer = setTimeout(fetchView, delay); };
  const fetchView = async () => {
    if (!view.data || !width) return;
    const mine = ++sequence, box = [...view.box], layer = view.data.layer;
    if (controller) controller.abort();
    controller = new AbortController();
    clearTimeout(busyTimer);
    busyTimer = setTimeout(() => { busy.hidden = false; }, 250);
    try {
      const query = new URLSearchParams({ layer, x0: box[0], x1: box[1], y0: box[2], y1: box[3], w: Math.round(width), h: Math.round(height),
        theme: theme() });
      const answer = await fetch(`/api/map?${query}`, { signal: controller.signal });
      if (answer.status === 410 && retried !== layer) {  // the page keeps it anew; its data may be the same, so ask again
        retried = layer;
        view.component.setTriggerValue("lost", { layer });
        setTimeout(fetchView, 1000);
        return;
      }
      if (!answer.ok) return;
      const picture = parse(await answer.arrayBuffer());
      const image = picture.png ? await createImageBitmap(picture.png) : null;
      if (mine !== sequence) return;
      Object.assign(view, { picture, image, imageBox: box });
      draw();
      root.dataset.drawn = layer;
      root.dataset.points = picture.num;
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    } finally {
      if (mine === sequence) { clearTimeout(busyTimer); busy.hidden = true; }
    }
  };

  // -- drawing

  const draw = () => {
    if (frameAsked) return;
    frameAsked = true;
    requestAnimationFrame(() => { frameAsked = false; paint(); });
  };
  const paint = () => {
    if (!view.box) return;
    const ratio = window.devicePixelRatio || 1;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const ink = getComputedStyle(root).color, pale = view.data.faded[theme()];
    if (view.image) {
      const [x0, x1, y0, y1] = view.imageBox;
      context.imageSmoothingEnabled = true;
      context.globalAlpha = 0.9;
      context.drawImage(view.image, px(x0), py(y1), px(x1) - px(x0), py(y0) - py(y1));
      context.globalAlpha = 1;
    }
    if (view.picture) paintPoints(view.picture, pale);
    const region = view.drag && view.drag.region ? view.drag.region : view.data.region;
    if (region) paintRegion(region, ink);
  };
  const paintPoints = ({ num, x, y, rgb, marks }, pale) => {
    const radius = view.image ? 2.2 : num <= 500 ? 4 : num <= 2000 ? 3.2 : 2.6;
    for (let i = 0; i < num; i += 1) {
      const u = px(x[i]), v = py(y[i]);
      if (u < -9 || v < -9 || u > width + 9 || v > height + 9) continue;
      const faded = marks[i] & FADED;
      context.globalAlpha = faded ? 0.5 : 0.88;
      context.fillStyle = faded ? pale : `rgb(${rgb[3 * i]},${rgb[3 * i + 1]},${rgb[3 * i + 2]})`;
      context.beginPath();
      context.arc(u, v, radius, 0, 6.2832);
      context.fill();
    }
    context.globalAlpha = 1;
    context.lineWidth = 2;
    for (let i = 0; i < num; i += 1) {
      if (!(marks[i] & 7)) continue;
      for (const bit of [1, 2, 4]) if (marks[i] & bit) paintMark(SYMBOLS[bit], px(x[i]), py(y[i]), view.data.mark_colours[bit]);
    }
  };
  const paintMark = (symbol, u, v, colour) => {
    context.strokeStyle = colour;
    context.beginPath();
    if (symbol === "diamond") { context.moveTo(u, v - 7); context.lineTo(u + 7, v); context.lineTo(u, v + 7); context.lineTo(u - 7, v); context.closePath(); }
    else if (symbol === "square") context.rect(u - 5.5, v - 5.5, 11, 11);
    else { context.moveTo(u - 5, v - 5); context.lineTo(u + 5, v + 5); context.moveTo(u + 5, v - 5); context.lineTo(u - 5, v + 5); }
    context.stroke();
  };
  const paintRegion = (region, ink) => {
    context.strokeStyle = ink;
    context.lineWidth = 1.5;
    context.fillStyle = "rgba(60,150,140,0.12)";
    for (const lasso of region.lasso) {
      context.beginPath();
      lasso.forEach(([x, y], i) => (i ? context.lineTo(px(x), py(y)) : context.moveTo(px(x), py(y))));
      context.closePath();
      context.fill("evenodd");
      context.stroke();
    }
    for (const [x0, x1, y0, y1] of region.box) {
      context.beginPath();
      context.rect(px(x0), py(y1), px(x1) - px(x0), py(y0) - py(y1));
      context.fill();
      context.stroke();
    }
  };

  // -- pointing

  const nearest = ({ u, v }) => {
    if (!view.picture) return -1;
    let best = -1, least = 81;
    for (let i = view.picture.num - 1; i >= 0; i -= 1) {
      const du = px(view.picture.x[i]) - u, dv = py(view.picture.y[i]) - v, distance = du * du + dv * dv;
      if (distance < least) { least = distance; best = i; }
    }
    return best;
  };
  const said = new Map();
  const say = async (row) => {
    const key = `${view.data.layer}/${row}`;
    if (!said.has(key)) {
      if (said.size > 500) said.clear();
      const answer = await fetch(`/api/map?${new URLSearchParams({ layer: view.data.layer, row })}`);
      if (!answer.ok) return null;
      said.set(key, await answer.json());
    }
    return said.get(key);
  };
  let hovered = -1, hoverTimer = 0;
  const hover = (place) => {
    const index = nearest(place);
    canvas.classList.toggle("over", index >= 0);
    if (index < 0) { hovered = -1; tip.hidden = true; clearTimeout(hoverTimer); return; }
    const row = view.picture.rows[index];
    if (row === hovered) return;
    hovered = row;
    clearTimeout(hoverTimer);
    hoverTimer = setTimeout(async () => {
      const words = await say(row);
      if (!words || hovered !== row) return;
      const [image, text] = tip.children;
      image.src = words.src;
      [words.label, words.value, words.id].forEach((part, i) => { text.children[i].textContent = part; });
      tip.hidden = false;
      tip.style.left = `${Math.min(place.u + 14, width - tip.offsetWidth - 6)}px`;
      tip.style.top = `${place.v + 14 + tip.offsetHeight > height ? Math.max(4, place.v - 14 - tip.offsetHeight) : place.v + 14}px`;
    }, 70);
  };
  const send = (region) => view.component.setTriggerValue("region", { owner: view.data.owner, lasso: region.lasso, box: region.box });
  // No more corners than the shape needs at this zoom, and no more digits: a lasso is part of the page's address.
  const shortened = (corners) => {
    const pixel = (view.box[1] - view.box[0]) / width, digits = Math.min(15, Math.max(0, Math.ceil(1 - Math.log10(pixel))));
    return simplified(corners, pixel).map((corner) => corner.map((value) => +value.toFixed(digits)));
  };
  const none = () => ({ lasso: [], box: [] });

  canvas.onpointerdown = (event) => {
    if (!view.box || event.button > 1) return;
    canvas.setPointerCapture(event.pointerId);
    root.focus({ preventScroll: true });
    tip.hidden = true;
    const start = at(event), mode = event.button === 1 ? "pan" : view.tool;
    const kept = event.shiftKey && view.data.region ? view.data.region : none();
    view.drag = { mode, start, last: start, kept, corners: [[start.x, start.y]], far: 0, region: null };
    event.preventDefault();
  };
  canvas.onpointermove = (event) => {
    if (!view.box) return;
    const now = at(event), drag = view.drag;
    if (!drag) { hover(now); return; }
    drag.far = Math.max(drag.far, Math.hypot(now.u - drag.start.u, now.v - drag.start.v));
    if (drag.mode === "pan") { const { x, y } = drag.start; shift(x - now.x, y - now.y); return; }
    if (drag.far < 4) return;
    if (drag.mode === "box") {
      const { x, y } = drag.start;
      drag.region = { lasso: drag.kept.lasso, box: [...drag.kept.box, [Math.min(x, now.x), Math.max(x, now.x), Math.min(y, now.y), Math.max(y, now.y)]] };
    } else {
      if (Math.hypot(now.u - drag.last.u, now.v - drag.last.v) >= 3) { drag.corners.push([now.x, now.y]); drag.last = now; }
      drag.region = { lasso: [...drag.kept.lasso, drag.corners], box: drag.kept.box };
    }
    draw();
  };
  canvas.onpointerup = (event) => {
    const drag = view.drag;
    view.drag = null;
    if (!drag) return;
    if (drag.mode === "pan") return;
    if (drag.far < 4) {
      const index = nearest(at(event));
      if (index >= 0) say(view.picture.rows[index]).then((words) => words && view.component.setTriggerValue("open", { id: words.id }));
      return;
    }
    if (!drag.region || (drag.mode === "lasso" && drag.corners.length < 3)) { draw(); return; }
    if (drag.mode === "lasso") drag.region.lasso[drag.region.lasso.length - 1] = shortened(drag.corners);
    view.data.region = drag.region;  // stays visible until the page says the same
    draw();
    send(drag.region);
  };
  canvas.onpointercancel = () => { view.drag = null; draw(); };
  canvas.onpointerleave = () => { if (!view.drag) { hovered = -1; clearTimeout(hoverTimer); tip.hidden = true; } };
  canvas.ondblclick = () => { if (view.data.region) clear(); };
  canvas.addEventListener("wheel", (event) => {
    if (!view.box) return;
    event.preventDefault();
    const { x, y } = at(event);
    zoom(x, y, Math.exp(Math.max(-120, Math.min(120, event.deltaY)) * 0.002));
  }, { passive: false });
  const clear = () => { view.data.region = null; draw(); send(none()); };
  const middle = () => [(view.box[0] + view.box[1]) / 2, (view.box[2] + view.box[3]) / 2];
  const all = () => { view.box = fit(view.data.extent); moved(); };
  const step = () => (view.box[1] - view.box[0]) / 10;
  const keys = {
    "+": () => zoom(...middle(), 1 / 1.5), "=": () => zoom(...middle(), 1 / 1.5), "-": () => zoom(...middle(), 1.5), 0: all,
    ArrowLeft: () => shift(-step(), 0), ArrowRight: () => shift(step(), 0), ArrowUp: () => shift(0, step()), ArrowDown: () => shift(0, -step()),
    Escape: () => { if (view.data.region) clear(); },
  };
  root.onkeydown = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !view.box || !keys[event.key]) return;
    event.preventDefault();
    event.stopPropagation();
    keys[event.key]();
  };
  const button = (text, title, act, tool) => {
    const node = element("button", "", text);
    node.type = "button";
    node.title = title;
    node.onclick = act;
    if (tool) node.dataset.tool = tool;
    tools.append(node);
  };
  const choose = (tool) => {
    view.tool = tool;
    canvas.classList.toggle("pan", tool === "pan");
    for (const node of tools.children) if (node.dataset.tool) node.setAttribute("aria-pressed", node.dataset.tool === tool);
  };
  button("Lasso", "Draw around samples to select them; with Shift add to the selection", () => choose("lasso"), "lasso");
  button("Box", "Drag a box around samples to select them; with Shift add to the selection", () => choose("box"), "box");
  button("Pan", "Drag the map (or the middle button with any tool)", () => choose("pan"), "pan");
  button("+", "Zoom in (or scroll)", () => zoom(...middle(), 1 / 1.5));
  button("\u2212", "Zoom out (or scroll)", () => zoom(...middle(), 1.5));
  button("Fit", "Show all samples", all);
  choose("lasso");

  // -- data

  const showLegend = ({ title, entries, scale }) => {
    const nodes = title ? [element("span", "title", title)] : [];
    if (scale) {
      const ramp = element("span", "ramp");
      ramp.style.background = `linear-gradient(to right, ${scale.stops[theme()].join(", ")})`;
      const box = element("span", "scale");
      box.append(element("span", "", scale.low), ramp, element("span", "", scale.high));
      nodes.push(box);
    }
    for (const { name, count, colour, symbol, can_pick: canPick } of entries) {
      const entry = element(canPick ? "button" : "span", "entry");
      const sign = symbol ? element("span", "sign", SIGNS[symbol]) : element("span", "dot");
      if (symbol) sign.style.color = colour; else sign.style.background = colour;
      entry.append(sign, element("span", "name", name), element("b", "", count.toLocaleString("en-US")));
      entry.title = canPick ? `${name}: click to filter by it` : name;
      if (canPick) {
        entry.type = "button";
        entry.onclick = () => view.component.setTriggerValue("pick", { name });
      }
      nodes.push(entry);
    }
    legend.replaceChildren(...nodes);
  };
  const resize = () => {
    const ratio = window.devicePixelRatio || 1, newWidth = frame.clientWidth, whole = view.data ? view.data.height : 540;
    const room = Math.max(300, window.innerHeight - 330);  // with what stands above and below it stays in view
    const newHeight = Math.min(whole, room, window.innerWidth < 1180 ? 380 : whole);  // stacked: leave room for pictures
    if (!newWidth || (newWidth === width && newHeight === height)) return;
    const before = view.box;
    width = newWidth;
    height = newHeight;
    canvas.style.height = `${height}px`;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    if (!view.data) return;
    view.box = fit(before || view.data.extent);  // all that was in view stays in view
    draw();
    load(60);
  };
  new ResizeObserver(resize).observe(frame);

  view.show = (data) => {
    const before = view.data;
    view.data = data;
    resize();
    if (!before || before.owner !== data.owner) {
      view.picture = view.image = null;
      if (width) view.box = fit(data.extent);
    }
    if (!before || before.layer !== data.layer) { hovered = -1; tip.hidden = true; retried = null; if (width) load(0); }
    showLegend(data.legend);
    draw();
  };
  return view;
}
