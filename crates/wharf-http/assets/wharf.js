// Comfort on pages that all work without it: copying, searching while one types, lists that keep themselves up to date, and
// a switch between dark and light. Nothing here makes markup from text: parts of pages are taken over as the parser of the
// browser has read them.
"use strict";

(() => {
  const root = document.documentElement;

  // Dark or light: as the system says, until somebody switches.
  const systemIsDark = matchMedia("(prefers-color-scheme: dark)");
  const remembered = () => {
    try { return localStorage.getItem("theme"); } catch { return null; }
  };
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : systemIsDark.matches);
  const showTheme = (theme) => {
    if (theme === "dark" || theme === "light") root.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (!button) return;
    button.hidden = false;
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", isDark() ? "Switch to light colours" : "Switch to dark colours");
  };
  showTheme(remembered());
  systemIsDark.addEventListener("change", () => showTheme());

  document.addEventListener("click", async (event) => {
    if (event.target.closest("#theme")) {
      const theme = isDark() ? "light" : "dark";
      try { localStorage.setItem("theme", theme); } catch { /* only for this page, then */ }
      showTheme(theme);
      return;
    }
    const copy = event.target.closest("[data-copy]");
    if (!copy) return;
    const text = copy.parentElement.querySelector("code").textContent;
    try {
      await navigator.clipboard.writeText(text);
      copy.dataset.done = "";
      setTimeout(() => delete copy.dataset.done, 1500);
    } catch {
      getSelection().selectAllChildren(copy.parentElement.querySelector("code"));
    }
  });
  const offerCopying = (within) => {
    for (const button of within.querySelectorAll("[data-copy]")) button.hidden = false;
  };
  offerCopying(document);

  // Takes the element of this id over from another page of this site. Of several under way the last one counts.
  let latest = 0;
  const takeOver = (address, id, done) => {
    const number = ++latest;
    const request = new XMLHttpRequest();
    request.open("GET", address);
    request.responseType = "document";
    request.onload = () => {
      if (number !== latest) return;
      const found = request.status === 200 && request.response && request.response.getElementById(id);
      const present = document.getElementById(id);
      if (found && present) {
        present.replaceWith(document.importNode(found, true));
        offerCopying(document.getElementById(id));
      } else {
        location.assign(address);
      }
      if (done) done();
    };
    request.send();
  };

  // Searches while one types.
  for (const form of document.querySelectorAll("form[data-live]")) {
    let waiting;
    form.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => {
        const address = form.getAttribute("action") + "?" + new URLSearchParams(new FormData(form));
        takeOver(address, form.dataset.live, () => history.replaceState(null, "", address));
      }, 150);
    });
  }

  // Keeps up to date what says that it is under way.
  const refresh = () => {
    const element = document.querySelector("[data-refresh]");
    if (!element) return;
    setTimeout(() => {
      if (document.hidden) refresh();
      else takeOver(location.href, element.id, refresh);
    }, Number(element.dataset.refresh) * 1000);
  };
  refresh();
})();
