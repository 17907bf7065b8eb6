// The official JavaScript SDK (`centrifuge`, 5.x) against a running server.
//
//   node v2.mjs <json|protobuf>                                 all checks
//   node v2.mjs <json|protobuf>:<transport>                     the same with http_stream, sse or sockjs-… alone
//   node v2.mjs <json|protobuf> mixed <name> <channel> <total>  one of many clients in a channel
//   node v2.mjs <json|protobuf> follow <name> <channel> <last>  prints what comes until that number
//   node v2.mjs <json|protobuf> deltas <name> <channel> <last>  the same with deltas, prints whole payloads
//   node v2.mjs <json|protobuf> rpc                             calls that a backend answers
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

const {
  Events, Gate, TOTAL_MS, api, check, leftOut, load, main, mixed, noticesCuts, setting, shortToken, sockjsTransport,
  sockjsUrl, token, unique, until,
} = createRequire(import.meta.url)('./support.cjs');

const [, , form, mode, ...rest] = process.argv;
const [format, transport = 'websocket'] = (form ?? '').split(':');
if (!['json', 'protobuf'].includes(format)) {
  console.error('usage: v2.mjs <json|protobuf> [mixed|follow <name> <channel> <number>]');
  process.exit(2);
}
const binary = format === 'protobuf';
const { Centrifuge } = load(binary ? 'centrifuge/build/protobuf' : 'centrifuge');
const WebSocket = load('ws');

const encode = (value) => (binary ? new TextEncoder().encode(JSON.stringify(value)) : value);
const decode = (data) => (binary ? JSON.parse(new TextDecoder().decode(data)) : data);

const CLIENT_EVENTS = [
  'connecting', 'connected', 'disconnected', 'error', 'subscribed', 'subscribing', 'unsubscribed', 'publication',
];
const SUBSCRIPTION_EVENTS = [
  'subscribing', 'subscribed', 'unsubscribed', 'publication', 'join', 'leave', 'error',
];

/** Server-sent events as browsers have them, as far as the SDK looks at them. */
class EventSource {
  constructor(url) {
    this.abort = new AbortController();
    this.run(url).catch(() => {}).finally(() => this.onerror?.({}));
  }

  async run(url) {
    const answer = await fetch(url, { signal: this.abort.signal, headers: { accept: 'text/event-stream' } });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get('content-type'), 'text/event-stream; charset=utf-8');
    this.onopen?.({});
    let text = '';
    const decoder = new TextDecoder();
    for await (const chunk of answer.body) {
      text += decoder.decode(chunk, { stream: true });
      const events = text.split('\n\n');
      text = events.pop();
      for (const event of events) this.onmessage?.({ data: event.trimStart().replace(/^data: /, '') });
    }
  }

  close() {
    this.onerror = this.onmessage = null;
    this.abort.abort();
  }
}

/** Where the SDK connects, and how. */
function target(url) {
  if (transport === 'websocket') return [url, { websocket: WebSocket }];
  const inSockjs = sockjsTransport(transport);
  if (inSockjs) {
    const options = { sockjs: load('sockjs-client'), sockjsOptions: { transports: [inSockjs] } };
    return [[{ transport: 'sockjs', endpoint: sockjsUrl(url) }], options];
  }
  const address = (path) => {
    const made = new URL(url.replace(/^ws/, 'http'));
    made.pathname = path;
    return made.toString();
  };
  const options = { emulationEndpoint: address('/emulation'), fetch, readableStream: ReadableStream, eventsource: EventSource };
  return [[{ transport, endpoint: address(`/connection/${transport}`) }], options];
}

function create(options, url = setting('SDK_WS_URL')) {
  const [endpoint, how] = target(url);
  const client = new Centrifuge(endpoint, {
    ...how, minReconnectDelay: 20, maxReconnectDelay: 100, ...options,
  });
  return { client, events: new Events(client, CLIENT_EVENTS) };
}

async function connect(options, url) {
  const made = create(options, url);
  made.client.connect();
  made.connected = await made.events.next('connected');
  return made;
}

function start(client, channel, options) {
  const sub = client.newSubscription(channel, options);
  const events = new Events(sub, SUBSCRIPTION_EVENTS);
  sub.subscribe();
  return { sub, events };
}

async function subscribe(client, channel, options) {
  const started = start(client, channel, options);
  started.subscribed = await started.events.next('subscribed');
  return started;
}

const as = (user) => ({ token: token({ sub: user }) });

async function refused(options, code) {
  const { client, events } = create(options);
  client.connect();
  const context = await events.next('disconnected');
  assert.equal(context.code, code, JSON.stringify(context));
}

// ---- checks ---------------------------------------------------------------------------------

async function connections() {
  await check('connect with a token', async () => {
    const { client, connected } = await connect(as('alice'));
    assert.match(connected.client, /^[0-9a-f-]{36}$/);
    assert.equal(connected.transport, transport);
    client.disconnect();
  });
  await check('connect without a token is refused', () => refused({}, 3501));
  await check('a wrong token is refused', () => {
    const wrong = token({ sub: 'alice' }).slice(0, -4) + 'AAAA';
    return refused({ token: wrong }, 3500);
  });
  await check('an expired token is exchanged for a new one', async () => {
    let asked = 0;
    const getToken = async () => {
      asked += 1;
      return shortToken('alice', 60);
    };
    const { client, events } = create({ token: shortToken('alice', -10), getToken });
    client.connect();
    const { error } = await events.next('error');
    assert.equal(error.code, 109);
    await events.next('connected');
    assert.equal(asked, 1);
    client.disconnect();
  });
  await check('an expired token without another is refused', async () => {
    const { client, events } = create({ token: shortToken('alice', -10) });
    client.connect();
    await events.next('disconnected');
  });
  await check('a short token is refreshed on the same connection', async () => {
    let asked = 0;
    const getToken = async () => {
      asked += 1;
      return shortToken('alice', 2);
    };
    const { client, events } = await connect({ token: shortToken('alice', 2), getToken });
    // The second question comes after the life that the first refresh was answered with.
    await until(() => asked >= 2);
    assert.equal(client.state, 'connected');
    assert.equal(events.count('connecting'), 1);
    client.disconnect();
  });
  await check('the API disconnects for good', async () => {
    const user = unique('user');
    const { events } = await connect(as(user));
    await api('disconnect', { user });
    const context = await events.next('disconnected');
    assert.equal(context.code, 3503);
    assert.equal(context.reason, 'force disconnect');
  });
}

async function subscriptions() {
  const channel = unique('open');
  const { client, connected } = await connect(as('alice'));
  const { sub, events } = await subscribe(client, channel);

  await check('a publication arrives', async () => {
    await sub.publish(encode({ text: 'héllo' }));
    const own = await events.next('publication');
    assert.deepEqual(decode(own.data), { text: 'héllo' });
    assert.equal(own.offset, 1);
    assert.equal(own.info.user, 'alice');
    assert.equal(own.info.client, connected.client);
    await api('publish', { channel, data: { from: 'api' }, tags: { k: 'v' } });
    const other = await events.next('publication');
    assert.deepEqual(decode(other.data), { from: 'api' });
    assert.equal(other.tags.k, 'v');
    assert.equal(other.info, undefined);
  });
  await check('presence shows who is there', async () => {
    const { clients } = await sub.presence();
    assert.deepEqual(Object.keys(clients), [connected.client]);
    assert.equal(clients[connected.client].user, 'alice');
    const stats = await sub.presenceStats();
    assert.equal(stats.numClients, 1);
    assert.equal(stats.numUsers, 1);
  });
  await check('joins and leaves arrive', async () => {
    const other = await connect(as('bob'));
    const { sub: theirs } = await subscribe(other.client, channel);
    const join = await events.next('join', (context) => context.info.user === 'bob');
    assert.equal(join.info.client, other.connected.client);
    theirs.unsubscribe();
    const leave = await events.next('leave', (context) => context.info.user === 'bob');
    assert.equal(leave.info.client, other.connected.client);
    other.client.disconnect();
  });
  await check('after unsubscribing nothing arrives', async () => {
    sub.unsubscribe();
    await events.next('unsubscribed');
    await until(async () => (await api('presence_stats', { channel })).num_clients === 0);
    await api('publish', { channel, data: { late: true } });
    // What is published later elsewhere arrives, so the other would have arrived as well.
    const fence = await subscribe(client, unique('open'));
    await api('publish', { channel: fence.sub.channel, data: {} });
    await fence.events.next('publication');
    assert.equal(events.count('publication'), 0);
  });
  await check('an unknown namespace is error 102', () => ended(client, unique('nowhere'), 102));
  await check('a forbidden channel is error 103', () => ended(client, unique('closed'), 103));
  await check('a forbidden publish is error 103', async () => {
    const refusal = client.publish(unique('closed'), encode({}));
    await assert.rejects(refusal, (error) => error.code === 103);
  });
  client.disconnect();
}

async function ended(client, channel, code) {
  const { events } = start(client, channel);
  const context = await events.next('unsubscribed');
  assert.equal(context.code, code, JSON.stringify(context));
}

async function history() {
  await check('history is read forwards and backwards', async () => {
    const channel = unique('open');
    const { client } = await connect(as('alice'));
    const { sub } = await subscribe(client, channel);
    for (let n = 1; n <= 5; n += 1) await api('publish', { channel, data: { n } });
    const read = async (options) => {
      const page = await sub.history(options);
      assert.equal(page.offset, 5);
      return page.publications.map((publication) => decode(publication.data).n);
    };
    const { epoch } = await sub.history({ limit: 0 });
    assert.ok(epoch);
    assert.deepEqual(await read({ limit: 0 }), []);
    assert.deepEqual(await read({ limit: 100 }), [1, 2, 3, 4, 5]);
    assert.deepEqual(await read({ limit: 2 }), [1, 2]);
    assert.deepEqual(await read({ limit: 100, reverse: true }), [5, 4, 3, 2, 1]);
    assert.deepEqual(await read({ limit: 2, since: { offset: 2, epoch } }), [3, 4]);
    assert.deepEqual(await read({ limit: 2, since: { offset: 4, epoch }, reverse: true }), [3, 2]);
    const lost = sub.history({ limit: 1, since: { offset: 2, epoch: 'another' } });
    await assert.rejects(lost, (error) => error.code === 112);
    client.disconnect();
  });
}

async function recovery() {
  if (!noticesCuts(sockjsTransport(transport))) {
    leftOut('recovery after a cut', 'outside browsers this client of SockJS does not notice one');
    return;
  }
  await check('ten messages are recovered after a cut', async () => {
    const gate = new Gate();
    const channel = unique('open');
    const { client } = await connect(as('alice'), await gate.url());
    const { events, subscribed } = await subscribe(client, channel);
    assert.equal(subscribed.recoverable, true);
    await events.next('subscribing');
    await api('publish', { channel, data: { n: 0 } });
    await events.next('publication');
    gate.cut();
    await events.next('subscribing');
    for (let n = 1; n <= 10; n += 1) await api('publish', { channel, data: { n } });
    gate.open();
    const again = await events.next('subscribed');
    assert.equal(again.wasRecovering, true);
    assert.equal(again.recovered, true);
    await api('publish', { channel, data: { n: 11 } });
    const contexts = await events.take('publication', 11);
    const expected = Array.from({ length: 11 }, (_, index) => index + 1);
    assert.deepEqual(contexts.map((context) => decode(context.data).n), expected);
    assert.deepEqual(contexts.map((context) => context.offset), expected.map((n) => n + 1));
    client.disconnect();
  });
}

async function serverSide() {
  await check('a server-side subscription comes with the token', async () => {
    const [channel, user] = [unique('open'), unique('user')];
    const { client, events } = await connect({ token: token({ sub: user, channels: [channel] }) });
    assert.equal((await events.next('subscribed')).channel, channel);
    await api('publish', { channel, data: { n: 1 } });
    const publication = await events.next('publication');
    assert.equal(publication.channel, channel);
    assert.deepEqual(decode(publication.data), { n: 1 });
    await api('unsubscribe', { user, channel });
    assert.equal((await events.next('unsubscribed')).channel, channel);
    const later = unique('open');
    await api('subscribe', { user, channel: later });
    assert.equal((await events.next('subscribed')).channel, later);
    client.disconnect();
  });
}

async function one([name, channel, total]) {
  const { client } = await connect(as(name));
  const { sub, events } = await subscribe(client, channel);
  await mixed({
    name,
    total: Number(total),
    publish: (value) => sub.publish(encode(value)),
    received: async () => decode((await events.next('publication')).data),
  });
}

/** Prints every number of the channel, and every time it has subscribed; comes back by itself until the last one. */
async function follow([name, channel, last], options = {}) {
  const { client } = create(as(name));
  const sub = client.newSubscription(channel, options);
  const tell = (value) => console.log(JSON.stringify(value));
  await new Promise((resolve) => {
    sub.on('subscribed', ({ wasRecovering, recovered }) => tell({ subscribed: { wasRecovering, recovered } }));
    sub.on('publication', ({ data }) => {
      const value = decode(data);
      const { n } = value;
      tell(options.delta ? value : { n });
      if (n === Number(last)) resolve();
    });
    sub.subscribe();
    client.connect();
  });
}

/** Calls that a backend answers, refuses, and ends the connection over. */
async function calls() {
  await check('calls reach the backend', async () => {
    const { client } = await connect(as('caller'));
    const { data } = await client.rpc('add', encode({ a: 2, b: 3 }));
    assert.deepEqual(decode(data), { sum: 5 });
    await assert.rejects(client.rpc('unknown', encode({})), { code: 1404 });
    client.disconnect();
  });
  await check('the backend ends a connection', async () => {
    const { client, events } = await connect(as('caller'));
    client.rpc('quit', encode({})).catch(() => {});
    const { code, reason } = await events.next('disconnected');
    assert.deepEqual({ code, reason }, { code: 4501, reason: 'come back never' });
  });
}

main(async () => {
  if (mode === 'rpc') {
    await calls();
    return;
  }
  if (mode === 'mixed') {
    await one(rest);
    return;
  }
  if (mode === 'follow' || mode === 'deltas') {
    await follow(rest, mode === 'deltas' ? { delta: 'fossil' } : {});
    return;
  }
  await connections();
  await subscriptions();
  await history();
  await recovery();
  await serverSide();
}, mode === 'follow' ? 5 * TOTAL_MS : TOTAL_MS);
