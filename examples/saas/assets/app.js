"use strict";

// Each card reports "works" or "fails"; when all of them work the document is marked ready.
const CARDS = ["items", "events", "socket"];
const find = (id) => document.getElementById(id);

function report(card, state) {
  const output = find(`${card}-state`);
  output.dataset.state = state;
  output.textContent = state;
  const ready = CARDS.every((name) => find(`${name}-state`).dataset.state === "works");
  document.documentElement.dataset.ready = String(ready);
}

function show(id, text, good) {
  const place = find(id);
  place.textContent = text;
  place.classList.toggle("bad", !good);
}

// A refusal of the gateway is problem+json (RFC 9457) and names its clauses; an error of the app has one member, "error".
async function reason(response) {
  const answer = await response.json().catch(() => ({}));
  const clauses = (answer.clauses ?? []).map((clause) => clause.id).join(", ");
  const told = answer.detail ?? answer.error ?? answer.title ?? "no reason given";
  return `${response.status}: ${told}${clauses ? ` (${clauses})` : ""}`;
}

function addRow(item) {
  const row = document.createElement("li");
  const name = document.createElement("span");
  const quantity = document.createElement("strong");
  name.textContent = item.name;
  quantity.textContent = item.quantity;
  row.append(name, quantity);
  find("items").append(row);
}

async function loadItems() {
  try {
    const response = await fetch("/api/items");
    if (!response.ok) throw new Error(await reason(response));
    find("items").replaceChildren();
    (await response.json()).forEach(addRow);
    report("items", "works");
  } catch (error) {
    show("item-result", error.message, false);
    report("items", "fails");
  }
}

// Sends what a form describes and shows the answer in `place`; a lost connection is told like a refusal.
async function send(place, url, options, describe) {
  try {
    const response = await fetch(url, { method: "POST", ...options });
    show(place, response.ok ? describe(await response.json()) : await reason(response), response.ok);
  } catch (error) {
    show(place, error.message, false);
  }
}

async function addItem(event) {
  event.preventDefault();
  const fields = new FormData(event.target);
  const body = JSON.stringify({ name: fields.get("name"), quantity: Number(fields.get("quantity")) });
  const headers = { "Content-Type": "application/json" };
  await send("item-result", "/api/items", { headers, body }, (item) => `Added ${item.name}.`);
  await loadItems();
}

async function upload(event) {
  event.preventDefault();
  const describe = (file) => `Stored ${file.name}, ${file.size} bytes, SHA-256 ${file.sha256}.`;
  await send("upload-result", "/uploads", { body: new FormData(event.target) }, describe);
}

function listen() {
  const source = new EventSource("/events");
  source.addEventListener("tick", (event) => {
    find("ticks").textContent = JSON.parse(event.data).count;
    report("events", "works");
  });
  source.addEventListener("error", () => report("events", "fails"));
}

function connect() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${location.host}/ws`);
  socket.addEventListener("open", () => socket.send("hello"));
  socket.addEventListener("message", (event) => {
    find("echoed").textContent = event.data;
    report("socket", "works");
  });
  socket.addEventListener("close", () => report("socket", "fails"));
  find("socket-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (socket.readyState === WebSocket.OPEN) socket.send(new FormData(event.target).get("text"));
  });
}

find("item-form").addEventListener("submit", addItem);
find("upload-form").addEventListener("submit", upload);
loadItems();
listen();
connect();
