// Shows the images of the report. Texts are set as text, never as HTML; nothing is fetched.

const at = (id) => document.getElementById(id);
const [WRONG, RIGHT] = [0, 1];
const STATES = ["nearest is wrong", "nearest is right", "nothing to find"];

const make = (tag, kind = "", text = "") => {
  const element = document.createElement(tag);
  element.className = kind;
  element.textContent = text;
  return element;
};

function start(data) {
  const { labels, images, queries, lists } = data;
  const queryOf = new Map(queries.image.map((image, query) => [image, query]));
  const name = (label) => labels[label] ?? "unknown";

  function picture(image) {
    const encoded = images.picture[image];
    if (!encoded) return make("span", "gone", "no picture");
    const element = make("img");
    element.alt = "";
    element.addEventListener("load", () => {
      element.classList.toggle("small", Math.max(element.naturalWidth, element.naturalHeight) < 64);
    });
    element.src = `data:image/webp;base64,${encoded}`;
    return element;
  }

  // A button with a picture; it opens what is near to the image.
  function shot(image, { kind = "", note = "", title = "" } = {}) {
    const element = make("button", `shot ${kind}`);
    element.type = "button";
    const frame = make("span", "frame");
    frame.append(image < 0 ? make("span", "gone", "not kept") : picture(image));
    element.append(frame);
    if (image < 0) {
      element.disabled = true;
      return element;
    }
    const label = name(images.label[image]);
    element.append(make("b", "", title || label));
    if (note) element.append(make("small", "", note));
    const judged = { right: ", right", wrong: ", wrong" }[kind] ?? "";
    element.setAttribute("aria-label", `${label}${judged}, ${images.id[image]}${note ? `, ${note}` : ""}`);
    element.title = images.id[image];
    element.addEventListener("click", () => open(image));
    return element;
  }

  function neighbours(query) {
    return queries.near[query].map((image, place) => {
      const item = make("li");
      const hit = (queries.hits[query] >> place) & 1;
      const far = queries.far[query][place];
      const note = far === null ? "" : (far / 1000).toFixed(3);
      item.append(shot(image, { kind: hit ? "right" : "wrong", note }));
      return item;
    });
  }

  function open(image) {
    const query = queryOf.get(image);
    at("detail-title").textContent = name(images.label[image]);
    at("detail-id").textContent = images.id[image] + (query === undefined ? "" : `: ${STATES[queries.state[query]]}`);
    at("detail-image").replaceChildren(picture(image));
    at("detail-near").replaceChildren(...(query === undefined
      ? [make("li", "pale", "It is in the gallery only; its neighbours are not known.")]
      : neighbours(query)));
    if (!at("detail").open) at("detail").showModal();
    at("detail").scrollTop = 0;
  }

  showRows();
  for (const place of document.querySelectorAll("[data-image]")) place.append(shot(Number(place.dataset.image)));
  if (data.map) drawMap();

  function fillClasses(select) {
    const there = [...new Set(queries.image.map((image) => images.label[image]))].sort((a, b) => a - b);
    for (const label of there) {
      const option = make("option", "", name(label));
      option.value = label;
      select.append(option);
    }
  }

  // ---- rows of queries

  function showRows() {
    const STEP = 12;
    const [chooser, rows, more, status] = ["chooser", "rows", "more", "rows-status"].map(at);
    let found = [];
    let shown = 0;
    fillClasses(at("of-class"));

    function row(query) {
      const item = make("li");
      const near = make("ol", "shots");
      near.append(...neighbours(query));
      item.append(shot(queries.image[query], { kind: "query", note: images.id[queries.image[query]] }), near);
      return item;
    }

    function showMore() {
      const next = found.slice(shown, shown + STEP).map(row);
      const first = rows.children.length;
      rows.append(...next);
      shown += next.length;
      more.hidden = shown >= found.length;
      status.textContent = found.length
        ? `${shown.toLocaleString("en")} of ${found.length.toLocaleString("en")} shown`
        : "None of these queries.";
      return rows.children[first];
    }

    function choose() {
      const [label, state] = [at("of-class").value, at("of-state").value];
      const list = new FormData(chooser).get("list") ?? "random";
      // With a class chosen, all its queries are looked through, not only those of a short list.
      const source = label !== "" && list === "random" ? queries.image.keys() : lists[list];
      found = [...source].filter((query) =>
        (label === "" || images.label[queries.image[query]] === Number(label))
        && (state === "" || queries.state[query] === Number(state)));
      shown = 0;
      rows.replaceChildren();
      showMore();
    }

    chooser.addEventListener("change", choose);
    chooser.addEventListener("submit", (event) => event.preventDefault());
    more.addEventListener("click", () => showMore()?.querySelector("button").focus());
    choose();
  }

  // ---- the map

  function drawMap() {
    const UNITS = 4000;
    const MARGIN = 14;
    const REACH = 14; // pixels from a point to a pointer
    const LISTED = 60;
    const [canvas, tip, status, colour, only, lassoButton, listed] =
      ["canvas", "tip", "map-status", "map-colour", "map-class", "map-lasso", "lassoed"].map(at);
    const context = canvas.getContext("2d");
    const points = data.map.query.map((query, i) => ({
      query, image: queries.image[query], label: images.label[queries.image[query]],
      state: queries.state[query], u: data.map.x[i] / UNITS, v: data.map.y[i] / UNITS, x: 0, y: 0,
    }));
    const classes = [...new Set(points.map((point) => point.label))].sort((a, b) => a - b);
    const place = new Map(classes.map((label, i) => [label, i]));
    const PALETTE = ["#3b7dd8", "#e0772b", "#3a9a5b", "#c8443c", "#8760c4", "#9a6a4b", "#d169a8", "#7d858d", "#a8a12c", "#2aa6b5"];
    let [width, height, hovered, lasso] = [0, 0, null, null];
    fillClasses(only);

    const tint = (label) => {
      const i = place.get(label);
      return classes.length <= PALETTE.length ? PALETTE[i] : `hsl(${(i * 137.508) % 360} ${i % 2 ? 58 : 72}% ${i % 3 ? 52 : 62}%)`;
    };
    const style = (property) => getComputedStyle(document.documentElement).getPropertyValue(property);

    function resize() {
      const box = canvas.getBoundingClientRect();
      [width, height] = [box.width, box.height];
      canvas.width = Math.round(width * devicePixelRatio);
      canvas.height = Math.round(height * devicePixelRatio);
      context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
      // One scale for both directions, in the middle.
      const [most, top] = [Math.max(...points.map((p) => p.u)), Math.max(...points.map((p) => p.v))];
      const scale = Math.min((width - 2 * MARGIN) / (most || 1), (height - 2 * MARGIN) / (top || 1));
      const [left, above] = [(width - scale * most) / 2, (height - scale * top) / 2];
      for (const point of points) [point.x, point.y] = [left + scale * point.u, above + scale * point.v];
      draw();
    }

    function draw() {
      context.clearRect(0, 0, width, height);
      const byState = colour.value === "state";
      const [right, wrong, pale] = ["canvasRight", "canvasWrong", "canvasPale"].map((key) => canvas.dataset[key]);
      const size = points.length > 8000 ? 1.7 : points.length > 3000 ? 2.2 : points.length > 800 ? 3 : 4;
      const chosen = (point) => only.value === "" || point.label === Number(only.value);
      // What matters is drawn last.
      const order = [...points].sort((a, b) => chosen(a) - chosen(b) || (byState ? b.state - a.state : 0));
      for (const point of order) {
        context.globalAlpha = chosen(point) ? 0.85 : 0.08;
        context.fillStyle = byState ? [wrong, right, pale][point.state] : tint(point.label);
        if (byState && point.state === WRONG) cross(point, size + 1.5, wrong);
        else dot(point, size);
      }
      context.globalAlpha = 1;
      if (hovered) {
        context.lineWidth = 2;
        context.strokeStyle = canvas.dataset.canvasInk;
        context.beginPath();
        context.arc(hovered.x, hovered.y, size + 4, 0, 7);
        context.stroke();
      }
      if (lasso?.length > 1) {
        context.lineWidth = 1.5;
        context.strokeStyle = canvas.dataset.canvasInk;
        context.setLineDash([4, 3]);
        context.beginPath();
        lasso.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
        context.closePath();
        context.stroke();
        context.setLineDash([]);
      }
    }

    function dot(point, size) {
      context.beginPath();
      context.arc(point.x, point.y, size, 0, 7);
      context.fill();
    }

    function cross(point, size, ink) {
      context.strokeStyle = ink;
      context.lineWidth = 1.8;
      context.beginPath();
      for (const side of [-1, 1]) {
        context.moveTo(point.x - size, point.y - side * size);
        context.lineTo(point.x + size, point.y + side * size);
      }
      context.stroke();
    }

    function colours() {
      for (const [key, property] of Object.entries({
        canvasRight: "--right", canvasWrong: "--wrong", canvasPale: "--pale", canvasInk: "--ink",
      })) {
        // A custom property keeps light-dark() unresolved; a colour of an element does not.
        canvas.style.color = style(property);
        canvas.dataset[key] = getComputedStyle(canvas).color;
      }
      canvas.style.color = "";
    }

    function legend() {
      const entries = colour.value === "state"
        ? [["wrong", canvas.dataset.canvasWrong], ["right", canvas.dataset.canvasRight]]
        : classes.slice(0, 30).map((label) => [name(label), tint(label)]);
      at("map-legend").replaceChildren(...entries.map(([text, ink]) => {
        const item = make("li");
        const swatch = make("i");
        swatch.style.background = ink;
        item.append(swatch, text);
        return item;
      }));
      if (colour.value !== "state" && classes.length > 30) {
        at("map-legend").append(make("li", "", `and ${classes.length - 30} more classes`));
      }
    }

    function nearest(x, y) {
      let [best, found] = [REACH ** 2, null];
      for (const point of points) {
        if (only.value !== "" && point.label !== Number(only.value)) continue;
        const far = (point.x - x) ** 2 + (point.y - y) ** 2;
        if (far < best) [best, found] = [far, point];
      }
      return found;
    }

    function hover(point, speak = false) {
      if (point === hovered) return;
      hovered = point;
      tip.hidden = !point;
      if (point) {
        tip.replaceChildren(picture(point.image), make("b", "", name(point.label)),
          make("div", "pale", STATES[point.state]));
        const [w, h] = [tip.offsetWidth, tip.offsetHeight];
        const left = point.x + 16 + w > width ? point.x - w - 16 : point.x + 16;
        tip.style.left = `${Math.max(0, left)}px`;
        tip.style.top = `${Math.min(Math.max(0, point.y - h / 2), Math.max(0, height - h))}px`;
        if (speak) status.textContent = `${name(point.label)}, ${STATES[point.state]}, ${images.id[point.image]}`;
      }
      draw();
    }

    function inside(point, polygon) {
      let within = false;
      for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
        const [[ax, ay], [bx, by]] = [polygon[i], polygon[j]];
        if ((ay > point.y) !== (by > point.y)
          && point.x < ((bx - ax) * (point.y - ay)) / (by - ay) + ax) within = !within;
      }
      return within;
    }

    function list(found) {
      const counts = new Map();
      for (const point of found) counts.set(point.label, (counts.get(point.label) ?? 0) + 1);
      const words = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 8).map(([label, n]) => `${name(label)}: ${n}`);
      const more = found.length > LISTED ? `; the first ${LISTED} are shown` : "";
      status.textContent = found.length
        ? `${found.length.toLocaleString("en")} images inside (${words.join(", ")}${counts.size > 8 ? ", …" : ""})${more}`
        : "No image inside.";
      // The errors are what one looks for.
      const ordered = [...found].sort((a, b) => a.state - b.state);
      listed.replaceChildren(...ordered.slice(0, LISTED).map((point) => {
        const item = make("li");
        item.append(shot(point.image, { kind: ["wrong", "right", ""][point.state] }));
        return item;
      }));
    }

    const where = (event) => {
      const box = canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    const draws = (event) => event.pointerType === "mouse" || lassoButton.ariaPressed === "true";
    canvas.addEventListener("pointerdown", (event) => {
      if (!draws(event)) return;
      canvas.setPointerCapture(event.pointerId);
      lasso = [where(event)];
    });
    canvas.addEventListener("pointermove", (event) => {
      if (lasso) {
        lasso.push(where(event));
        if (lasso.length > 2) hover(null);
        draw();
      } else hover(nearest(...where(event)));
    });
    canvas.addEventListener("pointerup", (event) => {
      const [path, end] = [lasso, where(event)];
      lasso = null;
      const far = path ? Math.max(...path.map(([x, y]) => Math.hypot(x - path[0][0], y - path[0][1]))) : 0;
      if (far > 8) list(points.filter((point) => inside(point, path)));
      else {
        const point = nearest(...end);
        hover(point);
        if (point && (event.pointerType === "mouse" || path === null)) open(point.image);
      }
      draw();
    });
    canvas.addEventListener("pointercancel", () => { lasso = null; draw(); });
    canvas.addEventListener("pointerleave", () => { if (!lasso) hover(null); });
    lassoButton.addEventListener("click", () => {
      const on = lassoButton.ariaPressed !== "true";
      lassoButton.ariaPressed = String(on);
      canvas.style.touchAction = on ? "none" : "";
    });
    canvas.addEventListener("keydown", (event) => {
      const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      if (event.key === "Enter" && hovered) open(hovered.image);
      else if (event.key === "Escape") hover(null);
      else if (ways[event.key]) {
        event.preventDefault();
        hover(step(ways[event.key]), true);
      }
    });
    canvas.addEventListener("blur", () => hover(null));

    // The nearest point that lies more in this direction than beside it.
    function step([dx, dy]) {
      if (!hovered) return points[0];
      let [best, found] = [Infinity, hovered];
      for (const point of points) {
        const [x, y] = [point.x - hovered.x, point.y - hovered.y];
        const along = x * dx + y * dy;
        const beside = Math.abs(x * dy - y * dx);
        if (along > 0.5 && beside <= along && along + beside < best) [best, found] = [along + beside, point];
      }
      return found;
    }

    const redraw = () => { colours(); legend(); draw(); };
    for (const select of [colour, only]) select.addEventListener("change", () => { hover(null); redraw(); });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    colours();
    legend();
    new ResizeObserver(resize).observe(canvas);
  }
}

if (at("data")) start(JSON.parse(at("data").textContent));
