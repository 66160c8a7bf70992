/* What every page needs at once: the live mark, copy buttons, keys. The palette and dialogs load at first use. */

const beat = document.getElementById.bind(document, "beat");

function showLost() {
  const mark = beat();
  if (mark) {
    mark.classList.add("lost");
    mark.querySelector("span").textContent = mark.dataset.lost;
  }
}

/* A stream that says nothing for three beats is lost too, though no error tells so. */
const SILENCE_MS = 30_000;
let watch = 0;

document.addEventListener("htmx:sse:after:message", () => {
  clearTimeout(watch);
  watch = setTimeout(showLost, SILENCE_MS);
});

document.addEventListener("htmx:sse:close", () => clearTimeout(watch));

/* What was asked for in a dialog now goes on in the page behind it. */
document.addEventListener("run-asked", () => document.getElementById("action-dialog")?.hidePopover());

document.addEventListener("htmx:sse:error", (event) => {
  showLost();
  // The session has ended: load the page again, which leads to the sign-in page and back.
  if (event.detail.status === 401) location.reload();
});

/* What was typed stays where it is: no answer about the database takes the place of a form. */
function keepForm(event) {
  const { ctx } = event.detail;
  const words = document.getElementById("away-words");
  if (!words || (ctx?.response && ctx.response.status !== 503)) return;
  const form = ctx?.sourceElement?.closest("form");
  if (!form) return;
  event.preventDefault();
  form.querySelector(".away")?.remove();
  form.append(words.content.cloneNode(true));
}

document.addEventListener("htmx:before:response", keepForm);
document.addEventListener("htmx:error", keepForm);
document.addEventListener("htmx:before:request", (event) => {
  event.detail.ctx?.sourceElement?.closest("form")?.querySelector(".away")?.remove();
});

async function copy(button) {
  await navigator.clipboard.writeText(button.dataset.copy);
  button.setAttribute("aria-label", button.dataset.copied);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) void copy(button);
  const find = event.target.closest("[data-palette]");
  if (find && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    void openPalette(find);
  }
  const dialog = event.target.closest("[data-dialog]");
  if (dialog && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    void import("./dialog.mjs").then((module) => module.openDialog(dialog.href));
  }
});

/* What is typed while the palette is still on its way belongs into it. */
let typedAhead = null;

async function openPalette(find) {
  typedAhead = "";
  try {
    const { open } = await import("./palette.mjs");
    await open(find.dataset.palette, () => typedAhead);
  } finally {
    typedAhead = null;
  }
}

const isTyping = (target) => target.closest("input, textarea, select, [contenteditable]");

document.addEventListener("keydown", (event) => {
  if (event.altKey || isTyping(event.target)) return;
  if (typedAhead !== null && event.key.length === 1) {
    event.preventDefault();
    typedAhead += event.key;
    return;
  }
  const wantsPalette = event.key === "/" || (event.key === "k" && (event.ctrlKey || event.metaKey));
  const find = document.querySelector("[data-palette]");
  if (wantsPalette && find) {
    event.preventDefault();
    void openPalette(find);
  } else if (!event.ctrlKey && !event.metaKey && "jk".includes(event.key)) {
    void import("./rows.mjs").then((module) => module.move(event.key === "j" ? 1 : -1));
  }
});
