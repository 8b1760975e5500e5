// Somebody who looks after a registry: rules written and explained, accounts and tokens, the audit log, collection and checks.

import assert from "node:assert/strict";

import { admin, base, examine, launch, look, open, person, run, signIn } from "./lib.mjs";

const browser = await launch();
const { page, trespasses } = await open(browser);
const at = (path) => `${base}${path}`;
const main = () => page.locator("main").textContent();
const basic = (name, password) => ({ authorization: `Basic ${Buffer.from(`${name}:${password}`).toString("base64")}` });
const status = (path, name, password) => fetch(at(path), { headers: basic(name, password) }).then((answer) => answer.status);

await signIn(page, admin);
await run({
  "pages are whole, wide and narrow, light and dark": async () => {
    for (const [name, link] of [
      ["policy", "Policy"], ["accounts", "Accounts"], ["audit", "Audit"], ["storage", "Storage"], ["check", "Check"], ["system", "System"],
    ]) {
      await page.getByRole("navigation", { name: "Main" }).getByRole("link", { name: link }).click();
      assert.equal(await page.getByRole("heading", { level: 1 }).textContent(), link);
      await look(page, name);
    }
    await page.goto(at("/policy/rule"));
    await look(page, "rule");
    await page.goto(at("/policy/explain?principal=alice&action=registry:push&repository=secret/app"));
    await look(page, "explain");
    await page.goto(at("/accounts/one?name=alice"));
    await look(page, "one-account");
    await page.goto(at("/"));
    await look(page, "overview-admin");
  },

  "nobody else gets in": async () => {
    const other = await open(browser);
    await signIn(other.page, person);
    for (const path of ["/policy", "/policy/rule", "/policy/explain", "/accounts", "/accounts/one?name=admin", "/audit", "/storage", "/check", "/system"]) {
      assert.equal((await other.page.goto(at(path))).status(), 403, path);
      assert.equal(await other.page.getByRole("link", { name: "Policy" }).count(), 0);
    }
    await other.context.close();
  },

  "a rule is tried out, written, explained, changed and deleted": async () => {
    await page.goto(at("/policy"));
    await page.getByRole("link", { name: "Write a rule" }).click();
    await page.getByLabel("What it is for").fill("nobody pushes to web");
    await page.getByLabel("deny").check();
    await page.getByLabel("registry:push").check();
    await page.getByLabel("Repositories").fill("team/[web");
    await page.getByRole("button", { name: "Save" }).click();
    assert.match(await page.getByRole("alert").textContent(), /team\/\[web/, "what was wrong is said, and kept");
    await examine(page, "a rule that is none");
    assert.equal(await page.getByLabel("What it is for").inputValue(), "nobody pushes to web");
    await page.getByLabel("Repositories").fill("team/web");
    await page.getByRole("button", { name: "Try it out" }).click();
    await page.getByText("Nothing has been saved.").waitFor();
    assert.match(await main(), /alice.*registry:push.*team\/web.*denied/s);
    await examine(page, "a rule that is tried out");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("Saved.").waitFor();

    await page.getByRole("link", { name: "Explain a decision" }).click();
    await page.getByLabel("Who an account").fill("alice");
    await page.getByLabel("Does what").selectOption("registry:push");
    await page.getByLabel("In which repository").fill("team/web");
    await page.getByRole("button", { name: "Explain" }).click();
    await page.getByText("Denied.").waitFor();
    assert.match(await main(), /nobody pushes to web/);
    const push = await fetch(at("/v2/team/web/blobs/uploads/"), { method: "POST", headers: basic(person.name, person.password) });
    assert.equal(push.status, 403, "and so it is");

    await page.goto(at("/policy"));
    await page.getByRole("link", { name: "nobody pushes to web" }).click();
    const stale = await page.context().newPage();
    await stale.goto(page.url());
    await page.getByLabel("Repositories").fill("team/webs");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("Saved.").waitFor();
    await stale.getByRole("button", { name: "Save" }).click();
    await stale.getByText("has been changed since you read it").waitFor();
    await stale.close();
    await page.getByRole("link", { name: "nobody pushes to web" }).click();
    await page.getByRole("button", { name: "Delete this rule" }).click();
    await page.getByText("Removed.").waitFor();
    assert.equal(await page.getByRole("link", { name: "nobody pushes to web" }).count(), 0);
  },

  "a robot gets a token, and loses it": async () => {
    await page.goto(at("/accounts"));
    await page.getByText("Make an account").click();
    await page.getByLabel("Name", { exact: true }).fill("not a name");
    await page.getByRole("button", { name: "Make the account" }).click();
    await page.getByRole("alert").waitFor();
    await page.getByLabel("Name", { exact: true }).fill("builder");
    await page.getByRole("radio", { name: "a robot" }).check();
    await page.getByLabel("Roles").fill("builders");
    await page.getByRole("button", { name: "Make the account" }).click();
    await page.getByText("Saved.").waitFor();
    await page.getByText("Make a token").click();
    await page.getByLabel("What it is for").fill("builds");
    await page.getByRole("button", { name: "Make the token" }).click();
    const secret = await page.locator("#secret").textContent();
    await examine(page, "the token of a robot");
    assert.equal(await status("/v2/", "builder", secret), 200);
    await page.getByRole("button", { name: "Delete the token for builds" }).click();
    await page.getByText("The token was deleted.").waitFor();
    assert.equal(await status("/v2/", "builder", secret), 401);
    await page.getByText("Delete this account").click();
    await page.getByRole("button", { name: "Delete builder" }).click();
    await page.getByText("Removed.").waitFor();
    assert.equal(await page.getByRole("link", { name: "builder" }).count(), 0);
  },

  "an account that is changed is signed out everywhere": async () => {
    const other = await open(browser);
    await signIn(other.page, person);
    await page.goto(at("/accounts/one?name=alice"));
    await page.getByRole("textbox", { name: "Roles" }).fill("dev");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("Saved.").waitFor();
    await other.page.goto(at("/account"));
    assert.equal(new URL(other.page.url()).pathname, "/login");
    await other.context.close();
    await page.goto(at("/accounts/one?name=admin"));
    await page.getByText("Delete this account").click();
    await page.getByRole("button", { name: "Delete admin" }).click();
    await page.getByText("is the last account that can be logged into").waitFor();
  },

  "what happened is found, and the log is as it was sealed": async () => {
    await page.goto(at("/audit"));
    await page.getByLabel("Who", { exact: true }).fill("alice");
    await page.getByLabel("Action").fill("manifest.delete");
    await page.getByRole("button", { name: "Search" }).click();
    assert.equal(await page.locator("tbody tr").count(), 1);
    assert.match(await main(), /alice.*manifest\.delete.*team\/app/s);
    await page.getByLabel("Who", { exact: true }).fill("nobody at all");
    await page.getByRole("button", { name: "Search" }).click();
    await page.getByText("No record is like that.").waitFor();
    await page.getByRole("button", { name: "Verify the log" }).click();
    await page.getByText("The log is as it was sealed").waitFor();
  },

  "collection is held, released, run and watched": async () => {
    await page.goto(at("/storage"));
    await page.getByText("Hold collection").click();
    await page.getByLabel("Why").fill("somebody looks at it");
    await page.getByRole("button", { name: "Hold it" }).click();
    await page.getByText("Nothing is collected: somebody looks at it").waitFor();
    await examine(page, "collection on hold");
    await page.getByRole("button", { name: "Collect now" }).click();
    await page.getByText("collection is on hold", { exact: false }).waitFor();
    await page.goto(at("/storage"));
    await page.getByRole("button", { name: "Release the hold" }).click();
    await page.getByText("Removed.").waitFor();
    await page.getByRole("button", { name: "Collect now" }).click();
    await page.getByText("Started.").waitFor();
    await page.waitForFunction(() => /[1-9]\d* runs?, the last/.test(document.querySelector("#run").textContent) || void location.reload(), null, { polling: 500 });
  },

  "a check is begun, and ends by itself before one's eyes": async () => {
    await page.goto(at("/check"));
    await page.getByRole("button", { name: "Deep: every byte" }).click();
    await page.getByText("Everything is as it should be.").waitFor();
    assert.match(await page.locator("#state").textContent(), /deep|Manifests/);
    await look(page, "checked");
  },

  "the configuration holds no secret": async () => {
    await page.goto(at("/system"));
    const told = await main();
    assert.match(told, /\[server\]/);
    assert.ok(!told.includes(admin.password));
  },

  "nothing of a stranger was run, and nobody else was asked": async () => assert.deepEqual(trespasses, []),
});
await browser.close();
