"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
// id → [action, value]; those that there are already come first.
const corrections = new Map(data.corrections.map(([id, ...rest]) => [id, rest]));
const byId = new Map(); // id → functions that show what is ticked: an image may be there twice

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function tick(id, action, value, on) {
  if (on) corrections.set(id, [action, value]);
  else corrections.delete(id);
  for (const show of byId.get(id)) show();
  count();
}

function count() {
  const number = corrections.size;
  document.getElementById("count").textContent =
    number === 0 ? "Nothing is ticked." : number === 1 ? "1 correction" : `${number} corrections`;
  document.getElementById("save").disabled = number === 0;
}

function box(figure, image, action, value, text) {
  const label = element("label");
  const input = element("input");
  input.type = "checkbox";
  input.addEventListener("change", () => tick(image.id, action, value, input.checked));
  label.append(input, text);
  figure.append(label);
  if (!byId.has(image.id)) byId.set(image.id, []);
  byId.get(image.id).push(() => {
    const [done, to] = corrections.get(image.id) ?? [];
    input.checked = done === action && to === value;
    figure.classList.toggle("changed", done !== undefined);
  });
}

function draw(image) {
  const figure = element("figure", "", image.neighbour ? "neighbour" : "");
  const picture = element("img");
  if (data.pictures[image.id]) picture.src = data.pictures[image.id];
  picture.alt = image.label === undefined ? `neighbour ${image.id}` : `${image.id}, ${image.label}`;
  picture.title = image.id;
  figure.append(picture);
  if (image.neighbour) return figure;
  const caption = element("figcaption");
  caption.append(element("b", image.label), element("br"));
  caption.append(image.split ? `${image.id} (${image.split})` : image.id);
  figure.append(caption);
  for (const label of image.suggested) box(figure, image, "relabel", label, `label as ${label}`);
  box(figure, image, "drop", "", "drop");
  return figure;
}

const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

function file() {
  let text = "id,action,value\n";
  for (const [id, [action, value]] of corrections)
    text += [id, action, value].map(quoted).join(",") + "\n";
  return text;
}

document.getElementById("save").addEventListener("click", () => {
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([file()], { type: "text/csv" }));
  link.download = "fixes.csv";
  link.click();
  URL.revokeObjectURL(link.href);
});

const images = Object.entries(data.images).map(([split, n]) => `${n.toLocaleString("en")} ${split}`);
document.getElementById("about").textContent =
  `${images.join(", ")} images` +
  (data.compared ? `; a model compared ${data.compared.toLocaleString("en")}` : "; no model yet");
if (data.failures.length) {
  const failures = document.getElementById("failures");
  failures.textContent = data.failures.join("\n");
  failures.hidden = false;
}
function rowsInto(table, rows) {
  table.hidden = rows.length === 0;
  for (const [name, ...cells] of rows) {
    const line = element("tr");
    const head = element("th", name);
    head.scope = "row";
    line.append(head, ...cells.map((text) => element("td", text)));
    table.tBodies[0].append(line);
  }
}

rowsInto(document.getElementById("found"), data.found);
if (data.classes.length) {
  const part = element("section");
  const table = element("table", "", "classes");
  table.append(element("tbody"));
  rowsInto(table, data.classes);
  part.append(element("h2", "Classes that look the same"), table);
  document.getElementById("sections").append(part);
}
for (const section of data.sections) {
  const part = element("section");
  part.append(element("h2", section.title));
  for (const row of section.rows) {
    const place = element("div", "", "row");
    if (row.note) place.append(element("p", row.note, "note"));
    const strip = element("div", "", "images");
    strip.append(...row.images.map(draw));
    place.append(strip);
    part.append(place);
  }
  document.getElementById("sections").append(part);
}
for (const shows of byId.values()) for (const show of shows) show();
count();
document.getElementById("nothing").hidden = data.sections.length > 0 || data.classes.length > 0;
