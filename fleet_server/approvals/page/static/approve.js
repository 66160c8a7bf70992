"use strict";
// Shows what waits for an approver from the very bytes that are signed, and signs them with a key that never leaves
// this browser. Nothing that the server says about these bytes is shown as if it were in them.
//
// What was shown is kept in `shown` and signed as it is: the server is not asked again between showing and signing.

const PAYLOAD_TYPE = "application/vnd.tillmedic.authorisation+json";
const REQUIRED = ["id", "tenant", "kind", "requester", "grants", "danger_class", "not_before_ms", "not_after_ms",
  "max_count", "targets", "execution"];
const OPTIONAL = ["max_per_device", "artifact", "reason"];
// Characters that change how others are read, or cannot be seen.
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cn}]/gu;

let language = navigator.language.startsWith("zh") ? 0 : 1;
let session = "";
let signedIn = null; // what the server said of the person
let proving = ""; // the address that takes the proof
let desk = { person: "", may_decide: false, keys: [], items: [] };
let key = null; // {id, public, pair}
let shown = null; // {execution, bytes, document, problem}
let notice = ["", ""]; // a word, and what follows it as it came

const at = (id) => document.getElementById(id);
const say = (word) => WORDS[word][language];
const hex = (bytes) => [...new Uint8Array(bytes)].map((one) => one.toString(16).padStart(2, "0")).join("");
const sha256 = async (bytes) => hex(await crypto.subtle.digest("SHA-256", bytes));
const visible = (text) => text.replace(UNSEEN, (one) => `⟨U+${one.codePointAt(0).toString(16).toUpperCase()}⟩`);
const folded = (name) => name.normalize("NFKC").toLowerCase().trim();

class Refused extends Error {
  constructor(code, detail) {
    super(detail);
    this.code = code;
  }
}

async function ask(path, body) {
  const headers = { "X-Approval-Session": session, ...(body ? { "Content-Type": "application/json" } : {}) };
  const options = { method: body ? "POST" : "GET", headers, credentials: "omit", cache: "no-store", redirect: "error" };
  let answer;
  try {
    answer = await fetch(path, body ? { ...options, body: JSON.stringify(body) } : options);
  } catch {
    throw new Refused("away", "");
  }
  const said = answer.status === 204 ? {} : await answer.json();
  if (!answer.ok) throw new Refused(said.code, said.detail);
  return said;
}

// --- the key -----------------------------------------------------------------------------------------------------

function keys(mode, work) {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open("tillmedic-approver", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore("keys");
    opening.onerror = () => reject(opening.error);
    opening.onsuccess = () => {
      const transaction = opening.result.transaction("keys", mode);
      const request = work(transaction.objectStore("keys"));
      transaction.oncomplete = () => { opening.result.close(); resolve(request.result); };
      transaction.onabort = () => { opening.result.close(); reject(transaction.error); };
    };
  });
}

async function named(pair) {
  const raw = await crypto.subtle.exportKey("raw", pair.publicKey);
  return { id: (await sha256(raw)).slice(0, 32), public: hex(raw), pair };
}

async function findKey() {
  const pair = await keys("readonly", (store) => store.get(folded(desk.person)));
  key = pair ? await named(pair) : null;
}

async function makeKey() {
  let pair;
  try {
    pair = await crypto.subtle.generateKey({ name: "Ed25519" }, false, ["sign", "verify"]);
  } catch {
    notice = ["key_cannot", ""];
    return;
  }
  // Never over one that is there: the policy may name it.
  await keys("readwrite", (store) => store.add(pair, folded(desk.person)));
  await findKey();
  // Else a browser that runs short of room may forget it.
  await navigator.storage.persist();
}

function preAuthentication(bytes) {
  const head = new TextEncoder().encode(`DSSEv1 ${PAYLOAD_TYPE.length} ${PAYLOAD_TYPE} ${bytes.length} `);
  const whole = new Uint8Array(head.length + bytes.length);
  whole.set(head);
  whole.set(bytes, head.length);
  return whole;
}

async function signed(bytes) {
  const made = await crypto.subtle.sign({ name: "Ed25519" }, key.pair.privateKey, preAuthentication(bytes));
  return btoa(String.fromCharCode(...new Uint8Array(made)));
}

// --- what is signed ----------------------------------------------------------------------------------------------

// What the bytes say, or why they cannot be shown in only one way.
function read(bytes, execution) {
  let text = "";
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    const found = JSON.parse(text);
    return { text, document: found, problem: doubt(found, text, execution) };
  } catch (error) {
    return { text, document: {}, problem: String(error) };
  }
}

function doubt(found, text, execution) {
  if (found === null || typeof found !== "object" || Array.isArray(found)) return "no object";
  // A name that stands there twice, or a number that is too long, would not come out again as it went in.
  if (JSON.stringify(found) !== text) return "not written in the one way";
  const unknown = Object.keys(found).find((name) => !REQUIRED.includes(name) && !OPTIONAL.includes(name));
  if (unknown !== undefined) return `unknown field ${visible(unknown)}`;
  const missing = REQUIRED.find((name) => !(name in found));
  if (missing !== undefined) return `no ${missing}`;
  if (found.kind !== "approval") return `expected an approval, came ${visible(String(found.kind))}`;
  if (found.execution !== execution) return "the document of another execution";
  if (found.max_count !== 1 || !Array.isArray(found.targets) || found.targets.length !== 1) {
    return "expected one run on one device";
  }
  if (!Array.isArray(found.grants) || found.grants.length !== 1) return "expected one action";
  const grant = found.grants[0];
  if (Object.keys(grant).some((name) => name !== "action" && name !== "params")) return "unknown part of the action";
  if (typeof grant.params !== "object" || grant.params === null) return "expected parameters that are named one by one";
  return [1, 2].includes(found.danger_class) ? "" : "unknown class";
}

function moment(milliseconds) {
  const date = new Date(milliseconds);
  const local = new Intl.DateTimeFormat(language ? "en" : "zh-CN", { dateStyle: "long", timeStyle: "long" });
  return `${local.format(date)} (${date.toISOString()})`;
}

function granted({ action, params }) {
  const given = Object.entries(params).map(([name, value]) => `${name} = ${JSON.stringify(value)}`);
  return [action, ...(given.length ? given : [say("no_params")])].join("\n");
}

function inWords(name, value) {
  if (name === "grants") return granted(value[0]);
  if (name === "targets") return value[0];
  if (name === "danger_class") return say(`class_${value}`);
  if (name === "kind") return say("approval");
  if (name.endsWith("_ms")) return moment(value);
  return typeof value === "string" ? value : JSON.stringify(value);
}

function facts(list, rows) {
  list.replaceChildren(...rows.flatMap(([word, value]) => {
    const [term, meaning] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = say(word);
    // Line ends are ours, all else that cannot be seen is named.
    meaning.textContent = value.split("\n").map(visible).join("\n");
    return [term, meaning];
  }));
}

// --- the page ----------------------------------------------------------------------------------------------------

function drawDetail() {
  at("detail").hidden = shown === null;
  if (shown === null) return;
  const { document: found, problem, text, digest } = shown;
  const isOwn = !problem && folded(found.requester) === folded(desk.person);
  const names = problem ? [] : [...REQUIRED, ...OPTIONAL].filter((name) => name in found);
  at("detail-problem").textContent = problem ? say("unclear") + problem : isOwn ? say("own_wish")
    : desk.may_decide ? "" : say("may_not");
  facts(at("facts"), [...names.map((name) => [name, inWords(name, found[name])]), ["digest", digest]]);
  at("text").textContent = visible(text);
  at("sign").disabled = Boolean(problem) || isOwn || !desk.may_decide || key === null || !desk.keys.includes(key.id);
  at("refuse").hidden = !desk.may_decide;
}

function drawList() {
  at("list-empty").hidden = desk.items.length > 0;
  at("list").replaceChildren(...desk.items.map((item) => {
    const { document: found, problem } = read(bytesOf(item), item.execution);
    const [row, button] = [document.createElement("li"), document.createElement("button")];
    const what = problem ? item.execution : `${found.grants[0].action} · ${found.targets[0]} · ${found.requester}`;
    const people = item.approved_by.length ? ` · ${say("signed_by")}${item.approved_by.join(", ")}` : "";
    button.type = "button";
    button.textContent = visible(what + people);
    button.dataset.execution = item.execution;
    button.setAttribute("aria-pressed", String(shown !== null && shown.execution === item.execution));
    button.onclick = () => doing(() => show(item.execution, true));
    row.append(button);
    return row;
  }));
}

function drawKey() {
  const standing = key === null ? "key_none" : desk.keys.includes(key.id) ? "key_named" : "key_unnamed";
  at("key-standing").textContent = say(standing);
  at("make-key").hidden = key !== null;
  facts(at("key-facts"), key === null ? []
    : [["public_key", key.public], ["fingerprint", key.id.match(/.{4}/g).join(" ")]]);
}

function draw() {
  document.documentElement.lang = language ? "en" : "zh-CN";
  for (const place of document.querySelectorAll("[data-say]")) place.textContent = say(place.dataset.say);
  at("language").textContent = say("other_language");
  at("person").textContent = signedIn ? visible(signedIn.person) : "";
  at("notice").textContent = notice[0] ? say(notice[0]) + visible(notice[1]) : visible(notice[1]);
  const isIn = signedIn !== null && !signedIn.needs_code;
  at("sign-out").hidden = !isIn;
  at("sign-in").hidden = signedIn !== null;
  at("proof-form").hidden = !proving;
  at("proof-title").textContent = say("confirm_title");
  at("proof-label").textContent = say(signedIn && !signedIn.has_second_factor ? "password" : "code");
  at("desk").hidden = !isIn;
  if (!isIn) return;
  drawKey();
  drawList();
  drawDetail();
}

function bytesOf(item) {
  return Uint8Array.from(atob(item.document_base64), (one) => one.charCodeAt(0));
}

async function look() {
  desk = await ask("/waiting");
  await findKey();
  const wanted = location.hash.slice(1);
  if (shown === null && desk.items.some((one) => one.execution === wanted)) await show(wanted, false);
  if (shown !== null && !desk.items.some((one) => one.execution === shown.execution)) shown = null;
}

async function show(execution, isAsked) {
  const bytes = bytesOf(await ask(`/waiting/${encodeURIComponent(execution)}`));
  shown = { execution, bytes, digest: await sha256(bytes), ...read(bytes, execution) };
  draw();
  if (isAsked) at("detail-title").focus();
}

async function enter(path, body) {
  const before = signedIn;
  signedIn = await ask(path, body);
  session = signedIn.session;
  proving = signedIn.needs_code ? "/session/code" : "";
  if (!proving) await look();
  if (before && !before.needs_code) notice = ["confirmed", ""];
}

async function decide(path, body) {
  try {
    const { state } = await ask(`/waiting/${encodeURIComponent(shown.execution)}/${path}`, body);
    notice = ["done", state];
    shown = null;
    await look();
  } catch (error) {
    if (error.code !== "step_up_needed") throw error;
    proving = "/session/proof";
  }
}

function leave() {
  [session, signedIn, proving, shown, key] = ["", null, "", null, null];
}

async function doing(work) {
  notice = ["", ""];
  try {
    await work();
  } catch (error) {
    const code = error.code || "";
    notice = Object.hasOwn(WORDS, code) ? [code, ""] : ["", error.message];
    if (code === "not_signed_in" && !proving) leave();
  }
  draw();
}

function sent(form, work) {
  at(form).onsubmit = (event) => {
    event.preventDefault();
    doing(work);
  };
}

function taken(id) {
  const { value } = at(id);
  at(id).value = "";
  return value;
}

sent("sign-in", () => enter("/session", { name: at("name").value, password: taken("password") }));
sent("proof-form", () => enter(proving, { proof: taken("proof") }));
sent("refuse", () => decide("refusal", { reason: taken("reason") }));
at("sign").onclick = () => doing(async () => decide("signature", {
  key_id: key.id, signature_base64: await signed(shown.bytes),
}));
at("make-key").onclick = () => doing(makeKey);
at("again").onclick = () => doing(look);
at("sign-out").onclick = () => doing(() => ask("/session/end", {}).finally(leave));
at("language").onclick = () => { language = 1 - language; draw(); };
draw();
