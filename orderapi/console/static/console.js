// The pages work without this file. It adds the buttons that copy, and keeps the page "Now" up to date.
"use strict";

const COPIED_MS = 2000;
// A screen reader reads each announcement aloud, so there are few of them.
const ANNOUNCEMENT_MS = 10000;

for (const button of document.querySelectorAll("button.copy")) {
  button.hidden = false;
  const label = button.textContent;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select it by hand";
    }
    setTimeout(() => { button.textContent = label; }, COPIED_MS);
  });
}

// Returns the page as it is now, or null if the console answers with something else.
async function fetchPage() {
  const answer = await fetch(location.href, { cache: "no-store" });
  return answer.ok ? new DOMParser().parseFromString(await answer.text(), "text/html") : null;
}

// Replaces the live parts, except for one that the reader points at or that has the focus. Returns
// whether there was such a part.
function replaceParts(page) {
  let isOneInUse = false;
  for (const part of document.querySelectorAll("[data-live]")) {
    const newer = page.querySelector(`[data-live="${part.dataset.live}"]`);
    if (!newer) continue;
    if (part.matches(":hover") || part.contains(document.activeElement)) isOneInUse = true;
    else part.replaceWith(document.adoptNode(newer));
  }
  return isOneInUse;
}

function keepUpToDate(button, status) {
  const isOn = () => button.getAttribute("aria-pressed") === "true";
  const numberOf = (page) => Number(page.getElementById("live").dataset.lastSequence);
  let announced = numberOf(document);
  let announcedAt = -Infinity;

  function say(text) {
    if (status.textContent !== text) status.textContent = text;
  }

  async function update() {
    const page = await fetchPage();
    if (!page) return say("This page is not up to date any more. Open it again.");
    if (!isOn()) return;
    const added = numberOf(page) - announced;
    if (replaceParts(page)) return say("The part under the pointer or with the focus is paused.");
    if (added > 0 && performance.now() - announcedAt < ANNOUNCEMENT_MS) return;
    say(added > 0 ? `${added.toLocaleString("en")} new order${added === 1 ? "" : "s"}` : "");
    announced += added;
    announcedAt = performance.now();
  }

  async function poll() {
    try {
      if (isOn() && !document.hidden) await update();
    } catch {
      say("The console does not answer.");
    }
    setTimeout(poll, Number(button.dataset.pollMs));
  }

  button.hidden = false;
  button.addEventListener("click", () => {
    button.setAttribute("aria-pressed", String(!isOn()));
    say(isOn() ? "" : "Paused");
  });
  setTimeout(poll, Number(button.dataset.pollMs));
}

const live = document.getElementById("live");
if (live) keepUpToDate(live, document.getElementById("live-status"));
