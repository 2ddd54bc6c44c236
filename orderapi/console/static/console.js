// The pages work without this file. It adds the buttons that copy, and keeps the page "Now" up to date.
"use strict";

const POLL_MS = 2000;

for (const button of document.querySelectorAll("button.copy")) {
  button.hidden = false;
  const words = button.textContent;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select it by hand";
    }
    setTimeout(() => { button.textContent = words; }, 2000);
  });
}

// Parts that the reader points at, or has the focus in, stay as they are.
function isInUse(part) {
  return part.matches(":hover") || part.contains(document.activeElement);
}

function idsIn(part) {
  return Array.from(part.querySelectorAll("code.id"), (id) => id.title);
}

async function update(status) {
  const answer = await fetch(location.href, { cache: "no-store" });
  if (!answer.ok) {
    status.textContent = "The page cannot be brought up to date.";
    return;
  }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    const newer = page.querySelector(`[data-live="${part.dataset.live}"]`);
    if (!newer || isInUse(part)) continue;
    const known = new Set(idsIn(part));
    const added = idsIn(newer).filter((id) => !known.has(id)).length;
    part.replaceWith(document.adoptNode(newer));
    if (added) status.textContent = `${added} new order${added === 1 ? "" : "s"}`;
  }
}

const live = document.getElementById("live");
if (live) {
  live.hidden = false;
  live.addEventListener("click", () => {
    const isLive = live.getAttribute("aria-pressed") === "true";
    live.setAttribute("aria-pressed", String(!isLive));
  });
  const status = document.getElementById("live-status");
  const poll = async () => {
    try {
      if (!document.hidden && live.getAttribute("aria-pressed") === "true") await update(status);
    } catch {
      status.textContent = "The console does not answer.";
    }
    setTimeout(poll, POLL_MS);
  };
  setTimeout(poll, POLL_MS);
}
