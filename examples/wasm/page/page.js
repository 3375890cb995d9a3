// The page around the module: it loads or restores the words, searches while the user types, and keeps the state.
import init, { Words } from "./words.js";

const DIMENSION = 100;
/** Words that are inserted before the page is drawn again. */
const SLICE = 100;
/** Bytes before the vectors in a file of the big-ann layout. */
const HEAD = 8;

const $ = (id) => document.getElementById(id);
const controls = ["query", "word", "meaning", "reset"].map($).concat($("add").querySelector("button"));

let words;

/** Runs one request in the table of states. Resolves once the transaction is on the disk. */
async function table(mode, request) {
  const opening = indexedDB.open("nearfield-words", 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore("states");
  const database = await new Promise((resolve, reject) => {
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error);
  });
  try {
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction("states", mode, { durability: "strict" });
      const asked = request(transaction.objectStore("states"));
      transaction.oncomplete = () => resolve(asked.result);
      transaction.onabort = () => reject(transaction.error);
    });
  } finally {
    database.close();
  }
}

const restore = () => table("readonly", (states) => states.get("words"));
const forget = () => table("readwrite", (states) => states.delete("words"));

async function keep() {
  const state = { index: words.index_bytes(), lines: words.lines() };
  await table("readwrite", (states) => states.put(state, "words"));
  return state.index.length;
}

function report(bytes) {
  const megabytes = (bytes / 2 ** 20).toFixed(1);
  $("status").textContent = `${words.count.toLocaleString("en")} words, an index of ${megabytes} MiB.`;
}

async function load() {
  const [text, vectors] = await Promise.all(
    ["words.txt", "words.f16bin"].map(async (name) => {
      const answer = await fetch(name);
      if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
      return name.endsWith(".txt") ? answer.text() : answer.arrayBuffer();
    }),
  );
  const lines = text.trimEnd().split("\n");
  const halves = new Uint16Array(vectors, HEAD);
  $("progress").hidden = false;
  for (let at = 0; at < lines.length; at += SLICE) {
    words.load(
      lines.slice(at, at + SLICE).join("\n"),
      halves.subarray(at * DIMENSION, Math.min(at + SLICE, lines.length) * DIMENSION),
    );
    $("progress").value = words.count / lines.length;
    $("status").textContent = `${words.count.toLocaleString("en")} words are in the index.`;
    await new Promise((resolve) => setTimeout(resolve));
  }
  $("progress").hidden = true;
}

function search() {
  const meaning = $("query").value;
  $("found").replaceChildren();
  $("took").classList.remove("fault");
  if (!meaning.trim()) {
    $("took").textContent = "";
    return;
  }
  try {
    const start = performance.now();
    const found = words.search(meaning, 12).trimEnd().split("\n");
    const took = performance.now() - start;
    for (const line of found) {
      const [word, similarity] = line.split("\t");
      const row = document.createElement("li");
      row.style.setProperty("--share", `${Math.max(0, similarity) * 100}%`);
      for (const text of [word, similarity]) {
        row.appendChild(document.createElement("span")).textContent = text;
      }
      $("found").appendChild(row);
    }
    $("took").textContent = `Cosine similarity. The search took ${took.toFixed(1)} ms.`;
  } catch (error) {
    $("took").classList.add("fault");
    $("took").textContent = String(error);
  }
}

async function add(event) {
  event.preventDefault();
  const note = $("added");
  try {
    note.classList.remove("fault");
    words.add($("word").value, $("meaning").value);
    note.textContent = `\u201c${$("word").value.trim()}\u201d is in the index.`;
    report(await keep());
    note.textContent += " It is kept.";
    $("add").reset();
    search();
  } catch (error) {
    note.classList.add("fault");
    note.textContent = String(error);
  }
}

async function start() {
  await init({ module_or_path: "words_bg.wasm" });
  const state = await restore();
  if (state) {
    words = Words.open(state.index, state.lines);
    report(state.index.length);
  } else {
    words = new Words();
    await load();
    report(await keep());
  }
  for (const control of controls) control.disabled = false;
  $("query").addEventListener("input", search);
  $("add").addEventListener("submit", add);
  $("reset").addEventListener("click", async () => {
    await forget();
    location.reload();
  });
  $("query").focus();
}

start().catch((error) => {
  $("status").classList.add("fault");
  $("status").textContent = String(error);
});
