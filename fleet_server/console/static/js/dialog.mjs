/* A preview of an action over the present page. The same address is a page of its own, for browsers without script. */

let opener = null;

function layerFor() {
  const known = document.getElementById("action-dialog");
  if (known) return known;
  const made = document.createElement("section");
  made.id = "action-dialog";
  made.className = "dlg";
  made.popover = "auto";
  made.setAttribute("role", "dialog");
  made.setAttribute("aria-labelledby", "action-title");
  made.addEventListener("toggle", (event) => {
    if (event.newState === "closed") opener?.focus();
  });
  document.body.append(made);
  return made;
}

function focusable(layer) {
  return [...layer.querySelectorAll("a[href], button:not([disabled]), input:not([type=hidden]), select, textarea")];
}

/* Focus stays inside: behind a dialog nothing may be pressed by key. */
function keepInside(event) {
  if (event.key !== "Tab") return;
  const all = focusable(event.currentTarget);
  const edge = event.shiftKey ? all[0] : all.at(-1);
  // From the heading, which no tab leads to, the way back would be out of the layer.
  const isBeforeAll = event.shiftKey && document.activeElement.id === "action-title";
  if (document.activeElement === edge || isBeforeAll) {
    event.preventDefault();
    (event.shiftKey ? all.at(-1) : all[0]).focus();
  }
}

/* What is wrong, else the first value that is asked for, else the heading: a reason to override is nobody's first wish. */
function focusFirst(layer) {
  const first = layer.querySelector("[aria-invalid=true]") ?? layer.querySelector("[name^='p.']");
  (first ?? layer.querySelector("#action-title"))?.focus();
}

export async function openDialog(address) {
  opener = document.activeElement;
  const answer = await fetch(address, { headers: { "HX-Request": "true" } });
  if (!answer.ok) {
    location.assign(address);
    return;
  }
  const layer = layerFor();
  layer.innerHTML = await answer.text();
  layer.onkeydown = keepInside;
  window.htmx?.process(layer);
  layer.showPopover();
  focusFirst(layer);
}
