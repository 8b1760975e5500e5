// Somebody who signs in with another provider: there and back, out again, and a way back that is of nobody.

import assert from "node:assert/strict";

import { base, examine, launch, look, open, run } from "./lib.mjs";

const provider = process.env.WHARF_PROVIDER ?? assert.fail("WHARF_PROVIDER is not set; run these tests with cargo test");
const browser = await launch();
// The provider's certificate is of a test's own authority.
const { page, trespasses } = await open(browser, { ignoreHTTPSErrors: true });

await run({
  "a button leads to the provider, and back to where one wanted to go": async () => {
    await page.goto(`${base}/repositories`);
    assert.equal(new URL(page.url()).pathname, "/login");
    await look(page, "sign-in-with");
    await page.getByRole("link", { name: "Example ID" }).click();
    await page.waitForURL(`${base}/repositories`);
    await page.getByText("oidc:dora").waitFor();
    const kept = await page.context().cookies();
    assert.deepEqual(kept.map(({ name, httpOnly, sameSite }) => [name, httpOnly, sameSite]), [["wharf-session", true, "Lax"]]);
  },

  "the session ends like any other": async () => {
    await page.goto(`${base}/account`);
    await examine(page, "the account of somebody of another provider");
    await page.getByRole("button", { name: "Sign out", exact: true }).first().click();
    await page.getByText("You are signed out.").waitFor();
    await page.goto(`${base}/account`);
    assert.equal(new URL(page.url()).pathname, "/login");
  },

  "a way back that belongs to nothing says so": async () => {
    await page.goto(`${base}/login/back/example?code=x&state=y`);
    await page.getByRole("alert").getByText("This sign-in is over", { exact: false }).waitFor();
    await examine(page, "a sign-in that is over");
    await page.getByRole("link", { name: "Example ID" }).click();
    await page.getByText("oidc:dora").waitFor();
  },

  "nobody but the provider was asked": async () =>
    assert.deepEqual(trespasses.filter((what) => !what.startsWith(`a request to ${provider}/authorize?`)), []),
});
await browser.close();
