// Presses the button for the agent: at once, but only on a page that somebody looks at, and not
// when they come back to it from where it led.
"use strict";

const form = document.querySelector("form");
const button = form.querySelector("button");
const label = button.textContent;

function go() {
  if (document.prerendering || document.visibilityState !== "visible") return;
  document.removeEventListener("visibilitychange", go);
  document.removeEventListener("prerenderingchange", go);
  form.requestSubmit(button);
}

form.addEventListener("submit", (event) => {
  if (button.getAttribute("aria-disabled")) event.preventDefault();
  button.setAttribute("aria-disabled", "true");
  button.textContent = button.dataset.busy;
});

addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  button.removeAttribute("aria-disabled");
  button.textContent = label;
});

if (performance.getEntriesByType("navigation")[0]?.type !== "back_forward") {
  document.addEventListener("visibilitychange", go);
  document.addEventListener("prerenderingchange", go);
  go();
}
