/* j and k move through the rows of a list; Enter follows the link that has the focus, as everywhere. */

export function move(step) {
  const rows = [...document.querySelectorAll(".tbl.rows tbody tr[id]")];
  if (rows.length === 0) return;
  const now = rows.findIndex((row) => row.classList.contains("cur"));
  const next = Math.min(Math.max(now + step, 0), rows.length - 1);
  rows[now]?.classList.remove("cur");
  rows[next].classList.add("cur");
  rows[next].querySelector("a")?.focus();
}
