// The page asks its own server and draws what it answers. What comes from data is only ever text,
// but for html elements, which go into a sandboxed frame without an origin.
"use strict";

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const choices = new Map();
let latest = 0;

$("question").addEventListener("submit", (event) => {
  event.preventDefault();
  look();
});
// What is changed is another question than the recording's.
$("question").addEventListener("input", ({ target }) => {
  if (target === $("recording")) return;
  $("recording").value = "";
  $("about").textContent = "";
});
// Without a key nothing is saved, so there is no form for it.
$("save")?.addEventListener("submit", (event) => {
  event.preventDefault();
  save();
});
$("recording").addEventListener("change", () => choose($("recording").value));
$("panel").addEventListener("change", look);
for (const radio of document.querySelectorAll("[name=view]")) radio.addEventListener("change", look);
for (const button of document.querySelectorAll("[data-width], [data-theme-of-card]")) {
  button.addEventListener("click", () => press(button));
}
for (const button of document.querySelectorAll(".copy")) {
  button.addEventListener("click", () => copy(button));
}
addEventListener("message", hear);
list();

/** Fills the list of recordings and of requests that the recorder has kept. */
async function list() {
  const answer = await ask("GET", "recordings");
  if (!answer.ok) return wrong(answer);
  const select = $("recording");
  select.replaceChildren(new Option("None", ""));
  choices.clear();
  for (const [label, kind] of [["Recordings", "recordings"], ["Kept from ImBox", "kept"]]) {
    if (!answer.document[kind].length) continue;
    const group = make("optgroup");
    group.label = label;
    for (const one of answer.document[kind]) {
      const key = `${kind}/${one.name}`;
      choices.set(key, { ...one, compare: kind === "recordings" });
      group.append(new Option(one.name, key));
    }
    select.append(group);
  }
}

/** Takes over a recording's question. */
function choose(key) {
  const choice = choices.get(key);
  $("about").textContent = choice ? choice.about : "";
  if (!choice) return;
  if (choice.panel && [...($("panel").options ?? [])].some((one) => one.value === choice.panel)) {
    $("panel").value = choice.panel;
  }
  const rest = { ...choice.query };
  const view = (rest.view ?? []).find((text) => text.trim())?.trim().toLowerCase();
  for (const radio of document.querySelectorAll("[name=view]")) {
    radio.checked = radio.value === view;
  }
  delete rest.view;
  for (const input of document.querySelectorAll("[data-parameter]")) {
    input.value = (rest[input.dataset.parameter] ?? []).find((text) => text.trim()) ?? "";
    delete rest[input.dataset.parameter];
  }
  const lines = Object.entries(rest).flatMap(([name, texts]) => texts.map((text) => `${name}=${text}`));
  $("extras").value = lines.join("\n");
  look();
}

/** The question as it stands on the page. */
function question() {
  const query = {};
  const view = document.querySelector("[name=view]:checked");
  if (view) query.view = [view.value];
  for (const input of document.querySelectorAll("[data-parameter]")) {
    if (input.value) query[input.dataset.parameter] = [input.value];
  }
  for (const line of $("extras").value.split("\n")) {
    const [name, ...value] = line.split("=");
    if (name.trim() && value.length) (query[name.trim()] ??= []).push(value.join("="));
  }
  return { panel: $("panel").value, query };
}

/** Asks, and shows whatever comes; an answer to an older question is not shown. */
async function look() {
  const own = ++latest;
  const choice = choices.get($("recording").value);
  const asked = question();
  if (choice?.compare) asked.recording = choice.name;
  $("card").setAttribute("aria-busy", "true");
  const answer = await ask("POST", "look", asked);
  if (own !== latest) return;
  $("card").removeAttribute("aria-busy");
  wrong(answer);
  if (answer.ok) return show(answer.document);
  $("card").replaceChildren(make("p", "empty", answer.says));
  for (const id of ["identities", "findings", "remarks"]) {
    $(id).replaceChildren(make("p", "empty", "No card was made."));
  }
  $("json").replaceChildren(answer.document ? written(answer.document) : "");
  $("curl").textContent = "";
  $("heard").textContent = "";
  $("difference").hidden = true;
}

async function save() {
  const asked = { ...question(), name: $("save-name").value, about: $("save-about").value };
  const answer = await ask("POST", "recordings", asked);
  wrong(answer);
  if (answer.ok) {
    say(`Saved as ${answer.document.name}.json`);
    await list();
    $("recording").value = `recordings/${answer.document.name}`;
    $("about").textContent = $("save-about").value;
  }
}

/** Sends a question to the server: whether it went well, what it answered, what to say of it. */
async function ask(method, path, document_) {
  const options = { method, headers: { Accept: "application/json" } };
  if (document_) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(document_);
  }
  try {
    const response = await fetch(`${location.pathname.replace(/\/$/, "")}/${path}`, options);
    const document = await response.json();
    return { ok: response.ok, document, says: document.detail ?? "" };
  } catch {
    return { ok: false, document: null, says: "The server does not answer as it should; see that it runs." };
  }
}

/** Marks what is wrong in the form, and says it. */
function wrong(answer) {
  for (const input of document.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
  const errors = answer.document?.errors ?? [];
  for (const { field } of errors) {
    const input = document.querySelector(`[data-parameter="${CSS.escape(field)}"]`) ?? $(`save-${field}`);
    input?.setAttribute("aria-invalid", "true");
  }
  const reasons = errors.map(({ field, reason }) => `${field}: ${reason}`);
  say(answer.ok ? "" : [answer.says, ...reasons].join(" "));
}

function say(text) {
  $("said").textContent = text;
}

function show(answer) {
  draw($("card"), answer);
  $("heard").textContent =
    `Card of ${answer.reply.contactName ?? "nobody"}: ` +
    `${count(answer.reply.blocks, "block")}, ${count(answer.remarks, "remark")}.`;
  $("identities").replaceChildren(...identities(answer.identities));
  $("findings").replaceChildren(...answer.findings.map((one) => finding(one, answer.sources[one.source])));
  const spent = make("p", "spent", `Answered in ${(answer.seconds * 1000).toFixed(1)} ms.`);
  $("findings").append(spent);
  $("remarks").replaceChildren(...remarks(answer.remarks));
  $("json").replaceChildren(written(answer.reply));
  $("curl").textContent = answer.curl;
  const differs = $("difference");
  differs.hidden = answer.difference === null;
  differs.className = answer.difference ? "differs" : "same";
  differs.replaceChildren(
    make("p", "", answer.difference ? "The reply differs from the recorded one." : "The same reply as recorded."),
    ...(answer.difference ? [lines(answer.difference.split("\n"))] : []),
  );
}

// --- the card -----------------------------------------------------------------------------------

function draw(card, { reply, names, icons, remarks: said }) {
  /** Marks a part with what is said of it, or of something in it. */
  const marked = (part, pointer) => {
    const own = said.filter((one) => one.pointer === pointer || one.pointer.startsWith(`${pointer}/`));
    if (own.length) part.append(mark(own));
    return part;
  };
  const parts = [];
  if (reply.contactName) parts.push(marked(make("p", "person", reply.contactName), "/contactName"));
  if (reply.contactLink) {
    const link = make("a", "link", reply.contactLink[names.link_text]);
    const url = String(reply.contactLink[names.link_url] ?? "");
    if (/^https?:/.test(url)) link.href = url;
    link.target = "_blank";
    link.rel = "noopener noreferrer";
    const wrap = make("div", "element");
    wrap.append(link);
    parts.push(marked(wrap, "/contactLink"));
  }
  reply.blocks.forEach((block, at) => {
    const section = make("section", "block");
    const title = make("h3");
    title.append(icon(icons[block.icon]), make("span", "", block.name));
    marked(title, `/blocks/${at}/name`);
    marked(title, `/blocks/${at}/icon`);
    const own = said.filter((one) => one.pointer === `/blocks/${at}`);
    if (own.length) title.append(mark(own));
    section.append(title);
    block.data.forEach((one, index) => {
      section.append(marked(element(one, names), `/blocks/${at}/data/${index}`));
    });
    parts.push(section);
  });
  card.replaceChildren(...parts);
  if (!parts.length) card.append(make("p", "empty", "The card is empty."));
}

function element(one, names) {
  if (one.type === "list") return listElement(one);
  if (one.type === "table") return tableElement(one);
  if (one.type === names.html_type) return htmlElement(String(one[names.html_content] ?? ""));
  if (one.type === names.accordion_type) return accordionElement(one, names);
  return make("pre", "unknown", JSON.stringify(one, null, 2));
}

function listElement({ rows }) {
  const wrap = make("div", "element");
  const dl = make("dl");
  for (const row of rows) {
    const pair = make("div");
    pair.append(make("dt", "", row.label), make("dd", "", row.text));
    dl.append(pair);
  }
  wrap.append(dl);
  return wrap;
}

function tableElement({ headers, rows }) {
  const wrap = make("div", "element");
  const scroll = make("div", "scroll");
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", "Table");
  const table = make("table");
  const head = make("tr");
  for (const header of headers) {
    const cell = make("th", "", header.text);
    cell.scope = "col";
    head.append(cell);
  }
  const thead = make("thead");
  thead.append(head);
  const body = make("tbody");
  for (const cells of rows) {
    const row = make("tr");
    for (const cell of cells) row.append(make("td", "", cell.text));
    body.append(row);
  }
  table.append(thead, body);
  scroll.append(table);
  wrap.append(scroll);
  return wrap;
}

function accordionElement(one, names) {
  const wrap = make("div", "element");
  const details = make("details", "accordion");
  details.append(make("summary", "", one[names.accordion_title]));
  for (const inside of one[names.accordion_data] ?? []) details.append(element(inside, names));
  wrap.append(details);
  return wrap;
}

/** Markup in a frame that has no origin, runs no script of the markup's, and cannot touch this page. */
function htmlElement(markup) {
  const wrap = make("div", "element");
  const frame = make("iframe", "html");
  frame.title = "HTML of the card";
  frame.setAttribute("sandbox", "allow-scripts allow-popups allow-popups-to-escape-sandbox");
  frame.referrerPolicy = "no-referrer";
  frame.markup = markup;
  frame.src = document.body.dataset.frame;
  wrap.append(frame);
  return wrap;
}

/** A frame asks for its markup, and says how high it is; no other message means anything. */
function hear({ source, data }) {
  const frame = [...document.querySelectorAll("iframe.html")].find((one) => one.contentWindow === source);
  if (!frame) return;
  if (data?.ready) tell(frame, { markup: frame.markup });
  const height = Number(data?.height);
  if (height > 0) frame.style.height = `${Math.min(Math.ceil(height), 4000)}px`;
}

/** A window without an origin can be written to only by naming none. */
function tell(frame, message) {
  const theme = $("card").classList.contains("dark") ? "dark" : "light";
  frame.contentWindow.postMessage({ ...message, theme }, "*");
}

function icon(path) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 -960 960 960");
  svg.setAttribute("aria-hidden", "true");
  const drawn = document.createElementNS(SVG, "path");
  // A square with a question mark's gap where there is no such symbol.
  drawn.setAttribute("d", path ?? "M160-160v-640h640v640H160Zm80-80h480v-480H240v480Z");
  svg.append(drawn);
  return svg;
}

function mark(ones) {
  const button = make("button", "mark", String(ones.length));
  button.type = "button";
  button.title = ones.map((one) => `${one.message}; ${one.cure}`).join("\n");
  button.setAttribute("aria-label", `${count(ones, "remark")}: ${ones.map((one) => one.message).join("; ")}`);
  button.addEventListener("click", () => {
    const target = document.querySelector(`[data-pointer="${CSS.escape(ones[0].pointer)}"]`);
    target?.scrollIntoView({ block: "nearest" });
    target?.focus();
  });
  return button;
}

// --- how it came about --------------------------------------------------------------------------

function identities(all) {
  if (!all.length) return [make("p", "empty", "None came, so nobody can be searched for.")];
  const dl = make("dl", "identities");
  for (const { name, form, why } of all) {
    const pair = make("div");
    pair.append(make("dt", "", name), make("dd", why ? "why" : "", why || form));
    dl.append(pair);
  }
  return [dl];
}

function finding(one, state) {
  const box = make("article", `finding ${one.outcome.replace(" ", "-")}`);
  const title = make("h4");
  title.append(make("span", "", one.source), make("span", "outcome", one.outcome));
  box.append(title);
  const facts = [];
  facts.push(one.asked.length ? `asked by ${one.asked.join(", then ")}` : "has no key for this");
  if (one.via) facts.push(`by what ${one.via} found`);
  if (one.seconds) facts.push(`${(one.seconds * 1000).toFixed(1)} ms`);
  if (one.age) facts.push(`from the cache, ${one.age.toFixed(1)} s old`);
  if (one.is_stale) facts.push("shown because the source fails now");
  if (one.count) facts.push(`${one.count} people share it`);
  if (one.dropped) facts.push(`${one.dropped} dropped: not the identity that was asked for`);
  if (state && state.status !== "closed") facts.push(`breaker ${state.status} for ${Math.round(state.age)} s`);
  box.append(make("p", "", `${facts.join(" · ")}.`));
  if (one.reason) box.append(make("p", "reason", one.reason));
  return box;
}

function remarks(all) {
  if (!all.length) return [make("p", "empty", "Nothing: the card is tidy.")];
  return all.map((one) => {
    const box = make("article", "remark");
    box.tabIndex = -1;
    box.dataset.pointer = one.pointer;
    const title = make("h4");
    const place = make("button", "place", one.pointer || "/");
    place.type = "button";
    place.setAttribute("aria-label", `Show ${one.pointer || "/"} in the reply`);
    place.addEventListener("click", () => point(one.pointer));
    title.append(make("span", "", one.rule), place);
    box.append(title, make("p", "", `${one.message}.`), make("p", "cure", `Cure: ${one.cure}.`));
    if (one.detail.length) box.append(lines(one.detail));
    return box;
  });
}

/** JSON as it is usually written, each value in an element that knows its JSON pointer. */
function written(value, pointer = "", margin = "") {
  const span = make("span");
  span.dataset.at = pointer;
  const isList = Array.isArray(value);
  const parts = Object.entries(value && typeof value === "object" ? value : {});
  if (!parts.length) span.textContent = JSON.stringify(value);
  parts.forEach(([name, part], at) => {
    const begins = at ? "," : isList ? "[" : "{";
    span.append(`${begins}\n${margin}  ${isList ? "" : `${JSON.stringify(name)}: `}`);
    const escaped = name.replaceAll("~", "~0").replaceAll("/", "~1");
    span.append(written(part, `${pointer}/${escaped}`, `${margin}  `));
  });
  if (parts.length) span.append(`\n${margin}${isList ? "]" : "}"}`);
  return span;
}

/** Shows a place in the reply. */
function point(pointer) {
  const json = $("json");
  for (const old of json.querySelectorAll(".pointed")) old.classList.remove("pointed");
  const place = json.querySelector(`[data-at="${CSS.escape(pointer)}"]`);
  if (!place) return;
  place.classList.add("pointed");
  json.focus({ preventScroll: true });
  place.scrollIntoView({ block: "nearest" });
}

/** A difference, with what went and what came in colours and words for a screen reader. */
function lines(texts) {
  const pre = make("pre", "lines");
  pre.tabIndex = 0;
  for (const text of texts) {
    const kind = { "+": "ins", "-": "del" }[text[0]] ?? "span";
    pre.append(make(kind, "", text), "\n");
  }
  return pre;
}

// --- the page itself ----------------------------------------------------------------------------

function press(button) {
  for (const other of button.parentElement.children) {
    other.setAttribute("aria-pressed", String(other === button));
  }
  const card = $("card");
  const { width, themeOfCard: theme } = button.dataset;
  if (width) {
    card.classList.toggle("narrow", width === "narrow");
    card.classList.toggle("wide", width === "wide");
  }
  if (theme) {
    card.classList.toggle("dark", theme === "dark");
    for (const frame of card.querySelectorAll("iframe.html")) tell(frame, {});
  }
}

async function copy(button) {
  const text = $(button.dataset.copies).textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    // Without https, or without leave, a browser keeps its clipboard to itself.
    const range = document.createRange();
    range.selectNodeContents($(button.dataset.copies));
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    button.textContent = "Selected; press Ctrl+C";
  }
  setTimeout(() => (button.textContent = "Copy"), 2000);
}

function count(things, word) {
  return `${things.length} ${word}${things.length === 1 ? "" : "s"}`;
}

function make(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}
