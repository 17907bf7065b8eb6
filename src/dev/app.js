/* global Centrifuge, endpoints, line, watched */
'use strict';

// The demo page. One connection of the official SDK for the person, another one for the robot.
// Whatever comes from the network is put into the page as text, never as markup.

const OUTAGE = 5000; // how long "cut my connection" lasts, milliseconds
const FRAME_LENGTH = 400; // characters shown of a frame
const BARS = 24; // latencies drawn
const KEPT = 300; // messages, frames and joins kept on the page

const $ = (id) => document.getElementById(id);

const page = {
  session: null,
  client: null,
  subscription: null,
  robot: null,
  recovering: false,
  latencies: [],
  seen: new Set(),
};

// --- frames -------------------------------------------------------------------------------------------------------

function showFrame(direction, data) {
  if ($('raw-pause').checked) return;
  const text = typeof data === 'string' ? data : `${data.byteLength} bytes`;
  for (const part of text.split('\n')) {
    if (part === '{}' && !$('raw-pings').checked) continue;
    const sign = { in: '←', out: '→', note: '·' }[direction];
    const shown = part === '{}' ? (direction === 'in' ? '{}  ping' : '{}  pong') : shortened(part);
    const item = element('li', '', element('time', '', clock(new Date(), true)), element('span', direction, sign), element('span', '', shown));
    prepend($('raw'), item);
  }
}

function shortened(text) {
  return text.length > FRAME_LENGTH ? `${text.slice(0, FRAME_LENGTH)} … (${text.length} characters)` : text;
}

// --- small things -------------------------------------------------------------------------------------------------

function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

function prepend(list, item) {
  list.prepend(item);
  while (list.children.length > KEPT) list.lastElementChild.remove();
}

function clock(date, fine) {
  const pad = (number, width) => String(number).padStart(width, '0');
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => pad(part, 2)).join(':');
  return fine ? `${time}.${pad(date.getMilliseconds(), 3)}` : time;
}

function nameOf(info) {
  if (!info) return 'server';
  return info.connInfo?.name || info.user || 'anonymous';
}

function avatar(name) {
  const initials = name.split(/[\s-]+/).slice(0, 2).map((word) => word[0] || '').join('').toUpperCase();
  const made = element('span', 'avatar', initials);
  made.setAttribute('aria-hidden', 'true');
  let sum = 0;
  for (const character of name) sum = (sum * 31 + character.codePointAt(0)) % 6;
  made.dataset.hue = String(sum);
  return made;
}

function failure(error) {
  return error?.code ? `${error.message} (${error.code})` : String(error?.message || error);
}

async function openSession(user) {
  const query = user ? `?user=${encodeURIComponent(user)}` : '';
  const response = await fetch(`/dev/session${query}`, { cache: 'no-store' });
  if (!response.ok) throw new Error(`no session: ${response.status}`);
  return response.json();
}

// --- the connection -----------------------------------------------------------------------------------------------

function connect(session, way) {
  const client = new Centrifuge(endpoints(way), {
    ...watched(),
    token: session.token,
    getToken: async () => (await openSession(session.user)).token,
    name: 'demo',
    minReconnectDelay: 300,
    maxReconnectDelay: 1000,
  });
  client.on('connecting', (context) => {
    setState('connecting', context.code > 0 ? `connecting again: ${context.reason}` : 'connecting');
    $('transport').textContent = '–';
  });
  client.on('connected', (context) => {
    setState('connected', 'connected');
    $('transport').textContent = context.transport;
    $('client').textContent = context.client.slice(0, 8);
    $('client').title = context.client;
  });
  client.on('disconnected', (context) => {
    if (client === page.client) setState('disconnected', `disconnected: ${context.reason} (${context.code})`);
  });
  client.on('error', (context) => showFrame('note', `error: ${failure(context.error)}`));
  client.connect();
  return client;
}

/** Connects anew, on another way, to the same channel. */
function change(way) {
  const { client, subscription } = page;
  page.client = null;
  page.subscription = null;
  client.disconnect();
  client.removeSubscription(subscription);
  page.client = connect(page.session, way);
  listen($('channel').dataset.current);
}

function setState(state, text) {
  $('state').dataset.state = state;
  $('state-text').textContent = text;
}

// --- the channel --------------------------------------------------------------------------------------------------

function listen(channel) {
  if (page.subscription) {
    page.subscription.unsubscribe();
    page.client.removeSubscription(page.subscription);
  }
  clearMessages();
  $('traffic').replaceChildren();
  $('traffic-log').hidden = true;
  $('traffic-empty').hidden = false;
  $('recovery').textContent = '';
  const subscription = page.client.newSubscription(channel, { joinLeave: true, recoverable: true, positioned: true });
  subscription.on('subscribed', subscribed);
  subscription.on('publication', (context) => showMessage(context, page.recovering ? 'recovered' : ''));
  subscription.on('join', (context) => showTraffic('joined', context.info));
  subscription.on('leave', (context) => showTraffic('left', context.info));
  subscription.on('unsubscribed', (context) => {
    if (context.code > 0) showPublishError(`${channel}: ${context.reason} (${context.code})`);
  });
  subscription.on('error', (context) => showFrame('note', `error: ${failure(context.error)}`));
  subscription.subscribe();
  page.subscription = subscription;
  showCommands(channel);
}

function subscribed(context) {
  if (context.wasRecovering) {
    // The SDK hands on what was missed before it returns to the event loop.
    page.recovering = true;
    const before = page.seen.size;
    queueMicrotask(() => {
      page.recovering = false;
      showRecovery(context.recovered, page.seen.size - before);
    });
  }
  showPublishError('');
  refreshPresence();
}

function showRecovery(recovered, missed) {
  const outcome = $('recovery');
  outcome.dataset.good = String(recovered);
  if (!recovered) outcome.textContent = 'The stream could not be continued; messages may be missing.';
  else if (missed === 0) outcome.textContent = 'Connected again; nothing was missed.';
  else outcome.textContent = `Connected again; ${missed} missed ${missed === 1 ? 'message' : 'messages'} recovered.`;
}

function showMessage(publication, kind) {
  const key = publication.offset ? `${publication.offset}` : '';
  if (kind === 'history' && key && page.seen.has(key)) return false;
  page.seen.add(key || `live ${page.seen.size}`);

  const { data } = publication;
  const sent = data && typeof data.sent === 'number' ? data.sent : null;
  const now = Date.now();
  const item = $('message').content.firstElementChild.cloneNode(true);
  const name = nameOf(publication.info);
  item.querySelector('.avatar').replaceWith(avatar(name));
  item.querySelector('.from').textContent = name;
  const mine = publication.info?.user === page.session.user;
  item.classList.toggle('mine', mine);
  item.querySelector('.you').hidden = !mine;
  item.querySelector('time').textContent = clock(new Date(sent ?? now));
  item.querySelector('.text').textContent = data && typeof data.text === 'string' ? data.text : JSON.stringify(data);
  const badges = item.querySelector('.badges');
  if (publication.offset) badges.append(element('span', 'mono', `#${publication.offset}`));
  if (kind) {
    badges.append(' ', element('span', `badge ${kind}`, kind));
    item.classList.add(kind);
  }
  if (!kind && sent !== null) {
    const latency = Math.max(0, now - sent);
    item.querySelector('.latency').textContent = `${latency} ms`;
    item.querySelector('.latency').title = 'from "Publish" until it was here';
    page.latencies = [...page.latencies.slice(-99), latency];
    showLatency();
  }
  placeMessage(item, publication.offset || 0, kind);
  return true;
}

function placeMessage(item, offset, kind) {
  const [log, list] = [$('log'), $('messages')];
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  item.dataset.offset = String(offset);
  if (kind === 'history') {
    const later = [...list.children].find((other) => Number(other.dataset.offset) > offset);
    list.insertBefore(item, later || null);
  } else {
    item.classList.add('fresh');
    list.append(item);
    while (list.children.length > KEPT) list.firstElementChild.remove();
  }
  showCount();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

function showCount() {
  const count = $('messages').children.length;
  $('log').hidden = count === 0;
  $('messages-empty').hidden = count > 0;
  $('count').textContent = String(count);
}

function showLatency() {
  const sorted = [...page.latencies].sort((a, b) => a - b);
  $('latency').textContent = sorted.length ? `${sorted[Math.floor(sorted.length / 2)]} ms` : '–';
  const drawn = page.latencies.slice(-BARS);
  const highest = Math.max(20, ...drawn);
  $('spark').replaceChildren(...drawn.map((latency, place) => {
    const height = Math.max(1.5, (latency / highest) * 24);
    const bar = document.createElementNS('http://www.w3.org/2000/svg', 'rect');
    const shape = { x: (BARS - drawn.length + place) * 4, y: 24 - height, width: 3, height };
    for (const [name, value] of Object.entries(shape)) bar.setAttribute(name, String(value));
    return bar;
  }));
}

function clearMessages() {
  $('messages').replaceChildren();
  showCount();
  page.latencies = [];
  page.seen.clear();
  showLatency();
}

function showPublishError(text) {
  $('publish-error').textContent = text;
  $('publish-error').hidden = !text;
}

async function publish(text) {
  try {
    await page.subscription.publish({ text, sent: Date.now() });
    showPublishError('');
    return true;
  } catch (error) {
    showPublishError(`Not published: ${failure(error)}`);
    return false;
  }
}

async function loadHistory() {
  const button = $('history');
  button.disabled = true;
  try {
    const { publications } = await page.subscription.history({ limit: 50, reverse: true });
    for (const publication of publications) showMessage(publication, 'history');
    showPublishError('');
  } catch (error) {
    showPublishError(`No history: ${failure(error)}`);
  } finally {
    button.disabled = false;
  }
}

// --- who is there -------------------------------------------------------------------------------------------------

async function refreshPresence() {
  const { subscription } = page;
  if (!subscription || subscription.state !== 'subscribed') return;
  let clients;
  try {
    ({ clients } = await subscription.presence());
  } catch {
    return; // The next join, leave or reconnect asks again.
  }
  if (subscription !== page.subscription) return;
  const mine = $('client').title;
  const people = Object.values(clients).sort((a, b) => nameOf(a).localeCompare(nameOf(b)));
  $('presence').replaceChildren(...people.map((info) => {
    const name = nameOf(info);
    const who = element('span', 'who', name, ' ', element('small', 'mono', info.client === mine ? 'you' : info.client.slice(0, 8)));
    return element('li', '', avatar(name), who);
  }));
  $('presence-count').textContent = String(people.length);
}

function showTraffic(what, info) {
  const item = element('li', '', element('time', '', clock(new Date())), ' ', nameOf(info), ' ', element('span', what, what));
  prepend($('traffic'), item);
  $('traffic-log').hidden = false;
  $('traffic-empty').hidden = true;
  refreshPresence();
}

// --- buttons ------------------------------------------------------------------------------------------------------

function cut() {
  line.hold(OUTAGE);
  $('recovery').textContent = '';
  const button = $('cut');
  button.disabled = true;
  const tick = () => {
    const left = Math.ceil((line.downUntil - performance.now()) / 1000);
    if (left > 0) {
      button.textContent = `Cut for ${left} s`;
      setTimeout(tick, 200);
    } else {
      button.textContent = 'Cut my connection';
      button.disabled = false;
    }
  };
  tick();
}

async function toggleRobot() {
  if (page.robot) {
    page.robot.stop();
    page.robot = null;
    showRobot(false);
    return;
  }
  let stopped = false;
  let timer = 0;
  let client = null;
  page.robot = {
    stop() {
      stopped = true;
      clearInterval(timer);
      client?.disconnect();
    },
  };
  showRobot(true);
  try {
    const session = await openSession('robot');
    if (stopped) return;
    client = new Centrifuge(endpoints('automatic'), {
      emulationEndpoint: `${location.origin}/emulation`,
      token: session.token,
      getToken: async () => (await openSession('robot')).token,
      name: 'demo robot',
    });
    client.connect();
    let number = 0;
    timer = setInterval(() => {
      number += 1;
      client.publish($('channel').dataset.current, { text: `tick ${number}`, sent: Date.now() }).catch((error) => {
        showPublishError(`The robot could not publish: ${failure(error)}`);
      });
    }, 1000);
  } catch (error) {
    showPublishError(failure(error));
  }
}

function showRobot(running) {
  $('robot').setAttribute('aria-pressed', String(running));
  $('robot').textContent = running ? 'Stop the robot' : 'Start the robot';
  // A message a second, read aloud, would leave no room for anything else.
  $('log').setAttribute('aria-live', running ? 'off' : 'polite');
}

function showCommands(channel) {
  $('channel').dataset.current = channel;
  const quoted = /^[\w.:#-]+$/.test(channel) ? channel : `'${channel.replaceAll("'", `'\\''`)}'`;
  const url = page.session.grpc === 'grpc://127.0.0.1:8001' ? '' : ` --url ${page.session.grpc}`;
  const commands = [
    `centripetal sub ${quoted} --recover${url}`,
    `centripetal pub ${quoted} '{"text":"hello from a terminal"}'${url}`,
  ];
  $('commands').replaceChildren(...commands.map((command) => {
    const copy = element('button', '', 'Copy');
    copy.type = 'button';
    copy.setAttribute('aria-label', `Copy: ${command}`);
    copy.addEventListener('click', async () => {
      await navigator.clipboard.writeText(command);
      copy.textContent = 'Copied';
      setTimeout(() => { copy.textContent = 'Copy'; }, 1500);
    });
    const code = element('code', '');
    for (const word of command.split(' ')) code.append(element('span', '', word), ' ');
    return element('li', '', code, copy);
  }));
}

function wire() {
  $('publish-form').addEventListener('submit', async (event) => {
    event.preventDefault();
    const field = $('text');
    const text = field.value.trim();
    if (text && await publish(text)) field.value = '';
    field.focus();
  });
  $('channel-form').addEventListener('submit', (event) => {
    event.preventDefault();
    const channel = $('channel').value.trim();
    if (channel && channel !== $('channel').dataset.current) listen(channel);
  });
  $('way').addEventListener('change', () => change($('way').value));
  $('history').addEventListener('click', loadHistory);
  $('clear').addEventListener('click', clearMessages);
  $('cut').addEventListener('click', cut);
  $('robot').addEventListener('click', toggleRobot);
  $('raw-clear').addEventListener('click', () => $('raw').replaceChildren());
  setInterval(refreshPresence, 15000);
  // Under everything else on a phone, so it begins closed there.
  $('raw-details').open = matchMedia('(min-width: 60rem)').matches;
}

async function start() {
  try {
    page.session = await openSession('');
  } catch (error) {
    setState('disconnected', failure(error));
    return;
  }
  $('user').textContent = page.session.name;
  $('channel').value = page.session.channel;
  $('way').value = 'automatic'; // Browsers keep what was chosen before a reload.
  page.client = connect(page.session, 'automatic');
  listen(page.session.channel);
  wire();
}

start();
