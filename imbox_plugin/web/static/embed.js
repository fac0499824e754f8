// Listens to the vendor's page: to that very frame, at the address it was given, and to the types
// of events that have an action in the settings. Loaded before the frame, so that none is missed.
"use strict";

const settings = document.querySelector("main").dataset;
const actions = JSON.parse(settings.events);
const bar = document.getElementById("told");
const title = document.title;
const PAUSES = [1, 2, 4, 8, 16];
let unread = 0;

addEventListener("message", (event) => {
  const frame = document.getElementById("vendor");
  if (!frame || event.source !== frame.contentWindow) return;
  if (event.origin !== new URL(frame.src).origin) return;
  const told = read(event.data);
  if (!told) return;
  const { action, url } = actions[told.type];
  if (action === "open") openTab(url, told.data);
  if (action === "badge") count(told.data);
  if (action === "deliver") deliver(told);
});

// Coming back to the page is having seen what was new.
addEventListener("focus", () => show(0));
document.addEventListener("visibilitychange", () => document.hidden || show(0));

/** The type and the data of an event; nothing for what is not meant for us. */
function read(message) {
  if (!isObject(message)) return null;
  // Wazzup says `type`, Spoki says `eventType`.
  const type = message.type ?? message.eventType;
  if (typeof type !== "string" || !Object.hasOwn(actions, type)) return null;
  return isObject(message.data) ? { type, data: message.data } : null;
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Opens an address in a new tab, or shows a button for it where the browser does not let us. */
function openTab(template, data) {
  const url = filled(template, data);
  if (!url) return;
  const tab = window.open(url, "_blank");
  if (tab) {
    tab.opener = null;
    return;
  }
  const link = document.createElement("a");
  link.className = "button";
  link.href = url;
  link.target = "_blank";
  link.rel = "noopener noreferrer";
  link.textContent = settings.open;
  link.addEventListener("click", () => link.remove());
  bar.querySelector("a")?.remove();
  bar.append(link);
}

/** The template with its values; nothing when one is missing. */
function filled(template, data) {
  let whole = true;
  const url = template.replace(/\{([^{}]*)\}/g, (_, name) => {
    const value = name
      .split(".")
      .reduce((inside, part) => (isObject(inside) && Object.hasOwn(inside, part) ? inside[part] : null), data);
    const text = ["string", "number", "boolean"].includes(typeof value) ? String(value) : "";
    // Dots alone would mean another folder, however they are encoded; and nothing is no value.
    if (/^\.*$/.test(text) || text.isWellFormed?.() === false) whole = false;
    return whole ? encodeURIComponent(text) : "";
  });
  return whole ? url : null;
}

/** A number or a yes and no that stands alone is the count; anything else is one more. */
function count(data) {
  const states = Object.values(data);
  const state = states.length === 1 ? states[0] : null;
  const isState = typeof state === "boolean" || Number.isSafeInteger(state);
  show(isState ? Math.max(0, Number(state)) : unread + 1);
}

function show(number) {
  unread = number;
  document.title = number ? `(${number}) ${title}` : title;
  bar.querySelector("span")?.remove();
  if (!number) return;
  const badge = document.createElement("span");
  badge.className = "badge";
  badge.textContent = settings.unread.replace("{count}", number);
  bar.prepend(badge);
}

/** Hands an event to the server, which says when it is kept; says so when it never is. */
async function deliver(told) {
  let body;
  try {
    // One id for all attempts: the server knows the event again, and does not take the next one,
    // which may say the same, for it.
    body = JSON.stringify({ ...told, id: newId() });
  } catch {
    return; // A structured clone may hold what JSON cannot.
  }
  for (const pause of [...PAUSES, null]) {
    const status = await send(body);
    if (status >= 200 && status < 300) return;
    const isPassing = status === 0 || status === 429 || status >= 500;
    if (!isPassing || pause === null) break;
    await new Promise((resume) => setTimeout(resume, pause * 1000));
  }
  if (bar.querySelector("p")) return;
  const notice = document.createElement("p");
  notice.textContent = settings.lost;
  bar.append(notice);
}

/** Not crypto.randomUUID, which a page at a plain http address does not have. */
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function send(body) {
  try {
    const answer = await fetch(`${location.pathname}/events`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body,
      credentials: "omit",
      referrerPolicy: "no-referrer",
      // The tab may be closed while it is on its way; the browser bears so much of it.
      keepalive: new Blob([body]).size < 60000,
    });
    return answer.status;
  } catch {
    return 0;
  }
}
