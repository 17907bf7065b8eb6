// HTTP stream, SSE and EventSource in a page: each transport alone, the way down from a blocked WebSocket, what a foreign page
// can send.
//
// BROWSER_URL is the page, BROWSER_FOREIGN the same under a name that is not allowed, BROWSER_TOKENS two tokens.
import { check, main, packaged, picture, same, setting, until, withBrowser } from './support.mjs';

const bundle = { json: packaged('centrifuge/dist/centrifuge.js'), protobuf: packaged('centrifuge/dist/centrifuge.protobuf.js') };
const [annToken, listenerToken] = setting('BROWSER_TOKENS').split(' ');

/** Runs in the page: connects with these transports and talks. */
async function talk({ token, transports, binary, channel }) {
  const encode = (value) => (binary ? new TextEncoder().encode(JSON.stringify(value)) : value);
  const decode = (data) => (binary ? JSON.parse(new TextDecoder().decode(data)) : data);
  const endpoints = transports.map((transport) => ({
    transport, endpoint: `${location.origin.replace(/^http/, transport === 'websocket' ? 'ws' : 'http')}/connection/${transport}`,
  }));
  const client = new window.Centrifuge(endpoints, {
    token, emulationEndpoint: `${location.origin}/emulation`, minReconnectDelay: 50, maxReconnectDelay: 500,
  });
  const seen = { transport: '', messages: [], errors: [] };
  client.on('connected', (context) => { seen.transport = context.transport; });
  client.on('error', ({ error }) => seen.errors.push(`${error.code} ${error.message}`));
  const room = client.newSubscription(channel);
  room.on('publication', ({ data }) => seen.messages.push(decode(data).n));
  room.subscribe();
  client.connect();
  await room.ready(30_000);
  for (let n = 1; n <= 20; n += 1) await room.publish(encode({ n }));
  const people = Object.values((await room.presence()).clients).map(({ user }) => user);
  for (let wait = 0; seen.messages.length < 20 && wait < 300; wait += 1) {
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
  client.disconnect();
  return { ...seen, people };
}

async function open(context, format, url = setting('BROWSER_URL')) {
  const page = await context.newPage();
  await page.goto(url);
  await page.addScriptTag({ content: bundle[format] });
  return page;
}

async function alone(context, transport, format) {
  const page = await open(context, format);
  const channel = `room:${transport}-${format}`;
  const told = await page.evaluate(talk, { token: annToken, transports: [transport], binary: format === 'protobuf', channel });
  same(told.transport, transport, 'the transport in use');
  same(told.messages, Array.from({ length: 20 }, (_, n) => n + 1), `messages over ${transport} ${format}`);
  same(told.people, ['ann'], 'presence');
  await page.close();
}

/** Without WebSocket the SDK goes on by itself. */
async function down(context) {
  const page = await context.newPage();
  await page.addInitScript(() => {
    window.WebSocket = class { constructor() { setTimeout(() => { this.onerror?.({}); this.onclose?.({ code: 1006, reason: '' }); }, 10); } close() {} send() {} };
  });
  await page.goto(setting('BROWSER_URL'));
  await page.addScriptTag({ content: bundle.json });
  const told = await page.evaluate(talk, {
    token: annToken, transports: ['websocket', 'http_stream', 'sse'], binary: false, channel: 'room:down',
  });
  same(told.transport, 'http_stream', 'the transport after a blocked WebSocket');
  await page.evaluate((text) => { document.body.textContent = text; }, `WebSocket blocked, in use: ${told.transport}`);
  await picture(page, 'transport-fallback');
  await page.close();
}

/** The browser's own EventSource, without an SDK. */
async function listens(context) {
  const page = await open(context, 'json');
  await page.evaluate((token) => {
    window.pushes = [];
    const query = encodeURIComponent(JSON.stringify({ token }));
    const events = new EventSource(`/connection/uni_sse?cf_connect=${query}`);
    events.onmessage = ({ data }) => window.pushes.push(JSON.parse(data));
  }, listenerToken);
  await until('the connect push', async () => (await page.evaluate(() => window.pushes)).some(({ connect }) => connect?.subs?.['room:listened']));
  const publisher = await open(context, 'json');
  await publisher.evaluate(talk, { token: annToken, transports: ['sse'], binary: false, channel: 'room:listened' });
  await until('twenty publications', async () => (await page.evaluate(() => window.pushes)).filter(({ pub }) => pub).length === 20);
  const numbers = (await page.evaluate(() => window.pushes)).filter(({ pub }) => pub).map(({ pub }) => pub.data.n);
  same(numbers, Array.from({ length: 20 }, (_, n) => n + 1), 'what EventSource heard');
  await page.close();
  await publisher.close();
}

/** A page of another site: it cannot read, and what it sends blindly is refused. */
async function foreign(context) {
  const page = await open(context, 'json', setting('BROWSER_FOREIGN'));
  const statuses = [];
  page.on('response', (response) => statuses.push(`${response.request().method()} ${response.status()}`));
  const target = setting('BROWSER_URL');
  const told = await page.evaluate(async ([base, token]) => {
    const body = JSON.stringify({ id: 1, connect: { token } });
    const readable = await fetch(`${base}connection/http_stream`, {
      method: 'POST', body, headers: { 'content-type': 'application/json' },
    }).then(() => 'read', () => 'not read');
    await fetch(`${base}connection/http_stream`, { method: 'POST', body, mode: 'no-cors' });
    return readable;
  }, [target, annToken]);
  same(told, 'not read', 'a foreign page and an answer');
  check(statuses.includes('POST 403'), `blind requests are refused: ${statuses}`);
  const posted = page.waitForResponse((response) => response.url().endsWith('/emulation'));
  await page.evaluate((base) => {
    const form = document.createElement('form');
    Object.assign(form, { method: 'POST', action: `${base}emulation`, enctype: 'text/plain' });
    const field = document.createElement('input');
    Object.assign(field, { name: '{"session":"x","node":"', value: 'x","data":"{}"}' });
    form.append(field);
    document.body.append(form);
    form.submit();
  }, target);
  same((await posted).status(), 403, 'a form of a foreign page');
  await page.close();
}

await main(() => withBrowser({}, async (context) => {
  for (const [transport, format] of [['http_stream', 'json'], ['http_stream', 'protobuf'], ['sse', 'json']]) {
    await alone(context, transport, format);
  }
  await down(context);
  await listens(context);
  await foreign(context);
}));
