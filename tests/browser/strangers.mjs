// Another site that wants something of a registry in whose pages somebody is signed in (S-038, S-039, S-060 … S-063).

import assert from "node:assert/strict";
import { createServer } from "node:http";

import { base, launch, open, person, run, signIn } from "./lib.mjs";

const at = (path) => `${base}${path}`;
const port = new URL(base).port;

// The same machine under another name is another site.
const pages = new Map();
const stranger = createServer((request, response) => {
  response.setHeader("Content-Type", "text/html");
  response.end(pages.get(request.url) ?? "");
});
await new Promise((done) => stranger.listen(0, "127.0.0.1", done));
const elsewhere = `http://localhost:${stranger.address().port}`;

const browser = await launch();
const { context, page } = await open(browser, { allowed: "http://" });
await signIn(page, person);
const victim = "/delete?repository=team/app";
const digest = process.env.WHARF_DIGEST ?? assert.fail("WHARF_DIGEST is not set");
const isThere = async () => (await page.request.get(at(`/image?repository=team/app&reference=${digest}`))).status() === 200;

await run({
  "b101 a form of another site changes nothing": async () => {
    const field = (name, value) => `<input name="${name}" value="${value}">`;
    pages.set("/form", `<form method="post" action="${at(victim)}">${field("digest", digest)}${field("form_token", "0".repeat(64))}<button>win</button></form>`);
    await page.goto(`${elsewhere}/form`);
    const answered = page.waitForResponse((response) => response.url() === at(victim));
    await page.getByRole("button").click();
    assert.equal((await answered).status(), 403);
    assert.ok(await isThere());
  },

  "b101 a script of another site reads and changes nothing": async () => {
    await page.goto(`${elsewhere}/form`);
    const outcome = await page.evaluate(async ([address, digest]) => {
      const told = [];
      for (const options of [
        { method: "POST", credentials: "include", body: new URLSearchParams({ digest }) },
        { credentials: "include" },
        { credentials: "include", mode: "no-cors" },
      ]) {
        try {
          const answer = await fetch(address, options);
          told.push(`${answer.type} ${(await answer.text()).length}`);
        } catch {
          told.push("refused");
        }
      }
      return told;
    }, [at(victim), digest]);
    assert.deepEqual(outcome, ["refused", "refused", "refused"]);
    assert.ok(await isThere());
  },

  "s039 a form of our own without the session's token changes nothing": async () => {
    await page.goto(at("/delete?repository=team/app&reference=1.0"));
    await page.locator('input[name="form_token"]').last().evaluate((field) => { field.value = "0".repeat(64); });
    const answered = page.waitForResponse((response) => response.request().method() === "POST");
    await page.getByRole("button", { name: "Delete the image" }).click();
    assert.equal((await answered).status(), 403);
    assert.ok(await isThere());
  },

  "s063 no page stands in a frame of anybody": async () => {
    for (const path of ["/", "/login", "/no-such-page", "/image?repository=team/app&reference=1.0"]) {
      pages.set("/frame", `<iframe src="${at(path)}"></iframe>`);
      const refused = page.waitForEvent("console", (message) => /frame-ancestors/.test(message.text()));
      await page.goto(`${elsewhere}/frame`);
      await refused;
      assert.equal(await page.frameLocator("iframe").locator(".brand").count(), 0, path);
    }
  },

  "s063 every answer to a browser has the headers": async () => {
    const session = (await context.cookies(base)).map(({ name, value }) => `${name}=${value}`).join("; ");
    const style = /assets\/wharf\.[0-9a-f]+\.css/.exec(await (await fetch(at("/login"))).text())[0];
    for (const path of [
      "/", "/login", "/repositories", "/repository?repository=team/app", "/repository?repository=none", "/image?repository=team/app&reference=none",
      "/account", "/no-such-page", "/assets/none.css", `/${style}`,
    ]) {
      const answer = await fetch(at(path), { headers: { cookie: session, accept: "text/html" }, redirect: "manual" });
      const header = (name) => answer.headers.get(name);
      assert.match(header("content-security-policy"), /^default-src 'none'; script-src 'self'; style-src 'self';.*frame-ancestors 'none'.*require-trusted-types-for 'script'$/, path);
      assert.doesNotMatch(header("content-security-policy"), /unsafe/);
      for (const [name, value] of Object.entries({
        "x-content-type-options": "nosniff", "x-frame-options": "DENY", "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin", "cross-origin-resource-policy": "same-origin", "cross-origin-embedder-policy": "require-corp",
        "strict-transport-security": null, "access-control-allow-origin": null,
      })) assert.equal(header(name), value, `${name} of ${path}`);
      assert.match(header("permissions-policy"), /camera=\(\)/);
      assert.equal(header("cache-control"), path === `/${style}` ? "public, max-age=31536000, immutable" : "no-store", path);
    }
  },

  "s062 a blob with markup is not a page": async () => {
    const blob = process.env.WHARF_MARKUP ?? assert.fail("WHARF_MARKUP is not set");
    const answer = await fetch(at(`/v2/team/evil/blobs/${blob}`), {
      headers: { authorization: `Basic ${Buffer.from(`${person.name}:${person.password}`).toString("base64")}` },
    });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get("content-security-policy"), "default-src 'none'; sandbox; frame-ancestors 'none'");
    assert.equal(answer.headers.get("content-type"), "application/octet-stream");
  },

  "b103 a session is for pages only, and one cookie is one session": async () => {
    const [cookie] = (await context.cookies(base)).filter(({ name }) => name === "wharf-session");
    const ask = (path, value) => fetch(at(path), { headers: { cookie: value }, redirect: "manual" }).then((answer) => answer.status);
    const own = `wharf-session=${cookie.value}`;
    assert.equal(await ask("/account", own), 200);
    assert.equal(await ask("/account", `${own}; wharf-session=${"0".repeat(64)}`), 303, "two cookies");
    assert.equal(await ask("/v2/", own), 401);
    assert.equal(await ask("/v2/token?service=wharf", own), await ask("/v2/token?service=wharf", ""), "as nobody");
    assert.equal(await ask("/api/v1/me/tokens", own), 401);
    const basic = `Basic ${Buffer.from(`${person.name}:${person.password}`).toString("base64")}`;
    const answer = await fetch(at("/account"), { headers: { authorization: basic }, redirect: "manual" });
    assert.equal(answer.status, 303, "what a browser sends along by itself opens no page");
  },

  "b103 a cookie that was there before signing in is not the session": async () => {
    const planted = "f".repeat(64);
    const other = await open(browser);
    await other.context.addCookies([{ name: "wharf-session", value: planted, url: base }]);
    await signIn(other.page, person);
    const [cookie] = await other.context.cookies();
    assert.notEqual(cookie.value, planted);
    await other.context.close();
  },

  "b102 the way back leads nowhere else": async () => {
    for (const next of ["//evil.example", "/\\evil.example", "https:evil.example", "/\tevil", "javascript:1", `/${"x".repeat(1024)}`]) {
      const other = await open(browser);
      await other.page.goto(`${base}/login?next=${encodeURIComponent(next)}`);
      await other.page.getByLabel("Name").fill(person.name);
      await other.page.getByLabel("Password").fill(person.password);
      await other.page.getByRole("button", { name: "Sign in" }).click();
      await other.page.waitForURL(at("/"));
      assert.deepEqual(other.trespasses, []);
      await other.context.close();
    }
  },

  "s038 the host's other name is another site": async () => {
    const answer = await fetch(`http://localhost:${port}/login`, {
      method: "POST", headers: { origin: elsewhere, "content-type": "application/x-www-form-urlencoded" }, body: "", redirect: "manual",
    });
    assert.equal(answer.status, 403);
    const silent = await fetch(at("/login"), { method: "POST", headers: { "content-type": "application/x-www-form-urlencoded" }, body: "", redirect: "manual" });
    assert.equal(silent.status, 403, "one that says nothing of where it comes from");
  },
});
await browser.close();
stranger.close();
