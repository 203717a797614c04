// @ts-check
/** Shows `/v1/monitor`, and asks again every half minute. */

const SECONDS = 30;

/** @returns {Record<string, string>} the header with the token that the page of the service keeps in this tab */
function authorization() {
  try {
    const token = sessionStorage.getItem("fourhands.token");
    return token ? { Authorization: `Bearer ${token}` } : {};
  } catch {
    return {}; // a browser without storage
  }
}

async function refresh() {
  const state = /** @type {HTMLElement} */ (document.getElementById("state"));
  try {
    const answer = await fetch("/v1/monitor?format=html", { headers: authorization(), cache: "no-store" });
    if (answer.status === 401) {
      state.textContent = "The service asks for a token: open its page in this tab, give the token there, and come back.";
    } else if (!answer.ok) {
      state.textContent = `The service answered with status ${answer.status}.`;
    } else {
      // made by the service, from escaped texts; the content security policy lets no script of it run
      const parsed = new DOMParser().parseFromString(await answer.text(), "text/html");
      document.getElementById("report")?.replaceChildren(...parsed.body.childNodes);
      state.textContent = `As of ${new Date().toLocaleTimeString()}.`;
    }
  } catch {
    state.textContent = "The service cannot be reached.";
  }
  setTimeout(refresh, SECONDS * 1000);
}

refresh();
