// A person with a browser: signs in, reads, searches, compares, deletes and restores. The registry and what is in it come
// from `crates/wharf/tests/it/browser.rs`.

import assert from "node:assert/strict";

import { base, examine, launch, look, open, person, run, signIn } from "./lib.mjs";

const browser = await launch();
const { context, page, trespasses } = await open(browser);
const at = (path) => `${base}${path}`;
const heading = () => page.getByRole("heading", { level: 1 }).textContent();

await run({
  "who has not signed in is led to the form and back": async () => {
    await page.goto(at("/repository?repository=team/app"));
    assert.equal(new URL(page.url()).pathname, "/login");
    await look(page, "sign-in");
    await page.getByLabel("Name").fill(person.name);
    await page.getByLabel("Password").fill("not the password");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("alert").waitFor();
    assert.match(await page.getByRole("alert").textContent(), /do not fit/);
    await page.getByLabel("Password").fill(person.password);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.waitForURL(at("/repository?repository=team/app"));
    assert.equal(await heading(), "team/app");
  },

  "pages are whole, wide and narrow, light and dark": async () => {
    await page.goto(at("/"));
    await look(page, "overview");
    await page.getByRole("link", { name: "Repositories", exact: true }).click();
    await look(page, "repositories");
    await page.goto(at("/repository?repository=team/app"));
    await look(page, "repository");
    await page.getByRole("link", { name: "1.1", exact: true }).click();
    await look(page, "image");
    await page.goto(at("/image?repository=team/app&reference=latest"));
    await look(page, "index");
    await page.goto(at("/compare?repository=team/app&from=1.0&to=1.1"));
    await look(page, "compare");
    await page.goto(at("/tag?repository=team/app&tag=moving"));
    await look(page, "history");
    await page.goto(at("/deleted?repository=team/app"));
    await look(page, "deleted");
    await page.goto(at("/delete?repository=team/app&reference=1.0"));
    await look(page, "delete");
    await page.goto(at("/account"));
    await look(page, "account");
    await page.goto(at("/no-such-page"));
    await look(page, "not-found");
  },

  "what is searched for appears while one types": async () => {
    await page.goto(at("/repositories"));
    await page.getByRole("searchbox").pressSequentially("team/w");
    await page.getByRole("link", { name: "charts/demo" }).waitFor({ state: "detached" });
    assert.deepEqual(await page.locator("tbody th a").allTextContents(), ["team/web"]);
    await page.waitForURL(at("/repositories?q=team%2Fw"));
    await page.getByRole("searchbox").fill("nothing like it");
    await page.getByText("No repository that you may pull has").waitFor();
    await page.getByRole("searchbox").fill("");
    await page.getByRole("link", { name: "charts/demo" }).waitFor();
    await page.getByRole("link", { name: "Next page" }).click();
    await page.waitForURL(/after=/);
    assert.equal(await page.locator("tbody th a", { hasText: "team/app" }).count(), 1);
  },

  "what one may not pull is not there": async () => {
    await page.goto(at("/repositories?q=secret"));
    await page.getByText("No repository that you may pull has").waitFor();
    const forbidden = await page.goto(at("/repository?repository=secret/app"));
    const absent = await page.goto(at("/repository?repository=secret/absent"));
    assert.deepEqual([forbidden.status(), absent.status()], [403, 403]);
    await page.goto(at("/"));
    assert.equal(await page.getByText("secret/app").count(), 0);
  },

  "an image tells what it is made of": async () => {
    await page.goto(at("/image?repository=team/app&reference=1.1"));
    await page.getByText("docker pull").first().waitFor();
    assert.match(await page.locator(".history").textContent(), /FROM scratch.*RUN make install.*CMD \["\/bin\/app"\]/s);
    assert.equal(await page.locator("svg.layers rect.shared").count(), 1, "the base is shared");
    assert.equal(await page.locator("svg.layers rect.own").count(), 1);
    assert.match(await page.locator("main").textContent(), /linux\/amd64/);
    await page.getByRole("link", { name: "SBOM (SPDX)" }).click();
    await page.getByRole("rowheader", { name: "libwharf" }).waitFor();
    assert.match(await page.locator("main").textContent(), /oras pull/);
    await look(page, "sbom");
    await page.goto(at("/image?repository=charts/demo&reference=1.0.0"));
    await page.getByText("helm pull oci://").waitFor();
  },

  "two images are told apart": async () => {
    await page.goto(at("/image?repository=team/app&reference=1.0"));
    await page.getByRole("link", { name: "Compare" }).click();
    await page.getByLabel("After").fill("1.1");
    await page.getByRole("button", { name: "Compare" }).click();
    await page.getByRole("cell", { name: "both" }).waitFor();
    assert.equal(await page.getByRole("cell", { name: "added" }).count(), 1);
    assert.equal(await page.getByRole("cell", { name: "removed" }).count(), 1);
    assert.match(await page.locator("main").textContent(), /\$VERSION/);
    const packages = page.getByRole("region", { name: "Packages, by their SBOMs" });
    assert.deepEqual(await packages.getByRole("rowheader").allTextContents(), ["libwharf"]);
  },

  "a tag goes back to what it was": async () => {
    await page.goto(at("/tag?repository=team/app&tag=moving"));
    await page.getByRole("button", { name: /Back to this/ }).first().click();
    await page.getByText("Restored.").waitFor();
    await page.goto(at("/tag?repository=team/app&tag=moving"));
    assert.equal(await page.locator("tbody tr").count(), 3);
  },

  "an image is deleted after a look at what breaks, and restored": async () => {
    await page.goto(at("/image?repository=team/web&reference=v1"));
    await page.getByRole("link", { name: "Delete…" }).click();
    assert.match(await page.locator("main").textContent(), /The tag v1/);
    await page.getByRole("button", { name: "Delete the image" }).click();
    await page.getByText("The image was deleted.").waitFor();
    assert.equal((await page.goto(at("/image?repository=team/web&reference=v1"))).status(), 404);
    await page.goto(at("/deleted?repository=team/web"));
    await page.getByRole("button", { name: /Restore/ }).click();
    await page.getByText("Restored.").waitFor();
    assert.equal((await page.goto(at("/image?repository=team/web&reference=v1"))).status(), 200);
    await page.goto(at("/delete?repository=team/app&reference=1.1"));
    assert.match(await page.locator("main").textContent(), /refer to it and will refer to nothing/);
  },

  "a token is shown once, and works until it is deleted": async () => {
    await page.goto(at("/account"));
    await page.getByText("Make a token").click();
    await page.getByLabel("What it is for").fill("the browser's test");
    await page.getByLabel("Scopes").fill("repository:team/app:pull");
    await page.getByRole("button", { name: "Make the token" }).click();
    const secret = await page.locator("#secret").textContent();
    assert.match(secret, /^wharf_/);
    await examine(page, "the token that was made");
    const authorization = `Basic ${Buffer.from(`${person.name}:${secret}`).toString("base64")}`;
    const pull = (path) => fetch(at(path), { headers: { authorization } }).then((answer) => answer.status);
    assert.equal(await pull("/v2/team/app/tags/list"), 200);
    assert.equal(await pull("/v2/team/web/tags/list"), 403);
    await page.goto(at("/account"));
    assert.equal(await page.getByText(secret).count(), 0, "it is shown once");
    await page.getByRole("button", { name: "Delete the token for the browser's test" }).click();
    await page.getByText("The token was deleted.").waitFor();
    assert.equal(await pull("/v2/team/app/tags/list"), 401);
  },

  "text of strangers is text": async () => {
    for (const path of [
      "/image?repository=team/evil&reference=v1", "/repository?repository=team/evil", "/",
      "/compare?repository=team/evil&from=v1&to=v2", "/repositories?q=%3Cscript%3Ealert(1)%3C/script%3E",
      "/login?next=javascript:alert(1)", "/image?repository=team/app&reference=%22%3E%3Cimg%20src=x%20onerror=alert(1)%3E",
      "/repository?repository=%3Cscript%3Ealert(1)%3C/script%3E", "/?done=%3Cscript%3Ealert(1)%3C/script%3E",
    ]) {
      await page.goto(at(path));
      assert.equal(await page.evaluate(() => globalThis.stranger), undefined, path);
      assert.equal(await page.locator("main img, main script, main iframe, main [onerror], main [style]").count(), 0, path);
    }
    await page.goto(at("/image?repository=team/evil&reference=v1"));
    assert.match(await page.locator("main").textContent(), /<script>stranger=1<\/script>/);
    const links = await page.locator("main a[href]").evaluateAll((all) => all.map((link) => link.href));
    assert.deepEqual(links.filter((link) => !/^https?:/.test(link)), []);
    const outside = page.locator('main a[href="https://example.org/x"]').first();
    assert.equal(await outside.getAttribute("rel"), "noopener noreferrer nofollow");
    await look(page, "strangers");
  },

  "reading works without scripts": async () => {
    const plain = await open(browser, { javaScriptEnabled: false });
    await signIn(plain.page, person);
    await plain.page.getByRole("searchbox").fill("team/a");
    await plain.page.getByRole("button", { name: "Search" }).click();
    await plain.page.getByRole("link", { name: "team/app" }).click();
    await plain.page.getByRole("link", { name: "1.0", exact: true }).click();
    assert.match(await plain.page.locator("main").textContent(), /docker pull/);
    assert.deepEqual(plain.trespasses, []);
    await plain.context.close();
  },

  "the keyboard reaches everything": async () => {
    await page.goto(at("/repositories"));
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the content");
    await page.keyboard.press("Enter");
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.name), "q");
  },

  "colours are switched, and stay so": async () => {
    await page.goto(at("/"));
    await page.getByRole("button", { name: "Switch to dark colours" }).click();
    await page.goto(at("/repositories"));
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "dark");
    await examine(page, "dark by choice");
    await page.getByRole("button", { name: "Switch to light colours" }).click();
  },

  "nobody is signed in after signing out": async () => {
    const before = (await context.cookies()).find(({ name }) => name === "wharf-session");
    assert.deepEqual([before.httpOnly, before.sameSite, before.path], [true, "Lax", "/"]);
    await page.goto(at("/"));
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByText("You are signed out.").waitFor();
    await context.addCookies([before]);
    await page.goto(at("/account"));
    assert.equal(new URL(page.url()).pathname, "/login", "what was signed out of is over, whoever keeps it");
    await page.goto(at("/login"));
    await signIn(page, person);
    const after = (await context.cookies()).find(({ name }) => name === "wharf-session");
    assert.notEqual(after.value, before.value, "each sign-in has a secret of its own");
    const other = await open(browser);
    await signIn(other.page, person);
    await page.goto(at("/account"));
    await page.getByRole("button", { name: "Sign out everywhere" }).click();
    await other.page.goto(at("/account"));
    assert.equal(new URL(other.page.url()).pathname, "/login");
    await other.context.close();
  },

  "nothing of a stranger was run, and nobody else was asked": async () => {
    assert.deepEqual(trespasses, []);
  },
});
await browser.close();
