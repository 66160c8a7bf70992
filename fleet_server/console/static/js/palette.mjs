/* The palette: a text field and the devices that match it. The content comes from the server at its first use. */

const layer = document.getElementById("palette");
let choice = -1;
let asked = 0;
let waiting = 0;

const options = () => [...layer.querySelectorAll("[role=option]")];

function choose(index) {
  const all = options();
  choice = all.length === 0 ? -1 : (index + all.length) % all.length;
  all.forEach((option, at) => option.setAttribute("aria-selected", String(at === choice)));
  const input = layer.querySelector("input");
  if (choice < 0) input.removeAttribute("aria-activedescendant");
  else input.setAttribute("aria-activedescendant", all[choice].id);
}

async function search(input) {
  const mine = ++asked;
  const address = `${layer.dataset.source}?q=${encodeURIComponent(input.value)}`;
  const answer = await fetch(address, { headers: { "HX-Request": "true" } });
  // A slow answer to an earlier text must not replace a later one.
  if (!answer.ok || mine !== asked) return;
  layer.querySelector("#hits").innerHTML = await answer.text();
  choose(0);
}

function onKey(event) {
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    choose(choice + (event.key === "ArrowDown" ? 1 : -1));
  } else if (event.key === "Enter") {
    event.preventDefault();
    const target = options()[choice]?.dataset.href;
    location.assign(target ?? `/search?q=${encodeURIComponent(event.target.value)}`);
  }
}

function onInput(event) {
  clearTimeout(waiting);
  waiting = setTimeout(() => void search(event.target), 120);
}

async function load(source) {
  const answer = await fetch(`${source}?frame=true`, { headers: { "HX-Request": "true" } });
  if (!answer.ok) return false;
  layer.innerHTML = await answer.text();
  layer.dataset.source = source;
  const input = layer.querySelector("input");
  input.addEventListener("input", onInput);
  input.addEventListener("keydown", onKey);
  layer.addEventListener("click", (event) => {
    const option = event.target.closest("[role=option]");
    if (option) location.assign(option.dataset.href);
  });
  return true;
}

export async function open(source, takeTyped) {
  if (!layer.dataset.source && !(await load(source))) {
    location.assign("/search");
    return;
  }
  layer.showPopover();
  const input = layer.querySelector("input");
  input.focus();
  const typed = takeTyped();
  if (typed) {
    input.value = typed;
    void search(input);
  } else {
    input.select();
  }
}
