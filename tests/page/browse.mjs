// Drives a page in headless Chromium as a reader would, and fails with a
// sentence where it does not do what it should.
//
//   PERISCO_PLAYWRIGHT=FOLDER node browse.mjs PAGE.html
//
// FOLDER is where playwright-core is installed.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const { chromium } = createRequire(process.env.PERISCO_PLAYWRIGHT + "/")("playwright-core");
const url = "file://" + process.argv[2];
const executablePath = process.env.PERISCO_CHROMIUM ?? "/usr/bin/chromium";
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });

// A page that must not say anything on the console nor ask for anything but itself.
async function open(options) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.on("console", (message) => assert.fail(`console: ${message.text()}`));
  page.on("pageerror", (error) => assert.fail(`script: ${error}`));
  page.on("dialog", (dialog) => assert.fail(`a dialog: ${dialog.message()}`));
  page.on("request", (request) => assert.equal(request.url(), url, "a request to somewhere else"));
  await page.goto(url);
  return page;
}

const column = (page, index) =>
  page.$$eval("#eps tbody tr:not(.sub):not(.group)", (rows, i) => rows.filter((r) => !r.hidden).map((r) => r.cells[i].dataset.v), index);

async function sorts(page) {
  const p99 = page.getByRole("columnheader", { name: "p99" }).first();
  await p99.getByRole("button").click();
  assert.equal(await p99.getAttribute("aria-sort"), "descending");
  const falling = (await column(page, 7)).map(Number);
  assert.deepEqual(falling, [...falling].sort((a, b) => b - a), "p99 falls");
  await p99.getByRole("button").press("Enter");
  assert.equal(await p99.getAttribute("aria-sort"), "ascending");
  const rising = (await column(page, 7)).map(Number).filter((v) => v >= 0);
  assert.deepEqual(rising, [...rising].sort((a, b) => a - b), "p99 rises");
}

async function filters(page) {
  const all = (await column(page, 1)).length;
  await page.getByRole("searchbox").fill("orders pay");
  const some = (await column(page, 1)).length;
  assert.ok(some > 0 && some < all, `${some} of ${all}`);
  assert.equal(await page.locator("output[data-shown=eps]").textContent(), `${some} of ${all} shown`);
  await page.getByRole("searchbox").fill("");
  await page.getByLabel("Failing only").check();
  const errors = await column(page, 3);
  assert.ok(errors.length > 0 && errors.every((v) => Number(v) > 0), "failing ones only");
  await page.getByLabel("Failing only").uncheck();
  assert.equal((await column(page, 1)).length, all);
}

async function folds(page) {
  const all = (await column(page, 1)).length;
  await page.getByLabel("Fold by host or service").check();
  const group = page.locator("#eps tr.group button").first();
  assert.equal(await group.getAttribute("aria-expanded"), "true");
  await group.click();
  assert.equal(await page.locator("#eps tr.group button").first().getAttribute("aria-expanded"), "false");
  assert.ok((await column(page, 1)).length < all, "a folded group hides its rows");
  await page.getByLabel("Fold by host or service").uncheck();
  assert.equal((await column(page, 1)).length, all);
}

async function opens(page) {
  const card = page.locator("details.tx").first();
  assert.ok(!(await card.locator(".wf").isVisible()));
  await card.locator("summary").focus();
  await page.keyboard.press("Enter");
  assert.ok(await card.locator(".wf").isVisible(), "the times of a transaction");
  const row = page.locator("#eps details").first();
  await row.locator("summary").click();
  assert.ok(await page.locator("#eps tr.sub").first().isVisible(), "examples of an endpoint");
}

async function themes(page) {
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await background();
  await page.getByRole("button", { name: "Switch to the dark theme" }).click();
  const dark = await background();
  assert.notEqual(dark, light);
  assert.equal(await page.locator("#theme").getAttribute("aria-pressed"), "true");
  const other = await open({ colorScheme: "dark" });
  assert.equal(await other.evaluate(() => getComputedStyle(document.body).backgroundColor), dark, "as the system says");
  await other.context().close();
}

async function points(page) {
  await page.locator("#time g.hit rect").first().hover();
  assert.match(await page.locator("#tip").textContent(), /UTC: /);
  const time = page.locator("time[datetime]").first();
  await time.hover();
  assert.match(await time.getAttribute("title"), /your time zone/);
}

async function isNarrow() {
  const page = await open({ viewport: { width: 400, height: 800 } });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= 400, `the page is ${wide} wide on a screen of 400`);
  await page.context().close();
}

async function readsWithoutScript() {
  const page = await open({ javaScriptEnabled: false });
  const text = await page.locator("main").innerText();
  for (const word of ["Over time", "Endpoints", "Errors by kind", "Who talks to whom", "Connections", "Capture"]) {
    assert.ok(text.includes(word), `${word} without script`);
  }
  assert.ok((await page.locator("svg.time").count()) >= 3, "charts without script");
  assert.ok(!(await page.locator(".tools").first().isVisible()), "tools that cannot work are not shown");
  const row = page.locator("#eps details").first();
  await row.locator("summary").click();
  assert.ok(await page.locator("#eps tr.sub").first().isVisible(), "examples open without script");
  await page.context().close();
}

// A script that finds its way into the page does not run.
async function forbidsScripts(page) {
  await page.evaluate(() => {
    window.broken = false;
    const script = document.createElement("script");
    script.textContent = "window.broken = true";
    document.body.append(script);
  }).catch(() => {});
  assert.equal(await page.evaluate(() => window.broken), false);
}

const page = await open({ colorScheme: "light" });
for (const check of [sorts, filters, folds, opens, points, themes]) await check(page);
await isNarrow();
await readsWithoutScript();
page.removeAllListeners("console"); // the refusal is said there
await forbidsScripts(page);
await browser.close();
console.log("browsed");
