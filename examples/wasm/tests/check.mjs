// The tests of `check/` in node: `node check.mjs FOLDER FILE`, the file being an index that the library saved natively.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, file] = process.argv.slice(2);
const module = await import(pathToFileURL(resolve(join(folder, "check.js"))));
await module.default({ module_or_path: await readFile(join(folder, "check_bg.wasm")) });

// A clock that is set stays.
const first = ["a_timeout_needs_a_clock"];
const tests = Object.keys(module).filter((name) => module[name].length === 0 && /^[a-z_]+$/.test(name) && name.includes("_"));
tests.sort((a, b) => first.includes(b) - first.includes(a));
assert.ok(tests.length >= 9, tests.join(" "));
let failed = 0;
for (const name of tests) {
  const began = performance.now();
  try {
    module[name]();
    console.log(`${name} ... ok (${Math.round(performance.now() - began)} ms)`);
  } catch (error) {
    failed += 1;
    console.log(`${name} ... FAILED: ${error.stack ?? error}`);
  }
}
const nearest = Array.from(module.nearest_in(await readFile(file)), Number);
assert.equal(nearest.length, 5);
assert.equal(nearest[0], 0);
console.log(`${tests.length + 1 - failed} passed, ${failed} failed`);
process.exitCode = failed ? 1 : 0;
