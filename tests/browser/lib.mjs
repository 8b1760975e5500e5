// What the tests of the pages share: the browser, the registry under test, and how a page is examined.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const need = (name) => process.env[name] ?? assert.fail(`${name} is not set; run these tests with cargo test`);

// The packages are where scripts/install-test-tools has put them.
const tools = createRequire(path.join(need("WHARF_BROWSER_TOOLS"), "package.json"));
const { chromium } = tools("playwright-core");
const axe = readFileSync(tools.resolve("axe-core/axe.min.js"), "utf8");

export const base = need("WHARF_URL");
export const admin = { name: "admin", password: need("WHARF_ADMIN_PASSWORD") };
export const person = { name: "alice", password: need("WHARF_PERSON_PASSWORD") };
const pictures = need("WHARF_PICTURES");
mkdirSync(pictures, { recursive: true });

export const launch = () =>
  chromium.launch({ executablePath: need("CHROMIUM"), args: ["--no-sandbox", "--disable-dev-shm-usage"] });

// A browser window of somebody who has not signed in. Whatever would show that a stranger's text was run, or that something
// was asked of another host, ends the test.
export const open = async (browser, options = {}) => {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, reducedMotion: "reduce", ...options });
  const page = await context.newPage();
  const trespasses = [];
  page.on("dialog", (dialog) => { trespasses.push(`a dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on("request", (request) => {
    if (!request.url().startsWith(options.allowed ?? base)) trespasses.push(`a request to ${request.url()}`);
  });
  page.on("console", (message) => {
    if (message.type() === "error" && /Content Security Policy|TrustedHTML/.test(message.text())) trespasses.push(message.text());
  });
  page.on("pageerror", (error) => trespasses.push(`an error: ${error.message}`));
  return { context, page, trespasses };
};

export const signIn = async (page, { name, password }, to = "/") => {
  await page.goto(`${base}/login?next=${encodeURIComponent(to)}`);
  await page.getByLabel("Name").fill(name);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL((url) => url.pathname !== "/login");
};

const rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

// What axe finds, in words; must be nothing.
export const examine = async (page, what) => {
  await page.evaluate(axe);
  const { violations } = await page.evaluate((tags) => globalThis.axe.run(document, { runOnly: tags }), rules);
  const told = violations.map(({ id, help, nodes }) => `${id}: ${help}\n${nodes.map((node) => `  ${node.html}\n    ${node.failureSummary}`).join("\n")}`);
  assert.deepEqual(told, [], `axe, ${what}:\n${told.join("\n")}`);
};

const PICTURE_MAX_HEIGHT = 1600;

// Looks at a page as it is, wide and narrow, light and dark: nothing hangs over the edge, axe is content.
export const look = async (page, name) => {
  for (const [width, scheme] of [[1440, "light"], [1440, "dark"], [360, "light"], [360, "dark"]]) {
    await page.setViewportSize({ width, height: width === 360 ? 740 : 900 });
    await page.emulateMedia({ colorScheme: scheme });
    const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.equal(over, 0, `${name} hangs ${over} pixels over the edge at ${width}`);
    await examine(page, `${name} at ${width}, ${scheme}`);
    if ((width === 1440) === (scheme === "light")) {
      const height = await page.evaluate(() => document.documentElement.scrollHeight);
      const clip = { x: 0, y: 0, width, height: Math.min(height, PICTURE_MAX_HEIGHT) };
      await page.screenshot({ path: path.join(pictures, `${name}-${width}.png`), fullPage: true, clip });
    }
  }
  await page.setViewportSize({ width: 1440, height: 900 });
  await page.emulateMedia({ colorScheme: "light" });
};

// Runs cases one after the other and tells each by name.
export const run = async (cases) => {
  for (const [name, test] of Object.entries(cases)) {
    const began = performance.now();
    try {
      await test();
    } catch (error) {
      console.error(`FAILED ${name}\n${error.stack}`);
      process.exitCode = 1;
      return;
    }
    console.log(`ok ${name} (${Math.round(performance.now() - began)} ms)`);
  }
};
