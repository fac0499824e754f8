// In the frame of an html element: shows the markup that the workbench sends, and tells how high it
// is. Scripts in markup that is set this way do not run, nor does the page's policy let them.
"use strict";

const told = () => parent.postMessage({ height: document.body.getBoundingClientRect().height }, "*");

addEventListener("message", ({ source, data }) => {
  if (source !== parent) return;
  document.documentElement.className = data.theme;
  if (data.markup !== undefined) document.body.innerHTML = data.markup;
});
new ResizeObserver(told).observe(document.body);
parent.postMessage({ ready: true }, "*");
