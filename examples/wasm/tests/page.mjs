// The page in headless Chromium: `node page.mjs FOLDER [PICTURES]`. It searches, inserts and reloads.
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { chromium } from "playwright-core";

const [folder, pictures] = process.argv.slice(2);
const types = { ".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm", ".txt": "text/plain" };
const served = ["index.html", "page.js", "words.js", "words_bg.wasm", "words.txt", "words.f16bin"];

const server = createServer(async (request, response) => {
  const name = request.url === "/" ? "index.html" : request.url.slice(1);
  if (!served.includes(name)) return response.writeHead(404).end();
  response.writeHead(200, { "content-type": types[extname(name)] ?? "application/octet-stream" });
  response.end(await readFile(join(folder, name)));
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const address = `http://127.0.0.1:${server.address().port}/`;

const profile = await mkdtemp(join(tmpdir(), "nearfield-page-"));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
  ],
});
try {
  const page = browser.pages()[0] ?? (await browser.newPage());
  const faults = [];
  page.on("pageerror", (error) => faults.push(String(error)));
  page.on("console", (message) => message.type() === "error" && faults.push(message.text()));
  const patience = { timeout: 300_000 };
  const ready = () => page.locator("#query:enabled").waitFor(patience);
  const search = async (text) => {
    await page.fill("#query", text);
    return page.locator("#found li span:first-child").allTextContents();
  };

  const began = performance.now();
  await page.goto(address);
  await ready();
  console.log(`10,000 words are indexed and kept after ${((performance.now() - began) / 1000).toFixed(1)} s`);
  assert.match(await page.textContent("#status"), /^10,000 words, an index of [\d.]+ MiB\.$/);

  const found = await search("ocean");
  assert.equal(found.length, 12);
  assert.equal(found[0], "ocean");
  assert.ok(found.includes("sea"), found.join(" "));
  assert.deepEqual(await search("qwertyuiop"), []);
  assert.match(await page.textContent("#took"), /is not in the list/);

  await page.fill("#word", "icecream");
  await page.fill("#meaning", "ice cream");
  await page.click("#add button");
  await page.getByText("It is kept.").waitFor(patience);
  assert.ok((await search("ice cream")).includes("icecream"));
  await page.fill("#word", "icecream");
  await page.fill("#meaning", "ice");
  await page.click("#add button");
  await page.getByText("is in the list already").waitFor(patience);

  const again = performance.now();
  await page.reload();
  await ready();
  console.log(`they are back ${((performance.now() - again) / 1000).toFixed(1)} s after a reload`);
  assert.match(await page.textContent("#status"), /^10,001 words/);
  assert.equal((await search("icecream"))[0], "icecream");
  assert.deepEqual(await search("ocean"), found);

  for (const colorScheme of pictures ? ["light", "dark"] : []) {
    for (const width of [400, 1280]) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 900 });
      await page.screenshot({ path: join(pictures, `${colorScheme}-${width}.png`) });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
      assert.ok(!wide, `the page is wider than ${width} pixels`);
    }
  }

  await page.click("#reset");
  await page.waitForFunction(() => document.getElementById("status").textContent.startsWith("10,000 words, "), null, patience);
  assert.deepEqual(await search("ocean"), found);
  assert.deepEqual(faults, []);
  console.log("search, insert, reload, start over: passed");
} finally {
  await browser.close();
  server.close();
  await rm(profile, { recursive: true, force: true });
}
