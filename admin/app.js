// The operator's page: signs in, asks the server API through /admin/api, shows what it answers.
"use strict";

const $ = (id) => document.getElementById(id);
const TOKEN = "centripetal.admin";
const EVERY = 2000;
/** Most rows of a list; more are counted, not shown. */
const ROWS = 500;
/** Methods of the console with parameters to begin with. */
const METHODS = {
  info: {},
  channels: { pattern: "" },
  publish: { channel: "", data: {} },
  broadcast: { channels: [""], data: {} },
  presence: { channel: "" },
  presence_stats: { channel: "" },
  history: { channel: "", limit: 10, reverse: true },
  history_remove: { channel: "" },
  subscribe: { user: "", channel: "" },
  unsubscribe: { user: "", channel: "" },
  disconnect: { user: "" },
  refresh: { user: "", expired: false },
  rpc: { method: "", data: {} },
};

let token = sessionStorage.getItem(TOKEN) ?? "";
let open = false;
let timer = 0;

/** An answer of the server that is an error. */
class Refused extends Error {}

// --- the server ---------------------------------------------------------------------------------------------------

const authorization = () => (token === "" ? {} : { Authorization: `token ${token}` });

/** Runs one command of the server API. */
async function call(method, params) {
  const body = JSON.stringify({ method, params });
  const response = await fetch("admin/api", { method: "POST", headers: authorization(), body });
  if (response.status === 401) {
    signedOut("Your session is over.");
    throw new Refused("signed out");
  }
  if (!response.ok) {
    throw new Refused(`the server answered ${response.status} ${response.statusText}`);
  }
  const reply = await response.json();
  if (reply.error) {
    throw new Refused(`${reply.error.code}: ${reply.error.message}`);
  }
  return reply.result ?? {};
}

// --- signing in -----------------------------------------------------------------------------------------------------

async function begin() {
  try {
    const init = await (await fetch("admin/init", { headers: authorization() })).json();
    $("leave").hidden = init.insecure;
    if (init.authenticated) {
      signedIn();
    } else {
      signedOut("");
    }
  } catch {
    state("lost", "no connection");
    setTimeout(begin, EVERY);
  }
}

function signedIn() {
  open = true;
  $("sign-in").hidden = true;
  $("nav").hidden = false;
  show();
  clearTimeout(timer);
  tick();
}

function signedOut(why) {
  open = false;
  token = "";
  sessionStorage.removeItem(TOKEN);
  clearTimeout(timer);
  document.querySelectorAll(".view").forEach((view) => (view.hidden = true));
  $("nav").hidden = true;
  $("leave").hidden = true;
  $("sign-in").hidden = false;
  told($("sign-in-error"), why);
  state("waiting", "signed out");
  $("password").focus();
}

$("sign-in-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = new URLSearchParams({ password: $("password").value });
  try {
    const response = await fetch("admin/auth", { method: "POST", body });
    if (response.ok) {
      token = (await response.json()).token;
      sessionStorage.setItem(TOKEN, token);
      $("password").value = "";
      $("leave").hidden = false;
      signedIn();
      return;
    }
    const wait = response.headers.get("Retry-After");
    told($("sign-in-error"), response.status === 429 ? `Too many attempts. Wait ${wait} seconds.` : "This is not the password, or the server has no admin.password and admin.secret.");
  } catch {
    told($("sign-in-error"), "The server does not answer.");
  }
});

$("leave").addEventListener("click", () => signedOut(""));

// --- small parts ----------------------------------------------------------------------------------------------------

const grouped = new Intl.NumberFormat("en");

function state(name, text) {
  $("state").dataset.state = name;
  if ($("state-text").textContent !== text) {
    $("state-text").textContent = text;
  }
}

function told(element, text) {
  element.textContent = text;
  element.hidden = text === "";
}

/** An element with a class and children or text. */
function made(name, kind, ...inside) {
  const element = document.createElement(name);
  element.className = kind;
  element.append(...inside);
  return element;
}

function outcome(id, good, text) {
  $(id).dataset.good = String(good);
  $(id).textContent = text;
}

/** Runs what a form asks for and tells beside it how that went. */
function onSubmit(form, place, run) {
  $(form).addEventListener("submit", async (event) => {
    event.preventDefault();
    outcome(place, true, "…");
    try {
      outcome(place, true, await run(new FormData($(form), event.submitter)));
    } catch (error) {
      outcome(place, false, error.message);
    }
  });
}

function duration(seconds) {
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const at = units.findIndex(([, length]) => seconds >= length);
  if (at < 0) {
    return "0 s";
  }
  return units.slice(at, at + 2).reduce(([text, left], [unit, length]) => {
    const count = Math.floor(left / length);
    return [count > 0 ? `${text} ${count} ${unit}` : text, left % length];
  }, ["", seconds])[0].trim();
}

// --- views ----------------------------------------------------------------------------------------------------------

const VIEWS = ["overview", "channels", "clients", "console"];

/** Shows the view that the address names: `#channels`, `#channels/NAME`. */
function show() {
  if (!open) {
    return;
  }
  const [wanted, ...rest] = location.hash.slice(1).split("/");
  const view = VIEWS.includes(wanted) ? wanted : "overview";
  VIEWS.forEach((name) => ($(`view-${name}`).hidden = name !== view));
  document.querySelectorAll("nav a").forEach((link) => {
    if (link.hash === `#${view}`) {
      link.setAttribute("aria-current", "page");
    } else {
      link.removeAttribute("aria-current");
    }
  });
  if (view === "overview") {
    draw();
  }
  if (view === "channels") {
    list();
    detail(decodeURIComponent(rest.join("/")));
  }
}

addEventListener("hashchange", show);

// --- overview -------------------------------------------------------------------------------------------------------

const points = charts.series("centripetal.points", 6);
const drawn = {
  clients: charts.chart($("chart-clients"), ["connections", "users"]),
  channels: charts.chart($("chart-channels"), ["channels", "subscriptions"]),
  rates: charts.chart($("chart-rates"), ["published", "received"]),
};

/** Sum of the metrics whose name goes on like this, in messages a second. */
function rate(nodes, name) {
  const of = ({ metrics }) => {
    const items = Object.entries(metrics?.items ?? {}).filter(([key]) => key.includes(name));
    return items.reduce((sum, [, value]) => sum + value, 0) / (metrics?.interval || 60);
  };
  return nodes.reduce((sum, node) => sum + of(node), 0);
}

async function tick() {
  try {
    const { nodes = [] } = await call("info", {});
    const sum = (name) => nodes.reduce((sum, node) => sum + (node[name] ?? 0), 0);
    const totals = ["num_clients", "num_users", "num_channels", "num_subs"].map(sum);
    const rates = ["messages_sent_count.type.publication", "messages_received_count.type.publication"].map((name) => rate(nodes, name));
    points.add(Math.round(Date.now() / 1000), [...totals, ...rates]);
    overview(nodes, totals);
    state("good", `${nodes.length} ${nodes.length === 1 ? "node" : "nodes"}`);
  } catch (error) {
    if (!open) {
      return;
    }
    state("lost", error instanceof Refused ? error.message : "no connection");
  }
  timer = setTimeout(tick, EVERY);
}

function overview(nodes, [clients, users, channels, subscriptions]) {
  const facts = [["Connections", clients], ["Users", users], ["Channels", channels], ["Subscriptions", subscriptions], ["Nodes", nodes.length]];
  const tiles = facts.map(([name, value]) => made("div", "", made("dt", "", name), made("dd", "", grouped.format(value))));
  $("totals").replaceChildren(...tiles);
  $("interval").textContent = nodes[0]?.metrics?.interval ?? 60;
  const byName = [...nodes].sort((one, other) => one.name.localeCompare(other.name));
  $("nodes").replaceChildren(...byName.map((node) => {
    const name = made("th", "", node.name);
    name.scope = "row";
    name.title = node.uid;
    const numbers = ["num_clients", "num_users", "num_channels", "num_subs"];
    const cells = [node.version, duration(node.uptime ?? 0), ...numbers.map((number) => grouped.format(node[number] ?? 0))];
    return made("tr", "", name, ...cells.map((text) => made("td", "", text)));
  }));
  draw();
}

function draw() {
  if ($("view-overview").hidden) {
    return;
  }
  const [times, clients, users, channels, subscriptions, sent, received] = points.columns();
  drawn.clients.draw([times, clients, users]);
  drawn.channels.draw([times, channels, subscriptions]);
  drawn.rates.draw([times, sent, received]);
}

// --- channels -------------------------------------------------------------------------------------------------------

async function list() {
  try {
    const { channels = {} } = await call("channels", { pattern: $("pattern").value });
    const all = Object.entries(channels).sort(([, one], [, other]) => (other.num_clients ?? 0) - (one.num_clients ?? 0));
    $("channels-count").textContent = grouped.format(all.length);
    told($("channels-empty"), all.length === 0 ? "No channel with a subscriber has such a name." : all.length > ROWS ? `The first ${ROWS} are shown; write a pattern.` : "");
    $("channels").replaceChildren(...all.slice(0, ROWS).map(([name, { num_clients: clients = 0 }]) => {
      const link = made("a", "", name);
      link.href = `#channels/${encodeURIComponent(name)}`;
      return made("li", "", link, made("span", "hint", `${grouped.format(clients)} ${clients === 1 ? "subscriber" : "subscribers"}`));
    }));
  } catch (error) {
    told($("channels-empty"), error.message);
  }
}

$("channels-form").addEventListener("submit", (event) => {
  event.preventDefault();
  list();
});

$("open-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const hash = `#channels/${encodeURIComponent($("channel").value)}`;
  if (location.hash === hash) {
    show();
  } else {
    location.hash = hash;
  }
});

/** Shows a channel; an answer that comes after another channel was chosen is thrown away. */
let shown = "";
async function detail(channel) {
  shown = channel;
  $("detail").hidden = channel === "";
  if (channel === "") {
    return;
  }
  $("channel").value = channel;
  $("channel-title").textContent = channel;
  outcome("publish-outcome", true, "");
  await Promise.all([people(channel), past(channel)]);
}

async function people(channel) {
  let note = "Nobody is here.";
  let clients = [];
  try {
    clients = Object.entries((await call("presence", { channel })).presence ?? {});
  } catch (error) {
    note = error.message.startsWith("108") ? "This namespace keeps no presence." : error.message;
  }
  if (shown !== channel) {
    return;
  }
  $("presence-count").textContent = grouped.format(clients.length);
  told($("presence-note"), clients.length === 0 ? note : "");
  $("presence").replaceChildren(...clients.slice(0, ROWS).map(([id, { user }]) => {
    const button = made("button", "small danger", "Disconnect");
    button.type = "button";
    button.setAttribute("aria-label", `Disconnect ${user || id}`);
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        await call("disconnect", { user, client: id });
        await people(channel);
      } catch (error) {
        told($("presence-note"), error.message);
        button.disabled = false;
      }
    });
    return made("li", "", made("b", "", user || "anonymous"), made("span", "mono hint", id), button);
  }));
}

async function past(channel) {
  let note = "Nothing is kept.";
  let publications = [];
  let position = "";
  try {
    const history = await call("history", { channel, limit: 50, reverse: true });
    publications = history.publications ?? [];
    position = `Position ${history.offset ?? 0}, epoch ${history.epoch}.`;
  } catch (error) {
    note = error.message.startsWith("108") ? "This namespace keeps no history." : error.message;
  }
  if (shown !== channel) {
    return;
  }
  $("channel-facts").textContent = position;
  $("history-count").textContent = grouped.format(publications.length);
  $("history-remove").hidden = publications.length === 0;
  told($("history-note"), publications.length === 0 ? note : "");
  $("history").replaceChildren(...publications.map(({ offset = 0, data, b64data, info }) => {
    const text = b64data === undefined ? JSON.stringify(data) : `${b64data} (base64)`;
    return made("li", "", made("span", "mono hint", `#${offset}`), made("code", "", text), made("span", "hint", info?.user ?? ""));
  }));
}

onSubmit("publish-form", "publish-outcome", async () => {
  const channel = shown;
  const { offset } = await call("publish", { channel, data: parsed($("data").value) });
  await past(channel);
  return offset ? `Published as #${offset}.` : "Published.";
});

$("history-remove").addEventListener("click", async () => {
  try {
    await call("history_remove", { channel: shown });
    await past(shown);
  } catch (error) {
    told($("history-note"), error.message);
  }
});

// --- clients and console --------------------------------------------------------------------------------------------

onSubmit("disconnect-form", "disconnect-outcome", async (form) => {
  await call("disconnect", { user: form.get("user"), client: form.get("client") });
  return "Disconnected, wherever they were.";
});

onSubmit("subscribe-form", "subscribe-outcome", async (form) => {
  await call(form.get("method"), { user: form.get("user"), channel: form.get("channel") });
  return form.get("method") === "subscribe" ? "Subscribed." : "Unsubscribed.";
});

$("method").append(...Object.keys(METHODS).map((name) => made("option", "", name)));
$("method").addEventListener("change", begun);

function begun() {
  $("params").value = JSON.stringify(METHODS[$("method").value], null, 2);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Refused(`this is no JSON: ${error.message}`);
  }
}

onSubmit("console-form", "console-outcome", async (form) => {
  const started = performance.now();
  $("answer").hidden = true;
  const result = await call(form.get("method"), parsed(form.get("params") || "{}"));
  $("answer").textContent = JSON.stringify(result, null, 2);
  $("answer").hidden = false;
  return `${Math.round(performance.now() - started)} ms`;
});

begun();
begin();
