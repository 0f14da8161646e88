// Sends an image to /search and shows what came back. Texts are set as text, never as HTML.

const at = (id) => document.getElementById(id);
const [about, drop, query, status, results, count] = [
  "about", "drop", "query", "status", "results", "k",
].map(at);
let image = null; // the last one
let asked = 0; // an answer to an earlier image comes too late

function say(text, wrong = false) {
  status.textContent = text;
  status.classList.toggle("wrong", wrong);
}

async function describe() {
  try {
    const answer = await fetch("version");
    const found = await answer.json();
    if (!answer.ok) throw new Error(found.error);
    const kind = found.kind === "flat" ? "" : `, ${found.kind} with recall ${found.recall ?? "unknown"}`;
    about.textContent = found.gallery === null
      ? `Version ${found.version} has no index, so there is nothing to search.`
      : `${found.gallery.toLocaleString("en")} images, version ${found.version}${kind}`;
  } catch (error) {
    say(error.message, true);
  }
}

async function search(file) {
  if (!file) return;
  image = file;
  const mine = ++asked;
  URL.revokeObjectURL(query.src);
  query.src = URL.createObjectURL(file);
  query.alt = `The image to search with: ${file.name || "a picture"}`;
  query.hidden = false;
  drop.classList.add("filled");
  results.classList.add("waiting");
  say("Searching …");
  try {
    const answer = await fetch(`search?k=${count.value}&pictures=true`, {
      method: "POST",
      body: file,
      headers: { "Content-Type": file.type || "application/octet-stream" },
    });
    const found = await answer.json();
    if (mine !== asked) return;
    if (!answer.ok) throw new Error(found.error);
    show(found.results[0].neighbours);
    if (!about.textContent.includes(`version ${found.version}`)) describe();
  } catch (error) {
    if (mine !== asked) return;
    results.replaceChildren();
    const text = error instanceof TypeError ? "The server does not answer. Is it still there?" : error.message;
    say(text, true);
  } finally {
    if (mine === asked) results.classList.remove("waiting");
  }
}

function show(neighbours) {
  const labelled = neighbours.some((one) => one.label !== null);
  results.replaceChildren(...neighbours.map((one, rank) => card(one, rank, labelled)));
  const labels = new Map();
  for (const { label } of neighbours) {
    if (label !== null) labels.set(label, (labels.get(label) ?? 0) + 1);
  }
  const [label, times] = [...labels].sort((a, b) => b[1] - a[1])[0] ?? [null, 0];
  say(label === null
    ? `The ${neighbours.length} nearest images, nearest first.`
    : `${times} of the ${neighbours.length} nearest have the label ${label}.`);
}

// `labelled`: whether any of the neighbours has a label; those of a catalogue may have none.
function card(found, rank, labelled) {
  const item = document.createElement("li");
  item.title = found.id;
  const picture = document.createElement(found.picture ? "img" : "div");
  if (found.picture) {
    picture.src = found.picture;
    picture.alt = `Neighbour ${rank + 1}: ${found.id}`;
    picture.addEventListener("load", () => {
      picture.classList.toggle("small", picture.naturalWidth < 64 && picture.naturalHeight < 64);
    });
  } else {
    picture.className = "empty";
  }
  const add = (tag, text, kind = "") => {
    const element = document.createElement(tag);
    element.textContent = text;
    element.className = kind;
    return element;
  };
  const distance = add("span", found.distance.toFixed(4), found.same ? "same" : "");
  if (found.same) distance.append(add("i", "same")); // below the number where a card is narrow
  item.append(
    picture,
    ...(labelled ? [add("b", found.label ?? "no label", found.label === null ? "none" : "")] : []),
    distance,
    add("span", found.id, "id"),
  );
  return item;
}

for (const input of [at("choose"), at("photo")]) {
  input.addEventListener("change", () => {
    search(input.files[0]);
    input.value = ""; // the same file may be chosen again
  });
}
count.addEventListener("change", () => search(image));

let depth = 0; // of elements that the pointer has entered
addEventListener("dragenter", () => drop.classList.toggle("over", ++depth > 0));
addEventListener("dragleave", () => drop.classList.toggle("over", --depth > 0));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  depth = 0;
  drop.classList.remove("over");
  search(event.dataTransfer.files[0]);
});
addEventListener("paste", (event) => search(event.clipboardData.files[0]));

describe();
