/* On the page that says the database is away: looks whether it is back, and opens what was asked for. */

const EVERY_MS = 1500;
const page = document.getElementById("away");

/* Not all at once: everybody's page was lost at the same moment. */
const pause = () => new Promise((done) => setTimeout(done, EVERY_MS * (0.5 + Math.random())));

async function isBack() {
  try {
    if (!page.hasAttribute("data-form")) {
      const answer = await fetch(location.href, { cache: "no-store" });
      return answer.status < 500;
    }
    const answer = await fetch("/readyz", { cache: "no-store" });
    return (await answer.json()).checks.database === "ok";
  } catch {
    return false; // The server itself is being started again.
  }
}

async function come() {
  while (!(await isBack())) await pause();
  if (page.hasAttribute("data-form")) document.getElementById("back").hidden = false;
  else location.reload();
}

void come();
